//! One node: its own view of the file, its own way to Redis, its own memory.

use crate::authority::{Shared, Way, guest, versions};
use crate::ledger::{Ledger, Seen};
use nexarch_cache::{
    BoxError, Cache, Cause, Changed, Commit, Computed, Directives, Error, Invalidation, Operation, Outcome,
    Read, RedisConfig, RedisRemote, Remote, RemoteCounts, RemoteStatus, Scope,
};
use nexarch_core::ids::TenantId;
use nexarch_store::{Batch, Store, suite::spans};
use nexarch_testkit::{FaultProxy, PATIENCE};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Long: nothing here becomes fresh by expiring.
const TTL: Duration = Duration::from_hours(1);

/// A computation takes a millisecond; only one that is cut off from the database takes so long.
const GIVE_UP: Duration = Duration::from_secs(5);

pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) cache: Cache,
    pub(crate) proxy: FaultProxy,
    pub(crate) remote: Arc<RedisRemote>,
    pub(crate) computations: Arc<AtomicU64>,
    /// Its way to the database.
    pub(crate) way: Arc<Way>,
    store: Arc<dyn Store>,
    ledger: Arc<Ledger>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    pub(crate) async fn start(
        index: usize,
        url: &str,
        proxy: FaultProxy,
        config: &RedisConfig,
        ledger: &Arc<Ledger>,
    ) -> Arc<Self> {
        let store = guest(url).await;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let remote = RedisRemote::start(config, &tasks, &stop).expect("a remote");
        let authority = Shared::new(Arc::clone(&store));
        let way = Arc::clone(&authority.way);
        let cache = Cache::builder(Arc::new(authority))
            .operations([Operation::new("overview", TTL).with_hard_timeout(GIVE_UP)])
            .namespace("test")
            .remote(remote.clone())
            .check_staleness(1)
            .build(tasks.clone())
            .expect("a cache");
        tasks.spawn(cache.clone().run(stop.clone()));
        let (ledger, computations) = (Arc::clone(ledger), Arc::default());
        Arc::new(Self { index, cache, proxy, remote, computations, way, store, ledger, tasks, stop })
    }

    pub(crate) fn scope() -> Scope {
        Scope::new("acme").expect("a name")
    }

    /// The name under which Redis has a key that is read.
    pub(crate) fn name(&self, key: usize) -> String {
        let operation = self.cache.operation("overview").expect("an operation");
        self.cache.key(&Self::scope(), operation, &format!("key={key}")).expect("a name")
    }

    /// A read of one key, judged; what it saw.
    pub(crate) async fn read(&self, key: usize, min_version: u64) -> Seen {
        self.answer(key, min_version).await.expect("an answer").0
    }

    /// A read of one key, judged; what it saw, and where that came from. `None` for a failure of the database, from which
    /// this node was cut off.
    pub(crate) async fn answer(&self, key: usize, min_version: u64) -> Option<(Seen, Outcome)> {
        let mut owed = self.ledger.owed(self.index);
        owed.data = owed.data.max(min_version);
        let operation = self.cache.operation("overview").expect("an operation");
        let params = format!("key={key}");
        let directives = Directives { min_version, ..Directives::default() };
        let read = Read::new(operation, &params).directives(directives);
        let answer = self.cache.get_or_compute(&Self::scope(), read, self.compute()).await;
        if let (false, Err(Error::Unverified(_) | Error::Compute(_) | Error::TimedOut { .. })) =
            (self.way.is_free(), &answer)
        {
            return None;
        }
        let answer = answer.unwrap_or_else(|error| panic!("node {}: {error}", self.index));
        let seen = Seen::of_body(answer.body());
        assert!(
            seen.covers(owed),
            "node {}: {seen:?} served, {owed:?} owed; {:?}, label {:?}",
            self.index,
            answer.outcome(),
            answer.label()
        );
        Some((seen, answer.outcome()))
    }

    /// Values that Redis took from this node.
    pub(crate) fn written(&self) -> u64 {
        self.counts().written
    }

    /// Waits for the end of a write that began after `before` was counted; whether Redis took it. On a busy machine one may be
    /// late, and none begins while Redis is away.
    pub(crate) async fn has_written(&self, before: RemoteCounts) -> bool {
        const WRITE: Duration = Duration::from_secs(5);
        let is_over = || {
            let counts = self.counts();
            counts.written > before.written || counts.not_written > before.not_written
        };
        let ended = async {
            let mut look = tokio::time::interval(Duration::from_millis(5));
            while !is_over() {
                look.tick().await;
            }
        };
        // Whether it ended is in the count.
        let _ = tokio::time::timeout(WRITE, ended).await;
        self.written() > before.written
    }

    pub(crate) fn counts(&self) -> RemoteCounts {
        self.cache.remote_counts().expect("a shared tier")
    }

    pub(crate) fn status(&self) -> RemoteStatus {
        self.remote.status().borrow().clone()
    }

    fn compute(
        &self,
    ) -> impl FnOnce(
        nexarch_cache::Fence,
    ) -> futures_util::future::BoxFuture<'static, Result<Computed, BoxError>>
    + Send
    + use<> {
        let (store, ledger, computations) =
            (Arc::clone(&self.store), Arc::clone(&self.ledger), Arc::clone(&self.computations));
        let way = Arc::clone(&self.way);
        move |_fence| {
            Box::pin(async move {
                computations.fetch_add(1, SeqCst);
                way.pass().await?;
                let invalidations = ledger.invalidations();
                let snapshot = store.snapshot(&tenant()).await?;
                let data = snapshot.data_version();
                Ok(Computed::new(Seen { data, invalidations }.to_body()).with_data_version(data))
            })
        }
    }

    /// One new span, as an ingest: committed, announced, acknowledged. Its version.
    pub(crate) async fn commit(&self, number: u64) -> u64 {
        let asked = self.cache.now();
        let batch = Batch {
            created_us: None,
            tenant: tenant(),
            spans: vec![spans::span(number, number, number * 1_000_000)],
        };
        let mut appended = self.store.append(vec![batch]).await.expect("a transaction");
        let appended = appended.remove(0).expect("a batch");
        let data = appended.versions.data;
        let commit = Commit::new(Changed::Data, Cause::Ingest, versions(appended.versions)).read_at(asked);
        self.cache.announce(&Self::scope(), &commit);
        self.ledger.commit(self.index, data);
        data
    }

    pub(crate) async fn invalidate(&self) {
        let number = self.ledger.ask();
        let invalidated = self.cache.invalidate(&Self::scope(), Invalidation::All, Cause::Manual).await;
        invalidated.expect("an acknowledgement");
        self.ledger.invalidation(self.index, number);
    }

    /// Computes one key before anybody asks.
    pub(crate) async fn warm(&self, key: usize) {
        let operation = self.cache.operation("overview").expect("an operation");
        let params = format!("key={key}");
        let warmed = self.cache.warm(&Self::scope(), Read::new(operation, &params), self.compute()).await;
        let warmed = warmed.expect("a value");
        assert!(warmed.memory && warmed.redis, "node {}: {warmed:?}", self.index);
    }

    /// Waits until it knows of a version.
    pub(crate) async fn see(&self, version: u64) {
        let looking = async {
            let mut look = tokio::time::interval(Duration::from_millis(5));
            while self.cache.version(&Self::scope()).await.expect("a version") < version {
                look.tick().await;
            }
        };
        tokio::time::timeout(PATIENCE, looking).await.expect("a version that others made");
    }

    /// Waits until Redis is usable from here, or is not.
    pub(crate) async fn connected(&self, is: bool) {
        let mut status = self.remote.status();
        let wait = status.wait_for(|status| (status.values && status.messages) == is);
        let waited = tokio::time::timeout(PATIENCE, wait).await.map(|status| status.is_ok());
        assert!(waited == Ok(true), "node {}: {:?}", self.index, *self.remote.status().borrow());
    }

    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(PATIENCE, self.tasks.wait()).await.expect("tasks that end");
        self.store.close().await;
        // The cache's own checker looked at the same answers, with a record of its own.
        let checked = self.cache.checked().expect("the checker is on");
        assert!(checked.checked > 0 && checked.stale == 0, "node {}: {checked:?}", self.index);
    }
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().expect("a tenant")
}
