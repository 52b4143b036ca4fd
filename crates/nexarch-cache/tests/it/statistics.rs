//! What is counted, and the names it has.

use crate::cluster::{Node, cluster};
use crate::support::{Gate, scope, settle, world, world_with};
use nexarch_cache::testing::Faults;
use nexarch_cache::{
    Cause, Changed, Clock as _, Commit, Computed, Directives, Invalidation, NotBegun, Read, Reason,
    ScopeVersions,
};
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

/// A node that starts beside a shared tier full of values computes nothing, and saves what others have spent.
#[tokio::test(start_paused = true)]
async fn a_node_that_only_hits_knows_what_it_saves() {
    let cluster = cluster(2);
    let read = async |node: &Node| {
        let clock = cluster.clock.clone();
        let compute = |_| async move {
            clock.advance(Duration::from_millis(20));
            Ok(Computed::new("x"))
        };
        node.cache.get_or_compute(&cluster.acme, Read::new(node.overview, "p"), compute).await.unwrap();
        node.written().await;
    };
    let [first, second] = &cluster.nodes[..] else { panic!("two nodes") };
    read(first).await;
    for _ in 0..10 {
        read(second).await;
    }
    let stats = second.cache.stats(&cluster.acme);
    let overview = &stats.operations["overview"];
    assert_eq!((overview.misses, overview.hits_redis, overview.hits_memory), (0, 1, 9));
    assert!((stats.totals.time_saved_ms / (10.0 * 20.0) - 1.0).abs() < 0.01, "{:?}", stats.totals);
    assert!(overview.reduction_percent > 99.0, "{overview:?}");
    assert!(overview.compute_ms.p50 < f64::EPSILON, "nothing was computed here");
}

#[tokio::test]
async fn what_was_saved_stays_saved_when_computations_become_cheaper() {
    let world = world(true);
    let read = async |ms, directives| {
        let clock = world.clock.clone();
        let compute = move |_| async move {
            clock.advance(Duration::from_millis(ms));
            Ok(Computed::new("x"))
        };
        let read = Read::new(world.overview, "p").directives(directives);
        world.cache.get_or_compute(&world.acme, read, compute).await.unwrap();
        world.cache.stats(&world.acme).totals.time_saved_ms
    };
    let no_cache = Directives { no_cache: true, ..Directives::default() };
    let mut told = read(100, no_cache).await;
    for _ in 0..50 {
        let saved = read(100, Directives::default()).await;
        assert!((saved - told - 100.0).abs() < 0.1, "{saved} after {told}");
        told = saved;
    }
    // Hits that nobody has asked about yet, too.
    let hit = async || {
        let compute = |_| async { Ok(Computed::new("never")) };
        world.cache.get_or_compute(&world.acme, Read::new(world.overview, "p"), compute).await.unwrap();
    };
    hit().await;
    for _ in 0..50 {
        let saved = read(1, no_cache).await;
        assert!(saved >= told, "{saved} after {told}");
        told = saved;
    }
    assert!((told - 51.0 * 100.0).abs() < 1.0, "{told}");
}

#[tokio::test]
async fn a_computation_that_did_not_begin_is_no_failed_one() {
    let world = world(true);
    let compute = |_| async { Err(NotBegun("no room".into()).into()) };
    let read = Read::new(world.overview, "p");
    let refused = world.cache.get_or_compute(&world.acme, read, compute).await.unwrap_err();
    assert_eq!(refused.to_string(), "no room");
    world.fail(world.services, Directives::default()).await.unwrap_err();
    let stats = world.cache.stats(&world.acme);
    assert_eq!(["overview", "services"].map(|name| stats.operations[name].errors), [0, 1]);
    let node = world.cache.node_stats();
    assert_eq!(["overview", "services"].map(|name| node.operations[name].errors), [0, 1]);
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

#[tokio::test]
async fn a_node_counts_what_its_scopes_do_and_goes_on_when_they_are_gone() {
    let world = world(false);
    let scopes = [world.acme.clone(), scope("globex"), scope("initech")];
    for (n, scope) in scopes.iter().enumerate() {
        for _ in 0..=n {
            let compute = world.snapshot(scope, &Gate::new(true));
            world.cache.get_or_compute(scope, Read::new(world.overview, "p"), compute).await.unwrap();
        }
    }
    world.fail(world.services, Directives::default()).await.unwrap_err();
    world.ingest();
    world.cache.invalidate(&scopes[1], Invalidation::All, Cause::Manual).await.unwrap();
    let node = world.cache.node_stats();
    let overview = &node.operations["overview"];
    assert_eq!((overview.misses, overview.hits_memory, overview.errors), (3, 3, 0));
    assert_eq!((overview.compute.count, overview.hit.count), (3, 2), "the first hit of each scope is timed");
    assert_eq!((overview.entries, node.scopes, node.operations["services"].errors), (3, 3, 1));
    let by_scope: u64 = scopes.iter().map(|scope| world.cache.stats(scope).memory.bytes).sum();
    assert_eq!((node.bytes, overview.bytes), (by_scope, by_scope));
    assert_eq!((overview.invalidations["ingest"], overview.invalidations["manual"]), (1, 1));
    let workflows = &node.operations["workflows"];
    assert_eq!((workflows.invalidations["ingest"], workflows.invalidations["manual"]), (0, 1));
    assert_eq!((node.authority_reads.count > 0, node.authority_errors), (true, 0));

    for scope in &scopes {
        world.cache.forget(scope);
    }
    let after = world.cache.node_stats();
    assert_eq!((after.operations["overview"].misses, after.operations["overview"].hits_memory), (3, 3));
    assert_eq!((after.scopes, after.bytes, after.operations["overview"].entries), (0, 0, 0));
    for _ in 0..2 {
        world.read(world.overview).await.unwrap();
    }
    assert_eq!(
        world.cache.node_stats().operations["overview"].hits_memory,
        4,
        "a scope that came back goes on"
    );
    world.cache.forget(&world.acme);
    world.db.lock().away = true;
    world.read(world.overview).await.unwrap_err();
    assert_eq!(world.cache.node_stats().authority_errors, 1);
}

#[tokio::test]
async fn what_gives_way_is_counted_by_the_node() {
    let world = world_with(true, |builder| builder.max_bytes(1_000));
    for n in 0..10 {
        let params = n.to_string();
        let compute = world.snapshot(&world.acme, &Gate::new(true));
        world.cache.get_or_compute(&world.acme, Read::new(world.overview, &params), compute).await.unwrap();
    }
    let (node, scope) = (world.cache.node_stats(), world.cache.stats(&world.acme));
    assert!(node.evictions > 0 && node.bytes <= node.max_bytes, "{node:?}");
    assert_eq!(node.evictions, scope.memory.evictions);
}

#[tokio::test(start_paused = true)]
async fn a_node_counts_its_shared_tier() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    other.read().await.unwrap();
    let remote = |node: &Node| node.cache.node_stats().remote.unwrap();
    assert_eq!((remote(one).commands["set"].count, remote(other).commands["get"].count), (1, 1));
    assert_eq!(other.cache.node_stats().operations["overview"].hits_redis, 1);
    one.ingest();
    settle().await;
    assert!(remote(one).commands["publish"].count > 0 && remote(other).lag.count == 0, "nobody listens");
    let _listening = other.listen().await;
    settle().await;
    one.ingest();
    settle().await;
    assert!(remote(other).lag.count > 0, "{:?}", remote(other).lag);

    let calls = remote(one).commands["get"].count;
    one.remote.set_faults(Faults { away: Some(Reason::Refused), ..Faults::default() });
    one.ingest();
    one.read().await.unwrap();
    let lost = remote(one);
    assert_eq!((lost.commands["get"].count, lost.status.losses.of(Reason::Refused)), (calls, 1), "not sent");
}

/// A message tells all versions of its scope. How long it took to come says only the one that was raised.
#[tokio::test(start_paused = true)]
async fn the_lag_is_that_of_what_was_raised() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let _listening = (one.listen().await, other.listen().await);
    // Versions follow the time.
    let now = || {
        let wall = cluster.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap();
        cluster.db.lock().clock = wall.as_micros().try_into().unwrap();
    };
    for node in [one, other] {
        node.read().await.unwrap();
    }
    now();
    one.cache.invalidate(&cluster.acme, Invalidation::All, Cause::Manual).await.unwrap();
    settle().await;
    cluster.clock.advance(Duration::from_hours(1));
    now();
    one.ingest();
    settle().await;
    let lag = |node: &Node| node.cache.node_stats().remote.unwrap().lag;
    let told = lag(other);
    let within_a_second = told.buckets.iter().rfind(|(le, _)| *le <= 1.1).unwrap().1;
    assert_eq!((told.count, within_a_second), (2, 2), "{told:?}");
    assert_eq!(lag(one).count, 0, "its own are known to it");
}
