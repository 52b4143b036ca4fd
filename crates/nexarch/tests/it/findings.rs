//! What is wrong, where the time goes, who depends on whom, how it all does.

use serde_json::{Value, json};

use crate::support::{
    encode::otlp_json,
    home::Home,
    spans::{CLIENT, SERVER, Span, call},
    wait::now_ns,
};

#[test]
fn a_failing_part_is_found_and_new_data_refresh_it() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let requests = |from: u128, failing: bool| -> Vec<Span> {
        let fails = |mut span: Span| {
            span.error = failing && span.service == "stock";
            span
        };
        (from..from + 20).flat_map(call).map(fails).collect()
    };
    client.otlp_json(&otlp_json(&requests(1, false))).expect(200);
    let issues = "/api/v1/architecture/issues";
    let healthy = client.get(issues).ok();
    assert_eq!((&healthy["issues"], &healthy["critical_issues"]), (&json!([]), &json!(0)));
    client.otlp_json(&otlp_json(&requests(100, true))).expect(200);

    let found = client.get(issues).expect(200);
    assert!(found.header("Cache-Status").contains("fwd=miss"));
    let found = found.json();
    let issue = &found["issues"][0];
    assert_eq!((&issue["type"], &issue["severity"]), (&json!("high_error_rate"), &json!("critical")));
    assert_eq!((&issue["affected"], &issue["evidence"]["error_rate"]), (&json!(["stock"]), &json!(0.5)));
    assert!(issue["severity_reason"].as_str().unwrap().contains("5.0 %"));
    assert!(client.get(issues).expect(200).header("Cache-Status").contains("hit"));

    let health = client.get("/api/v1/dashboard/health").ok();
    assert_eq!((&health["critical_issues"], &health["health_score"]), (&json!(1), &json!(90)));
    assert_eq!(health["services"][1]["issues"], json!([issue["id"]]));
    assert_eq!((&health["uptime_percentage"], &health["active_incidents"]), (&json!(100.0), &json!(0)));
    assert_eq!((&health["not_known"], &health["incidents"]), (&json!([]), &json!([])));
    // No entry request failed: nothing burns.
    assert_eq!(
        (&health["slo_burn"]["alarm"], &health["slo_burn"]["burn_rate_6h"]),
        (&json!(false), &json!(0.0))
    );
    let overview = client.get("/api/v1/dashboard/overview").ok();
    for field in [
        "health_score",
        "critical_issues",
        "warnings",
        "architecture_complexity",
        "not_known",
        "uptime_percentage",
        "uptime_coverage",
        "active_incidents",
    ] {
        assert_eq!(overview[field], health[field], "{field}");
    }
    let dependencies = client.get("/api/v1/dashboard/dependencies").ok();
    let node = |at: usize, field: &str| dependencies["nodes"][at][field].clone();
    assert_eq!(
        (node(1, "id"), node(1, "callers"), node(1, "blast_radius")),
        (json!("stock"), json!(1), json!(1))
    );
    // At most so many of an hour and an entry operation are drawn; they stand for all.
    let sample = &dependencies["sample"];
    assert!(sample["traces"].as_u64() >= Some(32), "{sample}");
    assert!((32..=64).contains(&sample["of_traces"].as_u64().unwrap_or(0)), "an estimate of 40: {sample}");
    let past = "from=2001-01-01T00:00:00Z&to=2001-01-01T01:00:00Z";
    let bottlenecks = client.get(&format!("/api/v1/dashboard/bottlenecks?{past}")).ok();
    assert_eq!((&bottlenecks["bottlenecks"], &bottlenecks["sample"]["traces"]), (&json!([]), &json!(0)));
    assert_ne!(bottlenecks["reason"], Value::Null, "no trace is looked at as a whole");
    server.stranger().get(issues).expect(401);
}

/// A request of `shop` that asks `stock` six times in turn.
fn looping(trace: u128) -> Vec<Span> {
    let mut root = Span { name: "GET /cart".into(), ..Span::new(trace, 1, "shop", SERVER) };
    root.duration_ns = 900_000_000;
    let start_ns = root.start_ns;
    let mut spans = vec![root];
    for at in 0..6 {
        let (start_ns, duration_ns) = (start_ns + (10 + 100 * at) * 1_000_000, 90_000_000);
        let call = Span::new(trace, 10 + 2 * at, "shop", CLIENT).child_of(1);
        spans.push(Span { start_ns, duration_ns, name: "GET /item".into(), ..call });
        let answer = Span::new(trace, 11 + 2 * at, "stock", SERVER).child_of(10 + 2 * at);
        spans.push(Span { start_ns, duration_ns, name: "GET /item".into(), ..answer });
    }
    spans
}

#[test]
fn findings_rest_on_whole_traces_however_they_came() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let all: Vec<Span> = (1..=60).flat_map(looping).collect();
    // Each service sends its own spans, and the one that is called is faster.
    for service in ["stock", "shop"] {
        let own: Vec<Span> = all.iter().filter(|span| span.service == service).cloned().collect();
        client.otlp_json(&otlp_json(&own)).expect(200);
    }
    let found = client.get("/api/v1/architecture/issues").ok();
    let issue = &found["issues"][0];
    assert_eq!((&issue["type"], &issue["severity"]), (&json!("chatty_calls"), &json!("medium")));
    assert_eq!(issue["affected"], json!(["shop", "stock"]));
    assert_eq!(
        (&issue["evidence"]["calls_in_turn"], &issue["evidence"]["saving_ms"]),
        (&json!(6.0), &json!(450.0))
    );
    let example = issue["example_trace_id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/api/v1/traces/{example}")).ok()["span_count"], 13);
    let sample = &found["sample"];
    assert!(sample["traces"].as_u64() >= Some(32), "{sample}");
    let of_traces = sample["of_traces"].as_f64().unwrap();
    assert!((30.0..=120.0).contains(&of_traces), "about 60: {sample}");

    let bottlenecks = client.get("/api/v1/dashboard/bottlenecks").ok();
    let map = client.get("/api/v1/dashboard/architecture-map").ok();
    for answer in [&bottlenecks, &map] {
        assert_eq!(answer["bottlenecks"][0]["id"], "stock");
        assert_eq!(answer["critical_paths"][0]["operation"], "GET /cart");
        assert_eq!(&answer["sample"], sample);
    }
    let flame = &bottlenecks["critical_paths"][0]["flame"];
    assert_eq!(
        (&flame["id"], &flame["value_ms"], &flame["self_ms"]),
        (&json!("shop"), &json!(900.0), &json!(360.0))
    );
    let overview = client.get("/api/v1/dashboard/overview").ok();
    assert_eq!(
        (&overview["warnings"], &overview["critical_issues"]),
        (&found["warnings"], &found["critical_issues"])
    );
    assert_eq!(found["warnings"], 1);
}

#[test]
fn what_is_slower_than_in_the_weeks_before_is_a_warning() {
    const HOUR_NS: u64 = 3_600_000_000_000;
    let home = Home::new();
    // What is older is not taken in; rollups live longer than spans.
    let mut server = home.serve_with(&[("RETENTION_DAYS", "30")]);
    let client = server.first_client();
    let now = now_ns();
    // In the last whole hour, and in the same one of three weeks; the newest span is of now.
    let hour = now / HOUR_NS * HOUR_NS - HOUR_NS / 2;
    let requests = |weeks: u64, ms: u64| -> Vec<Span> {
        let at = |mut span: Span| {
            span.start_ns = hour - weeks * 7 * 24 * HOUR_NS;
            span.duration_ns = ms * 1_000_000;
            span
        };
        (1..=40).flat_map(|number| call(u128::from(weeks * 1_000 + number))).map(at).collect()
    };
    for (weeks, ms) in [(3, 20), (2, 21), (1, 20)] {
        client.otlp_json(&otlp_json(&requests(weeks, ms))).expect(200);
    }
    client.otlp_json(&otlp_json(&requests(0, 20))).expect(200);
    let newest = Span { start_ns: now, ..Span::new(9_999, 1, "other", SERVER) };
    client.otlp_json(&otlp_json(&[newest])).expect(200);
    let states = || -> Vec<Value> {
        let services = client.get("/api/v1/dashboard/services").ok();
        services.as_array().unwrap().iter().map(|service| service["health_status"].clone()).collect()
    };
    assert_eq!(states(), ["healthy", "healthy", "healthy"], "as ever");
    // Far slower, and still far below the objective of a second.
    let slower: Vec<Span> =
        requests(0, 200).into_iter().map(|span| Span { trace: span.trace + 500, ..span }).collect();
    client.otlp_json(&otlp_json(&slower)).expect(200);
    assert_eq!(states(), ["healthy", "warning", "warning"]);
    let issues = client.get("/api/v1/architecture/issues").ok();
    assert_eq!(issues["issues"][0]["type"], "high_latency_edge");
    assert!(issues["issues"][0]["evidence"]["usual_p95_ms"].as_f64() < Some(25.0), "{issues}");
    let map = client.get("/api/v1/dashboard/architecture-map").ok();
    let warned =
        map["nodes"].as_array().unwrap().iter().filter(|node| node["health_status"] == "warning").count();
    assert_eq!(warned, 2);
}
