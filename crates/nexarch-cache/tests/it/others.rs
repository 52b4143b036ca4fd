//! One computation in the cluster for what is costly, and nobody waits for ever for a node that died.

use crate::cluster::{Cluster, Node, cluster, cluster_with};
use crate::support::{Gate, settle, text};
use nexarch_cache::testing::Faults;
use nexarch_cache::{Answer, BoxError, Computed, Directives, Error, Outcome, Read, Reason};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

fn start(node: &Node, gate: &Arc<Gate>) -> JoinHandle<Result<Answer, Error>> {
    TaskTracker::new().spawn(node.begin(gate, Directives::default()))
}

#[tokio::test(start_paused = true)]
async fn a_stampede_on_three_nodes_computes_once() {
    let cluster = cluster(3);
    let gate = Gate::new(false);
    let reads: Vec<_> = (0..300).map(|n| start(&cluster.nodes[n % 3], &gate)).collect();
    gate.arrivals(1).await;
    tokio::time::advance(Duration::from_millis(50)).await;
    settle().await;
    assert_eq!(cluster.computed(), 1);
    gate.set(true);
    let mut outcomes = [0; 3];
    for read in reads {
        let answer = read.await.unwrap().unwrap();
        assert_eq!(text(&answer), cluster.now());
        match answer.outcome() {
            Outcome::Miss { .. } => outcomes[0] += 1,
            Outcome::Collapsed => outcomes[1] += 1,
            Outcome::HitRedis { .. } => outcomes[2] += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((cluster.computed(), outcomes), (1, [1, 99, 200]));
    let waited: u64 = cluster.nodes.iter().map(|n| n.cache.remote_counts().unwrap().waited_for_others).sum();
    assert_eq!(waited, 2);
}

/// Takes the lease on the first node and lets it hang; the second waits.
async fn hanging(cluster: &Cluster) -> (Arc<Gate>, JoinHandle<Result<Answer, Error>>, Instant) {
    let (one, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    let gate = Gate::new(false);
    start(one, &gate);
    gate.arrivals(1).await;
    let began = Instant::now();
    let second = start(other, &Gate::new(true));
    (gate, second, began)
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_with_the_lease_costs_the_others_twice_the_cost() {
    let cluster = cluster(2);
    let (_gate, second, began) = hanging(&cluster).await;
    assert!(matches!(second.await.unwrap().unwrap().outcome(), Outcome::Miss { .. }));
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(700) && waited <= Duration::from_secs(1), "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_others_when_the_tier_goes_away() {
    for faults in [
        Faults { away: Some(Reason::Timeout), ..Faults::default() },
        Faults { breaks: 1.0, ..Faults::default() },
    ] {
        let cluster = cluster(2);
        let (_gate, second, began) = hanging(&cluster).await;
        settle().await;
        cluster.nodes[1].remote.set_faults(faults);
        assert!(matches!(second.await.unwrap().unwrap().outcome(), Outcome::Miss { .. }));
        assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    }
}

/// Reads on `node`; the computation passes `gate`, and then `ends`.
fn start_with(
    cluster: &Cluster,
    node: &Node,
    gate: &Arc<Gate>,
    ends: fn() -> Result<Computed, BoxError>,
) -> JoinHandle<Result<Answer, Error>> {
    let (cache, acme, overview, gate) =
        (node.cache.clone(), cluster.acme.clone(), node.overview, gate.clone());
    TaskTracker::new().spawn(async move {
        let compute = move |_| async move {
            gate.pass().await;
            ends()
        };
        cache.get_or_compute(&acme, Read::new(overview, "window=24h"), compute).await
    })
}

/// Waits until a node has done all it does after a computation, and a lease that it gave up is gone.
async fn given_up(cluster: &Cluster, node: usize) {
    cluster.nodes[node].written().await;
    cluster.clock.advance(Duration::from_millis(1));
}

/// Whoever has nothing to show gives the lease up: one of those who wait takes it, and the others wait for him.
#[tokio::test(start_paused = true)]
async fn a_computation_that_brings_nothing_holds_nobody_up() {
    let endings: [fn() -> Result<Computed, BoxError>; 3] = [
        || Err("no luck".into()),
        || panic!("no luck at all"),
        // More than is sent.
        || Ok(Computed::new(vec![7; 2 << 20])),
    ];
    for (n, ends) in endings.into_iter().enumerate() {
        let cluster = cluster_with(3, |builder| builder.max_value_bytes(1 << 20));
        let gate = Gate::new(false);
        let first = start_with(&cluster, &cluster.nodes[0], &gate, ends);
        gate.arrivals(1).await;
        let second_gate = Gate::new(false);
        let others: Vec<_> = cluster.nodes[1..].iter().map(|node| start(node, &second_gate)).collect();
        settle().await;
        assert_eq!(cluster.computed(), 0, "both wait");
        let ended = Instant::now();
        gate.set(true);
        let _ = first.await.unwrap();
        given_up(&cluster, 0).await;
        second_gate.arrivals(1).await;
        let waited = ended.elapsed();
        assert!(waited < Duration::from_millis(20), "{n}: {waited:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        second_gate.set(true);
        let mut outcomes = [0; 2];
        for other in others {
            match other.await.unwrap().unwrap().outcome() {
                Outcome::Miss { .. } => outcomes[0] += 1,
                Outcome::HitRedis { .. } => outcomes[1] += 1,
                other => panic!("{n}: {other:?}"),
            }
        }
        assert_eq!((outcomes, cluster.computed()), ([1, 1], 1), "{n}");
    }
}

/// As above, of what is warmed: nobody is to wait for what was computed and is not sent.
#[tokio::test(start_paused = true)]
async fn a_warmed_value_that_is_not_stored_holds_nobody_up() {
    let cluster = cluster_with(2, |builder| builder.max_remote_value_bytes(2000));
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let gate = Gate::new(false);
    let (cache, acme, overview, passes) =
        (one.cache.clone(), cluster.acme.clone(), one.overview, gate.clone());
    let ensuring = TaskTracker::new().spawn(async move {
        let compute = move |_| async move {
            passes.pass().await;
            Ok(Computed::new(noise(3, 3000)))
        };
        cache.ensure(&acme, Read::new(overview, "window=24h"), compute).await
    });
    gate.arrivals(1).await;
    let second = start(other, &Gate::new(true));
    settle().await;
    assert_eq!(cluster.computed(), 0, "it waits");
    let ended = Instant::now();
    gate.set(true);
    let warmed = ensuring.await.unwrap().unwrap().warmed.unwrap();
    assert!(warmed.memory && !warmed.redis, "{warmed:?}");
    given_up(&cluster, 0).await;
    assert!(matches!(second.await.unwrap().unwrap().outcome(), Outcome::Miss { .. }));
    let waited = ended.elapsed();
    assert!(waited < Duration::from_millis(20), "{waited:?}");
}

/// What cannot be compressed.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut rng = nexarch_cache::testing::Rng::new(seed);
    (0..bytes).map(|_| rng.next().to_le_bytes()[0]).collect()
}

/// What stands there may look right at its beginning and be none: it is fetched and counted once, not at each look.
#[tokio::test(start_paused = true)]
async fn a_value_with_a_good_beginning_is_fetched_once_while_another_computes() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    let (key, value) = cluster.only();
    let mut altered = value.to_vec();
    *altered.last_mut().unwrap() ^= 1;
    one.cache.forget(&cluster.acme);
    // An empty value is none.
    cluster.hub.plant(&key, "".into(), Duration::from_mins(1));
    cluster.clock.advance(Duration::from_secs(2));
    let gate = Gate::new(false);
    let first = start(one, &gate);
    gate.arrivals(1).await;
    let second = start(other, &Gate::new(true));
    settle().await;
    cluster.hub.plant(&key, altered.into(), Duration::from_mins(1));
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(other.remote.heads() >= 5, "{} looks", other.remote.heads());
    assert_eq!((other.remote.calls().0 - 2, other.rejected("corrupt")), (1, 1), "after value and lease");
    gate.set(true);
    first.await.unwrap().unwrap();
    assert!(matches!(second.await.unwrap().unwrap().outcome(), Outcome::HitRedis { .. }));
}

/// Calls for a lease that fail are errors of the tier like all others.
#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_taken_is_counted() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    // The value is looked for in time, and the lease is not taken in time.
    let gate = Gate::new(true);
    let delay = Duration::from_millis(50);
    one.remote.set_faults(Faults { delay: (delay, delay), ..Faults::default() });
    let read = start(one, &gate);
    settle().await;
    one.remote.set_faults(Faults { delay: (delay * 4, delay * 4), ..Faults::default() });
    assert!(matches!(read.await.unwrap().unwrap().outcome(), Outcome::Miss { .. }));
    let counts = one.cache.remote_counts().unwrap();
    assert_eq!(counts.errors, 1, "{counts:?}");
}

/// However often it is given up, nobody waits longer than for one who died with it.
#[tokio::test(start_paused = true)]
async fn who_waits_for_one_failure_after_the_other_waits_no_longer_in_all() {
    let cluster = cluster(3);
    let [one, other, last] = &cluster.nodes[..] else { panic!() };
    let gates = [Gate::new(false), Gate::new(false)];
    let fail: fn() -> Result<Computed, BoxError> = || Err("no luck".into());
    start_with(&cluster, one, &gates[0], fail);
    gates[0].arrivals(1).await;
    let began = Instant::now();
    start_with(&cluster, other, &gates[1], fail);
    settle().await;
    let third = start(last, &Gate::new(true));
    tokio::time::sleep(Duration::from_millis(600)).await;
    gates[0].set(true);
    given_up(&cluster, 0).await;
    gates[1].arrivals(1).await;
    assert!(began.elapsed() < Duration::from_millis(800), "{:?}", began.elapsed());
    assert!(matches!(third.await.unwrap().unwrap().outcome(), Outcome::Miss { .. }));
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(700) && waited <= Duration::from_secs(1), "{waited:?}");
}

/// As somebody may leave it there, who can write to the tier: it looks given up each time, and is never free.
#[tokio::test(start_paused = true)]
async fn a_lease_that_stays_empty_costs_no_more_than_one_whose_node_died() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let gate = Gate::new(false);
    let failing = start_with(&cluster, one, &gate, || Err("no luck".into()));
    gate.arrivals(1).await;
    let lease = cluster.hub.keys().into_iter().find(|key| key.contains(":lease:")).unwrap();
    gate.set(true);
    failing.await.unwrap().unwrap_err();
    given_up(&cluster, 0).await;
    cluster.hub.plant(&lease, "".into(), Duration::from_mins(1));
    let (began, looks) = (Instant::now(), one.remote.heads());
    let read = tokio::time::timeout(Duration::from_secs(20), one.read()).await.expect("a read that ends");
    assert!(matches!(read.unwrap().outcome(), Outcome::Miss { .. }));
    let waited = began.elapsed();
    assert!(waited > Duration::from_millis(700) && waited <= Duration::from_millis(1010), "{waited:?}");
    assert!(one.remote.heads() - looks < 40, "{} looks", one.remote.heads() - looks);
}

/// A lease that has lapsed and is another's is not taken from him.
#[tokio::test(start_paused = true)]
async fn nobody_gives_up_what_is_not_his() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let gate = Gate::new(false);
    let failing = start_with(&cluster, one, &gate, || Err("no luck".into()));
    gate.arrivals(1).await;
    let lease = cluster.hub.keys().into_iter().find(|key| key.contains(":lease:")).unwrap();
    cluster.hub.plant(&lease, "another".into(), Duration::from_secs(1));
    gate.set(true);
    failing.await.unwrap().unwrap_err();
    one.written().await;
    assert_eq!(cluster.hub.peek(&lease).unwrap().0, "another");
}

/// What costs fewer than five round trips is computed at once.
#[tokio::test(start_paused = true)]
async fn what_is_cheap_waits_for_nobody() {
    for (round_trip, waits) in [(Duration::from_millis(3), true), (Duration::from_millis(5), false)] {
        let cluster = cluster(2);
        let other = &cluster.nodes[1];
        other.remote.set_round_trip((round_trip, round_trip));
        // 20 ms, by the clock of the cache.
        let clock = cluster.clock.clone();
        let slow = |_| async move {
            clock.advance(Duration::from_millis(20));
            Ok(nexarch_cache::Computed::new("x"))
        };
        let read = nexarch_cache::Read::new(other.overview, "another");
        other.cache.get_or_compute(&cluster.acme, read, slow).await.unwrap();
        let (_gate, second, began) = hanging(&cluster).await;
        second.await.unwrap().unwrap();
        let waited = began.elapsed();
        assert_eq!(waited > Duration::ZERO, waits, "{waited:?}");
        assert!(waited <= Duration::from_millis(40), "twice the cost: {waited:?}");
    }
}

/// A lease that is left over from the node's own computation, whose value was lost, holds nobody up.
#[tokio::test(start_paused = true)]
async fn a_lease_of_its_own_stops_no_node() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    one.read().await.unwrap();
    let leases = cluster.hub.keys().len() - cluster.entries().len();
    assert_eq!(leases, 1);
    let lease = cluster.hub.keys().into_iter().find(|key| key.contains(":lease:")).unwrap();
    let begins = format!("cache:{{{}}}:lease:", cluster.only().0);
    assert!(lease.starts_with(&begins), "of the namespace, and on the node of its entry: {lease}");
    one.cache.forget(&cluster.acme);
    let key = cluster.only().0;
    cluster.hub.plant(&key, "lost".into(), Duration::from_secs(1));
    let began = Instant::now();
    one.read().await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
}

/// Nobody is to wait for what will not be written.
#[tokio::test(start_paused = true)]
async fn a_scope_without_room_takes_no_lease() {
    let cluster = cluster_with(2, |builder| builder.scope_max_remote_bytes(0));
    for node in &cluster.nodes {
        let began = Instant::now();
        node.read().await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
    assert!(cluster.hub.keys().is_empty());
}

/// While the old value stands there, a look takes its beginning only; and a wait is not the time of a hit.
#[tokio::test(start_paused = true)]
async fn who_waits_for_another_node_does_not_fetch_the_old_value_again_and_again() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let clock = cluster.clock.clone();
    let costly = |_| async move {
        clock.advance(Duration::from_millis(400));
        Ok(nexarch_cache::Computed::new("old"))
    };
    let read = nexarch_cache::Read::new(one.overview, "window=24h");
    one.cache.get_or_compute(&cluster.acme, read, costly).await.unwrap();
    one.written().await;
    one.ingest();
    cluster.clock.advance(Duration::from_secs(2));
    let gate = Gate::new(false);
    let first = start(one, &gate);
    gate.arrivals(1).await;
    let second = start(other, &gate);
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (gets, looks) = (other.remote.calls().0, other.remote.heads());
    assert!(gets == 2 && looks >= 3, "the old value, then the lease: {gets}; {looks}");
    gate.set(true);
    first.await.unwrap().unwrap();
    let answer = second.await.unwrap().unwrap();
    assert!(matches!(answer.outcome(), Outcome::HitRedis { .. }), "{:?}", answer.outcome());
    assert_eq!((text(&answer), other.remote.calls().0), (cluster.now(), 3));
    let stats = &other.cache.stats(&cluster.acme).operations["overview"];
    assert!(stats.hits_redis == 1 && stats.hit_ms.p99 == 0.0, "{stats:?}");
}

/// A value that is not to be found in the tier is not waited for.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_value_that_is_not_shared() {
    for large in [true, false] {
        let cluster = cluster_with(2, |builder| builder.max_remote_value_bytes(2000));
        let [one, other] = &cluster.nodes[..] else { panic!() };
        let noise = move |n: u64| noise(n, if large { 3000 } else { 1000 });
        for n in 0..3 {
            for node in [one, other] {
                let began = Instant::now();
                let params = n.to_string();
                let compute = move |_| async move { Ok(nexarch_cache::Computed::new(noise(n))) };
                let read = nexarch_cache::Read::new(node.overview, &params);
                let answer = node.cache.get_or_compute(&cluster.acme, read, compute).await.unwrap();
                node.written().await;
                cluster.clock.advance(Duration::from_millis(1));
                let found = matches!(answer.outcome(), Outcome::HitRedis { .. });
                assert_eq!(found, !large && std::ptr::eq(node, other));
                assert_eq!(began.elapsed(), Duration::ZERO, "{n}");
            }
        }
        assert_eq!(cluster.entries().len(), if large { 0 } else { 3 });
    }
}
