//! Warming over HTTP: what is computed, that it is what a read finds, and who may.

use serde_json::{Value, json};

use nexarch_testkit::RedisServer;

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    home::Home,
    spans::call,
    wait,
};

/// One route of each operation that has one without a name.
const ROUTES: [(&str, &str); 6] = [
    ("dashboard_overview", "/api/v1/dashboard/overview"),
    ("architecture_map", "/api/v1/dashboard/architecture-map"),
    ("services", "/api/v1/dashboard/services"),
    ("service_detail", "/api/v1/dashboard/services/stock"),
    ("metrics", "/api/v1/dashboard/trends"),
    ("graph_analysis", "/api/v1/architecture/issues"),
];

fn warm(client: &Client, rest: &str) -> Reply {
    client.send("POST", &format!("/api/v1/cache/warm{rest}"), &[], &Body::None)
}

fn is_memory_hit(reply: &Reply) -> bool {
    reply.header("Cache-Status").starts_with("nexarch; hit; detail=memory; ttl=")
}

#[test]
fn what_is_warmed_is_what_the_next_read_finds() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    for (operation, route) in ROUTES {
        let report = warm(&client, &format!("/{operation}")).ok();
        assert_eq!((&report["status"], &report["operation"]), (&json!("success"), &json!(operation)));
        assert_eq!(report["stored"], json!(["memory"]));
        assert!(report["entries"].as_u64() >= Some(1) && report["bytes"].as_u64() > Some(2), "{report}");
        assert!(report["compute_ms"].as_f64() > Some(0.0), "{report}");
        let reply = client.get(route);
        assert!(is_memory_hit(&reply), "{operation}: {}", reply.header("Cache-Status"));
    }
    let stats = client.get("/api/v1/cache/stats").ok();
    assert_eq!((&stats["totals"]["requests"], &stats["totals"]["misses"]), (&json!(6), &json!(0)));
    // Another window is another value.
    assert!(!is_memory_hit(&client.get("/api/v1/dashboard/overview?window=1h")));
    warm(&client, "/dashboard_overview?window=6h").expect(200);
    assert!(is_memory_hit(&client.get("/api/v1/dashboard/overview?window=6h")));
    // What came since is not hidden by what was warmed before.
    client.batch(&native(&call(2))).expect(202);
    let reply = client.get("/api/v1/dashboard/overview");
    assert!(!is_memory_hit(&reply));
    assert_eq!(reply.ok()["total_spans"], 6);
}

#[test]
fn all_at_once_lists_every_operation() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    let all = warm(&client, "").ok();
    assert_eq!(all["status"], "success");
    let names: Vec<&str> = all["operations"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| one["operation"].as_str())
        .collect();
    assert_eq!(names[..6], ROUTES.map(|(name, _)| name));
    for (_, route) in ROUTES {
        assert!(is_memory_hit(&client.get(route)), "{route}");
    }
}

#[test]
fn unknown_names_other_keys_and_a_disabled_cache_are_told() {
    let home = Home::new();
    let mut server = home.serve();
    let first = server.first_key();
    let client = server.client(&first);
    let unknown = warm(&client, "/dashboard").expect(404).json();
    assert!(
        unknown["detail"].as_str().is_some_and(|detail| detail.contains("dashboard_overview")),
        "{unknown}"
    );
    warm(&client, "?hours=3").expect(400);
    let reader = server.client(&home.key("default", "read"));
    warm(&reader, "").expect(403);
    drop(server);
    let server = home.serve_with(&[("CACHE_ENABLED", "False")]);
    let client = server.client(&first);
    for rest in ["", "/service_detail"] {
        warm(&client, rest).expect(409);
    }
    let refused: Value = warm(&client, "/services").expect(409).json();
    assert!(refused["detail"].as_str().is_some_and(|detail| detail.contains("CACHE_ENABLED")), "{refused}");
}

/// With a Redis, other servers and the next start find it there when the answer has come.
#[test]
fn with_redis_it_is_in_both_tiers_when_the_answer_comes() {
    let redis = RedisServer::start();
    let home = Home::new();
    // A busy machine is not what is looked at.
    let patient = ("REDIS_TIMEOUT_MS", "30000");
    let mut server = home.serve_with(&[patient, ("REDIS_URL", &format!("redis://{}", redis.address()))]);
    let key = server.first_key();
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    wait::until("Redis to be used", || {
        let health = client.get("/api/v1/cache/health").ok();
        (health["status"] == "connected").then_some(())
    });
    assert_eq!(warm(&client, "/services").ok()["stored"], json!(["memory", "redis"]));
    let keys = redis.cli(&["--scan", "--pattern", "nexarch:default:services:*"]);
    assert_eq!(keys.lines().filter(|line| !line.is_empty()).count(), 1, "{keys}");
}
