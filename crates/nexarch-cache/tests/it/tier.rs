//! Values in a tier that nodes share: who gets them, who does not, and what they cost when it is in trouble.

use crate::cluster::{Node, cluster, cluster_with};
use crate::support::{Gate, TTL, settle, text};
use nexarch_cache::testing::Faults;
use nexarch_cache::{
    Cause, Computed, Directives, Error, Invalidation, Outcome, Read, Reason, RemoteError, Scope,
};
use std::time::Duration;
use tokio_util::task::TaskTracker;

const SECOND: Duration = Duration::from_secs(1);
const FRESH: Directives =
    Directives { min_version: 0, no_cache: true, max_stale: None, only_if_cached: false };
const ONLY: Directives =
    Directives { min_version: 0, no_cache: false, max_stale: None, only_if_cached: true };

async fn from_redis(node: &Node) -> bool {
    matches!(node.read().await.unwrap().outcome(), Outcome::HitRedis { .. })
}

#[tokio::test(start_paused = true)]
async fn what_one_node_computed_another_finds() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.ingest();
    let miss = one.read().await.unwrap();
    cluster.clock.advance(SECOND * 3);
    let hit = other.read().await.unwrap();
    let Outcome::HitRedis { ttl } = hit.outcome() else { panic!("{:?}", hit.outcome()) };
    assert_eq!((hit.body(), hit.etag(), hit.label()), (miss.body(), miss.etag(), miss.label()));
    assert_eq!((hit.age(), hit.version()), (SECOND * 3, miss.version()));
    assert!(ttl + SECOND * 3 <= TTL && ttl + SECOND * 3 >= TTL * 9 / 10, "{ttl:?}");
    assert!(
        matches!(other.read().await.unwrap().outcome(), Outcome::HitMemory { .. }),
        "it is in memory now"
    );
    assert_eq!(cluster.computed(), 1);
    let stats = &other.cache.stats(&cluster.acme);
    let overview = &stats.operations["overview"];
    assert_eq!((overview.hits_redis, overview.hits_memory, overview.requests), (1, 1, 2));
    assert_eq!((stats.totals.hits, stats.totals.misses), (2, 0));
    assert!((stats.totals.hit_ratio - 1.0).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_overtaken_is_not_used_and_is_replaced() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    for manual in [false, true] {
        one.read().await.unwrap();
        if manual {
            one.cache.invalidate(&cluster.acme, Invalidation::All, Cause::Manual).await.unwrap();
        } else {
            one.ingest();
        }
        cluster.clock.advance(SECOND * 2);
        let answer = other.read().await.unwrap();
        assert_eq!(text(&answer), cluster.now());
        assert!(matches!(answer.outcome(), Outcome::Miss { .. }));
        assert!(from_redis(one).await, "the newer one");
    }
    assert_eq!(cluster.computed(), 3);
}

/// The caller who looks into the shared tier does so for all who ask meanwhile. If it hangs up, another one looks.
#[tokio::test(start_paused = true)]
async fn whoever_looks_for_all_may_hang_up() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    let delay = Duration::from_millis(50);
    other.remote.set_faults(Faults { delay: (delay, delay), ..Faults::default() });
    let gate = Gate::new(true);
    let tasks = TaskTracker::new();
    let mut reads: Vec<_> = (0..20).map(|_| tasks.spawn(other.begin(&gate, Directives::default()))).collect();
    settle().await;
    for hangs_up in reads.drain(..3) {
        hangs_up.abort();
        settle().await;
    }
    for read in reads {
        let answer = read.await.unwrap().unwrap();
        assert!(matches!(answer.outcome(), Outcome::HitRedis { .. }), "{:?}", answer.outcome());
    }
    assert_eq!((cluster.computed(), other.remote.calls().0), (1, 1), "one look was seen through");
}

/// The label is newer than what this node knows: because it has not heard of the change yet.
#[tokio::test(start_paused = true)]
async fn a_label_that_is_ahead_is_checked_with_the_authority() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    other.cache.version(&cluster.acme).await.unwrap();
    one.ingest();
    one.read().await.unwrap();
    let reads = cluster.db.reads.count();
    assert!(from_redis(other).await);
    assert_eq!(cluster.db.reads.count(), reads + 1);
    assert_eq!(text(&other.read().await.unwrap()), cluster.now());
}

/// ... or because the database was set back, and that change never was.
#[tokio::test(start_paused = true)]
async fn a_label_of_a_future_that_was_lost_is_refused() {
    for (part, away) in [("data", false), ("all", false), ("operation", false), ("data", true)] {
        let cluster = cluster(2);
        let [one, other] = &cluster.nodes[..] else { panic!() };
        let before = cluster.db.versions(&cluster.acme);
        cluster.db.change(&cluster.acme, |versions, clock| match part {
            "data" => versions.data = clock,
            "all" => versions.all = clock,
            _ => versions.operations.push(("overview".into(), clock)),
        });
        one.read().await.unwrap();
        let clock = cluster.db.versions(&cluster.acme).clock;
        cluster
            .db
            .lock()
            .scopes
            .insert(cluster.acme.clone(), nexarch_cache::ScopeVersions { clock, ..before });
        other.cache.version(&cluster.acme).await.unwrap();
        cluster.db.lock().away = away;
        let answer = other.read().await.unwrap();
        assert!(matches!(answer.outcome(), Outcome::Miss { .. }), "{part}: {:?}", answer.outcome());
        assert_eq!((other.rejected("ahead"), text(&answer)), (1, cluster.now()));
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_stands_there_is_at_worst_a_miss_that_is_counted() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.read().await.unwrap();
    let (key, value) = cluster.only();
    let mut altered = value.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    let mut other_format = value.to_vec();
    other_format[4] = 99;
    for (reason, planted) in [
        ("foreign", b"hello".to_vec()),
        ("truncated", value[..value.len() - 1].to_vec()),
        ("truncated", value[..50].to_vec()),
        ("corrupt", altered),
        ("other_format", other_format),
        ("too_large", vec![0; 9 << 20]),
    ] {
        let before = one.rejected(reason);
        one.cache.forget(&cluster.acme);
        cluster.hub.plant(&key, planted.into(), TTL);
        assert!(matches!(one.read().await.unwrap().outcome(), Outcome::Miss { .. }), "{reason}");
        assert_eq!(one.rejected(reason), before + 1, "{reason}");
        one.cache.forget(&cluster.acme);
        assert!(from_redis(one).await, "replaced by a good one");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_moved_to_another_scope_is_not_read_there() {
    for key in [None, Some([7; 32])] {
        let cluster = cluster_with(1, |builder| match &key {
            None => builder,
            Some(key) => builder.encryption_key(key),
        });
        let one = &cluster.nodes[0];
        one.read().await.unwrap();
        let (name, value) = cluster.only();
        let beta = Scope::new("beta").unwrap();
        let theirs = one.cache.key(&beta, one.overview, "window=24h").unwrap();
        assert_eq!(theirs, name.replace("acme", "beta"), "the same but for the scope");
        cluster.hub.plant(&theirs, value, TTL);
        let compute = |_| async { Ok(Computed::new("of beta")) };
        let read = Read::new(one.overview, "window=24h");
        let answer = one.cache.get_or_compute(&beta, read, compute).await.unwrap();
        assert_eq!((&answer.body()[..], one.rejected("corrupt")), (&b"of beta"[..], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn sealed_values_tell_nothing_and_open_with_their_key_only() {
    let sealed = |builder: nexarch_cache::Builder| builder.encryption_key(&[7; 32]);
    let mut cluster = cluster_with(2, sealed);
    let said = text(&cluster.nodes[0].read().await.unwrap());
    let (_, value) = cluster.only();
    assert!(!value.windows(said.len()).any(|w| w == said.as_bytes()));
    assert!(!value.windows(6).any(|w| w == b"window"));
    assert!(from_redis(&cluster.nodes[1]).await);
    let plain = cluster.add(&|builder| builder);
    assert!(matches!(plain.read().await.unwrap().outcome(), Outcome::Miss { .. }));
    assert_eq!(plain.rejected("sealed"), 1);
    let again = cluster.add(&sealed);
    assert!(matches!(again.read().await.unwrap().outcome(), Outcome::Miss { .. }));
    assert_eq!(again.rejected("unsealed"), 1, "what the plain node wrote");
    let other_key = cluster.add(&|builder| builder.encryption_key(&[8; 32]));
    assert!(matches!(other_key.read().await.unwrap().outcome(), Outcome::Miss { .. }));
    assert_eq!(other_key.rejected("corrupt"), 1);
}

/// Two deployments on one tier: another epoch is another key, and what is moved under it is not theirs.
#[tokio::test(start_paused = true)]
async fn another_database_never_meets_these_values() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    let (_, value) = cluster.only();
    cluster.db.lock().epoch = 8;
    assert!(matches!(other.read().await.unwrap().outcome(), Outcome::Miss { .. }));
    assert_eq!(cluster.entries().len(), 2);
    let key = other.cache.key(&cluster.acme, other.overview, "window=24h").unwrap();
    other.cache.forget(&cluster.acme);
    cluster.hub.plant(&key, value, TTL);
    assert!(matches!(other.read().await.unwrap().outcome(), Outcome::Miss { .. }));
    assert_eq!(other.rejected("corrupt"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_tier_that_is_away_costs_nothing_and_is_used_again_when_it_is_back() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.remote.set_faults(Faults { away: Some(Reason::Refused), ..Faults::default() });
    let began = tokio::time::Instant::now();
    assert!(matches!(one.read().await.unwrap().outcome(), Outcome::Miss { stored: Some(_) }));
    assert_eq!((one.remote.calls(), began.elapsed()), ((0, 0), Duration::ZERO));
    assert_eq!(one.cache.remote_counts().unwrap().errors, 0, "what is known is no news");
    one.remote.set_faults(Faults::default());
    one.cache.forget(&cluster.acme);
    one.read().await.unwrap();
    assert_eq!(cluster.entries().len(), 1);
}

/// One deadline at most on the way of a read: who did not answer is not asked for a lease.
#[tokio::test(start_paused = true)]
async fn a_tier_that_hangs_costs_one_deadline() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let hour = Duration::from_hours(1);
    one.remote.set_faults(Faults { delay: (hour, hour), ..Faults::default() });
    let began = tokio::time::Instant::now();
    let answer = one.begin(&Gate::new(true), Directives::default()).await.unwrap();
    assert!(matches!(answer.outcome(), Outcome::Miss { stored: Some(_) }));
    assert_eq!(began.elapsed(), Duration::from_millis(100));
    one.written().await;
    let counts = one.cache.remote_counts().unwrap();
    assert_eq!((counts.errors, counts.not_written, counts.written), (2, 1, 0));
    assert_eq!(one.cache.remote_bytes(&cluster.acme), 0, "not there, not charged");
}

#[tokio::test(start_paused = true)]
async fn every_call_may_break_and_no_read_fails() {
    let cluster = cluster(2);
    for (n, node) in cluster.nodes.iter().enumerate() {
        let faults = Faults { breaks: 0.7, garbles: 0.5, swaps: 0.2, forgets: 0.3, ..Faults::default() };
        node.remote.set_faults(faults);
        for _ in 0..200 {
            node.ingest();
            assert_eq!(text(&node.read().await.unwrap()), cluster.now(), "node {n}");
            node.cache.forget(&cluster.acme);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_cache_asks_nobody_and_tells_everybody() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    let answer = other.read_with(FRESH).await.unwrap();
    assert!(matches!(answer.outcome(), Outcome::Requested { .. }));
    assert_eq!((cluster.computed(), other.remote.calls()), (2, (0, 1)));
}

#[tokio::test(start_paused = true)]
async fn only_if_cached_finds_what_another_node_cached() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    assert!(matches!(other.read_with(ONLY).await, Err(Error::NotCached)));
    one.read().await.unwrap();
    assert!(matches!(other.read_with(ONLY).await.unwrap().outcome(), Outcome::HitRedis { .. }));
    cluster.hub.flush();
    assert!(matches!(other.read_with(ONLY).await.unwrap().outcome(), Outcome::HitMemory { .. }));
    assert_eq!(cluster.computed(), 1);
}

/// What stands in the tier was computed before they asked: however many they are, whatever else they ask.
#[tokio::test(start_paused = true)]
async fn no_cache_gets_nothing_from_the_tier_in_any_way() {
    let cluster = cluster_with(2, |builder| builder.max_waiters(1));
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    let both = Directives { only_if_cached: true, ..FRESH };
    assert!(matches!(other.read_with(both).await, Err(Error::NotCached)));
    let gate = Gate::new(false);
    let reads: Vec<_> =
        (0..5).map(|_| tokio_util::task::TaskTracker::new().spawn(other.begin(&gate, FRESH))).collect();
    settle().await;
    gate.set(true);
    for read in reads {
        let outcome = read.await.unwrap().unwrap().outcome();
        assert!(matches!(outcome, Outcome::Requested { .. }), "{outcome:?}");
    }
    // One leads, one waits for its end and one with it; two are alone.
    assert_eq!((other.computed(), other.remote.calls().0), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn a_body_above_the_limit_goes_nowhere_and_a_large_one_comes_back_whole() {
    let cluster = cluster_with(2, |builder| builder.max_value_bytes(1 << 20));
    let [one, other] = &cluster.nodes[..] else { panic!() };
    for (length, kept) in [((1usize << 20) + 1, false), (1 << 20, true)] {
        let body: Vec<u8> = (0..=250u8).cycle().take(length).collect();
        for (node, outcome) in [(one, "miss"), (other, if kept { "hit" } else { "miss" })] {
            let body_of = body.clone();
            let compute = |_| async { Ok(Computed::new(body_of)) };
            let read = Read::new(node.overview, "large");
            let answer = node.cache.get_or_compute(&cluster.acme, read, compute).await.unwrap();
            node.written().await;
            assert_eq!(answer.body(), &body);
            let hit = matches!(answer.outcome(), Outcome::HitRedis { .. });
            assert_eq!(if hit { "hit" } else { "miss" }, outcome, "{length}");
        }
        assert_eq!(cluster.entries().len(), usize::from(kept));
    }
}

#[tokio::test(start_paused = true)]
async fn a_scope_with_its_share_of_the_tier_keeps_new_values_in_memory() {
    let cluster = cluster_with(1, |builder| builder.scope_max_remote_bytes(10_000));
    let one = &cluster.nodes[0];
    let noise = |n: u64| -> Vec<u8> {
        let mut rng = nexarch_cache::testing::Rng::new(n);
        (0..1000).map(|_| rng.next().to_le_bytes()[0]).collect()
    };
    let read = async |scope: &Scope, n: u64| {
        let params = n.to_string();
        let compute = move |_| async move { Ok(Computed::new(noise(n))) };
        let read = Read::new(one.overview, &params);
        let answer = one.cache.get_or_compute(scope, read, compute).await.unwrap();
        one.written().await;
        assert!(matches!(answer.outcome(), Outcome::Miss { stored: Some(_) }), "in memory all the same");
    };
    for n in 0..20 {
        read(&cluster.acme, n).await;
    }
    let kept = cluster.entries().len();
    assert!((7..=9).contains(&kept), "{kept}");
    assert_eq!(one.cache.remote_counts().unwrap().over_quota, 20 - kept as u64);
    assert!(one.cache.remote_bytes(&cluster.acme) <= 10_000);
    assert!(cluster.hub.bytes() <= 10_000);
    read(&Scope::new("beta").unwrap(), 0).await;
    assert_eq!(cluster.entries().len(), kept + 1, "another scope has its own share");
    cluster.clock.advance(TTL * 2);
    read(&cluster.acme, 100).await;
    assert_eq!(cluster.entries().len(), 1, "what has expired counts no more");
}

/// Entries of several operations have the same parameters more often than not, and each takes its own room.
#[tokio::test(start_paused = true)]
async fn the_share_of_a_scope_is_of_all_its_operations_together() {
    let cluster = cluster_with(1, |builder| builder.scope_max_remote_bytes(10_000));
    let one = &cluster.nodes[0];
    for n in 0..12 {
        for operation in ["overview", "services"] {
            let params = n.to_string();
            let read = Read::new(one.cache.operation(operation).unwrap(), &params);
            let compute = |_| async move { Ok(Computed::new(vec![7; 900])) };
            one.cache.get_or_compute(&cluster.acme, read, compute).await.unwrap();
            one.written().await;
        }
    }
    let kept = cluster.entries().len();
    assert!((7..=10).contains(&kept), "{kept}");
    assert!(one.cache.remote_bytes(&cluster.acme) <= 10_000);
}

#[tokio::test(start_paused = true)]
async fn switched_off_nothing_is_read_or_written() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    other.cache.set_enabled(false);
    assert_eq!(other.read().await.unwrap().outcome(), Outcome::Bypass);
    assert!(matches!(other.read_with(ONLY).await, Err(Error::NotCached)));
    assert_eq!(other.remote.calls(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn operators_remove_what_a_scope_has_there() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let beta = Scope::new("beta").unwrap();
    one.read().await.unwrap();
    let compute = |_| async { Ok(Computed::new("of beta")) };
    one.cache.get_or_compute(&beta, Read::new(one.overview, "p"), compute).await.unwrap();
    one.written().await;
    assert_eq!(one.cache.remove_remote(Some(&beta)).await, Ok(2), "its value and a lease");
    assert_eq!((cluster.entries().len(), one.cache.remote_bytes(&beta)), (1, 0));
    assert!(one.cache.remote_bytes(&cluster.acme) > 0);
    assert!(one.cache.remove_remote(None).await.unwrap() >= 1);
    assert!(cluster.hub.keys().is_empty());
    one.remote.set_faults(Faults { away: Some(Reason::Timeout), ..Faults::default() });
    assert_eq!(one.cache.remove_remote(None).await, Err(RemoteError::Away));
    settle().await;
}

/// It goes on when the tier is away, and takes the leases along.
#[tokio::test(start_paused = true)]
async fn a_removal_behind_ends_when_the_tier_is_back() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.read().await.unwrap();
    assert!(cluster.hub.keys().len() > cluster.entries().len(), "a lease, too");
    one.remote.set_faults(Faults { away: Some(Reason::Timeout), ..Faults::default() });
    let stop = tokio_util::sync::CancellationToken::new();
    let begin = |scope: &Scope| one.cache.remove_remote_behind(Some(scope.clone()), &stop).unwrap();
    let (mut first, mut second) = (begin(&cluster.acme), begin(&Scope::new("beta").unwrap()));
    let failed = first.wait_for(|removal| removal.attempts == 3).await.unwrap().clone();
    assert_eq!((failed.done, failed.error), (false, Some(RemoteError::Away)));
    assert_eq!(second.borrow().attempts, 0, "one at a time");
    one.remote.set_faults(Faults::default());
    let done = first.wait_for(|removal| removal.done).await.unwrap().clone();
    assert_eq!((done.removed, done.error, cluster.hub.keys().len()), (2, None, 0));
    assert_eq!(second.wait_for(|removal| removal.done).await.unwrap().removed, 0);
    one.remote.set_faults(Faults { away: Some(Reason::Timeout), ..Faults::default() });
    let mut last = begin(&cluster.acme);
    stop.cancel();
    assert!(last.wait_for(|removal| removal.done).await.is_err(), "ended, not done");
    one.written().await;
}

/// What was being computed for a scope when it was deleted does not come after its values were removed.
#[tokio::test(start_paused = true)]
async fn a_computation_that_outlives_its_scope_leaves_nothing_there() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let gate = Gate::new(false);
    let read = TaskTracker::new().spawn(one.begin(&gate, Directives::default()));
    gate.arrivals(1).await;
    one.cache.forget(&cluster.acme);
    one.cache.remove_remote(Some(&cluster.acme)).await.unwrap();
    gate.set(true);
    read.await.unwrap().unwrap();
    one.written().await;
    assert_eq!(cluster.entries(), Vec::<String>::new());
}

/// Two databases may use one namespace, and both have a scope of that name.
#[tokio::test(start_paused = true)]
async fn what_another_database_has_there_is_not_removed() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.read().await.unwrap();
    let (key, value) = cluster.only();
    let mut theirs = value.to_vec();
    theirs[16..24].copy_from_slice(&8u64.to_le_bytes());
    let their_key = format!("{}f", &key[..key.len() - 1]);
    cluster.hub.plant(&their_key, theirs.into(), TTL);
    one.cache.remove_remote(Some(&cluster.acme)).await.unwrap();
    assert_eq!(cluster.entries(), std::slice::from_ref(&their_key));
    one.cache.remove_remote(None).await.unwrap();
    assert_eq!(cluster.entries(), [their_key]);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_of_size_values_are_shared() {
    let cluster = cluster_with(2, |builder| builder.max_value_bytes(usize::MAX));
    cluster.nodes[0].read().await.unwrap();
    assert!(from_redis(&cluster.nodes[1]).await);
}
