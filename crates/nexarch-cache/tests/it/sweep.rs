//! What has died takes nobody's room or time, and many scopes are not one question.

use crate::support::{Gate, TTL, scope, settle, world, world_with};
use nexarch_cache::{Outcome, Read};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn the_dead_are_dropped_some_seconds_later_and_their_scope_is_asked_after_no_more() {
    let world = world(false);
    let stop = CancellationToken::new();
    let run = TaskTracker::new().spawn(world.cache.clone().run(stop.clone()));
    for n in 0..3000 {
        let (params, gate) = (n.to_string(), Gate::new(true));
        let read = Read::new(if n % 2 == 0 { world.overview } else { world.services }, &params);
        world.cache.get_or_compute(&world.acme, read, world.snapshot(&world.acme, &gate)).await.unwrap();
    }
    let full = world.cache.memory_bytes();
    let seconds = async |count: u32| {
        for _ in 0..count {
            tokio::time::advance(SECOND).await;
            settle().await;
        }
    };
    seconds(10).await;
    assert_eq!(world.cache.memory_bytes(), full, "all of it lives");
    // Those without grace are dead, the others may yet stand in for a failure.
    world.clock.advance(TTL);
    seconds(10).await;
    let entries = |name| world.cache.stats(&world.acme).operations[name].entries;
    assert_eq!((entries("services"), entries("overview")), (0, 1500));
    assert_eq!(world.db.lock().asked.last(), Some(&1), "it holds something");
    world.clock.advance(TTL);
    seconds(10).await;
    let memory = world.cache.stats(&world.acme).memory;
    assert_eq!((world.cache.memory_bytes(), memory.entries, memory.evictions), (0, 0, 0));
    assert_eq!(world.db.lock().asked.last(), Some(&0), "nobody reads it, and it holds nothing");
    assert_eq!(world.cache.stats(&world.acme).totals.misses, 3000, "its counters stay");
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::Miss { stored: Some(_) }));
    stop.cancel();
    run.await.unwrap();
}

/// However many are read at once or looked at with a beat.
#[tokio::test]
async fn no_question_to_the_authority_is_of_more_than_some_hundred_scopes() {
    let world = world_with(false, |builder| builder.max_tenants(10_000));
    world.db.reads.set(false);
    let scopes: Vec<_> = (0..2000).map(|n| scope(&format!("t{n}"))).collect();
    let tasks = TaskTracker::new();
    let reads: Vec<_> = scopes
        .iter()
        .map(|scope| {
            let (cache, scope) = (world.cache.clone(), scope.clone());
            tasks.spawn(async move { cache.version(&scope).await })
        })
        .collect();
    settle().await;
    world.db.reads.set(true);
    for read in reads {
        read.await.unwrap().unwrap();
    }
    let cold = std::mem::take(&mut world.db.lock().asked);
    world.clock.advance(SECOND);
    world.cache.refresh().await.unwrap();
    let beat = std::mem::take(&mut world.db.lock().asked);
    for asked in [&cold, &beat] {
        assert!(
            asked.iter().all(|scopes| *scopes <= 512) && asked.iter().sum::<usize>() >= 2000,
            "{asked:?}"
        );
    }
    assert_eq!(beat.len(), 4, "{beat:?}");
    world.clock.advance(SECOND);
    for scope in &scopes {
        world.cache.version(scope).await.unwrap();
    }
    assert!(world.db.lock().asked.is_empty(), "all of them are within their lease");
}

/// A sole owner's trust has no end of its own: it ends when not all could be read in time, and when it is told so.
#[tokio::test(start_paused = true)]
async fn a_sole_owner_that_cannot_look_in_time_believes_nothing() {
    for told in [false, true] {
        let world = world(true);
        world.read(world.overview).await.unwrap();
        world.db.commit(&world.acme); // by another process
        if told {
            world.cache.distrust();
        } else {
            world.db.reads.set(false);
            let began = tokio::time::Instant::now();
            world.cache.refresh().await.unwrap_err();
            assert_eq!(began.elapsed(), Duration::from_millis(500));
            world.db.reads.set(true);
        }
        world.clock.advance(Duration::from_nanos(1));
        let answer = world.read(world.overview).await.unwrap();
        assert_eq!(crate::support::text(&answer), world.now());
    }
}
