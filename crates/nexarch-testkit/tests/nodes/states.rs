//! The same load in every state of Redis.

use crate::cluster::{Cluster, NODES, effort};
use nexarch_testkit::{FaultProxy, RedisServer};
use std::time::Duration;

/// Rounds before, in and after each state.
const ROUNDS: u64 = 6;

/// Well below the deadline of a call, so that answers are slow and come.
const SLOW: Duration = Duration::from_millis(20);

/// Whether nodes are to say that Redis, or a part of it, is lost.
#[derive(Clone, Copy, PartialEq)]
enum Felt {
    Lost,
    Borne,
}

/// Runs the load before, in and after a state; in the end every node has Redis again by itself.
async fn survives(
    redis: RedisServer,
    felt: Felt,
    begin: impl FnOnce(&mut Cluster),
    end: impl FnOnce(&mut Cluster),
) {
    let mut cluster = Cluster::start(redis).await;
    cluster.rounds(effort(ROUNDS)).await;
    begin(&mut cluster);
    // Before it is noticed, and after.
    cluster.rounds(effort(ROUNDS)).await;
    if felt == Felt::Lost {
        for node in &cluster.nodes {
            node.connected(false).await;
        }
    }
    cluster.rounds(effort(ROUNDS)).await;
    end(&mut cluster);
    cluster.rounds(effort(ROUNDS)).await;
    cluster.connected().await;
    cluster.rounds(effort(ROUNDS)).await;
    println!("{} changes, {} reads, {} computations", cluster.changes, cluster.reads, cluster.computations());
    cluster.end().await;
}

fn each(cluster: &Cluster, what: impl Fn(&FaultProxy)) {
    cluster.nodes.iter().for_each(|node| what(&node.proxy));
}

fn pass(cluster: &mut Cluster) {
    each(cluster, FaultProxy::pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_good_health() {
    survives(RedisServer::start(), Felt::Borne, |_| {}, |_| {}).await;
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone() {
    survives(RedisServer::start(), Felt::Lost, |c| each(c, FaultProxy::refuse), pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_frozen_sockets() {
    survives(RedisServer::start(), Felt::Borne, |c| each(c, FaultProxy::freeze_existing), pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent() {
    survives(RedisServer::start(), Felt::Lost, |c| each(c, FaultProxy::freeze_all), pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow() {
    survives(RedisServer::start(), Felt::Borne, |c| each(c, |p| p.delay(SLOW)), pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn talking_nonsense() {
    let nonsense = |c: &mut Cluster| each(c, |p| p.garbage(b"$-7\r\nHTTP/1.1 400 Bad Request\r\n\r\n"));
    survives(RedisServer::start(), Felt::Lost, nonsense, pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_where_it_is() {
    survives(RedisServer::start(), Felt::Lost, |c| c.redis.pause(), |c| c.redis.resume()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again_empty() {
    survives(RedisServer::start(), Felt::Lost, |c| c.redis.kill(), |c| c.redis.restart()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied() {
    let flush = |c: &mut Cluster| assert_eq!(c.redis.cli(&["FLUSHALL"]), "OK");
    survives(RedisServer::start(), Felt::Borne, flush, flush).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full() {
    let limit = |bytes: &'static str| {
        move |c: &mut Cluster| assert_eq!(c.redis.cli(&["CONFIG", "SET", "maxmemory", bytes]), "OK")
    };
    survives(RedisServer::builder().max_memory(0, "noeviction").start(), Felt::Borne, limit("1"), limit("0"))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evicting_all_the_time() {
    let limit = |bytes: &'static str| {
        move |c: &mut Cluster| assert_eq!(c.redis.cli(&["CONFIG", "SET", "maxmemory", bytes]), "OK")
    };
    survives(
        RedisServer::builder().max_memory(0, "allkeys-lru").start(),
        Felt::Borne,
        limit("1"),
        limit("0"),
    )
    .await;
}

/// What is there can be read, and messages pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_no_writes() {
    let replica = |c: &mut Cluster| assert_eq!(c.redis.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let master = |c: &mut Cluster| assert_eq!(c.redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    survives(RedisServer::start(), Felt::Borne, replica, master).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_messages() {
    let forbid = |c: &mut Cluster| assert_eq!(c.redis.cli(&["ACL", "SETUSER", "default", "-publish"]), "OK");
    let allow = |c: &mut Cluster| assert_eq!(c.redis.cli(&["ACL", "SETUSER", "default", "+publish"]), "OK");
    survives(RedisServer::start(), Felt::Lost, forbid, allow).await;
}

/// A failover to a server that lacks the latest writes, and one back that brings old values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_over_to_another_and_back() {
    let other = RedisServer::start();
    let to = |c: &Cluster, address: &str| {
        each(c, |proxy| {
            proxy.redirect(address);
            proxy.cut();
        });
    };
    let there = other.address();
    survives(
        RedisServer::start(),
        Felt::Borne,
        |c| to(c, &there),
        |c| {
            let back = c.redis.address();
            to(c, &back);
        },
    )
    .await;
}
