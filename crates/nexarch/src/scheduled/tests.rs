//! When it is due, in a time that tests turn; and what is done then, over a real database.

use std::sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

use nexarch_cache::{Held, Read};
use nexarch_core::native;
use nexarch_store::{Batch, Options, Role, Scope as Scopes, Store};
use tokio::time::Instant;

use super::*;
use crate::{app::Server, auth, config, http::Params, lifecycle::Lifecycle, view::View};

const MINUTE_US: u64 = 60_000_000;

/// Thursday, 1 January 2026, 00:00:30.
const START_US: u64 = 1_767_225_630_000_000;

/// Follows a schedule for a while; when it was due and when it was called, after the start, in seconds.
async fn called(expression: &str, chance: u64, minutes: u64, work: Duration) -> Vec<(u64, u64)> {
    let schedule: Schedule = expression.parse().unwrap();
    let began = Instant::now();
    let now_us = || START_US + u64::try_from(began.elapsed().as_micros()).unwrap();
    let calls = Mutex::new(Vec::new());
    let note = |due_us: u64| {
        calls.lock().unwrap().push(((due_us - START_US) / 1_000_000, began.elapsed().as_secs()));
        tokio::time::sleep(work)
    };
    let whole = Duration::from_secs(60 * minutes);
    tokio::time::timeout(whole, follow(&schedule, now_us, || chance, note)).await.unwrap_err();
    calls.into_inner().unwrap()
}

#[tokio::test(start_paused = true)]
async fn it_is_called_when_due_and_what_came_meanwhile_is_passed_over() {
    let quick = called("*/5 * * * *", 0, 16, Duration::ZERO).await;
    assert_eq!(quick, [(270, 270), (570, 570), (870, 870)]);
    let slow = called("* * * * *", 0, 6, Duration::from_secs(100)).await;
    assert_eq!(slow, [(30, 30), (150, 150), (270, 270)]);
}

#[tokio::test(start_paused = true)]
async fn it_is_put_off_by_a_part_of_the_time_between_and_never_long() {
    for (chance, late) in [(0, 0), (3_000_000, 3), (6_000_000, 6), (6_000_001, 0)] {
        let minutely = called("* * * * *", chance, 3, Duration::ZERO).await;
        assert_eq!(minutely[..2], [(30, 30 + late), (90, 90 + late)], "{chance}");
    }
    for chance in (0..1_000_000).map(|n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15)) {
        assert!(jitter_us(MINUTE_US, chance) <= MINUTE_US / 10);
        assert!(jitter_us(24 * 60 * MINUTE_US, chance) <= 30_000_000);
    }
    assert_eq!(jitter_us(24 * 60 * MINUTE_US, 30_000_000), 30_000_000, "all of it is used");
}

/// A clock that is set is followed.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_is_noticed() {
    let (set, began) = (AtomicU64::new(0), Instant::now());
    let now_us =
        || START_US + set.load(Ordering::SeqCst) + u64::try_from(began.elapsed().as_micros()).unwrap();
    let waiting = wait_until(START_US + 60 * MINUTE_US, &now_us);
    let setting = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        set.store(60 * MINUTE_US, Ordering::SeqCst);
    };
    let (waited, ()) = tokio::join!(waiting, setting);
    assert!(waited && began.elapsed() <= Duration::from_secs(100) + LOOK, "{:?}", began.elapsed());
}

/// Who began with a clock that was a day ahead does not wait for that day.
#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_is_followed() {
    const DAY_US: u64 = 24 * 60 * MINUTE_US;
    let (ahead, began) = (AtomicU64::new(DAY_US), Instant::now());
    let now_us =
        || START_US + ahead.load(Ordering::SeqCst) + u64::try_from(began.elapsed().as_micros()).unwrap();
    let (schedule, calls) = ("*/5 * * * *".parse().unwrap(), Mutex::new(Vec::new()));
    let note = |due_us: u64| {
        calls.lock().unwrap().push(i64::try_from(due_us).unwrap() - i64::try_from(START_US).unwrap());
        std::future::ready(())
    };
    let setting = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        ahead.store(0, Ordering::SeqCst);
        std::future::pending::<()>().await;
    };
    let following = async { tokio::join!(follow(&schedule, now_us, || 0, note), setting) };
    tokio::time::timeout(Duration::from_mins(10), following).await.unwrap_err();
    assert_eq!(calls.into_inner().unwrap(), [270_000_000, 570_000_000]);
}

/// A server of a new database with these tenants, each with a span.
struct Node {
    server: Server,
    _folder: tempfile::TempDir,
}

impl Node {
    async fn new(tenants: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        let store = nexarch_store::open(&url, Options::new(Role::Owner, lifecycle::now_us)).await.unwrap();
        for id in tenants {
            store.create_tenant(&tenant(id), "").await.unwrap();
            append(&*store, &tenant(id), 1).await;
        }
        let names =
            [("PORT", "0"), ("OTLP_GRPC_ADDR", "off"), ("OTLP_HTTP_ADDR", "off"), ("DATABASE_URL", &url)];
        let flags = config::flags(names.map(|(name, value)| (name, Some(value.to_owned()))));
        let config = config::load(&config::Sources::default().layer("flag", flags)).unwrap();
        let server = Server::start(&config, store, Lifecycle::default()).await.unwrap();
        Self { server, _folder: folder }
    }

    fn app(&self) -> &Arc<App> {
        &self.server.app
    }

    /// Is the overview, or a list, of a tenant in the cache?
    fn holds(&self, id: &str) -> Vec<Held> {
        let views = [View::Overview(Range::default()), View::Services(Range::default())];
        let scope = Scope::new(id).unwrap();
        let held = |view: View| {
            let (key, app) = (view.key(), self.app());
            app.cache.held(&scope, Read::new(app.operations.get(view.operation()), &key))
        };
        views.map(held).into()
    }

    async fn end(self) {
        let app = Arc::clone(self.app());
        app.lifecycle.finish(Instant::now() + Duration::from_secs(10)).await;
        app.store.close().await;
    }
}

fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

async fn append(store: &dyn Store, id: &TenantId, nth: u64) {
    let span = serde_json::json!([{
        "trace_id": format!("{nth:032x}"), "span_id": format!("{nth:016x}"), "service_name": "web",
        "operation": "GET /", "kind": "server", "latency_ms": 5,
        "start_time": Timestamp::from_microsecond(i64::try_from(lifecycle::now_us()).unwrap()).unwrap().to_string(),
    }]);
    let rules = nexarch_core::otlp::Rules::default();
    let spans = native::decode_batch(span.to_string().as_bytes(), &rules).unwrap().spans;
    assert_eq!(spans.len(), 1);
    store
        .append(vec![Batch { created_us: None, tenant: id.clone(), spans }])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
}

#[tokio::test]
async fn every_operation_of_active_tenants_is_warmed_and_nobody_asked() {
    let node = Node::new(&["acme", "closed", "zoo"]).await;
    let app = node.app();
    app.store.create_tenant(&tenant("empty"), "").await.unwrap();
    app.store.set_tenant_enabled(&tenant("closed"), false).await.unwrap();
    every_tenant(app).await.expect("that one is disabled or has nothing is no failure");
    turn(app, "a", START_US).await;
    assert_eq!(node.holds("acme"), [Held::Fresh, Held::Fresh]);
    assert_eq!(node.holds("zoo"), [Held::Fresh, Held::Fresh]);
    assert_eq!((node.holds("closed"), node.holds("empty")), (vec![Held::Absent; 2], vec![Held::Absent; 2]));
    let stats = app.cache.stats(&Scope::new("acme").unwrap());
    assert!(stats.operations.values().all(|operation| operation.entries > 0), "{stats:?}");
    assert_eq!((stats.totals.requests, stats.totals.misses), (0, 0), "nobody asked");
    let now = lifecycle::now_us();
    assert!(is_active(app, &tenant("acme"), now).await.unwrap());
    assert!(!is_active(app, &tenant("acme"), now + 25 * 60 * MINUTE_US).await.unwrap(), "a day without data");
    assert!(!is_active(app, &tenant("nobody"), now).await.unwrap());
    assert!(!is_active(app, &tenant("closed"), now).await.unwrap(), "it was disabled meanwhile");
    let empty = tenant("empty");
    let (key, _) = auth::create_key(&*app.store, &empty, "", &[Scopes::Read], None).await.unwrap();
    assert!(!is_active(app, &empty, now).await.unwrap(), "no data, and nobody asked");
    app.store.note_uses(&[(key.id, now)]).await.unwrap();
    assert!(is_active(app, &empty, now).await.unwrap(), "somebody asked");
    assert!(!is_active(app, &empty, now + 25 * 60 * MINUTE_US).await.unwrap());
    node.end().await;
}

#[tokio::test]
async fn what_is_fresh_is_passed_over() {
    let node = Node::new(&["acme"]).await;
    let (acme, scope) = (tenant("acme"), Scope::new("acme").unwrap());
    let computed = async |node: &Node| {
        every_operation(node.app(), &acme, &scope)
            .await
            .iter()
            .map(|report| report.entries)
            .collect::<Vec<_>>()
    };
    let first = computed(&node).await;
    assert!(first.iter().all(|entries| *entries > 0), "{first:?}");
    assert_eq!(computed(&node).await, vec![0; first.len()], "all of it is there");
    let one = nexarch_cache::Invalidation::Operations(vec!["metrics".to_owned()]);
    node.app().cache.invalidate(&scope, one, nexarch_cache::Cause::Manual).await.unwrap();
    let again = computed(&node).await;
    let metrics = Op::ALL.iter().position(|operation| *operation == Op::Metrics).unwrap();
    assert!(again.iter().enumerate().all(|(nth, entries)| (*entries > 0) == (nth == metrics)), "{again:?}");
    node.end().await;
}

/// Another server of the same database is another owner of turns.
#[tokio::test]
async fn of_all_servers_one_warms_and_once() {
    let node = Node::new(&["acme"]).await;
    let (app, scope) = (node.app(), Scope::new("acme").unwrap());
    let invalidate = async || {
        let all = nexarch_cache::Invalidation::All;
        app.cache.invalidate(&scope, all, nexarch_cache::Cause::Manual).await.unwrap();
    };
    turn(app, "one", START_US).await;
    assert_eq!(node.holds("acme"), [Held::Fresh; 2]);
    invalidate().await;
    turn(app, "other", START_US).await;
    assert_eq!(node.holds("acme"), [Held::Overtaken; 2], "it was done already");
    turn(app, "other", START_US + MINUTE_US).await;
    assert_eq!(node.holds("acme"), [Held::Fresh; 2]);
    invalidate().await;
    let busy = Turn { work: WORK, due_us: START_US + 2 * MINUTE_US, owner: "one" };
    assert!(app.store.take_turn(&busy, LEASE).await.unwrap());
    for due_us in [busy.due_us, busy.due_us + MINUTE_US] {
        turn(app, "other", due_us).await;
        assert_eq!(node.holds("acme"), [Held::Overtaken; 2], "never two at once");
    }
    app.store.end_turn(&busy).await.unwrap();
    turn(app, "other", busy.due_us + MINUTE_US).await;
    assert_eq!(node.holds("acme"), [Held::Fresh; 2]);
    node.end().await;
}

/// What a page of defaults asks for is what is warmed.
#[test]
fn the_default_range_is_that_of_a_read_without_parameters() {
    assert_eq!(Range::default(), Range::parse(&Params::default()).unwrap());
}
