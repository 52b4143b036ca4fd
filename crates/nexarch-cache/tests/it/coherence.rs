//! Messages between nodes: what a true one brings, what a false one costs, and what is said of their state.

use crate::cluster::{Cluster, Node, cluster};
use crate::support::{Gate, scope, settle, text, world};
use bytes::Bytes;
use nexarch_cache::testing::{Faults, Hub};
use nexarch_cache::{
    Backend, Cache, Cause, Changed, Commit, Computed, Condition, Directives, Epoch, Invalidation,
    LocalAuthority, ManualClock, Mode, Operation, Outcome, Reach, Read, Reason, Scope, ScopeVersions,
};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const SECOND: Duration = Duration::from_secs(1);

/// A message as nodes send them, told of versions that the database need not know.
fn message(epoch: u64, scope: &Scope, versions: &ScopeVersions) -> Bytes {
    nexarch_cache::testing::message(Epoch::new(epoch), scope, versions)
}

fn huge() -> ScopeVersions {
    let all = u64::MAX - 7;
    ScopeVersions { clock: all, data: all, all, operations: vec![("overview".into(), all)] }
}

async fn serves(node: &Node, cluster: &Cluster) -> bool {
    text(&node.read().await.unwrap()) == cluster.now()
}

#[tokio::test(start_paused = true)]
async fn what_one_node_changes_another_learns_at_once() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let _listening = other.listen().await;
    for _ in 0..3 {
        other.read().await.unwrap();
        one.ingest();
        settle().await;
        assert!(serves(other, &cluster).await, "no time has passed");
        one.cache.invalidate(&cluster.acme, Invalidation::All, Cause::Manual).await.unwrap();
        settle().await;
        assert!(serves(other, &cluster).await);
        let only = Invalidation::Operations(vec!["overview".into()]);
        one.cache.invalidate(&cluster.acme, only, Cause::Manual).await.unwrap();
        settle().await;
        assert!(serves(other, &cluster).await);
    }
    assert!(other.cache.remote_counts().unwrap().heard >= 9);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_lost_costs_the_lease_and_no_more() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let _listening = other.listen().await;
    other.remote.set_faults(Faults { loses: 1.0, ..Faults::default() });
    other.read().await.unwrap();
    one.ingest();
    settle().await;
    assert!(!serves(other, &cluster).await, "nobody told it");
    cluster.clock.advance(SECOND + Duration::from_nanos(1));
    assert!(serves(other, &cluster).await);
}

/// It makes one read ask the authority. Then it is forgotten; no value carries its version; nothing fails.
#[tokio::test(start_paused = true)]
async fn a_false_message_costs_one_question() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let _listening = one.listen().await;
    let first = one.read().await.unwrap();
    for part in 0..3 {
        let reads = cluster.db.reads.count();
        let mut versions = ScopeVersions::default();
        match part {
            0 => versions.all = huge().all,
            1 => versions.data = huge().data,
            _ => versions.operations = huge().operations,
        }
        cluster.hub.forge(&message(7, &cluster.acme, &versions));
        settle().await;
        let answer = one.read().await.unwrap();
        assert!(matches!(answer.outcome(), Outcome::HitMemory { .. }), "{part}: {:?}", answer.outcome());
        assert_eq!((cluster.db.reads.count(), answer.label()), (reads + 1, first.label()));
        one.read().await.unwrap();
        assert_eq!(cluster.db.reads.count(), reads + 1);
    }
    one.ingest();
    assert!(serves(one, &cluster).await, "a real change is above what is stored");
}

/// ... also when a computation runs while it comes, and when the database does not answer.
#[tokio::test(start_paused = true)]
async fn a_false_message_gets_into_no_label_and_fails_no_read() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let _listening = one.listen().await;
    one.cache.version(&cluster.acme).await.unwrap();
    let gate = Gate::new(false);
    let running = TaskTracker::new().spawn(one.begin(&gate, Directives::default()));
    gate.arrivals(1).await;
    cluster.hub.forge(&message(7, &cluster.acme, &huge()));
    settle().await;
    cluster.db.lock().away = true;
    let waiting = TaskTracker::new().spawn(one.begin(&gate, Directives::default()));
    settle().await;
    gate.set(true);
    let label = running.await.unwrap().unwrap().label();
    assert!(label.tenant.max(label.operation).max(label.data) < 1000, "{label:?}");
    assert!(waiting.await.unwrap().is_ok(), "trusted without the message, and so with it");
    cluster.db.lock().away = false;
    one.ingest();
    assert!(serves(one, &cluster).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_message_of_this_database_does_nothing() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let _listening = one.listen().await;
    one.read().await.unwrap();
    let reads = cluster.db.reads.count();
    let good = message(7, &cluster.acme, &huge());
    let mut altered = good.to_vec();
    altered[20] ^= 1;
    for forged in [
        Bytes::new(),
        Bytes::from_static(b"hello"),
        altered.into(),
        good.slice(..good.len() - 1),
        vec![0; 1 << 20].into(),
    ] {
        cluster.hub.forge(&forged);
    }
    cluster.hub.forge(&message(8, &cluster.acme, &huge()));
    cluster.hub.forge(&message(7, &scope("nobody"), &huge()));
    settle().await;
    assert!(matches!(one.read().await.unwrap().outcome(), Outcome::HitMemory { .. }));
    assert_eq!(cluster.db.reads.count(), reads);
    let counts = one.cache.remote_counts().unwrap();
    assert_eq!((counts.garbled, counts.heard), (5, 0));
    assert_eq!(one.cache.scopes(), std::slice::from_ref(&cluster.acme), "no scope comes to be by a message");
}

/// A message that comes while versions are read is of a later change than the read saw.
#[tokio::test(start_paused = true)]
async fn a_message_that_overtakes_a_read_of_versions_is_not_forgotten_by_it() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let _listening = other.listen().await;
    other.read().await.unwrap();
    cluster.db.reads.set(false);
    let before = cluster.db.reads.count();
    let cache = other.cache.clone();
    let refresh = TaskTracker::new().spawn(async move { cache.refresh().await });
    cluster.db.reads.arrivals(before + 1).await;
    let versions = cluster.db.commit(&cluster.acme);
    let commit = Commit::new(Changed::Data, Cause::Ingest, versions);
    one.cache.announce(&cluster.acme, &commit);
    settle().await;
    cluster.db.reads.set(true);
    refresh.await.unwrap().unwrap();
    assert!(serves(other, &cluster).await);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_message_and_their_number_has_a_limit() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let slow = Duration::from_millis(99);
    one.remote.set_faults(Faults { delay: (slow, slow), ..Faults::default() });
    one.cache.version(&cluster.acme).await.unwrap();
    let began = tokio::time::Instant::now();
    (0..1000).for_each(|_| drop(one.ingest()));
    assert_eq!(began.elapsed(), Duration::ZERO);
    one.written().await;
    let counts = one.cache.remote_counts().unwrap();
    assert_eq!((counts.published, counts.not_published), (256, 744));
    drop(other.listen().await);
}

/// The first thing that a node does may be to write: it asks under which epoch.
#[tokio::test(start_paused = true)]
async fn a_node_that_only_writes_is_heard() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let _listening = other.listen().await;
    other.read().await.unwrap();
    one.ingest();
    settle().await;
    assert!(serves(other, &cluster).await);
}

#[tokio::test(start_paused = true)]
async fn an_invalidation_says_how_far_it_reached_after_one_deadline_at_most() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let reach = async |what| one.cache.invalidate(&cluster.acme, what, Cause::Manual).await.unwrap().reach;
    assert_eq!(reach(Invalidation::All).await, Reach::Cluster);
    let hour = Duration::from_hours(1);
    for (faults, waited) in [
        (Faults { away: Some(Reason::Refused), ..Faults::default() }, 0),
        (Faults { deaf: true, ..Faults::default() }, 0),
        (Faults { breaks: 1.0, ..Faults::default() }, 0),
        (Faults { delay: (hour, hour), ..Faults::default() }, 100),
    ] {
        one.remote.set_faults(faults);
        let began = tokio::time::Instant::now();
        assert_eq!(reach(Invalidation::All).await, Reach::Node, "{faults:?}");
        assert_eq!(began.elapsed(), Duration::from_millis(waited), "{faults:?}");
    }
    let alone = world(true);
    let done = alone.cache.invalidate(&alone.acme, Invalidation::All, Cause::Manual).await.unwrap();
    assert_eq!((done.reach, done.reach.as_str()), (Reach::Cluster, "cluster"));
    let shared = world(false);
    let done = shared.cache.invalidate(&shared.acme, Invalidation::All, Cause::Manual).await.unwrap();
    assert_eq!((done.reach, done.reach.as_str()), (Reach::Node, "node"));
}

#[tokio::test(start_paused = true)]
async fn the_state_is_told_as_promised() {
    let cluster = cluster(1);
    let one = &cluster.nodes[0];
    let told = || {
        let status = one.cache.status();
        (status.backend, status.status, status.mode, status.reason)
    };
    assert_eq!(told(), (Backend::Redis, Condition::Connected, Mode::Pubsub, None));
    let since = one.cache.status().since;
    cluster.clock.advance(SECOND);
    one.remote.set_faults(Faults { deaf: true, ..Faults::default() });
    let expected = (Backend::Redis, Condition::Degraded, Mode::Polling, Some(Reason::Messages));
    assert_eq!(told(), expected);
    assert_eq!(one.cache.status().since, since + SECOND);
    one.remote.set_faults(Faults { away: Some(Reason::Dns), ..Faults::default() });
    assert_eq!(told(), (Backend::Memory, Condition::Degraded, Mode::Local, Some(Reason::Dns)));
    let status = serde_json::to_value(one.cache.status()).unwrap();
    assert_eq!((&status["backend"], &status["status"]), (&"memory".into(), &"degraded".into()));
    assert_eq!((&status["mode"], &status["reason"]), (&"local".into(), &"dns".into()));
    assert_eq!(status["staleness_bound_ms"], 1000);
    assert_eq!(status["since"], "1970-01-12T13:46:41.000Z");
    one.cache.set_enabled(false);
    assert_eq!(told(), (Backend::Disabled, Condition::Disabled, Mode::Local, None));

    let alone = world(true).cache.status();
    assert_eq!((alone.backend, alone.status, alone.mode), (Backend::Memory, Condition::Memory, Mode::Local));
    assert_eq!((alone.staleness_bound, alone.reason), (Duration::ZERO, None));
    let document = serde_json::to_value(one.cache.stats(&cluster.acme)).unwrap();
    for (name, value) in [("breaker", "open"), ("coherence", "local")] {
        assert_eq!(document["redis"][name], value);
    }
    assert!(
        document["redis"]["round_trip_ms"]["p99"].is_number() && document["redis"]["reconnects"].is_number()
    );
}

/// Without a database between them: values and messages are believed, and what is not told ends with the TTL.
#[tokio::test(start_paused = true)]
async fn processes_without_a_common_database_share_values_and_messages() {
    let clock = Arc::new(ManualClock::default());
    let hub = Hub::new(clock.clone());
    let acme = scope("acme");
    let ttl = SECOND * 60;
    let tracker = TaskTracker::new();
    let node = |seed| {
        let remote = hub.node(seed, tracker.clone());
        let authority = Arc::new(LocalAuthority::shared_with_clock(Epoch::new(7), clock.clone()));
        let cache = Cache::builder(authority.clone())
            .clock(clock.clone())
            .remote(remote.clone())
            .operations([Operation::new("orders", ttl)])
            .build(tracker.clone())
            .unwrap();
        (cache, authority, remote)
    };
    let ((one, authority, _), (other, _, remote)) = (node(1), node(2));
    assert_eq!(one.staleness_bound(), ttl);
    let stop = CancellationToken::new();
    let listening = TaskTracker::new().spawn(other.clone().run(stop.clone()));
    let read = async |cache: &Cache, now: &'static str| {
        let read = Read::new(cache.operation("orders").unwrap(), "p");
        let answer = cache.get_or_compute(&acme, read, move |_| async move { Ok(Computed::new(now)) }).await;
        settle().await;
        text(&answer.unwrap())
    };
    let change = || {
        let versions = authority.change_data(&acme);
        one.announce(&acme, &Commit::new(Changed::Data, Cause::Ingest, versions));
    };
    change();
    assert_eq!((read(&one, "a").await, read(&other, "b").await), ("a".into(), "a".into()), "shared");
    change();
    settle().await;
    assert_eq!((read(&other, "c").await, read(&one, "d").await), ("c".into(), "c".into()), "told");
    remote.set_faults(Faults { loses: 1.0, ..Faults::default() });
    change();
    settle().await;
    assert_eq!(read(&other, "e").await, "c", "not told");
    assert_eq!(read(&one, "f").await, "f");
    clock.advance(ttl);
    assert_eq!(read(&other, "g").await, "g", "but it ends");

    // What another process gave out is below what this one gives out next.
    remote.set_faults(Faults::default());
    clock.jump_wall(SECOND);
    let done = other.invalidate(&acme, Invalidation::All, Cause::Manual).await.unwrap();
    settle().await;
    assert_eq!((done.reach, read(&other, "h").await), (Reach::Cluster, "h".into()));
    // Nor is a version believed that could never be overtaken.
    hub.forge(&message(7, &acme, &huge()));
    settle().await;
    assert_eq!(read(&other, "i").await, "h");
    stop.cancel();
    listening.await.unwrap();
}
