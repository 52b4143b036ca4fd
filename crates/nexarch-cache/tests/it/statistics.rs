//! What is counted, and the names it has.

use crate::support::{Gate, scope, settle, world};
use nexarch_cache::{Cause, Changed, Commit, Computed, Directives, Invalidation, Read, ScopeVersions};
use std::time::Duration;

#[tokio::test]
async fn a_read_counts_once_and_invalidations_by_operation() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    for _ in 0..7 {
        world.read(world.overview).await.unwrap();
    }
    world.ingest();
    world.ingest();
    let gate = Gate::new(false);
    let reads: Vec<_> = (0..3).map(|_| world.start(&gate, Directives::default())).collect();
    settle().await;
    gate.set(true);
    for read in reads {
        read.await.unwrap().unwrap();
    }
    let only = Invalidation::Operations(vec!["services".into()]);
    world.cache.invalidate(&world.acme, only, Cause::Manual).await.unwrap();
    world.cache.announce(&world.acme, &Commit::new(Changed::Data, Cause::Settle, ScopeVersions::default()));

    let stats = serde_json::to_value(world.cache.stats(&world.acme)).unwrap();
    let overview = &stats["operations"]["overview"];
    for (name, count) in [
        ("ttl_seconds", 100),
        ("requests", 11),
        ("hits_memory", 7),
        ("hits_redis", 0),
        ("misses", 2),
        ("collapsed", 2),
        ("stale", 0),
        ("errors", 0),
        ("invalidations", 2),
        ("entries", 1),
    ] {
        assert_eq!(overview[name], count, "{name}");
    }
    assert!((overview["hit_ratio"].as_f64().unwrap() - 7.0 / 11.0).abs() < 1e-9);
    assert!(overview["bytes"].as_u64().unwrap() > 300);
    assert_eq!(overview["last_invalidated"]["cause"], "settle");
    assert_eq!(overview["last_invalidated"]["at"], "1970-01-12T13:46:40.000Z");
    for quantiles in ["hit_ms", "compute_ms"] {
        assert!(overview[quantiles]["p50"].is_number() && overview[quantiles]["p99"].is_number());
    }
    assert_eq!(stats["operations"]["services"]["invalidations"], 3);
    assert_eq!(stats["operations"]["workflows"]["invalidations"], 0);
    assert!(stats["operations"]["workflows"]["last_invalidated"].is_null());
    let totals = &stats["totals"];
    assert_eq!((&totals["requests"], &totals["hits"], &totals["misses"]), (&11.into(), &7.into(), &2.into()));
    assert!(totals["time_saved_ms"].is_number());
    assert_eq!(stats["memory"]["entries"], 1);
    assert_eq!(stats["memory"]["max_bytes"], 256 << 20);
}

#[tokio::test]
async fn a_computation_is_timed_and_what_hits_save_is_told() {
    let world = world(true);
    for _ in 0..100 {
        let clock = world.clock.clone();
        let slow = |_| async move {
            clock.advance(Duration::from_millis(20));
            Ok(Computed::new("x"))
        };
        world.cache.get_or_compute(&world.acme, Read::new(world.overview, "p"), slow).await.unwrap();
    }
    let stats = world.cache.stats(&world.acme);
    let overview = &stats.operations["overview"];
    assert!((overview.compute_ms.p50 / 20.0 - 1.0).abs() < 0.125, "{overview:?}");
    assert!(overview.hit_ms.p50 > 0.0 && overview.hit_ms.p50 < 0.001, "no time passed");
    assert!(overview.reduction_percent > 99.0 && overview.reduction_percent < 100.0);
    assert!((stats.totals.time_saved_ms / (99.0 * 20.0) - 1.0).abs() < 0.01);
}

#[tokio::test]
async fn scopes_are_counted_apart() {
    let world = world(true);
    let other = scope("other");
    world.read(world.overview).await.unwrap();
    assert_eq!(world.cache.stats(&other).totals.requests, 0);
    assert_eq!(world.cache.stats(&other).operations.len(), 3, "every operation is there");
    assert_eq!(world.cache.scopes(), std::slice::from_ref(&world.acme));
}

/// The closure waits for its turn: that is no part of what the value costs.
#[tokio::test(start_paused = true)]
async fn a_computation_may_say_what_it_took() {
    let cluster = crate::cluster::cluster(1);
    let node = &cluster.nodes[0];
    for (said, counted) in [(None, 400), (Some(5), 5), (Some(9000), 400)] {
        let clock = cluster.clock.clone();
        let compute = move |_| async move {
            clock.advance(Duration::from_millis(400));
            let computed = Computed::new("x");
            Ok(match said {
                Some(ms) => computed.took(Duration::from_millis(ms)),
                None => computed,
            })
        };
        let params = format!("{said:?}");
        let read = Read::new(node.overview, &params);
        let answer = node.cache.get_or_compute(&cluster.acme, read, compute).await.unwrap();
        assert_eq!(answer.compute_time(), Duration::from_millis(counted));
    }
}
