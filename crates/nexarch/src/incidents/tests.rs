//! The demo's shop, in a time of the tests: its incidents come, are told, and go.

use std::collections::BTreeMap;

use nexarch_core::{
    facts::Facts, ids::TraceId, incident::Happened, infer::contribution, rollup::Delta, span::Span,
};
use nexarch_store::{Batch, Options, Role, Store};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    app::Server,
    auth, config,
    demo::Shop,
    http::Params,
    lifecycle::Lifecycle,
    view::{self, Range, View},
};

const MINUTE_NS: u64 = 60_000_000_000;

/// When the shop opens: with a minute.
const OPENED_NS: u64 = 1_790_000_040_000_000_000;

fn minute(ns: u64) -> u32 {
    u32::try_from(ns / MINUTE_NS).unwrap()
}

/// Cells by minute of the customers who come in some minutes; of one trace in four: less is enough.
fn cells(shop: &Shop, minutes: std::ops::Range<u32>) -> Vec<(u32, Vec<u8>)> {
    let mut traces: BTreeMap<TraceId, Vec<Facts>> = BTreeMap::new();
    let ns = |minute: u32| u64::from(minute) * MINUTE_NS;
    for span in shop.customers(ns(minutes.start), ns(minutes.end)) {
        if span.trace_id.to_bytes()[15].trailing_zeros() >= 2 {
            traces.entry(span.trace_id).or_default().push(Facts::from(&span));
        }
    }
    let mut sum = Delta::default();
    for trace in traces.values() {
        sum.add(&contribution(trace));
    }
    sum.encode()
}

#[test]
fn the_incidents_of_the_shop_come_and_go() {
    let shop = Shop::new(7, OPENED_NS);
    let opened = minute(OPENED_NS);
    let mut stored: Vec<(u32, Vec<u8>)> = Vec::new();
    let (mut watch, mut told) = (Watch::default(), Vec::new());
    for now in opened..opened + 37 {
        stored.extend(cells(&shop, now..now + 1));
        // All that started in the minute before the last one has ended by now.
        let due = watch.due(u64::from(now) * MINUTE_NS, u64::from(now) * MINUTE_NS);
        let due = Minutes { from: due.from.max(opened), ..due };
        let wanted = Watch::minutes(due);
        let mut minutes = stored.clone();
        minutes.retain(|(minute, _)| (wanted.from..wanted.to).contains(minute));
        minutes.sort_by_key(|(minute, _)| *minute);
        let (next, changes) = judge(watch, due, &minutes, &[], 1_000.0).unwrap();
        watch = next;
        told.extend(changes);
    }
    let of = |what| told.iter().filter(move |change: &&Change| change.happened == what);
    // Every ten minutes it turns unwell 45 s into a minute, for 150 s: four minutes, of which the first may show too little.
    let opened_at: Vec<u32> = of(Happened::Opened).map(|change| change.incident.from - opened).collect();
    assert_eq!(opened_at.len(), 4, "{told:#?}");
    for (cycle, from) in (0u32..).zip(opened_at) {
        assert!((cycle * 10..cycle * 10 + 2).contains(&from), "{from} in cycle {cycle}");
    }
    let closed_at: Vec<u32> =
        of(Happened::Closed).map(|change| change.incident.to.unwrap() - opened).collect();
    assert_eq!(closed_at, [4, 14, 24], "{told:#?}");
    // The first that proves anything may be the entry operation; in the end it is the deepest.
    let roots: Vec<&str> = of(Happened::Closed).map(|change| &*change.incident.root).collect();
    assert_eq!(roots, ["shop/payments@production"; 3], "{told:#?}");
    let services =
        |change: &Change| change.incident.services.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    let largest = told.iter().map(services).max_by_key(Vec::len).unwrap();
    assert!(largest.contains(&"shop/checkout@production".to_owned()), "{largest:?}");
    assert!(!largest.contains(&"shop/catalog@production".to_owned()), "{largest:?}");
}

/// A server of a new database with one tenant, whose clock is the wall's.
struct Node {
    server: Server,
    tenant: TenantId,
    _folder: tempfile::TempDir,
}

impl Node {
    /// These spans are there before anybody looks.
    async fn new(spans: Vec<Span>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("a.db").display());
        let store = nexarch_store::open(&url, Options::new(Role::Owner, lifecycle::now_us)).await.unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        store.create_tenant(&tenant, "").await.unwrap();
        send(&*store, &tenant, spans).await;
        let names =
            [("PORT", "0"), ("OTLP_GRPC_ADDR", "off"), ("OTLP_HTTP_ADDR", "off"), ("DATABASE_URL", &url)];
        let flags = config::flags(names.map(|(name, value)| (name, Some(value.to_owned()))));
        let config = config::load(&config::Sources::default().layer("flag", flags)).unwrap();
        let server = Server::start(&config, store, Lifecycle::default()).await.unwrap();
        Self { server, tenant, _folder: folder }
    }

    fn app(&self) -> &Arc<App> {
        &self.server.app
    }

    /// Looks until all is judged: the server itself looks, too, and may hold the turn.
    async fn look(&self, now_ns: u64) {
        let mut looker = Looker::new(self.app());
        loop {
            looker.look(self.app(), now_ns).await.unwrap();
            let mut snapshot = self.app().store.snapshot(&self.tenant).await.unwrap();
            let newest = snapshot.newest_ns().unwrap();
            if snapshot.watch().await.unwrap().1.due(newest, now_ns).is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn view(&self, view: View) -> serde_json::Value {
        let (store, objectives) = (&*self.app().store, &self.app().objectives);
        let computed = view::compute(store, &self.tenant, &view, objectives, None).await.unwrap();
        serde_json::from_slice(computed.body()).unwrap()
    }
}

async fn send(store: &dyn Store, tenant: &TenantId, spans: Vec<Span>) {
    for spans in spans.chunks(10_000) {
        let batch = Batch { created_us: None, tenant: tenant.clone(), spans: spans.to_vec() };
        store.append(vec![batch]).await.unwrap().pop().unwrap().unwrap();
    }
}

fn range(params: &[(&str, &str)]) -> Range {
    let query: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let uri = format!("/?{}", query.join("&")).parse().unwrap();
    Range::parse(&Params::parse(&uri, &["window", "from", "to", "environment"]).unwrap()).unwrap()
}

/// The past of the shop, an hour with one incident of five minutes, played minute by minute.
#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_told_counted_and_shown() {
    let node = Node::new(Vec::new()).await;
    let (app, tenant) = (Arc::clone(node.app()), node.tenant.clone());
    let scopes = [nexarch_store::Scope::Read];
    let (_, secret) = auth::create_key(&*app.store, &tenant, "", &scopes, None).await.unwrap();
    app.auth.observe(app.store.versions(&[]).await.unwrap().auth_version);
    let caller = app.auth.authenticate(secret.expose(), lifecycle::now_us()).await.unwrap();
    let mut stream = app.streams.subscribe(&caller, u64::MAX / 4, None).unwrap();

    let shop = Shop::new(7, lifecycle::now_ns() / MINUTE_NS * MINUTE_NS);
    let (past, opened) = (minute(shop.past_ns()), minute(shop.opened_ns()));
    let (mut most, mut seen_open, mut is_root) = (0, Vec::new(), false);
    for now in (past..opened).step_by(2) {
        let from_ns = u64::from(now) * MINUTE_NS;
        send(&*app.store, &tenant, shop.tick(from_ns, from_ns + 2 * MINUTE_NS)).await;
        node.look(from_ns + 2 * MINUTE_NS).await;
        let overview = node.view(View::Overview(range(&[("window", "15m")]))).await;
        let open = overview["active_incidents"].as_u64().unwrap();
        most = most.max(open);
        seen_open.push(open);
        let services = node.view(View::Services(range(&[("window", "15m")]))).await;
        let payments = services.as_array().unwrap().iter().find(|it| it["name"] == "payments");
        is_root |= open > 0 && payments.is_some_and(|it| it["health_status"] == "critical");
    }
    assert!(is_root, "the root of an open incident is critical");
    assert!(most >= 1, "{seen_open:?}");
    assert_eq!((seen_open[0], seen_open[seen_open.len() - 1]), (0, 0), "{seen_open:?}");

    let health = node.view(View::Health(Range::default())).await;
    let incident = &health["incidents"][0];
    assert_eq!(
        (&incident["root"], &incident["status"]),
        (&"shop/payments@production".into(), &"closed".into())
    );
    assert!(incident["signals"].as_array().unwrap().iter().any(|signal| signal["signal"] == "p95"));
    assert_eq!(health["active_incidents"], 0);
    assert_eq!(health["not_known"], serde_json::json!([]));
    let elsewhere = node.view(View::Health(range(&[("environment", "moon")]))).await;
    assert_eq!(elsewhere["incidents"], serde_json::json!([]));

    let running = CancellationToken::new();
    let mut events = String::new();
    while !events.contains(r#""change":"closed""#) {
        let told = stream.next(&running).await.unwrap();
        events.push_str(std::str::from_utf8(&told).unwrap());
    }
    let id = incident["id"].as_str().unwrap();
    assert!(events.contains("event: incident\n") && events.contains(r#""change":"opened""#), "{events}");
    assert!(events.contains(&format!(r#""id":"{id}""#)), "{events}");
    drop(stream);
    app.lifecycle.finish(tokio::time::Instant::now() + Duration::from_secs(10)).await;
    app.store.close().await;
}

/// Of two that look at once one judges: neither verdicts nor news come twice.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_judge_once() {
    let shop = Shop::new(7, lifecycle::now_ns() / MINUTE_NS * MINUTE_NS);
    // The server looks as well, as soon as it starts: a third one.
    let node = Node::new(shop.tick(shop.past_ns(), shop.past_ns() + 40 * MINUTE_NS)).await;
    let now_ns = shop.past_ns() + 40 * MINUTE_NS;
    let (mut one, mut other) = (Looker::new(node.app()), Looker::new(node.app()));
    let (first, second) = tokio::join!(one.look(node.app(), now_ns), other.look(node.app(), now_ns));
    first.unwrap();
    second.unwrap();
    node.look(now_ns).await;
    let mut snapshot = node.app().store.snapshot(&node.tenant).await.unwrap();
    let (revision, watch) = snapshot.watch().await.unwrap();
    assert_eq!(revision, 1, "one of them was taken");
    drop(snapshot);
    // And what a slow one found in an older state is not.
    let late = Looked { revision: 0, watch: Watch::default(), changes: Vec::new() };
    assert_eq!(node.app().store.note_incidents(&node.tenant, late).await.unwrap(), Noted::Overtaken);
    let mut snapshot = node.app().store.snapshot(&node.tenant).await.unwrap();
    assert_eq!(snapshot.watch().await.unwrap(), (1, watch));
    drop(snapshot);
    node.app().lifecycle.finish(tokio::time::Instant::now() + Duration::from_secs(10)).await;
    node.app().store.close().await;
}

/// A sender's clock may run ahead: its minutes are judged when they are over, although no newer data come.
#[tokio::test(flavor = "multi_thread")]
async fn data_ahead_of_the_clock_are_judged_when_their_time_comes() {
    let start_ns = lifecycle::now_ns() / MINUTE_NS * MINUTE_NS + MINUTE_NS;
    let shop = Shop::new(7, start_ns);
    let node = Node::new(shop.tick(start_ns, start_ns + 12 * MINUTE_NS)).await;
    let mut looker = Looker::new(node.app());
    for minutes in [4, 4, 5, 12] {
        let now_ns = start_ns + minutes * MINUTE_NS;
        let is_judged = async || {
            let mut snapshot = node.app().store.snapshot(&node.tenant).await.unwrap();
            let newest_ns = snapshot.newest_ns().unwrap();
            snapshot.watch().await.unwrap().1.due(newest_ns, now_ns).is_empty()
        };
        // The server looks, too, and may hold the turn.
        let looks = async {
            looker.look(node.app(), now_ns).await.unwrap();
            while !is_judged().await {
                looker.look(node.app(), now_ns).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        // Before the traces are settled, which is news as well.
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, looks).await.unwrap_or_else(|_| panic!("not judged after {minutes}"));
    }
    node.app().lifecycle.finish(tokio::time::Instant::now() + Duration::from_secs(10)).await;
    node.app().store.close().await;
}
