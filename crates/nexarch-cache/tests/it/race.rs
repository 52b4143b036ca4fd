//! A computation that was running while its data changed.

use crate::support::{Gate, World, settle, text, world};
use nexarch_cache::{
    Cache, Cause, Changed, Commit, Computed, Directives, Invalidation, LocalAuthority, Operation, Outcome,
    Read, Scope,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// Load starts, `change` happens and is acknowledged, a read begins, load ends.
async fn overtaken(world: World, change: impl AsyncFnOnce(&World)) {
    let old = world.now();
    let gate = Gate::new(false);
    let first = world.start(&gate, Directives::default());
    gate.arrivals(1).await;
    change(&world).await;
    let second = world.start(&Gate::new(true), Directives::default());
    settle().await;
    assert!(!second.is_finished(), "waits for the running one, joins it not");
    gate.set(true);
    assert_eq!(text(&first.await.unwrap().unwrap()), old, "it began before the change");
    let second = second.await.unwrap().unwrap();
    assert_ne!(world.now(), old);
    assert_eq!(text(&second), world.now());
    let third = world.read(world.overview).await.unwrap();
    assert_eq!(text(&third), world.now());
    assert!(matches!(third.outcome(), Outcome::HitMemory { .. }));
    assert_eq!(world.computed(), 2);
}

#[tokio::test]
async fn a_load_overtaken_by_data_is_not_served_afterwards() {
    overtaken(world(true), async |world| drop(world.ingest())).await;
    overtaken(world(false), async |world| drop(world.ingest())).await;
}

#[tokio::test]
async fn a_load_overtaken_by_an_invalidation_is_not_served_afterwards() {
    for what in [Invalidation::All, Invalidation::Operations(vec!["overview".into()])] {
        overtaken(world(true), async |world| {
            let done = world.cache.invalidate(&world.acme, what.clone(), Cause::Manual).await.unwrap();
            assert_eq!(done.version, world.db.versions(&world.acme).clock);
        })
        .await;
    }
}

/// Also when the load began before the cache had read any version.
#[tokio::test]
async fn the_very_first_load_can_be_overtaken_too() {
    let world = world(true);
    world.db.reads.set(false);
    let first = world.start(&Gate::new(true), Directives::default());
    world.db.reads.arrivals(1).await;
    world.ingest();
    world.db.reads.set(true);
    let first = first.await.unwrap().unwrap();
    assert_eq!(text(&first), world.now());
    assert!(first.version() >= world.db.versions(&world.acme).clock);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

/// Readers, writers and loads that take their time, on real threads: no read that began after an acknowledgement
/// gets what was before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn on_real_threads_no_acknowledged_change_is_ever_missed() {
    const WRITES: u64 = 3_000;
    const READERS: usize = 6;
    for read_first in [true, false] {
        let authority = Arc::new(LocalAuthority::new());
        let cache = Cache::builder(authority.clone())
            .operations([Operation::new("a", Duration::from_mins(1))])
            .max_waiters(3)
            .build(TaskTracker::new())
            .unwrap();
        let race = Arc::new(Race {
            authority,
            cache,
            read_first,
            scope: Scope::new("acme").unwrap(),
            value: AtomicU64::new(0),
            version: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            reads: AtomicU64::new(0),
        });
        let tasks = TaskTracker::new();
        let readers: Vec<_> = (0..READERS).map(|n| tasks.spawn(Arc::clone(&race).read(n, WRITES))).collect();
        tasks.spawn(Arc::clone(&race).write(WRITES)).await.unwrap();
        for reader in readers {
            reader.await.unwrap();
        }
    }
}

struct Race {
    authority: Arc<LocalAuthority>,
    cache: Cache,
    read_first: bool,
    scope: Scope,
    value: AtomicU64,
    version: AtomicU64,
    acknowledged: AtomicU64,
    reads: AtomicU64,
}

impl Race {
    async fn write(self: Arc<Self>, writes: u64) {
        for n in 1..=writes {
            self.value.store(n, Ordering::SeqCst);
            if n % 7 == 0 {
                self.cache.invalidate(&self.scope, Invalidation::All, Cause::Manual).await.unwrap();
            } else {
                let asked = self.cache.now();
                let versions = self.authority.change_data(&self.scope);
                self.version.store(versions.data, Ordering::SeqCst);
                self.cache.announce(
                    &self.scope,
                    &Commit::new(Changed::Data, Cause::Ingest, versions).read_at(asked),
                );
            }
            self.acknowledged.store(n, Ordering::SeqCst);
            // One read to four writes at least, whatever else the machine does.
            while self.reads.load(Ordering::SeqCst) < n / 4 {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn read(self: Arc<Self>, reader: usize, last: u64) {
        let operation = self.cache.operation("a").unwrap();
        let mut reads = 0;
        loop {
            let began = self.acknowledged.load(Ordering::SeqCst);
            let directives = Directives { no_cache: reader == 0 && reads % 5 == 0, ..Directives::default() };
            let race = Arc::clone(&self);
            let answer = self
                .cache
                .get_or_compute(
                    &self.scope,
                    Read::new(operation, "p").directives(directives),
                    |fence| async move {
                        // The data version is read first, the value after it, and then the computation takes a while.
                        let version = race.version.load(Ordering::SeqCst).max(fence.data);
                        let value = race.value.load(Ordering::SeqCst);
                        for _ in 0..value % 5 {
                            tokio::task::yield_now().await;
                        }
                        let computed = Computed::new(value.to_le_bytes().to_vec());
                        Ok(if race.read_first { computed.with_data_version(version) } else { computed })
                    },
                )
                .await
                .unwrap();
            let got = u64::from_le_bytes(answer.body()[..].try_into().unwrap());
            assert!(got >= began, "read {got} after {began} was acknowledged: {answer:?}");
            reads += 1;
            self.reads.fetch_add(1, Ordering::SeqCst);
            if got == last {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}
