//! Making everything of a tenant old that has a million keys in Redis.

use crate::raw::{Raw, command};
use crate::rig::{Database, NAMESPACE, Node, tenant};
use crate::row::{Times, ms, print};
use nexarch_cache::{Cause, Computed, Invalidation, Outcome, Reach};
use nexarch_testkit::RedisServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const KEYS: usize = 1_000_000;
/// Commands that are sent before their answers are read.
const AT_ONCE: usize = 10_000;
const CALLS: usize = 300;
const BODY: usize = 64;
/// Beside a round trip.
const TARGET: Duration = Duration::from_millis(1);
/// Keys of one step of the rival's scan.
const STEP: usize = 1000;

fn compute()
-> impl FnOnce(nexarch_cache::Fence) -> std::future::Ready<Result<Computed, nexarch_cache::BoxError>> + Send {
    |_| std::future::ready(Ok(Computed::new(vec![7; BODY])))
}

/// As many keys as the tenant is to have, each with a copy of a value that the cache wrote.
fn fill(raw: &mut Raw, value: &[u8]) {
    for first in (0..KEYS).step_by(AT_ONCE) {
        let mut commands = Vec::new();
        for key in first..first + AT_ONCE {
            let name =
                format!("{NAMESPACE}:acme:overview:{:032x}", key as u128 * 0x9E37_79B9_7F4A_7C15_F39C_C060);
            commands.extend(command(&[b"SET", name.as_bytes(), value, b"PX", b"3600000"]));
        }
        raw.send(&commands);
        for _ in 0..AT_ONCE {
            assert_eq!(raw.line(), "+OK");
        }
    }
}

/// Calls, the database's part alone, and round trips, in turns.
async fn calls(node: &Arc<Node>, raw: &mut Raw) -> [Times; 3] {
    let [mut calls, mut commits, mut trips] = [const { Vec::new() }; 3];
    for _ in 0..CALLS {
        let began = Instant::now();
        let done = node.cache.invalidate(&node.scope, Invalidation::All, Cause::Manual).await;
        calls.push(began.elapsed());
        assert_eq!(done.expect("an acknowledgement").reach, Reach::Cluster);
        let began = Instant::now();
        node.store.invalidate(&tenant(), None).await.expect("a commit");
        commits.push(began.elapsed());
        let began = Instant::now();
        raw.send(&command(&[b"PING"]));
        assert_eq!(raw.line(), "+PONG");
        trips.push(began.elapsed());
    }
    [calls, commits, trips].map(Times::new)
}

/// What everybody does without versions. Returns how many keys it removed.
fn scan_and_unlink(raw: &mut Raw) -> usize {
    let (mut cursor, mut removed) = ("0".to_owned(), 0);
    loop {
        let (next, keys) = raw.scan(&cursor, &format!("{NAMESPACE}:acme:*"), STEP);
        if !keys.is_empty() {
            let args: Vec<&[u8]> =
                [&b"UNLINK"[..]].into_iter().chain(keys.iter().map(Vec::as_slice)).collect();
            raw.send(&command(&args));
            removed += raw.line().trim_start_matches(':').parse::<usize>().expect("a number");
        }
        if next == "0" {
            return removed;
        }
        cursor = next;
    }
}

pub(crate) async fn measure() {
    let (redis, database) = (RedisServer::start(), Database::new().await);
    let (node, other) =
        (Node::ordinary(&database, redis.port()).await, Node::ordinary(&database, redis.port()).await);
    let mut raw = Raw::connect(redis.port());
    node.read("overview", "a", compute()).await;
    while node.cache.remote_counts().expect("a shared tier").written == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let operation = node.cache.operation("overview").expect("an operation");
    let name = node.cache.key(&node.scope, operation, "a").expect("a name");
    raw.send(&command(&[b"GET", name.as_bytes()]));
    let value = raw.bulk();
    let [empty, _, _] = calls(&node, &mut raw).await;
    fill(&mut raw, &value);
    // One of its keys was read, and another node finds it: until it is invalidated.
    node.read("overview", "a", compute()).await;
    while node.cache.remote_counts().expect("a shared tier").written < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let found = other.read("overview", "a", compute()).await;
    assert!(matches!(found.outcome(), Outcome::HitRedis { .. }), "{:?}", found.outcome());
    let [full, commits, trips] = calls(&node, &mut raw).await;
    for node in [&node, &other] {
        let version = node.cache.version(&node.scope).await.expect("a version");
        let answer = node.read("overview", "a", compute()).await;
        assert!(answer.label().tenant >= version, "{:?}", answer.label());
    }
    let began = Instant::now();
    let removed = scan_and_unlink(&mut raw);
    let rival = began.elapsed();
    assert!(removed >= KEYS, "{removed}");
    let own = full.at(0.5).saturating_sub(commits.at(0.5));
    print(
        "invalidate a tenant with 1,000,000 keys in Redis, p50; p99",
        &format!(
            "{}; {} (of which the commit of SQLite, durable: {}; {}); without keys {}; {}; SCAN + UNLINK on the same \
             server {:.1} s",
            ms(full.at(0.5)),
            ms(full.at(0.99)),
            ms(commits.at(0.5)),
            ms(commits.at(0.99)),
            ms(empty.at(0.5)),
            ms(empty.at(0.99)),
            rival.as_secs_f64()
        ),
        &format!("{CALLS} calls, {} to {}", ms(full.at(0.0)), ms(full.at(1.0))),
        &format!("< 1 ms + a round trip ({})", ms(trips.at(0.5))),
        full.at(0.5) < TARGET + trips.at(0.5),
    );
    print(
        "the same without the database's commit, p50",
        &ms(own),
        "difference of medians in one run",
        &format!("< 1 ms + a round trip ({})", ms(trips.at(0.5))),
        own < TARGET + trips.at(0.5),
    );
    node.end().await;
    other.end().await;
}
