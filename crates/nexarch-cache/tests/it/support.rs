//! A database in memory that can be slow, absent, shared and set back; and a cache over it.

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use nexarch_cache::{
    Answer, Authority, BoxError, Builder, Cache, Cause, Changed, Commit, Computed, Directives, Epoch, Error,
    Fence, Invalidation, ManualClock, Operation, OperationId, Read, Scope, ScopeVersions, TruthRead,
};
use proptest::prelude::ProptestConfig;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// What a computation reads of the database, when it is allowed to.
pub(crate) type Snapshot = BoxFuture<'static, Result<Computed, BoxError>>;

pub(crate) const TTL: Duration = Duration::from_secs(100);

/// How many cases a property is tried with: so many, or as many as a proof asks for.
pub(crate) fn cases(ordinary: u32) -> ProptestConfig {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is not configuration of the product")]
    let proof = std::env::var_os("NEXARCH_PROOF").is_some();
    // The default is what `PROPTEST_CASES` says.
    if proof { ProptestConfig::default() } else { ProptestConfig::with_cases(ordinary) }
}

pub(crate) fn scope(name: &str) -> Scope {
    Scope::new(name).unwrap()
}

/// A door that tests open, and whether somebody came to it.
#[derive(Debug)]
pub(crate) struct Gate {
    open: watch::Sender<bool>,
    arrived: watch::Sender<usize>,
}

impl Gate {
    pub(crate) fn new(open: bool) -> Arc<Self> {
        Arc::new(Self { open: watch::Sender::new(open), arrived: watch::Sender::new(0) })
    }

    pub(crate) fn set(&self, open: bool) {
        self.open.send_replace(open);
    }

    pub(crate) async fn pass(&self) {
        self.arrived.send_modify(|n| *n += 1);
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
    }

    /// Waits until `n` came, in all; fails rather than wait for ever.
    pub(crate) async fn arrivals(&self, n: usize) {
        let mut arrived = self.arrived.subscribe();
        let come = arrived.wait_for(|arrived| *arrived >= n);
        tokio::time::timeout(Duration::from_secs(30), come).await.expect("somebody comes").unwrap();
    }

    pub(crate) fn count(&self) -> usize {
        *self.arrived.borrow()
    }
}

#[derive(Debug)]
pub(crate) struct Db {
    pub(crate) state: Mutex<State>,
    /// Passed by each read of versions after it took its snapshot.
    pub(crate) reads: Arc<Gate>,
    /// Passed by each invalidation after it is committed.
    pub(crate) invalidations: Arc<Gate>,
    pub(crate) sole: bool,
    pub(crate) guests: bool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) epoch: u64,
    pub(crate) auth_version: u64,
    pub(crate) clock: u64,
    pub(crate) scopes: HashMap<Scope, ScopeVersions>,
    pub(crate) away: bool,
    /// How many scopes each read of versions asked for.
    pub(crate) asked: Vec<usize>,
    /// The next invalidation is committed, and its answer lost.
    pub(crate) lose_answer: bool,
}

impl Db {
    pub(crate) fn new(sole: bool) -> Arc<Self> {
        let state = State { epoch: 7, clock: 100, ..State::default() };
        Arc::new(Self {
            state: Mutex::new(state),
            reads: Gate::new(true),
            invalidations: Gate::new(true),
            sole,
            guests: false,
        })
    }

    /// Of a sole owner beside whom others write.
    pub(crate) fn with_guests() -> Arc<Self> {
        let db = Arc::into_inner(Self::new(true)).expect("nobody else has it yet");
        Arc::new(Self { guests: true, ..db })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn change(&self, scope: &Scope, set: impl FnOnce(&mut ScopeVersions, u64)) -> ScopeVersions {
        let mut state = self.lock();
        state.clock += 1;
        let clock = state.clock;
        let versions = state.scopes.entry(scope.clone()).or_default();
        versions.clock = clock;
        set(versions, clock);
        versions.clone()
    }

    /// Commits a change of data; nobody is told.
    pub(crate) fn commit(&self, scope: &Scope) -> ScopeVersions {
        self.change(scope, |versions, clock| versions.data = clock)
    }

    pub(crate) fn versions(&self, scope: &Scope) -> ScopeVersions {
        self.lock().scopes.get(scope).cloned().unwrap_or_default()
    }
}

#[async_trait]
impl Authority for Db {
    fn sole_owner(&self) -> bool {
        self.sole
    }

    fn has_guests(&self) -> bool {
        self.guests
    }

    async fn read(&self, scopes: &[Scope]) -> Result<TruthRead, BoxError> {
        let read = {
            let mut state = self.lock();
            state.asked.push(scopes.len());
            let versions = |scope| state.scopes.get(scope).cloned().unwrap_or_default();
            TruthRead {
                epoch: Epoch::new(state.epoch),
                auth_version: state.auth_version,
                scopes: scopes.iter().map(versions).collect(),
            }
        };
        self.reads.pass().await;
        if self.lock().away { Err("the database is away".into()) } else { Ok(read) }
    }

    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError> {
        if self.lock().away {
            return Err("the database is away".into());
        }
        let versions = self.change(scope, |versions, clock| match what {
            Invalidation::All => versions.all = clock,
            Invalidation::Operations(names) => {
                versions.operations.retain(|(name, _)| !names.contains(name));
                versions.operations.extend(names.iter().map(|name| (name.clone(), clock)));
            }
        });
        self.invalidations.pass().await;
        if std::mem::take(&mut self.lock().lose_answer) {
            Err("connection lost".into())
        } else {
            Ok(versions)
        }
    }

    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError> {
        let mut state = self.lock();
        if state.epoch == seen.get() {
            state.epoch += 1000;
        }
        Ok(Epoch::new(state.epoch))
    }
}

/// A cache of three operations over a [`Db`], with a clock that stands still.
pub(crate) struct World {
    pub(crate) db: Arc<Db>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) cache: Cache,
    pub(crate) acme: Scope,
    pub(crate) overview: OperationId,
    pub(crate) services: OperationId,
    pub(crate) workflows: OperationId,
    pub(crate) computations: Arc<AtomicUsize>,
    pub(crate) tasks: TaskTracker,
}

pub(crate) fn world(sole: bool) -> World {
    world_with(sole, |builder| builder)
}

pub(crate) fn world_with(sole: bool, set: impl FnOnce(Builder) -> Builder) -> World {
    world_over(Db::new(sole), set)
}

pub(crate) fn world_over(db: Arc<Db>, set: impl FnOnce(Builder) -> Builder) -> World {
    let clock = Arc::new(ManualClock::default());
    let authority: Arc<dyn Authority> = db.clone();
    let builder = Cache::builder(authority).clock(clock.clone()).operations([
        Operation::new("overview", TTL).with_grace(TTL / 2),
        Operation::new("services", TTL),
        Operation::new("workflows", TTL).independent_of_data(),
    ]);
    let tasks = TaskTracker::new();
    let cache = set(builder).build(tasks.clone()).unwrap();
    let id = |name| cache.operation(name).unwrap();
    World {
        db,
        clock,
        acme: scope("acme"),
        overview: id("overview"),
        services: id("services"),
        workflows: id("workflows"),
        cache,
        computations: Arc::default(),
        tasks,
    }
}

/// What a computation reads: the versions of the database, as text.
pub(crate) fn render(versions: &ScopeVersions) -> String {
    let mut operations = versions.operations.clone();
    operations.sort();
    format!("data={} all={} operations={operations:?}", versions.data, versions.all)
}

impl World {
    /// A computation that reads the database, then passes `gate`, then answers with what it read.
    pub(crate) fn snapshot(
        &self,
        scope: &Scope,
        gate: &Arc<Gate>,
    ) -> impl FnOnce(Fence) -> Snapshot + Send + use<> {
        let (db, scope, gate, count) =
            (self.db.clone(), scope.clone(), gate.clone(), self.computations.clone());
        move |_fence| {
            Box::pin(async move {
                count.fetch_add(1, Ordering::SeqCst);
                let seen = db.versions(&scope);
                gate.pass().await;
                Ok(Computed::new(render(&seen)).with_data_version(seen.data))
            })
        }
    }

    pub(crate) async fn read(&self, operation: OperationId) -> Result<Answer, Error> {
        self.read_with(operation, Directives::default()).await
    }

    pub(crate) async fn read_with(
        &self,
        operation: OperationId,
        directives: Directives,
    ) -> Result<Answer, Error> {
        let read = Read::new(operation, "window=24h").directives(directives);
        self.cache.get_or_compute(&self.acme, read, self.snapshot(&self.acme, &Gate::new(true))).await
    }

    /// Reads `overview` on a task of its own, through `gate`.
    pub(crate) fn start(
        &self,
        gate: &Arc<Gate>,
        directives: Directives,
    ) -> tokio::task::JoinHandle<Result<Answer, Error>> {
        let (cache, acme, overview) = (self.cache.clone(), self.acme.clone(), self.overview);
        let compute = self.snapshot(&acme, gate);
        TaskTracker::new().spawn(async move {
            let read = Read::new(overview, "window=24h").directives(directives);
            cache.get_or_compute(&acme, read, compute).await
        })
    }

    /// A computation that fails.
    pub(crate) async fn fail(&self, operation: OperationId, directives: Directives) -> Result<Answer, Error> {
        let read = Read::new(operation, "window=24h").directives(directives);
        let compute = |_fence| async { Err(BoxError::from("no luck")) };
        self.cache.get_or_compute(&self.acme, read, compute).await
    }

    /// Commits a change of data and announces it, as an ingest does before its answer.
    pub(crate) fn ingest(&self) -> ScopeVersions {
        let asked = self.cache.now();
        let versions = self.db.commit(&self.acme);
        let commit = Commit::new(Changed::Data, Cause::Ingest, versions.clone()).read_at(asked);
        self.cache.announce(&self.acme, &commit);
        versions
    }

    pub(crate) fn now(&self) -> String {
        render(&self.db.versions(&self.acme))
    }

    pub(crate) fn computed(&self) -> usize {
        self.computations.load(Ordering::SeqCst)
    }
}

pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8(answer.body().to_vec()).unwrap()
}

/// Lets every task that can go on go on.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
