//! Reads while Redis is frozen, beside those of a node that has none.

use crate::rig::{Database, Node};
use crate::row::{Times, ms, print};
use nexarch_cache::{Computed, Remote};
use nexarch_testkit::{FaultProxy, RedisServer};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

const TURNS: usize = 5;
const CALLERS: usize = 16;
/// Of each caller in each turn.
const READS: usize = 2500;
/// One in so many reads is of a key that nobody has.
const COLD: usize = 20;
/// What a cold one takes to compute.
const COST: Duration = Duration::from_millis(1);
/// How long a call to Redis may take, by default.
const DEADLINE: Duration = Duration::from_millis(100);
/// Reads that may wait for Redis, one after another.
const WAIT: usize = 5;
const KEYS: usize = 50;

async fn read(node: &Arc<Node>, key: &str) -> Duration {
    let compute = |_| async {
        tokio::time::sleep(COST).await;
        Ok(Computed::new(vec![7; 4 << 10]))
    };
    let began = Instant::now();
    node.read("overview", key, compute).await;
    began.elapsed()
}

async fn warm(node: &Arc<Node>) {
    for key in 0..KEYS {
        read(node, &format!("hot={key}")).await;
    }
}

/// Times of all reads of a turn.
async fn turn(node: &Arc<Node>, name: &str) -> Vec<Duration> {
    let tasks = TaskTracker::new();
    let callers = (0..CALLERS).map(|caller| {
        let (node, name) = (Arc::clone(node), name.to_owned());
        tasks.spawn(async move {
            let mut times = Vec::with_capacity(READS);
            for n in 0..READS {
                let cold = n % COLD == 0;
                let key = if cold { format!("{name},{caller},{n}") } else { format!("hot={}", n % KEYS) };
                times.push(read(&node, &key).await);
                tokio::task::yield_now().await;
            }
            times
        })
    });
    let mut times = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        times.extend(caller.await.expect("answers"));
    }
    times
}

pub(crate) async fn measure() {
    let (redis, database) = (RedisServer::start(), Database::new().await);
    let proxy = FaultProxy::start(redis.address());
    let node = Node::ordinary(&database, proxy.port()).await;
    // It has the connection, too, and does not use it.
    let alone = Node::start(&database, redis.port(), |builder, _| builder).await;
    let (mut frozen, mut memory, mut waited, mut recovered) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    warm(&alone).await;
    for n in 0..2 * TURNS {
        warm(&node).await;
        memory.extend(turn(&alone, &format!("alone={n}")).await);
        proxy.freeze_all();
        if n % 2 == 0 {
            // One after another, to count who waits.
            let mut times = Vec::new();
            for key in 0..100 {
                times.push(read(&node, &format!("one={n},{key}")).await);
            }
            waited.push(Times::new(times).above(DEADLINE * 9 / 10));
        } else {
            frozen.extend(turn(&node, &format!("frozen={n}")).await);
        }
        proxy.pass();
        let returned = Instant::now();
        let mut status = node.remote.status();
        status.wait_for(|status| status.values).await.expect("a status");
        recovered.push(returned.elapsed());
        status.wait_for(|status| status.messages).await.expect("a status");
    }
    let (frozen, memory, recovered) = (Times::new(frozen), Times::new(memory), Times::new(recovered));
    print(
        "Redis frozen: reads, 5 % of them cold, p99.9 beside those of a node without Redis",
        &format!(
            "{} beside {}; p50 {} beside {}",
            ms(frozen.at(0.999)),
            ms(memory.at(0.999)),
            ms(frozen.at(0.5)),
            ms(memory.at(0.5))
        ),
        &format!(
            "{} and {} reads, longest {} and {}",
            frozen.count(),
            memory.count(),
            ms(frozen.at(1.0)),
            ms(memory.at(1.0))
        ),
        "≤ that + 2 deadlines of 100 ms",
        frozen.at(0.999) <= memory.at(0.999) + DEADLINE * 2,
    );
    let most = waited.iter().copied().max().unwrap_or(0);
    print(
        "Redis frozen: reads that waited for it, of 100 cold ones in a row",
        &most.to_string(),
        &format!("{TURNS} turns: {waited:?}"),
        "≤ 5",
        most <= WAIT,
    );
    print(
        "Redis frozen: usable after its return, p50; longest",
        &format!("{}; {}", ms(recovered.at(0.5)), ms(recovered.at(1.0))),
        &format!("{} to {}", ms(recovered.at(0.0)), ms(recovered.at(1.0))),
        "< 2 s",
        recovered.at(1.0) < Duration::from_secs(2),
    );
    node.end().await;
    alone.end().await;
}
