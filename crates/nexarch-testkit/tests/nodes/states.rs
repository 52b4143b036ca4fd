//! The same load in every state of Redis.

use crate::cluster::{Cluster, NODES, effort};
use crate::node::Node;
use nexarch_cache::{Breaker, Reason};
use nexarch_testkit::{FaultProxy, PATIENCE, RedisServer};
use std::time::Duration;
use tokio::time::Instant;

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

/// Runs the load before, in and after a state; in the end every node has Redis again by itself. That Redis serves before
/// and after is seen by what nodes find there, and that the state is one by what each node tells of it: `shows`.
async fn survives(
    redis: RedisServer,
    felt: Felt,
    begin: impl FnOnce(&mut Cluster),
    shows: impl Fn(&Cluster, &Node) -> bool,
    end: impl FnOnce(&mut Cluster),
) {
    let mut cluster = Cluster::start(redis).await;
    cluster.rounds(effort(ROUNDS)).await;
    cluster.shares().await;
    begin(&mut cluster);
    // Before it is noticed, and after.
    cluster.rounds(effort(ROUNDS)).await;
    if felt == Felt::Lost {
        for node in &cluster.nodes {
            node.connected(false).await;
        }
    }
    for at in 0..NODES {
        let asked = Instant::now();
        while !shows(&cluster, &cluster.nodes[at]) {
            assert!(asked.elapsed() < PATIENCE, "node {at}: {:?}", cluster.nodes[at].status());
            cluster.rounds(1).await;
        }
    }
    cluster.rounds(effort(ROUNDS)).await;
    end(&mut cluster);
    cluster.rounds(effort(ROUNDS)).await;
    cluster.connected().await;
    cluster.healthy().await;
    cluster.rounds(effort(ROUNDS)).await;
    cluster.shares().await;
    println!("{} changes, {} reads, {} computations", cluster.changes, cluster.reads, cluster.computations());
    cluster.end().await;
}

fn each(cluster: &Cluster, what: impl Fn(&FaultProxy)) {
    cluster.nodes.iter().for_each(|node| what(&node.proxy));
}

/// The node says that values are lost, for one of these reasons.
fn lost(reasons: &[Reason]) -> impl Fn(&Cluster, &Node) -> bool {
    move |_, node| {
        let status = node.status();
        !status.values
            && status.breaker != Breaker::Closed
            && status.reason.is_some_and(|reason| reason == Reason::Connecting || reasons.contains(&reason))
    }
}

/// The node says that it is read, and not written for this reason.
fn unwritten(reason: Reason) -> impl Fn(&Cluster, &Node) -> bool {
    move |_, node| {
        let status = node.status();
        status.values && status.reason == Some(reason) && node.counts().not_written > 0
    }
}

/// Its connections were replaced since the start.
fn reconnected(_: &Cluster, node: &Node) -> bool {
    node.status().reconnects > 0 && node.status().values
}

/// Its answers take as long as the network does.
fn late(_: &Cluster, node: &Node) -> bool {
    node.status().values && node.status().round_trip.0 >= SLOW
}

fn evicts(cluster: &Cluster, _: &Node) -> bool {
    !cluster.redis.cli(&["INFO", "stats"]).lines().any(|line| line.trim() == "evicted_keys:0")
}

fn unheard(_: &Cluster, node: &Node) -> bool {
    let status = node.status();
    status.values && !status.messages && status.reason == Some(Reason::Messages)
}

fn pass(cluster: &mut Cluster) {
    each(cluster, FaultProxy::pass);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_good_health() {
    survives(RedisServer::start(), Felt::Borne, |_| {}, |_, node| node.status().reason.is_none(), |_| {})
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone() {
    survives(
        RedisServer::start(),
        Felt::Lost,
        |c| each(c, FaultProxy::refuse),
        lost(&[Reason::Refused]),
        pass,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_frozen_sockets() {
    survives(RedisServer::start(), Felt::Borne, |c| each(c, FaultProxy::freeze_existing), reconnected, pass)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent() {
    survives(
        RedisServer::start(),
        Felt::Lost,
        |c| each(c, FaultProxy::freeze_all),
        lost(&[Reason::Timeout]),
        pass,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow() {
    survives(RedisServer::start(), Felt::Borne, |c| each(c, |p| p.delay(SLOW)), late, pass).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn talking_nonsense() {
    let nonsense = |c: &mut Cluster| each(c, |p| p.garbage(b"$-7\r\nHTTP/1.1 400 Bad Request\r\n\r\n"));
    survives(RedisServer::start(), Felt::Lost, nonsense, lost(&[Reason::Protocol, Reason::Refused]), pass)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_where_it_is() {
    survives(
        RedisServer::start(),
        Felt::Lost,
        |c| c.redis.pause(),
        lost(&[Reason::Timeout]),
        |c| c.redis.resume(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_again_empty() {
    survives(
        RedisServer::start(),
        Felt::Lost,
        |c| c.redis.kill(),
        lost(&[Reason::Refused, Reason::Protocol]),
        |c| c.redis.restart(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn emptied() {
    let flush = |c: &mut Cluster| assert_eq!(c.redis.cli(&["FLUSHALL"]), "OK");
    let empty = |c: &mut Cluster| {
        assert_ne!(c.redis.cli(&["DBSIZE"]), "0", "there is something to lose");
        flush(c);
    };
    survives(RedisServer::start(), Felt::Borne, empty, |_, node| node.status().values, flush).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full() {
    let limit = |bytes: &'static str| {
        move |c: &mut Cluster| assert_eq!(c.redis.cli(&["CONFIG", "SET", "maxmemory", bytes]), "OK")
    };
    survives(
        RedisServer::builder().max_memory(0, "noeviction").start(),
        Felt::Borne,
        limit("1"),
        unwritten(Reason::Oom),
        limit("0"),
    )
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
        evicts,
        limit("0"),
    )
    .await;
}

/// What is there can be read, and messages pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn taking_no_writes() {
    let replica = |c: &mut Cluster| assert_eq!(c.redis.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let master = |c: &mut Cluster| assert_eq!(c.redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    survives(RedisServer::start(), Felt::Borne, replica, unwritten(Reason::Readonly), master).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_messages() {
    let forbid = |c: &mut Cluster| assert_eq!(c.redis.cli(&["ACL", "SETUSER", "default", "-publish"]), "OK");
    let allow = |c: &mut Cluster| assert_eq!(c.redis.cli(&["ACL", "SETUSER", "default", "+publish"]), "OK");
    survives(RedisServer::start(), Felt::Lost, forbid, unheard, allow).await;
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
        |c, node| reconnected(c, node) && other.cli(&["DBSIZE"]) != "0",
        |c| {
            let back = c.redis.address();
            to(c, &back);
        },
    )
    .await;
}
