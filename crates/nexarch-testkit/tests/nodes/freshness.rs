//! How soon other nodes see a change.

use crate::cluster::{Cluster, NODES, effort};
use nexarch_testkit::RedisServer;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How often a node reads the versions without being told.
const BEAT: Duration = Duration::from_millis(250);

/// Changes that are timed.
const SAMPLES: u64 = 100;

/// Reads on another node, without a minimum version, until one shows the change: from its acknowledgement to the end of
/// the read. Each read is judged, so the lease is held to the letter; the times are printed.
async fn times(cluster: &mut Cluster, samples: u64) -> Vec<Duration> {
    let mut times = Vec::new();
    for _ in 0..samples {
        cluster.changes += 1;
        let number = cluster.changes;
        let writer = usize::try_from(number).expect("few") % NODES;
        let other = Arc::clone(&cluster.nodes[(writer + 1) % NODES]);
        other.read(0, 0).await;
        let version = cluster.nodes[writer].commit(number).await;
        let acknowledged = Instant::now();
        while other.read(0, 0).await.data < version {
            tokio::task::yield_now().await;
        }
        times.push(acknowledged.elapsed());
    }
    times.sort();
    times
}

fn print(what: &str, times: &[Duration]) {
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:?}, p99 {:?}, longest {:?} of {}", at(50), at(99), at(100), times.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_nodes_see_a_change_by_message_and_within_the_lease_without() {
    let mut cluster = Cluster::start(RedisServer::start()).await;
    cluster.shares().await;
    let mut fast = false;
    // Half of them come far sooner than the beat brings them, unless the machine is busy: not each time.
    for _ in 0..5 {
        let with = times(&mut cluster, effort(SAMPLES)).await;
        print("with messages", &with);
        fast = with[with.len() / 2] < BEAT / 4;
        if fast {
            break;
        }
    }
    assert!(fast, "messages do not arrive");
    for node in &cluster.nodes {
        node.proxy.refuse();
        node.connected(false).await;
    }
    let without = times(&mut cluster, effort(SAMPLES / 20)).await;
    print("without messages", &without);
    cluster.end().await;
}
