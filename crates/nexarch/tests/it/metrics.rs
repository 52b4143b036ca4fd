//! The page of figures: that it can be read by what reads such pages, that it is what `docs/metrics.md` says, and that each
//! figure moves with what it measures.

use std::{
    collections::BTreeSet,
    net::TcpStream,
    process::{Command, Stdio},
};

use nexarch::metrics::FAMILIES;
use nexarch_testkit::{FaultProxy, RedisServer};
use serde_json::json;

use crate::support::{
    client::{Body, Client},
    encode::{native, otlp_protobuf, rfc3339},
    figures::{self, Figures},
    grpc::Grpc,
    home::Home,
    oracle::{beside, python},
    server::Server,
    spans::{Span, call, many},
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";
const OPEN: &[(&str, &str)] = &[("METRICS_ADDR", "127.0.0.1:0")];

/// What happened between two looks.
struct Moved<'f>(&'f Figures, Figures);

impl Moved<'_> {
    /// By how much this very figure moved.
    fn by(&self, name: &str) -> f64 {
        self.1.of(name) - self.0.of(name)
    }
}

fn since<'f>(before: &'f Figures, door: &Client) -> Moved<'f> {
    Moved(before, Figures::read(door))
}

#[track_caller]
fn same(left: f64, right: f64) {
    assert!((left - right).abs() < 1e-9, "{left} is not {right}");
}

/// A server with Redis, and something of everything done to it.
fn busy(home: &Home, redis: &RedisServer) -> (Server, Client) {
    let url = format!("redis://{}", redis.address());
    let settings = [
        ("METRICS_ADDR", "127.0.0.1:0"),
        ("OTLP_GRPC_ADDR", "127.0.0.1:0"),
        ("OTLP_HTTP_ADDR", "127.0.0.1:0"),
        ("REDIS_URL", url.as_str()),
    ];
    let mut server = home.serve_with(&settings);
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    client.get(OVERVIEW).expect(200);
    let door = figures::door(&mut server);
    (server, door)
}

#[test]
fn it_is_read_by_promtool_and_by_the_official_client_in_both_formats() {
    let (home, redis) = (Home::new(), RedisServer::start());
    let (server, door) = busy(&home, &redis);
    let text = door.get("/metrics").expect(200);
    assert_eq!(text.header("Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    let accept = [(
        "Accept",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
    )];
    let open = door.get_with("/metrics", &accept).expect(200);
    assert_eq!(open.header("Content-Type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");

    let piped = |command: &mut Command, page: &[u8]| {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), page).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        said
    };
    // It lints names as well, and says nothing when all is well.
    assert_eq!(piped(Command::new("promtool").args(["check", "metrics"]), &text.body), "");
    for (page, format) in [(&text.body, "text"), (&open.body, "openmetrics")] {
        let mut names = piped(Command::new(python()).args([&beside("python/exposition.py"), format]), page);
        names.retain(|c| c != '\r');
        let read: BTreeSet<&str> = names.lines().collect();
        let known = FAMILIES.iter().map(|family| family.name.trim_end_matches("_total"));
        let missing: Vec<_> =
            known.filter(|name| !read.contains(name) && !name.contains("_token_")).collect();
        assert_eq!(missing, Vec::<&str>::new(), "{format}: {names}");
    }
    // Nothing else is there, and nobody's name is on it.
    door.get("/").expect(404);
    door.send("POST", "/metrics", &[], &Body::None).expect(405);
    server.stranger().get("/metrics").expect(404);
    let page = String::from_utf8(text.body).unwrap();
    assert!(!page.contains("default") && !page.contains("shop"), "a tenant or its services: {page}");
}

/// The rows of the page of documentation: name, kind, labels.
fn documented() -> Vec<(String, String, String, String, String)> {
    let page = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md"));
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let (name, rest) = row.split_once("` | ").unwrap();
        let cells: Vec<_> = rest.trim_end_matches(" |").splitn(4, " | ").map(str::to_owned).collect();
        let [kind, labels, unit, help] = cells.try_into().unwrap();
        (name.to_owned(), kind, labels, unit, help)
    })
    .collect()
}

#[test]
fn the_documentation_lists_what_there_is() {
    let expected: Vec<_> = FAMILIES
        .iter()
        .map(|family| {
            let dash = |text: String| if text.is_empty() { "–".to_owned() } else { text };
            let labels = family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(" ");
            let unit = dash(family.unit.to_owned());
            (
                family.name.to_owned(),
                family.kind.as_str().to_owned(),
                dash(labels),
                unit,
                family.help.to_owned(),
            )
        })
        .collect();
    assert_eq!(documented(), expected);
}

#[test]
fn reads_and_invalidations_move_the_figures_of_the_cache() {
    let home = Home::new();
    let mut server = home.serve_with(OPEN);
    let (door, client) = (figures::door(&mut server), server.first_client());
    let fresh = Figures::read(&door);
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    client.get(OVERVIEW).expect(200);
    client.get("/api/v1/dashboard/services/nobody").expect(404);
    client.batch(&native(&call(2))).expect(202);
    client.get_with(OVERVIEW, &[("Cache-Control", "max-stale=600")]).expect(200);
    client.send("DELETE", "/api/v1/cache/invalidate/services", &[], &Body::None).expect(200);
    let moved = since(&fresh, &door);
    let requests = |outcome: &str| {
        moved.by(&format!(
            r#"nexarch_cache_requests_total{{operation="dashboard_overview",outcome="{outcome}"}}"#
        ))
    };
    same(requests("miss"), 1.0);
    same(requests("hit_memory"), 1.0);
    same(requests("stale"), 1.0);
    same(requests("hit_redis") + requests("collapsed"), 0.0);
    // That there is none is an answer.
    same(moved.by(r#"nexarch_cache_computation_errors_total{operation="service_detail"}"#), 0.0);
    same(moved.by(r#"nexarch_cache_requests_total{operation="service_detail",outcome="miss"}"#), 1.0);
    let of = |name: &str| moved.by(&format!(r#"{name}{{operation="dashboard_overview"}}"#));
    same(of("nexarch_cache_hit_duration_seconds_count"), 1.0);
    same(of("nexarch_cache_computation_duration_seconds_count"), 1.0);
    assert!(
        of("nexarch_cache_computation_duration_seconds_sum") > of("nexarch_cache_hit_duration_seconds_sum")
    );
    same(of("nexarch_cache_entries"), 1.0);
    assert!(of("nexarch_cache_bytes") > 300.0);
    same(moved.by("nexarch_cache_tenants"), 1.0);
    let old = |operation: &str, cause: &str| {
        moved.by(&format!(r#"nexarch_cache_invalidations_total{{operation="{operation}",cause="{cause}"}}"#))
    };
    same(old("services", "ingest"), 2.0);
    same(old("services", "manual"), 1.0);
    same(old("dashboard_overview", "manual"), 0.0);
    assert!(moved.1.of("nexarch_cache_authority_read_duration_seconds_count") >= 1.0);
    same(moved.1.of("nexarch_cache_max_bytes"), f64::from(256 << 20));
    same(moved.1.of(r#"nexarch_cache_backend{backend="memory"}"#), 1.0);
    same(moved.1.sum("nexarch_cache_backend{"), 1.0);
    same(moved.1.of(&format!(r#"nexarch_build_info{{version="{}"}}"#, env!("CARGO_PKG_VERSION"))), 1.0);
    assert!(!moved.1.has("nexarch_redis_"), "there is none");
}

/// Every cached route, of the service `shop`.
const CACHED: [&str; 12] = [
    OVERVIEW,
    "/api/v1/dashboard/architecture-map",
    "/api/v1/architecture/export?format=html",
    "/api/v1/architecture/diff?base=1h&head=1h",
    "/api/v1/dashboard/services",
    "/api/v1/dashboard/services/shop",
    "/api/v1/dashboard/services/shop/metrics",
    "/api/v1/dashboard/trends",
    "/api/v1/dashboard/bottlenecks",
    "/api/v1/dashboard/dependencies",
    "/api/v1/dashboard/health",
    "/api/v1/architecture/issues",
];

/// What the server asks its database by itself, and for a page of figures.
const BY_ITSELF: [&str; 8] =
    ["changed_by_others", "ping", "settle", "unsettled", "note", "compact", "retain", "purge"];

#[test]
fn a_hit_of_any_route_asks_the_database_nothing() {
    let home = Home::new();
    let mut server = home.serve_with(OPEN);
    let (door, client) = (figures::door(&mut server), server.first_client());
    client.batch(&native(&call(1))).expect(202);
    let asked = || {
        let figures = Figures::read(&door);
        let own = |name: &&str| {
            figures.of(&format!(r#"nexarch_database_operation_duration_seconds_count{{operation="{name}"}}"#))
        };
        let all = figures.sum("nexarch_database_operation_duration_seconds_count{");
        all - BY_ITSELF.iter().map(own).sum::<f64>()
    };
    for route in CACHED {
        let before = asked();
        assert!(client.get(route).expect(200).header("Cache-Status").contains("fwd=miss"), "{route}");
        assert!(asked() > before, "{route}: it was computed from the database");
        let before = asked();
        for _ in 0..3 {
            let hit = client.get(route).expect(200);
            assert!(hit.header("Cache-Status").starts_with("nexarch; hit; detail=memory"), "{route}");
            client.get_with(route, &[("If-None-Match", hit.header("ETag"))]).expect(304);
        }
        same(asked() - before, 0.0);
    }
}

#[test]
fn what_does_not_fit_gives_way_and_is_counted() {
    let home = Home::new();
    let mut server = home.serve_with(&[OPEN[0], ("CACHE_MAX_MEMORY_MB", "1")]);
    let (door, client) = (figures::door(&mut server), server.first_client());
    let services = (1..=600).map(|id| Span::new(1, id, &format!("a-service-with-a-long-name-{id}"), 2));
    client.batch(&native(&services.collect::<Vec<_>>())).expect(202);
    let hour = 3_600_000_000_000;
    wait::until("evictions", || {
        let evicted = Figures::read(&door).of("nexarch_cache_evictions_total");
        for hours in 1..=20 {
            let (from, to) = (rfc3339(wait::now_ns() - (hours + 1) * hour), rfc3339(wait::now_ns() + hour));
            client.get(&format!("/api/v1/dashboard/services?from={from}&to={to}")).expect(200);
        }
        (evicted > 0.0).then_some(())
    });
    let now = Figures::read(&door);
    assert!(now.sum("nexarch_cache_bytes{") <= now.of("nexarch_cache_max_bytes"));
    same(now.of("nexarch_cache_max_bytes"), f64::from(1 << 20));
}

#[test]
fn what_is_sent_moves_the_figures_of_ingest() {
    let home = Home::new();
    let mut server = home.serve_with(OPEN);
    let (door, key) = (figures::door(&mut server), server.first_key());
    let client = server.client(&key);
    let fresh = Figures::read(&door);
    let spans = call(1);
    let mut batch = native(&spans);
    batch.as_array_mut().unwrap().push(json!({"trace_id": "x"}));
    let sent = serde_json::to_vec(&batch).unwrap().len();
    client.batch(&batch).expect(202);
    client.otlp_protobuf(&otlp_protobuf(&spans)).expect(200);
    let grpc = Grpc::connect(server.base().trim_start_matches("http://"), &key);
    grpc.export(&otlp_protobuf(&many(2, 30))).expect(0);
    let moved = since(&fresh, &door);
    let spans = |transport: &str, outcome: &str| {
        moved.by(&format!(r#"nexarch_ingest_spans_total{{transport="{transport}",outcome="{outcome}"}}"#))
    };
    same(spans("native", "accepted"), 3.0);
    same(spans("native", "failed"), 1.0);
    same(spans("otlp_http", "duplicate"), 3.0);
    same(spans("otlp_grpc", "accepted"), 30.0);
    same(moved.by("nexarch_ingest_group_spans_sum"), 36.0);
    same(moved.by("nexarch_ingest_group_spans_count"), 3.0);
    same(moved.by("nexarch_ingest_commit_duration_seconds_count"), 3.0);
    assert!(moved.by("nexarch_ingest_commit_duration_seconds_sum") > 0.0);
    same(moved.by(r#"nexarch_ingest_received_bytes_total{transport="native"}"#), sent as f64);
    same(moved.1.of("nexarch_ingest_queue_limit_batches"), 1024.0);
    same(moved.1.of("nexarch_ingest_inflight_limit_bytes"), f64::from(256 << 20));

    // A trace too large to be loaded with each batch waits; the settling task tells of it when it looks next.
    client.batch(&native(&many(9, 2_100))).expect(202);
    client.batch(&native(&many(9, 2_400).split_off(2_100))).expect(202);
    wait::until("a trace that waits", || {
        (Figures::read(&door).of("nexarch_settling_backlog_traces") > 0.0).then_some(())
    });
    let settled = Figures::read(&door).of("nexarch_settling_last_success_timestamp_seconds");
    assert!((wait::now_ns() as f64 / 1e9 - settled).abs() < 60.0);
}

#[test]
fn what_is_refused_is_counted_by_its_reason() {
    let home = Home::new();
    let settings = [OPEN[0], ("QUOTA_SPANS_PER_DAY", "10"), ("RATE_LIMIT_SPANS_PER_SECOND", "1000")];
    let mut server = home.serve_with(&settings);
    let (door, client) = (figures::door(&mut server), server.first_client());
    client.batch(&native(&many(1, 9))).expect(202);
    client.batch(&native(&many(2, 9))).expect(429);
    same(Figures::read(&door).of(r#"nexarch_ingest_refused_total{reason="quota"}"#), 1.0);
    let home = Home::new();
    let settings =
        [OPEN[0], ("RATE_LIMIT_SPANS_PER_SECOND", "1"), ("MAX_INFLIGHT_MB", "1"), ("MAX_BODY_MB", "1")];
    let mut server = home.serve_with(&settings);
    let (door, client) = (figures::door(&mut server), server.first_client());
    client.batch(&native(&many(1, 2_500))).expect(413);
    same(Figures::read(&door).of(r#"nexarch_ingest_refused_total{reason="too_large"}"#), 1.0);
    client.batch(&native(&many(1, 50))).expect(202);
    client.batch(&native(&many(2, 9))).expect(429);
    same(Figures::read(&door).of(r#"nexarch_rate_limited_total{limit="spans"}"#), 1.0);
}

#[test]
fn requests_connections_and_the_process_are_seen() {
    let home = Home::new();
    let mut server = home.serve_with(OPEN);
    let (door, client) = (figures::door(&mut server), server.first_client());
    client.get(OVERVIEW).expect(200);
    let fresh = Figures::read(&door);
    let idle: Vec<_> =
        (0..20).map(|_| TcpStream::connect(server.base().trim_start_matches("http://")).unwrap()).collect();
    client.get("/api/v1/dashboard/services/cart").expect(404);
    client.get("/api/v1/dashboard/services/stock/metrics").expect(404);
    client.get("/nowhere/at/all").expect(404);
    client.batch(&native(&many(1, 2_000))).expect(202);
    let moved = wait::until("the connections", || {
        let moved = since(&fresh, &door);
        (moved.by(r#"nexarch_http_connections{door="api"}"#) >= 20.0).then_some(moved)
    });
    for (route, status, count) in [
        ("/api/v1/dashboard/services/{name}", "4xx", 1.0),
        ("/api/v1/dashboard/services/{name}/metrics", "4xx", 1.0),
        ("other", "4xx", 1.0),
        ("/api/v1/ingest/batch", "2xx", 1.0),
    ] {
        same(
            moved.by(&format!(r#"nexarch_http_requests_total{{route="{route}",status="{status}"}}"#)),
            count,
        );
        same(moved.by(&format!(r#"nexarch_http_request_duration_seconds_count{{route="{route}"}}"#)), count);
    }
    assert!(moved.by("process_open_fds") >= 20.0);
    drop(idle);
    assert!(moved.by("process_cpu_seconds_total") > 0.0);
    let now = &moved.1;
    let resident = now.of("process_resident_memory_bytes");
    assert!(resident > 1e6 && now.of("process_virtual_memory_bytes") > resident);
    assert!(now.of("process_threads") >= 2.0 && now.of("process_max_fds") >= now.of("process_open_fds"));
    assert!((wait::now_ns() as f64 / 1e9 - now.of("process_start_time_seconds")).abs() < 120.0);
    assert!(moved.by(r#"nexarch_database_operation_duration_seconds_count{operation="append"}"#) >= 1.0);
    let size = |figures: &Figures| figures.sum("nexarch_database_size_bytes{");
    assert!(size(now) > size(&fresh), "2,000 spans take room");
    assert!(now.of("nexarch_database_disk_free_bytes") > 0.0);
}

#[test]
fn a_redis_that_works_stalls_and_vanishes_is_told_truthfully() {
    let (redis, home) = (RedisServer::start(), Home::new());
    let proxy = FaultProxy::start(redis.address());
    let url = format!("redis://{}", proxy.address());
    // Long for a busy machine, and short enough for a few that wait in vain.
    let settings = [OPEN[0], ("REDIS_URL", url.as_str()), ("REDIS_TIMEOUT_MS", "1000")];
    let mut server = home.serve_with(&settings);
    let key = server.first_key();
    server.client(&key).batch(&native(&call(1))).expect(202);
    server.client(&key).get(OVERVIEW).expect(200);
    let values =
        |redis: &RedisServer| redis.cli(&["--scan", "--pattern", "nexarch:default:dashboard_overview:*"]);
    let stored =
        wait::until("a value in Redis", || Some(values(&redis)).filter(|keys| keys.contains("nexarch:")));
    assert!(server.terminate().success());

    // A new process has nothing in memory, so its first read comes from Redis.
    let mut server = home.serve_with(&settings);
    let (door, client) = (figures::door(&mut server), server.client(&key));
    let state = |figures: &Figures, name: &str| figures.of(name) > 0.5;
    wait::until("Redis", || {
        state(&Figures::read(&door), r#"nexarch_cache_status{status="connected"}"#).then_some(())
    });
    let fresh = Figures::read(&door);
    client.get(OVERVIEW).expect(200);
    let moved = since(&fresh, &door);
    same(
        moved.by(r#"nexarch_cache_requests_total{operation="dashboard_overview",outcome="hit_redis"}"#),
        1.0,
    );
    same(moved.by(r#"nexarch_redis_command_duration_seconds_count{command="get"}"#), 1.0);
    redis.cli(&["SET", stored.lines().next().unwrap(), "garbage"]);
    client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
    client.get(OVERVIEW).expect(200);
    wait::until("the value to be replaced", || {
        let moved = since(&fresh, &door);
        let written = moved.by(r#"nexarch_redis_values_total{result="written"}"#);
        (written >= 1.0 && moved.1.sum("nexarch_redis_values_rejected_total{") >= 1.0).then_some(())
    });
    wait::until("a round trip", || {
        (Figures::read(&door).of(r#"nexarch_redis_round_trip_seconds{percentile="50"}"#) > 0.0).then_some(())
    });
    let well = Figures::read(&door);
    assert!(state(&well, r#"nexarch_redis_breaker{state="closed"}"#));
    same(well.sum("nexarch_redis_losses_total{"), 0.0);
    assert!(well.of("nexarch_cache_state_since_timestamp_seconds") > 1e9);

    proxy.freeze_all();
    let lost = wait::until("the loss", || {
        client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
        client.get(OVERVIEW).expect(200);
        let now = Figures::read(&door);
        state(&now, r#"nexarch_cache_degraded_reason{reason="timeout"}"#).then_some(now)
    });
    assert!(
        state(&lost, r#"nexarch_cache_status{status="degraded"}"#)
            && !state(&lost, r#"nexarch_cache_mode{mode="pubsub"}"#)
    );
    assert!(!state(&lost, r#"nexarch_redis_breaker{state="closed"}"#));
    same(lost.of(r#"nexarch_redis_losses_total{reason="timeout"}"#), 1.0);
    assert!(lost.of("nexarch_redis_errors_total") >= 1.0);
    proxy.pass();
    wait::until("the return", || {
        let now = Figures::read(&door);
        let back = state(&now, r#"nexarch_cache_status{status="connected"}"#);
        (back && now.of("nexarch_redis_reconnects_total") >= 1.0).then_some(())
    });
    same(Figures::read(&door).sum("nexarch_redis_losses_total{"), 1.0);
}
