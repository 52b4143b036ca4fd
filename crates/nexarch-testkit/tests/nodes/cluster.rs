//! Three nodes over one file and one Redis, and the load that is put on them.

use crate::authority::guest;
use crate::ledger::Ledger;
use crate::node::{Node, tenant};
use nexarch_cache::{Outcome, RedisConfig};
use nexarch_testkit::{FaultProxy, PATIENCE, RedisCluster, RedisServer};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

pub(crate) const NODES: usize = 3;

/// Times that a value may fail to be found in Redis by who looks for it.
const TRIES: usize = 20;

/// Keys that are read on every node in every round.
pub(crate) const KEYS: usize = 3;

/// An invalidation by hand comes after this many commits.
const COMMITS_PER_INVALIDATION: u64 = 3;

pub(crate) struct Cluster<Redis = RedisServer> {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) redis: Redis,
    pub(crate) changes: u64,
    pub(crate) reads: u64,
    /// Reads without an answer, on nodes that were cut off from the database.
    pub(crate) failed: u64,
    _dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start(redis: RedisServer) -> Self {
        let address = redis.address();
        let config = |proxy: &FaultProxy| RedisConfig::new("127.0.0.1").port(proxy.port());
        Self::over(redis, &address, config).await
    }
}

/// Longer than a busy machine keeps a call waiting.
const PATIENT: std::time::Duration = std::time::Duration::from_secs(10);

impl Cluster {
    /// The same for who counts: no call is given up because the machine is busy.
    pub(crate) async fn start_patient(redis: RedisServer) -> Self {
        let address = redis.address();
        let config =
            |proxy: &FaultProxy| RedisConfig::new("127.0.0.1").port(proxy.port()).command_timeout(PATIENT);
        Self::over(redis, &address, config).await
    }
}

impl Cluster<RedisCluster> {
    /// Its servers announce their own addresses, so nothing is between them and the nodes.
    pub(crate) async fn start_behind_tls(redis: RedisCluster) -> Self {
        let config = RedisConfig::new("localhost")
            .port(redis.port())
            .password(redis.password())
            .tls(true)
            .ca_pem(redis.certificates().ca_pem());
        let address = format!("127.0.0.1:{}", redis.port());
        Self::over(redis, &address, |_| config.clone()).await
    }
}

impl<Redis> Cluster<Redis> {
    async fn over(redis: Redis, address: &str, config: impl Fn(&FaultProxy) -> RedisConfig) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", dir.path().join("shared.db").display());
        let store = guest(&url).await;
        store.create_tenant(&tenant(), "Acme").await.expect("a tenant");
        store.close().await;
        let ledger = Arc::new(Ledger::default());
        let mut nodes = Vec::new();
        for index in 0..NODES {
            let proxy = FaultProxy::start(address);
            let config = config(&proxy).namespace("test");
            nodes.push(Node::start(index, &url, proxy, &config, &ledger).await);
        }
        let cluster = Self { nodes, redis, changes: 0, reads: 0, failed: 0, _dir: dir };
        cluster.connected().await;
        cluster
    }

    /// Waits until every node has Redis.
    pub(crate) async fn connected(&self) {
        for node in &self.nodes {
            node.connected(true).await;
        }
    }

    /// Rounds of a change on one node after the other while all nodes read; then they read again, and one that did not
    /// make the change asks for it by its version. Every answer is judged, and none may fail.
    pub(crate) async fn rounds(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.changes += 1;
            let number = self.changes;
            let free: Vec<usize> = (0..NODES).filter(|at| self.nodes[*at].way.is_free()).collect();
            let turn = usize::try_from(number).expect("few");
            let (writer, reader) = (free[turn % free.len()], free[(turn + 1) % free.len()]);
            let node = Arc::clone(&self.nodes[writer]);
            let tasks = TaskTracker::new();
            let invalidates = number.is_multiple_of(COMMITS_PER_INVALIDATION);
            let change = tasks.spawn(async move {
                if invalidates {
                    node.invalidate().await;
                    0
                } else {
                    node.commit(number).await
                }
            });
            self.read_all(&tasks, 0).await;
            let version = change.await.expect("a change");
            self.read_all(&tasks, 0).await;
            let other = Arc::clone(&self.nodes[reader]);
            other.read(0, version).await;
            self.reads += 1;
        }
    }

    async fn read_all(&mut self, tasks: &TaskTracker, min_version: u64) {
        let mut reads = Vec::new();
        for node in &self.nodes {
            for key in 0..KEYS {
                let node = Arc::clone(node);
                reads.push(tasks.spawn(async move { node.answer(key, min_version).await.is_some() }));
            }
        }
        for read in reads {
            if read.await.expect("an answer as new as promised, or none of a node without the database") {
                self.reads += 1;
            } else {
                self.failed += 1;
            }
        }
    }

    /// Waits until no node has anything to complain of.
    pub(crate) async fn healthy(&self) {
        for node in &self.nodes {
            eventually("health", || node.status().reason.is_none()).await;
        }
    }

    /// What one node computes the next finds in Redis, round the circle: Redis is not only there, it serves.
    pub(crate) async fn shares(&mut self) {
        for at in 0..NODES {
            let (one, other) = (Arc::clone(&self.nodes[at]), Arc::clone(&self.nodes[(at + 1) % NODES]));
            // Of several tries one must do: a value may be late there, or its lease another node's.
            let mut outcome = None;
            for _ in 0..TRIES {
                self.changes += 1;
                let version = one.commit(self.changes).await;
                let before = one.counts();
                one.read(0, version).await;
                if !one.has_written(before).await {
                    eventually("Redis", || one.status().values).await;
                    continue;
                }
                let (_, found) = other.answer(0, version).await.expect("an answer");
                self.reads += 2;
                outcome = Some(found);
                if matches!(found, Outcome::HitRedis { .. }) {
                    break;
                }
            }
            assert!(matches!(outcome, Some(Outcome::HitRedis { .. })), "node {}: {outcome:?}", other.index);
        }
    }

    /// How often the nodes computed, all together.
    pub(crate) fn computations(&self) -> u64 {
        self.nodes.iter().map(|node| node.computations.load(SeqCst)).sum()
    }

    pub(crate) async fn end(self) {
        for node in &self.nodes {
            node.end().await;
        }
    }
}

/// Looks until something is so; panics when it is not within [`PATIENCE`].
pub(crate) async fn eventually(what: &str, is: impl Fn() -> bool) {
    let looking = async {
        let mut look = tokio::time::interval(std::time::Duration::from_millis(5));
        while !is() {
            look.tick().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}

/// `NEXARCH_PROOF` asks for the longer run.
pub(crate) fn effort(ordinary: u64) -> u64 {
    /// How many times longer.
    const PROOF: u64 = 30;
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is not configuration of the product")]
    let proof = std::env::var_os("NEXARCH_PROOF").is_some();
    if proof { ordinary * PROOF } else { ordinary }
}
