//! How long versions are believed, and what a minimum version does about it.

use crate::support::{Db, Gate, settle, text, world, world_over, world_with};
use nexarch_cache::{Cause, Clock, Directives, Error, Invalidation, Outcome};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const LEASE: Duration = Duration::from_secs(1);
const NANO: Duration = Duration::from_nanos(1);

fn at_least(version: u64) -> Directives {
    Directives { min_version: version, ..Directives::default() }
}

#[tokio::test]
async fn another_process_is_noticed_when_the_lease_has_run_out() {
    let world = world(false);
    assert_eq!(world.cache.staleness_bound(), LEASE);
    let first = text(&world.read(world.overview).await.unwrap());
    world.db.commit(&world.acme);
    world.clock.advance(LEASE);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), first, "within the bound");
    assert_eq!(world.db.reads.count(), 2, "one for the epoch, one under it");
    world.clock.advance(NANO);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
    assert_eq!(world.db.reads.count(), 3);
}

#[tokio::test]
async fn a_sole_owner_asks_once_and_never_again() {
    let world = world(true);
    assert_eq!(world.cache.staleness_bound(), Duration::ZERO);
    for _ in 0..10 {
        world.read(world.overview).await.unwrap();
        world.ingest();
        world.clock.advance(Duration::from_secs(9));
    }
    assert_eq!(world.db.reads.count(), 2);
}

/// A process that stood still, or whose look got no answer, does not know what a guest wrote and acknowledged meanwhile.
#[tokio::test]
async fn a_sole_owner_with_guests_asks_when_nobody_has_looked_for_a_lease() {
    let world = world_over(Db::with_guests(), |builder| builder);
    assert_eq!(world.cache.staleness_bound(), Duration::ZERO);
    let first = text(&world.read(world.overview).await.unwrap());
    let reads = world.db.reads.count();
    for _ in 0..10 {
        world.clock.advance(LEASE);
        assert_eq!(text(&world.read(world.overview).await.unwrap()), first);
        world.cache.vouch(world.cache.now());
    }
    assert_eq!(world.db.reads.count(), reads, "looks are enough");

    let asked = world.cache.now();
    world.db.commit(&world.acme); // a guest, while the look is on its way
    world.clock.advance(LEASE);
    world.cache.vouch(asked);
    world.clock.advance(NANO); // here the guest says that it is done
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
    assert_eq!(world.db.reads.count(), reads + 1, "one question");
    world.clock.advance(LEASE);
    world.read(world.overview).await.unwrap();
    assert_eq!(world.db.reads.count(), reads + 1, "which is believed as long as a look");

    world.clock.advance(NANO);
    world.db.lock().away = true;
    let refused = world.read(world.overview).await;
    assert!(matches!(refused, Err(Error::Unverified(_))), "{refused:?}");
}

/// The lease counts from when the read was sent: what was committed while the answer was on its way is not in it.
#[tokio::test(start_paused = true)]
async fn the_lease_counts_from_sending() {
    let world = world(false);
    world.read(world.overview).await.unwrap();
    world.clock.advance(LEASE + NANO);
    world.db.reads.set(false);
    let slow = world.start(&Gate::new(true), Directives::default());
    world.db.reads.arrivals(3).await;
    world.db.commit(&world.acme); // after the snapshot of the read, by somebody else
    world.clock.advance(Duration::from_millis(900));
    world.db.reads.set(true);
    assert!(matches!(slow.await.unwrap().unwrap().outcome(), Outcome::HitMemory { .. }));
    world.clock.advance(Duration::from_millis(100) + NANO);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

/// A read of versions that was overtaken on its way by a commit of this process lowers nothing.
#[tokio::test(start_paused = true)]
async fn a_late_answer_does_not_lower_the_mirror() {
    for sole in [true, false] {
        let world = world(sole);
        world.read(world.overview).await.unwrap();
        world.db.reads.set(false);
        let before = world.db.reads.count();
        let (cache, refresh) = (world.cache.clone(), TaskTracker::new());
        let refresh = refresh.spawn(async move { cache.refresh().await });
        world.db.reads.arrivals(before + 1).await;
        let version = world.ingest().clock;
        world.db.reads.set(true);
        refresh.await.unwrap().unwrap();
        let answer = world.read(world.overview).await.unwrap();
        assert_eq!(text(&answer), world.now());
        assert!(answer.version() >= version);
    }
}

#[tokio::test]
async fn a_minimum_version_is_read_from_the_authority_or_refused() {
    for sole in [true, false] {
        let world = world(sole);
        world.read(world.overview).await.unwrap();
        let version = world.db.commit(&world.acme).clock; // by another process
        assert_ne!(text(&world.read(world.overview).await.unwrap()), world.now());
        let answer = world.read_with(world.overview, at_least(version)).await.unwrap();
        assert_eq!(text(&answer), world.now());
        assert!(answer.version() >= version);

        let reads = world.db.reads.count();
        let again = world.read_with(world.overview, at_least(version)).await.unwrap();
        assert!(matches!(again.outcome(), Outcome::HitMemory { .. }));
        assert_eq!(world.db.reads.count(), reads, "known is known");

        let computed = world.computed();
        let refused = world.read_with(world.overview, at_least(version + 1)).await;
        let Err(Error::VersionUnknown { wanted, known }) = refused else { panic!("{refused:?}") };
        assert_eq!((wanted, known), (version + 1, version));
        assert_eq!(world.computed(), computed);
        let answer = world.read(world.overview).await.unwrap();
        assert!(
            matches!(answer.outcome(), Outcome::HitMemory { .. }),
            "a minimum is never merged into the mirror"
        );
    }
}

/// An answer that no change has touched is as new as the newest change that it was checked against.
#[tokio::test]
async fn every_answer_shows_a_version_that_its_reader_has_seen_acknowledged() {
    let world = world(true);
    for operation in [world.overview, world.workflows] {
        world.read(operation).await.unwrap();
        let version = world.ingest().clock;
        assert!(world.read(operation).await.unwrap().version() >= version);
        let what = Invalidation::Operations(vec!["services".into()]);
        let version = world.cache.invalidate(&world.acme, what, Cause::Manual).await.unwrap().version;
        let answer = world.read(operation).await.unwrap();
        assert!(matches!(answer.outcome(), Outcome::HitMemory { .. }));
        assert!(answer.version() >= version);
        assert_eq!(world.cache.version(&world.acme).await.unwrap(), version);
    }
}

#[tokio::test(start_paused = true)]
async fn an_authority_that_does_not_answer_is_given_up_after_half_a_second() {
    let world = world(false);
    world.db.reads.set(false);
    let began = tokio::time::Instant::now();
    let reads: Vec<_> = (0..50).map(|_| world.start(&Gate::new(true), Directives::default())).collect();
    for read in reads {
        assert!(matches!(read.await.unwrap(), Err(Error::Unverified(_))));
    }
    assert!(began.elapsed() <= Duration::from_millis(1001), "{:?}", began.elapsed());
    assert!(world.db.reads.count() <= 2, "one runs, one waits");
    assert_eq!(world.computed(), 0);
    world.db.reads.set(true);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

#[tokio::test(start_paused = true)]
async fn readers_share_one_running_and_one_waiting_read_of_versions() {
    let world = world(false);
    world.read(world.overview).await.unwrap();
    world.clock.advance(LEASE * 2);
    world.db.reads.set(false);
    let mut reads = vec![world.start(&Gate::new(true), Directives::default())];
    world.db.reads.arrivals(3).await;
    // These begin after that read was sent, so its answer is too old for them.
    world.db.commit(&world.acme);
    reads.extend((0..50).map(|_| world.start(&Gate::new(true), Directives::default())));
    settle().await;
    world.db.reads.set(true);
    for read in reads.drain(1..) {
        assert_eq!(text(&read.await.unwrap().unwrap()), world.now());
    }
    assert_eq!(world.db.reads.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn the_beat_keeps_live_scopes_trusted_through_failures_until_it_is_stopped() {
    let world = world(false);
    world.read(world.overview).await.unwrap();
    let stop = CancellationToken::new();
    let beat = TaskTracker::new().spawn(world.cache.clone().run(stop.clone()));
    let beats = async |n: usize| {
        for _ in 0..n {
            tokio::time::advance(Duration::from_millis(250)).await;
            world.clock.advance(Duration::from_millis(250));
            settle().await;
        }
    };
    beats(2).await;
    let before = world.db.reads.count();
    world.db.commit(&world.acme);
    beats(8).await;
    assert_eq!(world.db.reads.count(), before + 8);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
    assert_eq!(world.db.reads.count(), before + 8, "the read found a trusted mirror");

    world.db.lock().away = true;
    beats(8).await;
    assert!(matches!(world.read(world.overview).await, Err(Error::Unverified(_))), "no answer, no lease");
    world.db.lock().away = false;
    beats(1).await;
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }));
    stop.cancel();
    beat.await.unwrap();
    let after = world.db.reads.count();
    beats(4).await;
    assert_eq!(world.db.reads.count(), after);
}

#[tokio::test(start_paused = true)]
async fn the_beat_of_a_sole_owner_reads_nothing_and_stops() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    let stop = CancellationToken::new();
    let beat = TaskTracker::new().spawn(world.cache.clone().run(stop.clone()));
    tokio::time::advance(Duration::from_secs(5)).await;
    settle().await;
    assert_eq!(world.db.reads.count(), 2);
    stop.cancel();
    beat.await.unwrap();
}

/// One of the two clocks stood still: a lease measured on either means nothing.
#[tokio::test]
async fn clocks_that_drift_apart_end_every_lease() {
    let world = world(false);
    world.read(world.overview).await.unwrap();
    world.db.commit(&world.acme);
    world.clock.jump_wall(Duration::from_millis(260));
    let other = crate::support::scope("other");
    world.cache.version(&other).await.unwrap(); // any read of versions notices
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

#[tokio::test]
async fn an_invalidation_is_announced_although_its_caller_hung_up() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.db.invalidations.set(false);
    let (cache, acme) = (world.cache.clone(), world.acme.clone());
    let caller = TaskTracker::new()
        .spawn(async move { cache.invalidate(&acme, Invalidation::All, Cause::Manual).await.map(drop) });
    world.db.invalidations.arrivals(1).await;
    caller.abort();
    settle().await;
    world.db.invalidations.set(true);
    settle().await;
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

#[tokio::test]
async fn an_invalidation_whose_answer_was_lost_is_believed_to_have_happened() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.db.lock().lose_answer = true;
    let lost = world.cache.invalidate(&world.acme, Invalidation::All, Cause::Manual).await;
    assert!(matches!(lost, Err(Error::Unverified(_))));
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

/// Committed, and no answer: who stops to wait ends nothing, nothing older is believed, and the answer is of use when it
/// comes. Nobody waits for ever.
#[tokio::test(start_paused = true)]
async fn an_invalidation_without_an_answer_ends_and_is_believed_to_have_happened() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.db.invalidations.set(false);
    let invalidate = || world.cache.invalidate(&world.acme, Invalidation::All, Cause::Manual);
    assert!(tokio::time::timeout(Duration::from_secs(5), invalidate()).await.is_err(), "no answer yet");
    world.cache.distrust();
    world.clock.advance(NANO);
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
    let asked = world.db.reads.count();
    world.db.invalidations.set(true);
    settle().await;
    let of =
        |world: &crate::support::World| world.cache.stats(&world.acme).operations["overview"].invalidations;
    assert_eq!(of(&world), 1, "announced when it was answered");
    world.read(world.overview).await.unwrap();
    assert_eq!(world.db.reads.count(), asked);
    // One that is never answered is given up, and may have been committed once more.
    world.db.invalidations.set(false);
    let lost = tokio::time::timeout(Duration::from_secs(61), invalidate()).await.expect("an end");
    assert!(matches!(lost, Err(Error::Unverified(_))), "{lost:?}");
    world.clock.advance(NANO);
    world.read(world.overview).await.unwrap();
    assert_eq!((world.db.reads.count(), of(&world)), (asked + 1, 1));
}

#[tokio::test]
async fn a_refresh_finds_what_another_process_wrote_or_nothing_is_trusted() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.db.commit(&world.acme);
    world.cache.refresh().await.unwrap();
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
    world.db.commit(&world.acme);
    world.db.lock().away = true;
    assert!(world.cache.refresh().await.is_err());
    assert!(matches!(world.read(world.overview).await, Err(Error::Unverified(_))));
    world.db.lock().away = false;
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

/// A computation that saw newer data than anybody announced raises what later reads need.
#[tokio::test]
async fn what_one_computation_saw_no_later_read_gets_less() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.db.commit(&world.acme); // by another process
    assert_ne!(text(&world.read(world.overview).await.unwrap()), world.now());
    assert_eq!(text(&world.read(world.services).await.unwrap()), world.now());
    assert_eq!(text(&world.read(world.overview).await.unwrap()), world.now());
}

#[tokio::test]
async fn credentials_versions_come_with_the_versions() {
    let world = world_with(false, |builder| builder);
    world.read(world.overview).await.unwrap();
    assert_eq!(world.cache.auth_version(), 0);
    world.db.lock().auth_version = 5;
    world.cache.refresh().await.unwrap();
    assert_eq!(world.cache.auth_version(), 5);
    assert_eq!(world.cache.now(), world.clock.boot());
}
