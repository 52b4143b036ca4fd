//! Warming: what is computed before anybody asks, where it is kept, and what it is not.

use crate::cluster::{Cluster, cluster};
use crate::support::{Gate, settle, text};
use nexarch_cache::testing::Faults;
use nexarch_cache::{BoxError, Cause, Error, Held, Invalidation, Outcome, Read, Reason, StoredIn};
use tokio_util::task::TaskTracker;

const BOTH: [StoredIn; 2] = [StoredIn::Memory, StoredIn::Redis];

fn overview(cluster: &Cluster, node: usize) -> (u64, u64, u64) {
    let stats = cluster.nodes[node].cache.stats(&cluster.acme);
    let overview = &stats.operations["overview"];
    (overview.requests, overview.misses, overview.hits_memory + overview.hits_redis)
}

#[tokio::test(start_paused = true)]
async fn a_warmed_value_is_a_hit_here_and_on_other_nodes_and_no_request_itself() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let warmed = one.warm(&Gate::new(true)).await.unwrap();
    assert_eq!((warmed.stored(), warmed.bytes), (BOTH.to_vec(), cluster.now().len()));
    assert_eq!(overview(&cluster, 0), (0, 0, 0), "nobody asked");
    assert!(!cluster.only().1.is_empty(), "written when it ends, not some time later");
    assert!(matches!(one.read().await.unwrap().outcome(), Outcome::HitMemory { .. }));
    assert!(matches!(other.read().await.unwrap().outcome(), Outcome::HitRedis { .. }));
    assert_eq!(cluster.computed(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_computes_anew_what_is_there_already() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.read().await.unwrap();
    one.warm(&Gate::new(true)).await.unwrap();
    assert_eq!(cluster.computed(), 2);
    assert_eq!(overview(&cluster, 0), (1, 1, 0));
}

/// The result of a computation that began before an invalidation is never served after it.
#[tokio::test(start_paused = true)]
async fn what_is_invalidated_while_it_is_warmed_is_not_served() {
    for manual in [false, true] {
        let cluster = cluster(1);
        let one = &cluster.nodes[0];
        let gate = Gate::new(false);
        let warming = one.warm(&gate);
        let invalidating = async {
            gate.arrivals(1).await;
            if manual {
                one.cache.invalidate(&cluster.acme, Invalidation::All, Cause::Manual).await.unwrap();
            } else {
                one.ingest();
            }
            gate.set(true);
        };
        let (warmed, ()) = tokio::join!(warming, invalidating);
        warmed.unwrap();
        let answer = one.read().await.unwrap();
        assert_eq!(text(&answer), cluster.now());
        assert!(matches!(answer.outcome(), Outcome::Miss { .. }), "{:?}", answer.outcome());
    }
}

#[tokio::test(start_paused = true)]
async fn many_at_once_are_one_running_and_one_waiting() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let gate = Gate::new(false);
    let all = futures_util::future::join_all((0..50).map(|_| one.warm(&gate)));
    let opening = async {
        gate.arrivals(1).await;
        settle().await;
        gate.set(true);
    };
    let (warmed, ()) = tokio::join!(all, opening);
    assert!(warmed.iter().all(|warmed| warmed.as_ref().unwrap().memory));
    assert_eq!(cluster.computed(), 2);
}

/// However many warm it, what was computed once is written once; and all are told that it is there.
#[tokio::test(start_paused = true)]
async fn who_did_not_compute_it_does_not_write_it() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let gate = Gate::new(true);
    let warmed = futures_util::future::join_all((0..50).map(|_| one.warm(&gate))).await;
    assert!(warmed.iter().all(|warmed| warmed.as_ref().is_ok_and(|warmed| warmed.memory && warmed.redis)));
    let (computed, written) = (cluster.computed() as u64, one.remote.calls().1);
    assert!(computed <= 2 && written == computed, "{written} of {computed}");
}

#[tokio::test(start_paused = true)]
async fn without_redis_it_is_in_memory_and_says_so() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.remote.set_faults(Faults { away: Some(Reason::Refused), ..Faults::default() });
    assert_eq!(one.warm(&Gate::new(true)).await.unwrap().stored(), [StoredIn::Memory]);
    assert!(cluster.entries().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cache_that_is_switched_off_warms_nothing() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.cache.set_enabled(false);
    assert!(matches!(one.warm(&Gate::new(true)).await, Err(Error::Disabled)));
    assert_eq!(cluster.computed(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_failed_computation_is_told_and_keeps_what_was_there() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.read().await.unwrap();
    let fail = |_| async { Err(BoxError::from("no luck")) };
    let failed = one.cache.warm(&cluster.acme, Read::new(one.overview, "window=24h"), fail).await;
    assert!(matches!(failed, Err(Error::Compute(_))), "{failed:?}");
    assert!(matches!(one.read().await.unwrap().outcome(), Outcome::HitMemory { .. }));
}

/// Who hangs up does not stop it: others may wait for it by then, and other nodes.
#[tokio::test(start_paused = true)]
async fn it_goes_on_when_the_caller_hangs_up() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let gate = Gate::new(false);
    let (cache, scope, id) = (one.cache.clone(), cluster.acme.clone(), one.overview);
    let inside = gate.clone();
    let caller = TaskTracker::new().spawn(async move {
        let compute = move |_| async move {
            inside.pass().await;
            Ok(nexarch_cache::Computed::new("x").with_data_version(u64::MAX >> 1))
        };
        cache.warm(&scope, Read::new(id, "other"), compute).await
    });
    gate.arrivals(1).await;
    caller.abort();
    gate.set(true);
    one.written().await;
    let only = nexarch_cache::Directives { only_if_cached: true, ..Default::default() };
    let compute = |_| async { Err(BoxError::from("not computed again")) };
    let read = Read::new(id, "other").directives(only);
    assert!(one.cache.get_or_compute(&cluster.acme, read, compute).await.is_ok());
    assert_eq!(cluster.entries().len(), 1, "Redis has it, too");
}

#[tokio::test(start_paused = true)]
async fn what_is_there_is_not_computed_to_be_sure_of_it() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    assert_eq!(one.ensure().await.unwrap(), Some(BOTH.to_vec()));
    assert_eq!(one.ensure().await.unwrap(), None, "memory has it");
    assert_eq!(other.ensure().await.unwrap(), None, "the shared tier has it");
    assert_eq!(cluster.computed(), 1);
    assert_eq!((overview(&cluster, 0), overview(&cluster, 1)), ((0, 0, 0), (0, 0, 0)), "nobody asked");
    assert!(matches!(other.read().await.unwrap().outcome(), Outcome::HitMemory { .. }), "it was copied");
    one.ingest();
    assert_eq!(one.ensure().await.unwrap(), Some(BOTH.to_vec()), "overtaken");
    assert_eq!(text(&one.read().await.unwrap()), cluster.now());
    one.cache.set_enabled(false);
    assert!(matches!(one.ensure().await, Err(Error::Disabled)));
}

#[tokio::test(start_paused = true)]
async fn looking_tells_fresh_from_overtaken_from_absent_and_counts_nothing() {
    let cluster = cluster(1);
    let (one, acme) = (&cluster.nodes[0], &cluster.acme);
    let held = || one.cache.held(acme, Read::new(one.overview, "window=24h"));
    assert_eq!((held(), one.cache.known_version(acme)), (Held::Absent, None));
    one.read().await.unwrap();
    let before = one.cache.known_version(acme);
    assert_eq!(held(), Held::Fresh);
    let versions = one.ingest();
    assert_eq!(held(), Held::Overtaken);
    assert!(before < one.cache.known_version(acme) && one.cache.known_version(acme) == Some(versions.clock));
    one.ensure().await.unwrap();
    assert_eq!(held(), Held::Fresh);
    one.cache.invalidate(acme, Invalidation::All, Cause::Manual).await.unwrap();
    assert_eq!(held(), Held::Overtaken);
    one.read().await.unwrap();
    cluster.clock.advance(crate::support::TTL);
    assert_eq!(held(), Held::Absent, "expired");
    assert_eq!(overview(&cluster, 0), (2, 2, 0));
}
