//! Several nodes over one database and one shared tier, each with a connection of its own that can be broken.

use crate::support::{Db, Gate, TTL, render, scope, settle};
use nexarch_cache::testing::{FaultyRemote, Hub};
use nexarch_cache::{
    Answer, Authority, BoxError, Builder, Cache, Cause, Changed, Commit, Computed, Directives, Error,
    ManualClock, Operation, OperationId, Read, Scope, ScopeVersions, StoredIn, Warmed,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub(crate) struct Cluster {
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) acme: Scope,
}

pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) remote: Arc<FaultyRemote>,
    pub(crate) tracker: TaskTracker,
    pub(crate) overview: OperationId,
    pub(crate) computations: Arc<AtomicUsize>,
    db: Arc<Db>,
    acme: Scope,
}

pub(crate) fn cluster(nodes: usize) -> Cluster {
    cluster_with(nodes, |builder| builder)
}

pub(crate) fn cluster_with(nodes: usize, set: impl Fn(Builder) -> Builder) -> Cluster {
    let clock = Arc::new(ManualClock::default());
    let hub = Hub::new(clock.clone());
    let db = Db::new(false);
    let acme = scope("acme");
    let mut cluster = Cluster { db, clock, hub, nodes: Vec::new(), acme };
    for _ in 0..nodes {
        cluster.add(&set);
    }
    cluster
}

impl Cluster {
    /// A node that starts now.
    pub(crate) fn add(&mut self, set: &impl Fn(Builder) -> Builder) -> &Node {
        let tracker = TaskTracker::new();
        let remote = self.hub.node(self.nodes.len() as u64, tracker.clone());
        let authority: Arc<dyn Authority> = self.db.clone();
        let builder =
            Cache::builder(authority).clock(self.clock.clone()).remote(remote.clone()).operations([
                Operation::new("overview", TTL).with_grace(TTL / 2),
                Operation::new("services", TTL).with_negative_ttl(TTL / 10),
            ]);
        let cache = set(builder).build(tracker.clone()).unwrap();
        let overview = cache.operation("overview").unwrap();
        let (db, acme, computations) = (self.db.clone(), self.acme.clone(), Arc::default());
        self.nodes.push(Node { cache, remote, tracker, overview, computations, db, acme });
        self.nodes.last().unwrap()
    }

    /// Name and value of the only entry in the shared tier.
    pub(crate) fn only(&self) -> (String, bytes::Bytes) {
        let keys = self.entries();
        assert_eq!(keys.len(), 1, "{keys:?}");
        let (value, _) = self.hub.peek(&keys[0]).unwrap();
        (keys[0].clone(), value)
    }

    /// Keys of entries, without leases.
    pub(crate) fn entries(&self) -> Vec<String> {
        self.hub.keys().into_iter().filter(|key| !key.contains(":lease:")).collect()
    }

    pub(crate) fn now(&self) -> String {
        render(&self.db.versions(&self.acme))
    }

    pub(crate) fn computed(&self) -> usize {
        self.nodes.iter().map(Node::computed).sum()
    }
}

impl Node {
    pub(crate) async fn read(&self) -> Result<Answer, Error> {
        self.read_with(Directives::default()).await
    }

    pub(crate) async fn read_with(&self, directives: Directives) -> Result<Answer, Error> {
        let answer = self.begin(&Gate::new(true), directives).await;
        self.written().await;
        answer
    }

    /// A read whose computation passes `gate`. What it writes behind may still be under way.
    pub(crate) fn begin(
        &self,
        gate: &Arc<Gate>,
        directives: Directives,
    ) -> impl Future<Output = Result<Answer, Error>> + Send + use<> {
        let (cache, acme, overview) = (self.cache.clone(), self.acme.clone(), self.overview);
        let (db, count, gate) = (self.db.clone(), self.computations.clone(), gate.clone());
        async move {
            let scope = acme.clone();
            let compute = move |_| async move {
                count.fetch_add(1, Ordering::SeqCst);
                let seen = db.versions(&scope);
                gate.pass().await;
                Ok(Computed::new(render(&seen)).with_data_version(seen.data))
            };
            cache
                .get_or_compute(&acme, Read::new(overview, "window=24h").directives(directives), compute)
                .await
        }
    }

    /// Warms what [`Self::read`] reads; the computation passes `gate`.
    pub(crate) async fn warm(&self, gate: &Arc<Gate>) -> Result<Warmed, Error> {
        let (db, count, gate) = (self.db.clone(), self.computations.clone(), gate.clone());
        let scope = self.acme.clone();
        let compute = move |_| async move {
            count.fetch_add(1, Ordering::SeqCst);
            let seen = db.versions(&scope);
            gate.pass().await;
            Ok(Computed::new(render(&seen)).with_data_version(seen.data))
        };
        self.cache.warm(&self.acme, Read::new(self.overview, "window=24h"), compute).await
    }

    /// Makes sure of what [`Self::read`] reads; where it was stored, if it had to be computed.
    pub(crate) async fn ensure(&self) -> Result<Option<Vec<StoredIn>>, Error> {
        let (db, count, scope) = (self.db.clone(), self.computations.clone(), self.acme.clone());
        let compute = move |_| async move {
            count.fetch_add(1, Ordering::SeqCst);
            let seen = db.versions(&scope);
            Ok(Computed::new(render(&seen)).with_data_version(seen.data))
        };
        let ensured = self.cache.ensure(&self.acme, Read::new(self.overview, "window=24h"), compute).await?;
        Ok(ensured.warmed.map(|warmed| warmed.stored()))
    }

    pub(crate) async fn fail(&self) -> Result<Answer, Error> {
        let compute = |_| async { Err(BoxError::from("no luck")) };
        self.cache.get_or_compute(&self.acme, Read::new(self.overview, "window=24h"), compute).await
    }

    /// Everything that was begun behind answers is done.
    pub(crate) async fn written(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }

    /// Commits a change of data and announces it, as an ingest does before its answer.
    pub(crate) fn ingest(&self) -> ScopeVersions {
        let asked = self.cache.now();
        let versions = self.db.commit(&self.acme);
        let commit = Commit::new(Changed::Data, Cause::Ingest, versions.clone()).read_at(asked);
        self.cache.announce(&self.acme, &commit);
        versions
    }

    /// Takes in messages until the guard is dropped.
    pub(crate) async fn listen(&self) -> DropGuard {
        let stop = CancellationToken::new();
        TaskTracker::new().spawn(self.cache.clone().run(stop.clone()));
        settle().await;
        stop.drop_guard()
    }

    pub(crate) fn computed(&self) -> usize {
        self.computations.load(Ordering::SeqCst)
    }

    pub(crate) fn rejected(&self, reason: &str) -> u64 {
        self.cache.remote_counts().unwrap().rejected[reason]
    }
}
