//! What is wrong, where the time goes, who depends on whom, how it all does.

use serde_json::{Value, json};

use crate::support::{
    encode::otlp_json,
    home::Home,
    spans::{Span, call},
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
    assert!(health["uptime_percentage"].is_null() && health["not_known"].as_array().unwrap().len() == 2);
    let overview = client.get("/api/v1/dashboard/overview").ok();
    for field in ["health_score", "critical_issues", "warnings", "architecture_complexity", "not_known"] {
        assert_eq!(overview[field], health[field], "{field}");
    }
    let dependencies = client.get("/api/v1/dashboard/dependencies").ok();
    let node = |at: usize, field: &str| dependencies["nodes"][at][field].clone();
    assert_eq!(
        (node(1, "id"), node(1, "callers"), node(1, "blast_radius")),
        (json!("stock"), json!(1), json!(1))
    );
    let bottlenecks = client.get("/api/v1/dashboard/bottlenecks?window=1h").ok();
    assert_eq!((&bottlenecks["bottlenecks"], &bottlenecks["sample"]["traces"]), (&json!([]), &json!(0)));
    assert_ne!(bottlenecks["reason"], Value::Null, "no trace is looked at as a whole");
    server.stranger().get(issues).expect(401);
}
