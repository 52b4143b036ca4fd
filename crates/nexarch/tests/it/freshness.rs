//! What a cached read promises: read your writes, versions, validators, and a true account of the cache.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    client::{Body, Client, Reply},
    encode::{native, otlp_protobuf},
    home::Home,
    map::Map,
    spans::{call, many},
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";
const MAP: &str = "/api/v1/dashboard/architecture-map";

fn delete(client: &Client, path: &str) -> Reply {
    client.send("DELETE", path, &[], &Body::None)
}

/// The text before the first parameter that varies.
fn cache_status(reply: &Reply) -> &str {
    let text = reply.header("Cache-Status");
    text.split("; ttl=").next().unwrap_or(text)
}

#[test]
fn a_read_after_an_answer_shows_what_was_written() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let (writer, reader) = (server.client(&key), server.client(&key));
    let mut last = 0;
    for round in 1..=40_u64 {
        let version = if round % 2 == 0 {
            writer.otlp_protobuf(&otlp_protobuf(&call(round.into()))).expect(200).version()
        } else {
            writer.batch(&native(&call(round.into()))).expect(202).version()
        };
        assert!(version > last, "versions only grow");
        last = version;
        let reply = reader.get(OVERVIEW);
        assert!(reply.version() >= version);
        assert_eq!(reply.ok()["total_spans"], 3 * round);
        let calls = Map::read(&reader).calls();
        assert_eq!(calls.into_iter().collect::<Vec<_>>(), [(("shop".to_owned(), "stock".to_owned()), round)]);
    }
}

#[test]
fn readers_beside_a_writer_never_see_less_than_was_acknowledged() {
    const ROUNDS: u64 = 60;
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let (acknowledged, done) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let client = server.client(&key);
                    let mut seen = 0;
                    while !done.load(Ordering::Acquire) {
                        let least = acknowledged.load(Ordering::Acquire);
                        let total = client.total_spans();
                        assert!(total >= least, "{total} spans shown after {least} were acknowledged");
                        assert!(total >= seen, "a reader went back from {seen} to {total}");
                        seen = total;
                    }
                })
            })
            .collect();
        let writer = server.client(&key);
        for round in 1..=ROUNDS {
            writer.otlp_protobuf(&otlp_protobuf(&many(round.into(), 5))).expect(200);
            acknowledged.store(5 * round, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn cache_status_tells_the_way_of_an_answer() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    for path in [OVERVIEW, MAP, "/api/v1/dashboard/services"] {
        let first = client.get(path).expect(200);
        assert_eq!(cache_status(&first), "nexarch; fwd=miss; stored");
        let second = client.get(path).expect(200);
        assert_eq!(cache_status(&second), "nexarch; hit; detail=memory");
        assert_eq!(first.body, second.body);
        // A default is the same entry as its explicit form.
        let explicit = client.get(&format!("{path}?window=24h")).expect(200);
        assert_eq!(cache_status(&explicit), "nexarch; hit; detail=memory");
        for header in ["Cache-Status", "ETag", "Age", "Vary", "Cache-Control", "Nexarch-Version"] {
            assert!(!second.header(header).is_empty(), "{header} of {path}");
        }
        assert_eq!(second.header("Cache-Control"), "private, no-cache");
        assert_eq!(second.header("Vary"), "Accept-Encoding, X-API-Key, Authorization");
        let ttl = second.header("Cache-Status").rsplit("ttl=").next().unwrap().parse::<i64>().unwrap();
        assert!((1..=300).contains(&ttl), "{}", second.header("Cache-Status"));

        let forced = client.get_with(path, &[("Cache-Control", "no-cache")]).expect(200);
        assert_eq!(cache_status(&forced), "nexarch; fwd=request; stored");
        assert_eq!(forced.body, second.body, "equal data, equal bytes");
    }
    let mut traces = 1;
    let fresh = wait::promptly(|| {
        traces += 1;
        client.batch(&native(&call(traces))).expect(202);
        client.get(OVERVIEW)
    });
    assert_eq!(cache_status(&fresh), "nexarch; fwd=miss; stored");
    assert_eq!(cache_status(&client.get(OVERVIEW)), "nexarch; hit; detail=memory");
    let alone = [("Cache-Control", "only-if-cached")];
    let (absent, fresh) = wait::promptly(|| {
        delete(&client, "/api/v1/cache/invalidate").expect(200);
        (client.get_with(OVERVIEW, &alone), client.get(OVERVIEW))
    });
    absent.expect(504);
    assert_eq!(cache_status(&fresh), "nexarch; fwd=miss; stored");
    client.get_with(OVERVIEW, &alone).expect(200);
    client.get_with(OVERVIEW, &[("Cache-Control", "max-stale=soon")]).expect(400);
}

#[test]
fn an_answer_grows_older_until_it_is_computed_again() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let age = |headers: &[(&str, &str)]| {
        client.get_with(OVERVIEW, headers).expect(200).header("Age").parse::<u64>().unwrap()
    };
    assert_eq!(age(&[]), 0);
    wait::until("an answer of a second", || (age(&[]) >= 1).then_some(()));
    assert_eq!(age(&[("Cache-Control", "no-cache")]), 0);
}

#[test]
fn max_stale_takes_what_data_overtook_but_never_what_was_invalidated() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let lenient = [("Cache-Control", "max-stale=60")];
    client.batch(&native(&call(1))).expect(202);
    assert_eq!(client.total_spans(), 3);
    let version = client.batch(&native(&call(2))).expect(202).version().to_string();
    assert_eq!(client.get_with(OVERVIEW, &lenient).ok()["total_spans"], 3);
    let minimum = [lenient[0], ("Nexarch-Min-Version", version.as_str())];
    assert_eq!(client.get_with(OVERVIEW, &minimum).ok()["total_spans"], 6);
    client.batch(&native(&call(3))).expect(202);
    delete(&client, "/api/v1/cache/invalidate").expect(200);
    assert_eq!(client.get_with(OVERVIEW, &lenient).ok()["total_spans"], 9);
}

#[test]
fn a_switched_off_cache_computes_every_read() {
    let home = Home::new();
    let mut server = home.serve_with(&[("CACHE_ENABLED", "False")]);
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    for _ in 0..2 {
        let reply = client.get(OVERVIEW).expect(200);
        assert_eq!(cache_status(&reply), "nexarch; fwd=bypass");
        assert_eq!(reply.json()["total_spans"], 3);
    }
    let health = client.get("/api/v1/cache/health").ok();
    assert_eq!((&health["backend"], &health["status"]), (&json!("disabled"), &json!("disabled")));
}

#[test]
fn an_etag_saves_the_body_until_the_data_change() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let etag = client.get(MAP).expect(200).header("ETag").to_owned();
    assert!(etag.starts_with("W/\"") && etag.ends_with('"'), "{etag}");
    for tags in [etag.clone(), format!("\"other\", {etag}"), "*".to_owned()] {
        let reply = client.get_with(MAP, &[("If-None-Match", &tags)]).expect(304);
        assert!(reply.body.is_empty());
        assert_eq!(reply.header("ETag"), etag);
        assert!(reply.header("Cache-Status").contains("hit"));
    }
    client.get_with(MAP, &[("If-None-Match", "\"other\"")]).expect(200);
    // A 304 after new data would be a lie.
    client.batch(&native(&call(2))).expect(202);
    let fresh = client.get_with(MAP, &[("If-None-Match", &etag)]).expect(200);
    assert_ne!(fresh.header("ETag"), etag);
}

#[test]
fn a_minimum_version_is_checked() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let with_minimum = |text: &str| client.get_with(OVERVIEW, &[("Nexarch-Min-Version", text)]);
    let version = client.batch(&native(&call(1))).expect(202).version();
    assert!(with_minimum(&version.to_string()).expect(200).version() >= version);
    with_minimum("0").expect(200);
    for wrong in ["x", "-1", "1.5", "", "99999999999999999999999"] {
        with_minimum(wrong).expect(400);
    }
    with_minimum(&(version + 1_000_000_000).to_string()).expect(412);
    let version = delete(&client, "/api/v1/cache/invalidate").expect(200).version();
    assert!(with_minimum(&version.to_string()).expect(200).version() >= version);
}

/// What `cache/stats` says of one operation.
fn stats(client: &Client, operation: &str) -> Value {
    client.get("/api/v1/cache/stats").ok()["operations"][operation].clone()
}

#[test]
fn statistics_add_up() {
    let home = Home::new();
    let (key, other) = (home.tenant("acme"), home.tenant("other"));
    let server = home.serve();
    let (client, other) = (server.client(&key), server.client(&other));
    client.batch(&native(&call(1))).expect(202);
    let etag = client.get(OVERVIEW).header("ETag").to_owned();
    (0..3).for_each(|_| drop(client.get(OVERVIEW).expect(200)));
    client.get_with(OVERVIEW, &[("If-None-Match", &etag)]).expect(304);
    client.get(MAP).expect(200);
    other.get(MAP).expect(200);

    let all = client.get("/api/v1/cache/stats").ok();
    assert_eq!(
        (&all["tenant_id"], &all["backend"], &all["status"]),
        (&json!("acme"), &json!("memory"), &json!("memory"))
    );
    let totals = &all["totals"];
    assert_eq!((&totals["requests"], &totals["hits"], &totals["misses"]), (&json!(6), &json!(4), &json!(2)));
    assert!((totals["hit_ratio"].as_f64().unwrap() - 4.0 / 6.0).abs() < 1e-9, "{totals}");
    let overview = &all["operations"]["dashboard_overview"];
    for (field, expected) in [
        ("ttl_seconds", 120),
        ("requests", 5),
        ("hits_memory", 4),
        ("hits_redis", 0),
        ("misses", 1),
        ("collapsed", 0),
        ("stale", 0),
        ("errors", 0),
        ("invalidations", 1),
        ("entries", 1),
    ] {
        assert_eq!(overview[field], expected, "{field} of {overview}");
    }
    assert!(overview["bytes"].as_u64().unwrap() > 0);
    assert!(overview["compute_ms"]["p50"].as_f64().unwrap() > 0.0, "{overview}");
    assert_eq!(overview["last_invalidated"]["cause"], "ingest");
    assert_eq!(all["memory"]["entries"], 2);
    assert_eq!(all["memory"]["max_bytes"], 256 << 20);
    assert_eq!(stats(&other, "architecture_map")["requests"], 1);
    assert_eq!(stats(&other, "architecture_map")["invalidations"], 0);
}

#[test]
fn an_invalidation_says_what_it_reached() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let warm = || [OVERVIEW, MAP].map(|path| drop(client.get(path).expect(200)));
    let paths = |query: &str| format!("/api/v1/cache/invalidate{query}");

    warm();
    let answer = delete(&client, &paths("/architecture_map")).expect(200);
    let body = answer.json();
    assert_eq!(body["version"], answer.version());
    assert_eq!(
        (&body["status"], &body["scope"], &body["reach"]),
        (&json!("success"), &json!("operation"), &json!("cluster"))
    );
    assert_eq!((&body["tenant_id"], &body["operations"]), (&json!("default"), &json!(["architecture_map"])));
    assert!(client.get(MAP).header("Cache-Status").contains("miss"));
    assert!(client.get(OVERVIEW).header("Cache-Status").contains("hit"));

    warm();
    let body = delete(&client, &paths("?pattern=dash*_over?iew")).ok();
    assert_eq!((&body["scope"], &body["operations"]), (&json!("pattern"), &json!(["dashboard_overview"])));
    assert!(client.get(MAP).header("Cache-Status").contains("hit"));
    assert!(client.get(OVERVIEW).header("Cache-Status").contains("miss"));

    warm();
    for nothing in ["none*", "%5Ba-z%5D*", "dashboard_overview%7Cx", ".*"] {
        let body = delete(&client, &paths(&format!("?pattern={nothing}"))).ok();
        assert_eq!(body["operations"], json!([]), "{nothing}");
    }
    assert!([OVERVIEW, MAP].iter().all(|path| client.get(path).header("Cache-Status").contains("hit")));
    delete(&client, &paths(&format!("?pattern={}", "*".repeat(129)))).expect(400);

    let body = delete(&client, &paths("")).ok();
    assert_eq!(body["scope"], "tenant");
    assert!(body["operations"].as_array().unwrap().len() >= 3);
    assert!([OVERVIEW, MAP].iter().all(|path| client.get(path).header("Cache-Status").contains("miss")));

    let unknown = delete(&client, &paths("/no_such_operation")).expect(404);
    assert!(
        String::from_utf8(unknown.body).unwrap().contains("dashboard_overview"),
        "it lists the known ones"
    );
    let overview = stats(&client, "dashboard_overview");
    assert_eq!(
        (&overview["invalidations"], &overview["last_invalidated"]["cause"]),
        (&json!(3), &json!("manual"))
    );
}

#[test]
fn each_cached_read_is_one_debug_event_without_its_parameters() {
    let home = Home::new();
    let settings = [("RUST_LOG", "nexarch=debug,nexarch_cache=debug"), ("LOG_FORMAT", "json")];
    let mut server = home.serve_with(&settings);
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let path = "/api/v1/dashboard/services/a-secret-name?environment=nowhere";
    client.get(path).expect(404);
    client.get("/api/v1/dashboard/overview?environment=nowhere").expect(200);
    client.get("/api/v1/dashboard/overview?environment=nowhere").expect(200);
    let headers = [("Cache-Control", "only-if-cached")];
    client.get_with("/api/v1/dashboard/trends?environment=nowhere", &headers).expect(504);
    let reads = |log: &str| -> Vec<serde_json::Value> {
        let lines = log.lines().filter(|line| line.contains("cached read"));
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    wait::until("four reads in the log", || (reads(&server.log()).len() >= 4).then_some(()));
    let expected = [
        ("service_detail", "miss", "none"),
        ("dashboard_overview", "miss", "none"),
        ("dashboard_overview", "hit", "memory"),
        ("metrics", "error", "none"),
    ];
    let log = server.log();
    let found = reads(&log);
    assert_eq!(found.len(), expected.len(), "{log}");
    for (read, (operation, outcome, tier)) in found.iter().zip(expected) {
        let fields = read["fields"].as_object().unwrap();
        let names: Vec<_> = fields.keys().map(String::as_str).collect();
        assert_eq!(names, ["message", "micros", "operation", "outcome", "tier"], "{read}");
        assert_eq!((&fields["outcome"], &fields["tier"]), (&outcome.into(), &tier.into()));
        assert_eq!((&read["level"], &fields["operation"]), (&"DEBUG".into(), &operation.into()));
        assert!(read.get("span").is_none() && read.get("spans").is_none(), "{read}");
    }
    assert!(!log.contains("a-secret-name") && !log.contains("nowhere"), "{log}");
}
