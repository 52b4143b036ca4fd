//! The database is set back or replaced, or a scope is deleted.

use crate::support::{Gate, scope, settle, text, world};
use nexarch_cache::{Cause, Changed, Commit, Directives, Epoch, Error, Fence, Invalidation, Outcome, Read};
use std::time::Duration;

#[test]
fn a_label_covers_what_is_older_in_every_part_and_of_the_same_database() {
    let needed = Fence { epoch: Epoch::new(7), tenant: 3, operation: 3, data: 3 };
    assert!(needed.covers(&needed));
    assert!(Fence { tenant: 4, operation: 5, data: 6, ..needed }.covers(&needed));
    for less in [
        Fence { tenant: 2, operation: 9, data: 9, ..needed },
        Fence { tenant: 9, operation: 2, data: 9, ..needed },
        Fence { tenant: 9, operation: 9, data: 2, ..needed },
        Fence { epoch: Epoch::new(8), tenant: 9, operation: 9, data: 9 },
    ] {
        assert!(!less.covers(&needed), "{less:?}");
    }
}

#[tokio::test]
async fn another_epoch_makes_everything_old() {
    for sole in [true, false] {
        let world = world(sole);
        world.ingest();
        world.read(world.overview).await.unwrap();
        world.ingest();
        let before = world.read(world.overview).await.unwrap();
        {
            let mut state = world.db.lock();
            state.epoch = 8;
            state.scopes.clear();
        }
        let key = world.cache.key(&world.acme, world.overview, "window=24h").unwrap();
        world.cache.refresh().await.unwrap();
        assert_ne!(world.cache.key(&world.acme, world.overview, "window=24h").unwrap(), key);
        assert_eq!(world.cache.memory_bytes(), 0);
        let after = world.read(world.overview).await.unwrap();
        assert!(matches!(after.outcome(), Outcome::Miss { .. }));
        assert_ne!(after.label().epoch, before.label().epoch);
        assert_eq!(text(&after), "data=0 all=0 operations=[]");
        // The scope is the same as before, and what it remembers of the cache is over: it hits all the same, and is not old.
        let again = world.read(world.overview).await.unwrap();
        assert!(matches!(again.outcome(), Outcome::HitMemory { .. }));
        assert_eq!(text(&again), "data=0 all=0 operations=[]");
        let stats = serde_json::to_value(world.cache.stats(&world.acme)).unwrap();
        assert_eq!(stats["operations"]["overview"]["last_invalidated"]["cause"], "restore");
        assert_eq!(stats["operations"]["overview"]["invalidations"], 2, "nobody was told");
        assert_eq!(stats["operations"]["overview"]["requests"], 4, "counters go on");
    }
}

/// A backup of the same database: the epoch is the same, the clock is not.
#[tokio::test]
async fn a_clock_that_runs_backwards_is_a_restore() {
    let world = world(false);
    world.ingest();
    let backup = world.db.lock().scopes.clone();
    world.ingest();
    world.read(world.overview).await.unwrap();
    world.db.lock().scopes = backup;
    world.clock.advance(Duration::from_secs(2));
    let after = world.read(world.overview).await.unwrap();
    assert_eq!(text(&after), world.now());
    assert_eq!(world.db.lock().epoch, 1007, "replaced, so that other nodes notice");
    assert_eq!(after.label().epoch.get(), 1007);
}

/// Nobody told this node of the commit: a computation saw it, and then it was lost.
#[tokio::test]
async fn a_clock_behind_what_a_computation_saw_is_a_restore() {
    let world = world(false);
    world.read(world.services).await.unwrap();
    let backup = world.db.lock().scopes.clone();
    world.db.commit(&world.acme);
    let lost = world.read(world.overview).await.unwrap();
    assert_eq!(text(&lost), world.now());
    world.db.lock().scopes = backup;
    world.clock.advance(Duration::from_secs(2));
    let after = world.read(world.overview).await.unwrap();
    assert_eq!(text(&after), world.now());
    assert_eq!(world.db.lock().epoch, 1007, "replaced");
}

/// The clock alone would not tell: it is ahead again.
#[tokio::test]
async fn changes_that_go_on_after_a_restore_do_not_hide_it() {
    let world = world(false);
    world.read(world.services).await.unwrap();
    let backup = world.db.lock().scopes.clone();
    world.ingest();
    let lost = world.read(world.overview).await.unwrap();
    assert_eq!(text(&lost), world.now());
    world.db.lock().scopes = backup;
    let services = Invalidation::Operations(vec!["services".into()]);
    world.cache.invalidate(&world.acme, services, Cause::Manual).await.unwrap();
    world.clock.advance(Duration::from_secs(2));
    let after = world.read(world.overview).await.unwrap();
    assert_eq!(text(&after), world.now());
    assert_eq!(world.db.lock().epoch, 1007, "replaced");
}

/// Not a restore: the commit was announced while the read of versions was on its way.
#[tokio::test(start_paused = true)]
async fn an_answer_older_than_an_announcement_is_no_restore() {
    let world = world(false);
    world.read(world.overview).await.unwrap();
    world.db.reads.set(false);
    let cache = world.cache.clone();
    let refresh = tokio_util::task::TaskTracker::new().spawn(async move { cache.refresh().await });
    world.db.reads.arrivals(3).await;
    world.ingest();
    world.db.reads.set(true);
    refresh.await.unwrap().unwrap();
    assert_eq!(world.db.lock().epoch, 7);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

/// A computation of the old database ends after the change: its value is kept nowhere.
#[tokio::test]
async fn a_computation_from_before_the_restore_leaves_nothing_behind() {
    let world = world(true);
    world.ingest();
    let gate = Gate::new(false);
    let old = world.start(&gate, Directives::default());
    gate.arrivals(1).await;
    world.db.lock().epoch = 8;
    world.cache.refresh().await.unwrap();
    let new = world.start(&Gate::new(true), Directives::default());
    settle().await;
    assert!(new.is_finished(), "joins nothing of the old database");
    gate.set(true);
    assert_eq!(old.await.unwrap().unwrap().label().epoch.get(), 7);
    let entries = world.cache.stats(&world.acme).memory.entries;
    assert_eq!(entries, 1);
    assert_eq!(world.read(world.overview).await.unwrap().label().epoch.get(), 8);
}

#[tokio::test]
async fn a_forgotten_scope_holds_nothing_and_may_come_back() {
    let world = world(true);
    let other = scope("other");
    let read = || Read::new(world.overview, "window=24h");
    world.read(world.overview).await.unwrap();
    let gate = Gate::new(true);
    world.cache.get_or_compute(&other, read(), world.snapshot(&other, &gate)).await.unwrap();
    let late = Gate::new(false);
    let flying = world.start(&late, Directives { no_cache: true, ..Directives::default() });
    late.arrivals(1).await;
    let both = world.cache.memory_bytes();
    world.cache.forget(&world.acme);
    assert!(world.cache.memory_bytes() < both && world.cache.memory_bytes() > 0);
    assert_eq!(world.cache.scopes(), [other]);
    assert_eq!(world.cache.stats(&world.acme).totals.requests, 0);
    late.set(true);
    flying.await.unwrap().unwrap();
    assert_eq!(world.cache.stats(&world.acme).memory.entries, 0, "what was in flight is not kept");
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::Miss { .. }));
}

#[tokio::test]
async fn scopes_have_a_limit_and_the_one_read_longest_ago_goes() {
    let world = crate::support::world_with(true, |builder| builder.max_tenants(64));
    let gate = Gate::new(true);
    for n in 0..1000 {
        let scope = scope(&format!("t{n}"));
        world.clock.advance(Duration::from_secs(1));
        let read = Read::new(world.overview, "p");
        world.cache.get_or_compute(&scope, read, world.snapshot(&scope, &gate)).await.unwrap();
        world.read(world.overview).await.unwrap(); // acme is always in use
    }
    assert!(world.cache.scopes().len() <= 64);
    assert!(world.cache.scopes().contains(&world.acme));
    assert!(world.cache.stats(&world.acme).operations["overview"].hits_memory > 900);
    let held: u64 = world.cache.scopes().iter().map(|scope| world.cache.stats(scope).memory.bytes).sum();
    assert_eq!(world.cache.memory_bytes(), held);
}

/// More new scopes at once than are known at once: none loses its place while its first read is under way.
#[tokio::test]
async fn more_scopes_at_once_than_there_is_room_for_are_all_answered() {
    let world = crate::support::world_with(true, |builder| builder.max_tenants(16));
    world.read(world.overview).await.unwrap();
    world.db.reads.set(false);
    let tasks = tokio_util::task::TaskTracker::new();
    let reads: Vec<_> = (0..200)
        .map(|n| {
            let (cache, scope) = (world.cache.clone(), scope(&format!("t{n}")));
            let (read, compute) = (Read::new(world.overview, "p"), world.snapshot(&scope, &Gate::new(true)));
            tasks.spawn(async move { cache.get_or_compute(&scope, read, compute).await })
        })
        .collect();
    settle().await;
    world.db.reads.set(true);
    for read in reads {
        read.await.unwrap().expect("an answer");
    }
    for n in 200..400 {
        let (scope, read) = (scope(&format!("t{n}")), Read::new(world.overview, "p"));
        let compute = world.snapshot(&scope, &Gate::new(true));
        world.cache.get_or_compute(&scope, read, compute).await.unwrap();
    }
    assert!(world.cache.scopes().len() <= 16, "each that comes later makes room again");
}

/// What is only written takes no place from what is read.
#[tokio::test]
async fn a_change_of_a_scope_that_nobody_reads_costs_no_reader_his_place() {
    let world = crate::support::world_with(true, |builder| builder.max_tenants(16));
    world.read(world.overview).await.unwrap();
    for n in 0..200 {
        let scope = scope(&format!("t{n}"));
        let versions = world.db.commit(&scope);
        world.cache.announce(&scope, &Commit::new(Changed::Data, Cause::Ingest, versions));
    }
    assert!(world.cache.scopes().len() <= 16);
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_read_of_versions_that_was_waiting_brings_no_forgotten_scope_back() {
    let world = world(false);
    world.read(world.overview).await.unwrap();
    world.db.reads.set(false);
    let refresh = || {
        let cache = world.cache.clone();
        tokio_util::task::TaskTracker::new().spawn(async move { cache.refresh().await })
    };
    let running = refresh();
    world.db.reads.arrivals(3).await;
    let waiting = refresh();
    settle().await;
    world.cache.forget(&world.acme);
    world.db.reads.set(true);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(world.db.reads.count(), 4);
    assert!(world.cache.scopes().is_empty());
}

/// A computation that saw less than was committed is the first to notice it, where nobody else looks.
#[tokio::test]
async fn what_a_computation_sees_makes_a_sole_owner_look() {
    let world = world(true);
    world.ingest();
    world.read(world.overview).await.unwrap();
    {
        let mut state = world.db.lock();
        state.epoch = 8;
        state.scopes.clear();
    }
    assert!(matches!(world.read(world.services).await, Err(Error::Outdated { .. })));
    world.clock.advance(Duration::from_nanos(1));
    for operation in [world.services, world.overview] {
        assert_eq!(text(&world.read(operation).await.unwrap()), world.now());
    }
}
