//! Three nodes over one file and one Redis, and the load that is put on them.

use crate::authority::guest;
use crate::ledger::Ledger;
use crate::node::{Node, tenant};
use nexarch_testkit::RedisServer;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

pub(crate) const NODES: usize = 3;

/// Keys that are read on every node in every round.
const KEYS: usize = 3;

/// An invalidation by hand comes after this many commits.
const COMMITS_PER_INVALIDATION: u64 = 3;

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Arc<Node>>,
    pub(crate) redis: RedisServer,
    pub(crate) changes: u64,
    pub(crate) reads: u64,
    _dir: TempDir,
}

impl Cluster {
    pub(crate) async fn start(redis: RedisServer) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", dir.path().join("shared.db").display());
        let store = guest(&url).await;
        store.create_tenant(&tenant(), "Acme").await.expect("a tenant");
        store.close().await;
        let ledger = Arc::new(Ledger::default());
        let mut nodes = Vec::new();
        for index in 0..NODES {
            nodes.push(Node::start(index, &url, &redis.address(), &ledger).await);
        }
        let cluster = Self { nodes, redis, changes: 0, reads: 0, _dir: dir };
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
            let writer = usize::try_from(number).expect("few") % NODES;
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
            let other = Arc::clone(&self.nodes[(writer + 1) % NODES]);
            other.read(0, version).await;
            self.reads += 1;
        }
    }

    async fn read_all(&mut self, tasks: &TaskTracker, min_version: u64) {
        let mut reads = Vec::new();
        for node in &self.nodes {
            for key in 0..KEYS {
                let node = Arc::clone(node);
                reads.push(tasks.spawn(async move { node.read(key, min_version).await }));
            }
        }
        for read in reads {
            read.await.expect("an answer as new as promised");
            self.reads += 1;
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

/// `NEXARCH_PROOF` asks for the longer run.
pub(crate) fn effort(ordinary: u64) -> u64 {
    /// How many times longer.
    const PROOF: u64 = 30;
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is not configuration of the product")]
    let proof = std::env::var_os("NEXARCH_PROOF").is_some();
    if proof { ordinary * PROOF } else { ordinary }
}
