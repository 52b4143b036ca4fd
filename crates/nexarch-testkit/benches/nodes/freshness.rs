//! How soon another node shows a change.

use crate::authority::versions;
use crate::rig::{Database, Node, tenant};
use crate::row::{Times, ms, print};
use nexarch_cache::{Cause, Changed, Commit, Computed, Invalidation};
use nexarch_store::{Batch, suite::spans};
use nexarch_testkit::RedisServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const CHANGES: u64 = 2000;
const TARGET: Duration = Duration::from_millis(50);

/// The data version that the answer saw.
async fn read(node: &Arc<Node>) -> (u64, u64) {
    let store = Arc::clone(&node.store);
    let compute = move |_| async move {
        let data = store.snapshot(&tenant()).await?.data_version();
        Ok(Computed::new(data.to_string()).with_data_version(data))
    };
    let answer = node.read("overview", "window=24h", compute).await;
    (answer.label().data, answer.label().tenant)
}

/// One new span, as an ingest: committed and announced. Its version.
async fn commit(node: &Arc<Node>, number: u64) -> u64 {
    let asked = node.cache.now();
    let batch = Batch {
        created_us: None,
        tenant: tenant(),
        spans: vec![spans::span(number, number, number * 1_000_000)],
    };
    let mut appended = node.store.append(vec![batch]).await.expect("a transaction");
    let appended = appended.remove(0).expect("a batch");
    let data = appended.versions.data;
    let commit = Commit::new(Changed::Data, Cause::Ingest, versions(appended.versions)).read_at(asked);
    node.cache.announce(&node.scope, &commit);
    data
}

pub(crate) async fn measure() {
    let (redis, database) = (RedisServer::start(), Database::new().await);
    let mut nodes = Vec::new();
    for _ in 0..2 {
        nodes.push(Node::ordinary(&database, redis.port()).await);
    }
    let (mut commits, mut invalidations) = (Vec::new(), Vec::new());
    for number in 1..=CHANGES {
        let (writer, other) = if number % 2 == 0 { (&nodes[0], &nodes[1]) } else { (&nodes[1], &nodes[0]) };
        read(other).await;
        let by_hand = number % 4 < 2;
        let version = if by_hand {
            let done = writer.cache.invalidate(&writer.scope, Invalidation::All, Cause::Manual).await;
            done.expect("an acknowledgement").version
        } else {
            commit(writer, number).await
        };
        let acknowledged = Instant::now();
        loop {
            let (data, tenant) = read(other).await;
            if (if by_hand { tenant } else { data }) >= version {
                break;
            }
            tokio::task::yield_now().await;
        }
        if by_hand { &mut invalidations } else { &mut commits }.push(acknowledged.elapsed());
    }
    for (what, times) in [("a commit", commits), ("an invalidation", invalidations)] {
        let times = Times::new(times);
        print(
            &format!(
                "freshness on another node: from the acknowledgement of {what} to an answer that shows it, p50; p99"
            ),
            &format!("{}; {}", ms(times.at(0.5)), ms(times.at(0.99))),
            &format!("{} changes, longest {}", times.count(), ms(times.at(1.0))),
            "p99 < 50 ms",
            times.at(0.99) < TARGET,
        );
    }
    for node in &nodes {
        node.end().await;
    }
}
