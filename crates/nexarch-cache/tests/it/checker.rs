//! The staleness checker finds what is wrong, and nothing where nothing is.

use crate::support::{settle, world_with};
use nexarch_cache::{Cause, Computed, Invalidation, Read};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn it_is_content_with_a_cache_that_keeps_its_promise() {
    for sole in [true, false] {
        let world = world_with(sole, |builder| builder.check_staleness(1));
        for n in 0..50 {
            world.read(world.overview).await.unwrap();
            settle().await;
            match n % 5 {
                0 => drop(world.ingest()),
                1 => {
                    world.cache.invalidate(&world.acme, Invalidation::All, Cause::Manual).await.unwrap();
                }
                2 if !sole => drop(world.db.commit(&world.acme)),
                _ => world.clock.advance(Duration::from_millis(400)),
            }
            world.read(world.overview).await.unwrap();
            settle().await;
        }
        let found = world.cache.checked().unwrap();
        assert!(found.checked >= 90 && found.compared >= 20, "{found:?}");
        assert_eq!((found.stale, found.different), (0, 0), "{found:?}");
    }
    assert_eq!(world_with(true, |builder| builder).cache.checked(), None);
}

/// A change that passed the sole owner by: what an adapter does that forgets to announce.
#[tokio::test(start_paused = true)]
async fn it_finds_a_change_that_was_not_announced() {
    let world = world_with(true, |builder| builder.check_staleness(1));
    world.read(world.overview).await.unwrap();
    world.db.commit(&world.acme);
    for _ in 0..3 {
        world.clock.advance(Duration::from_nanos(1));
        world.read(world.overview).await.unwrap();
        settle().await;
    }
    assert!(world.cache.checked().unwrap().stale > 0, "{:?}", world.cache.checked());
}

/// Data that change without a version: what a transaction does that forgets to raise it.
#[tokio::test(start_paused = true)]
async fn it_finds_a_change_without_a_version() {
    let world = world_with(true, |builder| builder.check_staleness(1));
    for body in ["before", "after"] {
        let compute = move |_| async move { Ok(Computed::new(body)) };
        world.cache.get_or_compute(&world.acme, Read::new(world.overview, "p"), compute).await.unwrap();
        settle().await;
    }
    let found = world.cache.checked().unwrap();
    assert_eq!((found.stale, found.different), (0, 1), "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn it_looks_at_as_many_as_it_was_told() {
    let world = world_with(true, |builder| builder.check_staleness(10));
    for _ in 0..100 {
        world.read_with(world.overview, nexarch_cache::Directives::default()).await.unwrap();
        settle().await;
    }
    let found = world.cache.checked().unwrap();
    assert_eq!(found.checked, 10);
    assert!(found.compared <= 10);
}

/// A node that wrote before it read anything knows of no database yet, and what it acknowledged is owed all the same.
#[tokio::test(start_paused = true)]
async fn it_keeps_what_was_acknowledged_before_the_first_read() {
    let world = world_with(true, |builder| builder.check_staleness(1));
    let announced = world.ingest();
    // What an adapter does that announces before it commits, and then does not.
    world.db.lock().scopes.clear();
    assert!(announced.data > 0);
    world.read(world.overview).await.unwrap();
    assert_eq!(world.cache.checked().unwrap().stale, 1);
}
