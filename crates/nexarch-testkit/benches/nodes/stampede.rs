//! Everybody wants one key that nobody has.

use crate::rig::{Database, Node};
use crate::row::{Times, ms, print};
use async_trait::async_trait;
use bytes::Bytes;
use nexarch_cache::{Computed, Epoch, Remote, RemoteError, RemoteStatus, Removed, Scope};
use nexarch_testkit::RedisServer;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::Instant;

use tokio_util::task::TaskTracker;

const NODES: usize = 3;
const CALLERS: usize = 1000;
const TURNS: usize = 7;
/// What the costly computation takes: a slow page, and hundreds of round trips.
const COST: Duration = Duration::from_millis(50);
const BODY: usize = 8 << 10;

/// Redis without leases: what a cache with two tiers and nothing else does.
#[derive(Debug)]
struct NoLease(Arc<dyn Remote>);

#[async_trait]
impl Remote for NoLease {
    fn status(&self) -> watch::Receiver<RemoteStatus> {
        self.0.status()
    }

    fn messages(&self) -> broadcast::Receiver<Bytes> {
        self.0.messages()
    }

    async fn get(&self, key: &str, max_bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        self.0.get(key, max_bytes).await
    }

    async fn head(&self, key: &str, bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        self.0.head(key, bytes).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), RemoteError> {
        self.0.set(key, value, ttl).await
    }

    async fn set_if_absent(&self, _: &str, _: Bytes, _: Duration) -> Result<bool, RemoteError> {
        Err(RemoteError::Away)
    }

    async fn publish(&self, message: Bytes) -> Result<(), RemoteError> {
        self.0.publish(message).await
    }

    async fn remove(&self, scope: Option<&Scope>, epoch: Option<Epoch>) -> Removed {
        self.0.remove(scope, epoch).await
    }

    async fn server_info(&self) -> Result<Vec<(String, String)>, RemoteError> {
        self.0.server_info().await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Computations in the cluster, and the time to the last answer.
async fn turn(nodes: &[Arc<Node>], operation: &'static str, cost: Duration, key: &str) -> (u64, Duration) {
    let computed = || nodes.iter().map(|node| node.computations.load(SeqCst)).sum::<u64>();
    let before = computed();
    let tasks = TaskTracker::new();
    let began = Instant::now();
    let read = |n: usize| {
        let (node, key) = (Arc::clone(&nodes[n % NODES]), key.to_owned());
        async move {
            let compute = move |_| async move {
                if !cost.is_zero() {
                    tokio::time::sleep(cost).await;
                }
                Ok(Computed::new(vec![7; BODY]))
            };
            assert_eq!(node.read(operation, &key, compute).await.body().len(), BODY);
        }
    };
    let reads: Vec<_> = (0..NODES * CALLERS).map(|n| tasks.spawn(read(n))).collect();
    for read in reads {
        read.await.expect("an answer");
    }
    (computed() - before, began.elapsed())
}

pub(crate) async fn measure() {
    let (redis, database) = (RedisServer::start(), Database::new().await);
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..NODES {
        with.push(Node::ordinary(&database, redis.port()).await);
        let rival =
            Node::start(&database, redis.port(), |builder, remote| builder.remote(Arc::new(NoLease(remote))));
        without.push(rival.await);
    }
    for (operation, cost, most) in [("overview", COST, 1), ("cheap", Duration::ZERO, NODES as u64)] {
        // What it costs is known, as of everything that was computed before; round trips are summed up once a second.
        for node in with.iter().chain(&without) {
            let params = format!("warm={:p}", Arc::as_ptr(node));
            let compute = move |_| async move {
                tokio::time::sleep(cost).await;
                Ok(Computed::new("warm"))
            };
            node.read(operation, &params, compute).await;
            let mut status = node.remote.status();
            while status.borrow_and_update().round_trip.0.is_zero() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let (mut own, mut rivals) = (Vec::new(), Vec::new());
        for n in 0..TURNS {
            rivals.push(turn(&without, operation, cost, &format!("without={n}")).await);
            own.push(turn(&with, operation, cost, &format!("with={n}")).await);
        }
        let worst = |turns: &[(u64, Duration)]| turns.iter().map(|turn| turn.0).max().unwrap_or(0);
        let last = |turns: &[(u64, Duration)]| Times::new(turns.iter().map(|turn| turn.1).collect());
        let (own_last, rival_last) = (last(&own), last(&rivals));
        print(
            &format!(
                "stampede: 1,000 callers × 3 nodes, one cold key that takes {} ms to compute",
                cost.as_millis()
            ),
            &format!(
                "{} computation(s) in the cluster, last answer after {}; without leases {}, after {}",
                worst(&own),
                ms(own_last.at(0.5)),
                worst(&rivals),
                ms(rival_last.at(0.5))
            ),
            &format!("most of {TURNS} turns; {} to {}", ms(own_last.at(0.0)), ms(own_last.at(1.0))),
            &format!("≤ {most}"),
            worst(&own) <= most,
        );
    }
    for node in with.iter().chain(&without) {
        node.end().await;
    }
}
