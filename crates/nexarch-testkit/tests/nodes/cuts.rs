//! Nodes that are cut off alone, from Redis or from the database, and a cluster that is moved about beneath them.

use crate::authority::Trouble;
use crate::cluster::{Cluster, KEYS, NODES, effort};
use nexarch_testkit::{RedisCluster, RedisServer};
use std::sync::Arc;

/// Rounds before, in and after each cut.
const ROUNDS: u64 = 6;

/// Also the writer alone, while its readers hear nothing and Redis answers them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_cut_off_alone() {
    let mut cluster = Cluster::start(RedisServer::start()).await;
    for cut in 0..NODES {
        cluster.nodes[cut].proxy.refuse();
        cluster.nodes[cut].connected(false).await;
        cluster.rounds(effort(ROUNDS)).await;
        cluster.nodes[cut].proxy.pass();
        cluster.connected().await;
        cluster.rounds(effort(ROUNDS)).await;
    }
    cluster.end().await;
}

/// Redis and its messages go on for it. Within its lease it may answer; after that it says that it cannot, and never
/// guesses. The others do not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_node_cut_off_from_the_database_alone() {
    let mut cluster = Cluster::start(RedisServer::start()).await;
    for (cut, trouble) in [Trouble::Refuses, Trouble::Hangs, Trouble::Refuses].into_iter().enumerate() {
        cluster.shares().await;
        let node = Arc::clone(&cluster.nodes[cut]);
        let failed = cluster.failed;
        node.way.set(trouble);
        cluster.rounds(effort(ROUNDS)).await;
        // What it knew is older than a lease by then.
        while node.answer(0, 0).await.is_some() {
            cluster.rounds(1).await;
        }
        cluster.rounds(1).await;
        assert!(cluster.failed >= failed + 2 * KEYS as u64, "{} of {}", cluster.failed, cluster.reads);
        node.way.set(Trouble::None);
        node.read(0, 0).await;
        cluster.rounds(effort(ROUNDS)).await;
        cluster.shares().await;
    }
    cluster.end().await;
}

/// On three primaries behind TLS, while the slot of a key that all nodes read moves from one to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_cluster_whose_slot_moves() {
    let mut cluster = Cluster::start_behind_tls(RedisCluster::start()).await;
    cluster.rounds(effort(ROUNDS)).await;
    cluster.shares().await;
    let slot = cluster.redis.slot(&cluster.nodes[0].name(0));
    let to = (RedisCluster::holder(slot) + 1) % 3;
    cluster.redis.begin_move(slot, to);
    cluster.rounds(effort(ROUNDS)).await;
    cluster.shares().await;
    cluster.redis.empty(slot);
    cluster.redis.finish_move(slot, to);
    cluster.rounds(effort(ROUNDS)).await;
    cluster.healthy().await;
    cluster.shares().await;
    assert_ne!(cluster.redis.nodes()[to].cli(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]), "0");
    cluster.end().await;
}
