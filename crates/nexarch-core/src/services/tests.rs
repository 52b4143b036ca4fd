use super::*;
use crate::{
    facts::Facts,
    graph::tests::{context, rollup},
    infer::testing::*,
};

#[test]
fn services_know_their_neighbours() {
    let trace = [server("shop", 1, 0), client("shop", 2, 1), server("pay", 3, 2), query("pay", 4, 3, "db")];
    let list = services(&rollup(&[&trace]), &context());
    let names: Vec<&str> = list.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["pay", "shop"], "services alone, by id");
    assert_eq!(list[0].dependencies, ["postgresql:db/shop"]);
    assert_eq!(list[0].dependents, ["shop"]);
    assert_eq!(list[1].dependencies, ["pay"]);
    assert_eq!(list[1].dependents, ["user"]);
    assert_eq!((list[0].request_count, list[0].span_count), (1, 2));
    assert_eq!(list[0].health_status, Health::Healthy);
    assert_eq!(list[0].last_seen.as_deref(), Some("1971-11-26T10:40:00Z"));
    let json = serde_json::to_value(&list[0]).unwrap();
    for field in [
        "name",
        "type",
        "request_count",
        "avg_latency_ms",
        "p95_latency_ms",
        "error_rate",
        "dependencies",
        "dependents",
        "health_status",
        "last_seen",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
}

#[test]
fn a_service_without_requests_is_unknown_not_healthy() {
    let list = services(&rollup(&[&[client("cron", 1, 0)]]), &context());
    assert_eq!((list[0].request_count, list[0].health_status), (0, Health::Unknown));
    assert_eq!((list[0].p95_latency_ms, list[0].error_rate), (None, None));
}

#[test]
fn an_environment_lists_its_own() {
    let at = |environment: &str, span: Facts| span.with(|it| it.environment = environment.into());
    let trace = [at("prod", client("a", 1, 0)), at("test", server("b", 2, 1))];
    let rollup = rollup(&[&trace]);
    let names = |environment| -> Vec<String> {
        services(&rollup, &Context { environment, ..context() })
            .into_iter()
            .map(|service| service.id)
            .collect()
    };
    assert_eq!(names(Some("prod")), ["a@prod"]);
    assert_eq!(names(None), ["a@prod", "b@test"]);
}
