//! Popular entries are refreshed before they expire, behind a hit, once.

use crate::cluster::{Cluster, Node, cluster};
use crate::support::{Gate, TTL, render, settle, text, world};
use nexarch_cache::testing::Faults;
use nexarch_cache::{Answer, BoxError, Cause, Clock, Computed, Error, Invalidation, Outcome, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

const COST: Duration = Duration::from_secs(2);

/// Reads with a computation that takes [`COST`] by the clock of the cache and counts.
async fn read(cluster: &Cluster, node: &Node, count: &Arc<AtomicU64>) -> Outcome {
    let (clock, count) = (cluster.clock.clone(), count.clone());
    let compute = |_| async move {
        clock.advance(COST);
        count.fetch_add(1, Ordering::SeqCst);
        Ok(Computed::new("value"))
    };
    let answer = node.cache.get_or_compute(&cluster.acme, Read::new(node.overview, "p"), compute).await;
    settle().await;
    answer.unwrap().outcome()
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_read_all_the_time_never_expires() {
    let cluster = cluster(1);
    let count = Arc::default();
    read(&cluster, &cluster.nodes[0], &count).await;
    for n in 0..40_000 {
        cluster.clock.advance(Duration::from_millis(10));
        let outcome = read(&cluster, &cluster.nodes[0], &count).await;
        assert!(matches!(outcome, Outcome::HitMemory { .. }), "{n}: {outcome:?}");
    }
    // 400 s of entries that live for 90 to 100 s: four or five expiries, each met early once.
    let computed = count.load(Ordering::SeqCst);
    assert!((4..=8).contains(&computed), "{computed}");
    let stats = &cluster.nodes[0].cache.stats(&cluster.acme).operations["overview"];
    assert_eq!((stats.misses, stats.hits_memory), (1, 40_000), "a refresh is no request");
}

#[tokio::test(start_paused = true)]
async fn one_node_refreshes_for_all() {
    let cluster = cluster(3);
    let count = Arc::default();
    for _ in 0..1_000 {
        cluster.clock.advance(Duration::from_millis(100));
        tokio::time::advance(Duration::from_millis(100)).await;
        for node in &cluster.nodes {
            read(&cluster, node, &count).await;
        }
    }
    let computed = count.load(Ordering::SeqCst);
    assert!((2..=4).contains(&computed), "{computed}");
}

/// It runs once for each entry, fails without harm, and never for who is not near the end.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_hangs_or_fails_is_not_repeated() {
    for fails in [true, false] {
        let world = world(true);
        let clock = world.clock.clone();
        let costly = |_| async move {
            clock.advance(COST);
            Ok(Computed::new("value"))
        };
        let begun = Arc::new(AtomicU64::new(0));
        let read = Read::new(world.overview, "p");
        let first = world.cache.get_or_compute(&world.acme, read, costly).await.unwrap();
        assert!(first.ttl() > TTL / 2);
        let end = world.clock.boot().plus(first.ttl());
        let gate = Gate::new(false);
        let mut hits = 0;
        while world.clock.boot() < end {
            let (count, gate) = (begun.clone(), gate.clone());
            let compute = move |_| async move {
                count.fetch_add(1, Ordering::SeqCst);
                if !fails {
                    gate.pass().await;
                }
                Err(BoxError::from("no luck"))
            };
            let answer =
                world.cache.get_or_compute(&world.acme, Read::new(world.overview, "p"), compute).await;
            assert!(matches!(answer.unwrap().outcome(), Outcome::HitMemory { .. }));
            settle().await;
            hits += 1;
            if begun.load(Ordering::SeqCst) == 0 {
                assert!(end.since(world.clock.boot()) <= TTL);
            } else {
                assert!(end.since(world.clock.boot()) <= COST * 20, "not before it is likely");
            }
            world.clock.advance(Duration::from_millis(20));
        }
        assert_eq!(begun.load(Ordering::SeqCst), 1, "of {hits} hits");
        gate.set(true);
    }
}

/// A read of an operation without grace, so that nothing stands in for what fails, whose computation passes `gate`.
fn start(cluster: &Cluster, node: &Node, gate: &Arc<Gate>) -> JoinHandle<Result<Answer, Error>> {
    let (cache, clock, acme, gate) =
        (node.cache.clone(), cluster.clock.clone(), cluster.acme.clone(), gate.clone());
    TaskTracker::new().spawn(async move {
        let read = Read::new(cache.operation("services")?, "p");
        let compute = |_| async move {
            gate.pass().await;
            clock.advance(COST);
            Ok(Computed::new("value"))
        };
        cache.get_or_compute(&acme, read, compute).await
    })
}

/// The entry expires while its refresh asks the tier whether another node is at it, or done. Whoever comes then gets a
/// value: nobody waits for a refresh that is given up.
#[tokio::test(start_paused = true)]
async fn who_comes_while_a_refresh_looks_around_gets_a_value() {
    for done in [false, true] {
        let cluster = cluster(2);
        let [one, other] = &cluster.nodes[..] else { panic!() };
        let open = Gate::new(true);
        start(&cluster, one, &open).await.unwrap().unwrap();
        one.written().await;
        let found = start(&cluster, other, &open).await.unwrap().unwrap();
        assert!(matches!(found.outcome(), Outcome::HitRedis { .. }));
        // So near its end that the next hit refreshes it. The second node asks first, and is answered last.
        cluster.clock.advance(found.ttl().saturating_sub(Duration::from_micros(1)));
        for node in &cluster.nodes {
            node.cache.refresh().await.unwrap();
        }
        let ms = Duration::from_millis;
        other.remote.set_faults(Faults { delay: (ms(50), ms(50)), ..Faults::default() });
        let gate = Gate::new(done);
        for (node, gate) in [(other, &open), (one, &gate)] {
            let hit = start(&cluster, node, gate).await.unwrap().unwrap();
            assert!(matches!(hit.outcome(), Outcome::HitMemory { .. }), "{:?}", hit.outcome());
            settle().await;
        }
        gate.arrivals(1).await;
        cluster.clock.advance(ms(1));
        let late = start(&cluster, other, &open);
        settle().await;
        gate.set(true);
        let answer = late.await.unwrap().expect("a value");
        assert!(matches!(answer.outcome(), Outcome::HitRedis { .. }), "{done}: {:?}", answer.outcome());
    }
}

/// A refresh saw the data as they were when it began: whoever comes after a change that it did not see does not join it.
#[tokio::test(start_paused = true)]
async fn a_refresh_that_was_overtaken_is_joined_by_nobody() {
    for manual in [false, true] {
        let cluster = cluster(1);
        let one = &cluster.nodes[0];
        let start = |gate: &Arc<Gate>| {
            let (cache, clock, acme) = (one.cache.clone(), cluster.clock.clone(), cluster.acme.clone());
            let (db, gate) = (cluster.db.clone(), gate.clone());
            TaskTracker::new().spawn(async move {
                let scope = acme.clone();
                let compute = |_| async move {
                    let seen = db.versions(&scope);
                    gate.pass().await;
                    clock.advance(COST);
                    Ok(Computed::new(render(&seen)).with_data_version(seen.data))
                };
                cache.get_or_compute(&acme, Read::new(cache.operation("services")?, "p"), compute).await
            })
        };
        let open = Gate::new(true);
        let first = start(&open).await.unwrap().unwrap();
        // So near its end that the next hit refreshes it.
        cluster.clock.advance(first.ttl().saturating_sub(Duration::from_micros(1)));
        one.cache.refresh().await.unwrap();
        let gate = Gate::new(false);
        let hit = start(&gate).await.unwrap().unwrap();
        assert!(matches!(hit.outcome(), Outcome::HitMemory { .. }), "{:?}", hit.outcome());
        gate.arrivals(1).await;
        if manual {
            one.cache.invalidate(&cluster.acme, Invalidation::All, Cause::Manual).await.unwrap();
        } else {
            one.ingest();
        }
        let late = start(&open);
        settle().await;
        assert!(!late.is_finished(), "it waits for its turn");
        gate.set(true);
        let answer = late.await.unwrap().unwrap();
        assert_eq!(text(&answer), cluster.now());
        assert_eq!(
            text(&start(&open).await.unwrap().unwrap()),
            cluster.now(),
            "what the refresh brought is not served"
        );
    }
}
