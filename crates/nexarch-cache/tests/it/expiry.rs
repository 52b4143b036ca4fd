//! Time to live, grace after a failure, the switch, and what is not stored at all.

use crate::support::{Gate, TTL, World, text, world, world_with};
use nexarch_cache::{
    Answer, Cause, Computed, Directives, Error, Invalidation, Operation, OperationId, Outcome, Read,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const PLAIN: Directives =
    Directives { min_version: 0, no_cache: false, max_stale: None, only_if_cached: false };

fn stored(answer: &Answer) -> Option<Duration> {
    match answer.outcome() {
        Outcome::Miss { stored } | Outcome::Requested { stored, .. } => stored,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_value_lives_for_its_ttl_less_at_most_a_tenth() {
    let world = world(true);
    let ttl = stored(&world.read(world.overview).await.unwrap()).unwrap();
    assert!(ttl <= TTL && ttl >= TTL * 9 / 10, "{ttl:?}");
    world.clock.advance(ttl.saturating_sub(Duration::from_nanos(1)));
    let hit = world.read(world.overview).await.unwrap();
    assert_eq!(hit.outcome(), Outcome::HitMemory { ttl: Duration::from_nanos(1) });
    assert_eq!((hit.age() + hit.ttl(), hit.ttl()), (ttl, Duration::from_nanos(1)));
    world.clock.advance(Duration::from_nanos(1));
    let miss = world.read(world.overview).await.unwrap();
    assert!(matches!(miss.outcome(), Outcome::Miss { .. }));
    assert_eq!(miss.age(), Duration::ZERO);
}

/// What was computed at the same moment does not expire at the same moment.
#[tokio::test]
async fn lives_differ() {
    let world = world(true);
    let mut lives = std::collections::BTreeSet::new();
    for n in 0..50 {
        let params = n.to_string();
        let read = Read::new(world.overview, &params);
        let compute = world.snapshot(&world.acme, &Gate::new(true));
        let answer = world.cache.get_or_compute(&world.acme, read, compute).await.unwrap();
        lives.insert(stored(&answer).unwrap().as_secs());
    }
    assert!(lives.len() > 5, "{lives:?}");
}

#[tokio::test]
async fn the_shorter_of_two_ttls_holds_and_zero_is_not_stored() {
    let world = world(true);
    let read = async |seconds: u64, params: &'static str| {
        let read = Read::new(world.overview, params).max_ttl(SECOND * u32::try_from(seconds).unwrap());
        world
            .cache
            .get_or_compute(&world.acme, read, world.snapshot(&world.acme, &Gate::new(true)))
            .await
            .unwrap()
    };
    assert!(stored(&read(15, "15").await).unwrap() <= SECOND * 15);
    assert!(stored(&read(1500, "1500").await).unwrap() > SECOND * 15);
    assert!(stored(&read(1500, "1500b").await).unwrap() <= TTL);
    assert_eq!(stored(&read(0, "0").await), None);
    assert_eq!(stored(&read(0, "0").await), None);
    assert_eq!(world.cache.stats(&world.acme).memory.entries, 3);
}

#[tokio::test]
async fn an_expired_value_stands_in_for_a_failed_computation_within_its_grace() {
    let world = world(true);
    let first = world.read(world.overview).await.unwrap();
    let ttl = stored(&first).unwrap();
    world.clock.advance(ttl + SECOND * 49);
    let stale = world.fail(world.overview, PLAIN).await.unwrap();
    assert_eq!(stale.outcome(), Outcome::StaleOnError { expired: SECOND * 49 });
    assert_eq!(stale.outcome().cache_status("c").to_string(), "c; fwd=stale; ttl=-49");
    assert_eq!(stale.body(), first.body());
    let fresh = Directives { no_cache: true, ..PLAIN };
    assert!(matches!(world.fail(world.overview, fresh).await, Err(Error::Compute(_))));
    world.clock.advance(SECOND);
    assert!(matches!(world.fail(world.overview, PLAIN).await, Err(Error::Compute(_))), "the grace is over");
    let stats = &world.cache.stats(&world.acme).operations["overview"];
    assert_eq!((stats.stale, stats.errors, stats.requests), (1, 3, 2));

    world.read(world.services).await.unwrap();
    world.clock.advance(TTL);
    assert!(matches!(world.fail(world.services, PLAIN).await, Err(Error::Compute(_))), "it has none");
}

#[tokio::test]
async fn nothing_stands_in_that_was_overtaken() {
    let world = world(true);
    for manual in [true, false] {
        let ttl = stored(&world.read(world.overview).await.unwrap()).unwrap();
        world.clock.advance(ttl);
        assert!(world.fail(world.overview, PLAIN).await.is_ok());
        if manual {
            world.cache.invalidate(&world.acme, Invalidation::All, Cause::Manual).await.unwrap();
        } else {
            world.ingest();
        }
        assert!(matches!(world.fail(world.overview, PLAIN).await, Err(Error::Compute(_))));
    }
}

#[tokio::test]
async fn switched_off_every_read_computes_and_nothing_is_held() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.cache.set_enabled(false);
    assert!(!world.cache.is_enabled());
    assert_eq!(world.cache.memory_bytes(), 0);
    for _ in 0..2 {
        let answer = world.read(world.overview).await.unwrap();
        assert_eq!(answer.outcome(), Outcome::Bypass);
        assert_eq!(text(&answer), world.now());
    }
    assert_eq!(world.cache.memory_bytes(), 0);
    let version = world.ingest().clock;
    let minimum = Directives { min_version: version + 1, ..PLAIN };
    assert!(matches!(world.read_with(world.overview, minimum).await, Err(Error::VersionUnknown { .. })));
    assert!(matches!(world.fail(world.overview, PLAIN).await, Err(Error::Compute(_))));
    world.cache.set_enabled(true);
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::Miss { .. }));
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }));
    let off = world_with(true, |builder| builder.enabled(false));
    assert_eq!(off.read(off.overview).await.unwrap().outcome(), Outcome::Bypass);
}

#[tokio::test]
async fn a_body_above_the_limit_is_served_and_not_stored() {
    let world = world_with(true, |builder| builder.max_value_bytes(1000));
    for (size, kept) in [(1000, true), (1001, false)] {
        let params = size.to_string();
        let read = Read::new(world.overview, &params);
        let compute = move |_| async move { Ok(Computed::new(vec![7; size])) };
        let answer = world.cache.get_or_compute(&world.acme, read, compute).await.unwrap();
        assert_eq!((answer.body().len(), stored(&answer).is_some()), (size, kept));
    }
    assert_eq!(world.cache.stats(&world.acme).memory.entries, 1);
}

#[tokio::test]
async fn equal_bodies_have_equal_validators() {
    let world = world(true);
    let first = world.read(world.overview).await.unwrap();
    let other = world.read(world.services).await.unwrap();
    assert_eq!(first.etag(), other.etag());
    assert!(first.etag().starts_with("W/\"") && first.etag().ends_with('"') && first.etag().len() == 36);
    world.ingest();
    assert_ne!(world.read(world.overview).await.unwrap().etag(), first.etag());
}

/// A world with an operation that may be served when nobody vouches for it, and a value of it that nobody vouches for.
async fn unverified() -> (World, OperationId, String) {
    let page = Operation::new("page", TTL).with_grace(TTL / 2).with_unverified();
    let world = world_with(false, |builder| builder.operations([page]).check_staleness(1));
    let page = world.cache.operation("page").unwrap();
    let first = text(&world.read(page).await.unwrap());
    world.read(world.overview).await.unwrap();
    world.clock.advance(SECOND * 2);
    world.db.lock().away = true;
    (world, page, first)
}

fn is_unverified(read: &Result<Answer, Error>) -> bool {
    matches!(read, Err(Error::Unverified(_)))
}

#[tokio::test(start_paused = true)]
async fn who_allows_it_by_name_is_served_unverified_while_the_authority_is_away() {
    let (world, page, first) = unverified().await;
    let answer = world.read(page).await.unwrap();
    assert_eq!((text(&answer), answer.outcome()), (first, Outcome::Unverified { age: SECOND * 2 }));
    assert_eq!(answer.outcome().cache_status("c").to_string(), "c; fwd=stale; ttl=-2");
    assert!(is_unverified(&world.read(world.overview).await), "no other operation");
    assert!(is_unverified(&world.read_with(page, Directives { no_cache: true, ..PLAIN }).await));
    assert!(is_unverified(&world.read_with(page, Directives { min_version: 1, ..PLAIN }).await));
    assert_eq!(world.cache.stats(&world.acme).operations["page"].stale, 1);
    world.clock.advance(TTL);
    assert!(matches!(world.read(page).await.unwrap().outcome(), Outcome::Unverified { .. }), "its grace");
    world.clock.advance(TTL / 2);
    assert!(is_unverified(&world.read(page).await), "the grace is over");
    world.db.lock().away = false;
    assert!(matches!(world.read(page).await.unwrap().outcome(), Outcome::Miss { .. }));
    assert_eq!(world.cache.checked().unwrap().stale, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_unverified_that_was_made_old_here() {
    let (world, page, _) = unverified().await;
    world.ingest();
    world.clock.advance(SECOND * 2);
    assert!(is_unverified(&world.read(page).await));
    let (world, page, _) = unverified().await;
    world.cache.forget(&world.acme);
    assert!(is_unverified(&world.read(page).await));
    let (world, page, _) = unverified().await;
    world.cache.set_enabled(false);
    assert!(is_unverified(&world.read(page).await));
}
