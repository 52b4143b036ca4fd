//! One computation for many readers: who joins what, and what happens when it fails.

use crate::support::{Gate, World, settle, text, world, world_with};
use nexarch_cache::{Answer, BoxError, Computed, Directives, Error, Outcome, Read};
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

const FRESH: Directives =
    Directives { min_version: 0, no_cache: true, max_stale: None, only_if_cached: false };

#[tokio::test]
async fn a_thousand_readers_of_a_cold_key_compute_once() {
    let world = world(true);
    let gate = Gate::new(false);
    let reads: Vec<_> = (0..1000).map(|_| world.start(&gate, Directives::default())).collect();
    settle().await;
    gate.set(true);
    let mut outcomes = [0, 0];
    for read in reads {
        match read.await.unwrap().unwrap().outcome() {
            Outcome::Miss { stored: Some(_) } => outcomes[0] += 1,
            Outcome::Collapsed => outcomes[1] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((world.computed(), outcomes), (1, [1, 999]));
}

#[tokio::test]
async fn per_key_one_runs_and_one_waits_however_often_data_change() {
    let world = world(true);
    let gate = Gate::new(false);
    let mut reads = vec![world.start(&gate, Directives::default())];
    gate.arrivals(1).await;
    for _ in 0..10 {
        world.ingest();
        reads.extend((0..5).map(|_| world.start(&gate, Directives::default())));
        settle().await;
    }
    assert_eq!(world.computed(), 1);
    gate.set(true);
    for (n, read) in reads.into_iter().enumerate() {
        let answer = read.await.unwrap().unwrap();
        assert_eq!(text(&answer) == world.now(), n > 0, "reader {n}");
    }
    assert_eq!(world.computed(), 2);
}

/// Starts a computation whose snapshot is opened only when the gate opens, so that it sees more than it has to.
fn start_late(world: &World, gate: &Arc<Gate>) -> JoinHandle<Result<Answer, Error>> {
    let (db, cache, acme, gate) = (world.db.clone(), world.cache.clone(), world.acme.clone(), gate.clone());
    let overview = world.overview;
    TaskTracker::new().spawn(async move {
        let scope = acme.clone();
        let compute = |_| async move {
            gate.pass().await;
            Ok(Computed::new("late").with_data_version(db.versions(&acme).data))
        };
        cache.get_or_compute(&scope, Read::new(overview, "window=24h"), compute).await
    })
}

/// A running computation that saw newer data than it had to serves those who waited for the next, too: unless one of
/// them asked for a computation that begins after its arrival.
#[tokio::test]
async fn a_waiting_flight_takes_what_the_one_before_it_stored_if_that_will_do() {
    for joiner in [Directives::default(), FRESH] {
        let world = world(true);
        let gate = Gate::new(false);
        let lead = start_late(&world, &gate);
        gate.arrivals(1).await;
        world.ingest();
        let second = world.start(&Gate::new(true), Directives::default());
        settle().await;
        let third = world.start(&Gate::new(true), joiner);
        settle().await;
        gate.set(true);
        lead.await.unwrap().unwrap();
        let expected = if joiner == FRESH { world.now() } else { "late".into() };
        assert_eq!(text(&second.await.unwrap().unwrap()), expected);
        assert_eq!(text(&third.await.unwrap().unwrap()), expected);
        assert_eq!(world.computed(), usize::from(joiner == FRESH));
    }
}

/// The waiting flight takes its fence when it begins: what was stored before it suits the reader that made it, and
/// not one who joined it later.
#[tokio::test]
async fn a_waiting_flight_suits_everybody_who_joined_it() {
    let world = world(true);
    let (open, end) = (Gate::new(false), Gate::new(false));
    let (db, cache, acme, overview) =
        (world.db.clone(), world.cache.clone(), world.acme.clone(), world.overview);
    let (opened, ended) = (open.clone(), end.clone());
    let lead = TaskTracker::new().spawn(async move {
        let scope = acme.clone();
        let compute = |_| async move {
            opened.pass().await;
            let seen = db.versions(&acme).data;
            ended.pass().await;
            Ok(Computed::new("between").with_data_version(seen))
        };
        cache.get_or_compute(&scope, Read::new(overview, "window=24h"), compute).await
    });
    open.arrivals(1).await;
    world.ingest();
    let second = world.start(&Gate::new(true), Directives::default());
    settle().await;
    open.set(true);
    end.arrivals(1).await;
    world.ingest();
    let third = world.start(&Gate::new(true), Directives::default());
    settle().await;
    end.set(true);
    assert_eq!(text(&lead.await.unwrap().unwrap()), "between");
    assert_eq!(text(&third.await.unwrap().unwrap()), world.now());
    assert_eq!(text(&second.await.unwrap().unwrap()), world.now());
}

#[tokio::test]
async fn no_cache_joins_only_what_began_after_it() {
    let world = world(true);
    let gate = Gate::new(false);
    let running = world.start(&gate, Directives::default());
    gate.arrivals(1).await;
    let first = world.start(&gate, FRESH);
    settle().await;
    let second = world.start(&gate, FRESH);
    let plain = world.start(&gate, Directives::default());
    settle().await;
    assert_eq!(world.computed(), 1);
    gate.set(true);
    assert!(matches!(running.await.unwrap().unwrap().outcome(), Outcome::Miss { .. }));
    let first = first.await.unwrap().unwrap();
    let second = second.await.unwrap().unwrap();
    assert!(matches!(first.outcome(), Outcome::Requested { stored: Some(_), collapsed: false }));
    assert!(matches!(second.outcome(), Outcome::Requested { collapsed: true, .. }));
    assert!(matches!(plain.await.unwrap().unwrap().outcome(), Outcome::Collapsed));
    assert_eq!(world.computed(), 2, "although what was stored is new enough for others");
    let third = world.read_with(world.overview, FRESH).await.unwrap();
    assert!(matches!(third.outcome(), Outcome::Requested { collapsed: false, .. }));
    assert_eq!(world.computed(), 3);
}

#[tokio::test]
async fn waiters_beyond_the_limit_compute_for_themselves() {
    let world = world_with(true, |builder| builder.max_waiters(3));
    let gate = Gate::new(false);
    let reads: Vec<_> = (0..6).map(|_| world.start(&gate, Directives::default())).collect();
    settle().await;
    assert_eq!(world.computed(), 3, "one leads, three wait, two go alone");
    gate.set(true);
    for read in reads {
        assert_eq!(text(&read.await.unwrap().unwrap()), world.now());
    }
}

/// Clients that time out and ask again: those who hung up are no waiters.
#[tokio::test]
async fn who_hangs_up_gives_its_place_to_another() {
    let world = world_with(true, |builder| builder.max_waiters(3));
    let gate = Gate::new(false);
    let leader = world.start(&gate, Directives::default());
    gate.arrivals(1).await;
    for _ in 0..5 {
        let joined: Vec<_> = (0..3).map(|_| world.start(&gate, Directives::default())).collect();
        settle().await;
        joined.iter().for_each(tokio::task::JoinHandle::abort);
        settle().await;
    }
    let last = world.start(&gate, Directives::default());
    settle().await;
    gate.set(true);
    assert!(matches!(last.await.unwrap().unwrap().outcome(), Outcome::Collapsed));
    leader.await.unwrap().unwrap();
    assert_eq!(world.computed(), 1);
}

#[derive(Debug, thiserror::Error)]
#[error("number {0}")]
struct Own(u32);

#[tokio::test]
async fn an_error_reaches_all_who_waited_and_is_not_cached() {
    let world = world(true);
    let gate = Gate::new(false);
    let reads: Vec<_> = (0..5)
        .map(|_| {
            let (cache, acme, overview, gate) =
                (world.cache.clone(), world.acme.clone(), world.overview, gate.clone());
            TaskTracker::new().spawn(async move {
                let compute = |_| async move {
                    gate.pass().await;
                    Err(BoxError::from(Own(42)))
                };
                cache.get_or_compute(&acme, Read::new(overview, "window=24h"), compute).await
            })
        })
        .collect();
    settle().await;
    gate.set(true);
    for read in reads {
        let Err(Error::Compute(error)) = read.await.unwrap() else { panic!("an error") };
        assert_eq!(error.downcast_ref::<Own>().unwrap().0, 42);
    }
    assert_eq!(gate.count(), 1);
    let stats = &world.cache.stats(&world.acme).operations["overview"];
    assert_eq!((stats.errors, stats.requests, stats.entries), (1, 0, 0));
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::Miss { .. }));
}

#[tokio::test]
async fn a_panic_is_an_error_for_its_waiters_and_the_key_lives_on() {
    let world = world(true);
    for early in [true, false] {
        let gate = Gate::new(early);
        let panicking = || {
            let (cache, acme, overview, gate) =
                (world.cache.clone(), world.acme.clone(), world.overview, gate.clone());
            TaskTracker::new().spawn(async move {
                let compute = move |_| {
                    assert!(!early, "deliberate: before the future");
                    async move {
                        gate.pass().await;
                        panic!("deliberate: in the future");
                    }
                };
                cache.get_or_compute(&acme, Read::new(overview, "window=24h"), compute).await
            })
        };
        let (first, second) = (panicking(), panicking());
        settle().await;
        gate.set(true);
        assert!(matches!(first.await.unwrap(), Err(Error::Panicked)));
        assert!(matches!(second.await.unwrap(), Err(Error::Panicked)));
    }
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

#[tokio::test]
async fn a_computation_outlives_its_caller() {
    let world = world(true);
    let gate = Gate::new(false);
    let leader = world.start(&gate, Directives::default());
    gate.arrivals(1).await;
    let joined = world.start(&gate, Directives::default());
    settle().await;
    world.ingest();
    let next_leader = world.start(&gate, Directives::default());
    settle().await;
    let next_joined = world.start(&gate, Directives::default());
    settle().await;
    leader.abort();
    next_leader.abort();
    settle().await;
    gate.set(true);
    assert!(matches!(joined.await.unwrap().unwrap().outcome(), Outcome::Collapsed));
    assert_eq!(text(&next_joined.await.unwrap().unwrap()), world.now());
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }));
    assert_eq!(world.computed(), 2);
}

#[tokio::test]
async fn a_computation_that_read_a_lagging_replica_is_refused() {
    let world = world(true);
    let version = world.ingest().data;
    let read = Read::new(world.overview, "window=24h");
    let lagging = move |_| async move { Ok(Computed::new("old").with_data_version(version - 1)) };
    let result = world.cache.get_or_compute(&world.acme, read, lagging).await;
    assert!(matches!(result, Err(Error::Outdated { seen, needed }) if seen + 1 == needed), "{result:?}");
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

/// The waiters of a computation that the runtime dropped are told so.
#[test]
fn waiters_of_a_dropped_runtime_are_not_left_alone() {
    let world = world(true);
    let gate = Gate::new(false);
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let entered = other.enter();
    let leader = world.start(&gate, Directives::default());
    drop(entered);
    other.block_on(gate.arrivals(1));
    let here = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    here.block_on(async {
        let joined = world.start(&gate, Directives::default());
        let world = Arc::new(world);
        settle().await;
        world.ingest();
        let next = world.start(&Gate::new(true), Directives::default());
        settle().await;
        other.shutdown_background();
        assert_eq!(text(&next.await.unwrap().unwrap()), world.now(), "the waiting flight has its turn");
        assert_eq!(
            text(&joined.await.unwrap().unwrap()),
            world.now(),
            "which serves those of the first, too"
        );
    });
    drop(leader);
}

/// A cache may be read on several runtimes. When the one ends that computes, those on another do it themselves.
#[test]
fn who_waits_for_a_computation_that_is_dropped_computes() {
    use tokio::runtime::Builder;
    let ends = Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap();
    let stays = Builder::new_current_thread().enable_time().build().unwrap();
    let world = Arc::new(world(true));
    let gate = Gate::new(false);
    let guard = ends.enter();
    world.start(&gate, Directives::default());
    drop(guard);
    ends.block_on(gate.arrivals(1));
    let guard = stays.enter();
    let joined = world.start(&Gate::new(true), Directives::default());
    drop(guard);
    stays.block_on(settle());
    assert!(!joined.is_finished());
    ends.shutdown_background();
    let answer = stays.block_on(joined).unwrap().unwrap();
    assert_eq!((text(&answer), world.computed()), (world.now(), 2));
}
