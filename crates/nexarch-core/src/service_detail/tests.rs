use super::*;
use crate::{
    facts::Facts,
    graph::tests::{context, rollup},
    infer::testing::*,
};

fn called(name: &str, ms: u64, span: Facts) -> Facts {
    Facts { duration_ns: Some(ms * 1_000_000), ..span }.with(|it| it.name = name.into())
}

#[test]
fn a_service_in_detail() {
    let trace = [
        called("GET /", 10, server("shop", 1, 0)),
        client("shop", 2, 1),
        called("charge", 7, server("pay", 3, 2)),
        called("refund", 30, server("pay", 4, 2)),
        called("charge", 5, Facts { error: true, ..server("pay", 5, 2) }),
        query("pay", 6, 3, "db"),
    ];
    let detail = service_detail(&rollup(&[&trace]), &context(), "pay").unwrap();
    assert_eq!((detail.metrics.request_count, detail.metrics.error_rate), (3, Some(0.333_333)));
    assert_eq!(detail.entry_metrics.request_count, 0);
    let operations: Vec<(&str, f64, u64)> = detail
        .operations
        .iter()
        .map(|operation| (&*operation.name, operation.total_time_ms, operation.metrics.request_count))
        .collect();
    assert_eq!(operations, [("refund", 30.0, 1), ("charge", 12.0, 2)], "the one that takes most time first");
    assert_eq!(detail.operations[0].time_share, Some(0.714_286));
    assert_eq!((detail.total_operations, detail.other_operations), (2, None));
    let callers: Vec<(&str, u64)> =
        detail.callers.iter().map(|caller| (&*caller.id, caller.call_count)).collect();
    assert_eq!(callers, [("shop", 3)]);
    assert_eq!((&*detail.callees[0].id, detail.callees[0].kind), ("postgresql:db/shop", NodeType::Database));
    assert_eq!(detail.last_seen.as_deref(), Some("1971-11-26T10:40:00Z"));
    assert_eq!(service_detail(&rollup(&[&trace]), &context(), "nobody"), None);
    assert_eq!(service_detail(&rollup(&[&trace]), &context(), "user"), None, "no service");
}

#[test]
fn all_environments_of_a_name_are_together_unless_one_is_asked_for() {
    let at = |environment: &str, span: Facts| {
        span.with(|it| {
            it.environment = environment.into();
            it.namespace = "n".into();
        })
    };
    let rollup =
        rollup(&[&[at("prod", server("a", 1, 0))], &[at("test", server("a", 2, 0)), server("a", 3, 0)]]);
    let detail = service_detail(&rollup, &context(), "a").unwrap();
    assert_eq!(detail.metrics.request_count, 3);
    assert_eq!(
        (detail.environments, detail.namespaces),
        (vec!["prod".to_string(), "test".into()], vec!["n".to_string()])
    );
    let ids: Vec<String> = detail.identities.into_iter().map(|identity| identity.id).collect();
    assert_eq!(ids, ["a", "n/a@prod", "n/a@test"]);
    let one = service_detail(&rollup, &Context { environment: Some("prod"), ..context() }, "a").unwrap();
    assert_eq!((one.metrics.request_count, one.identities.len()), (1, 1));
}

#[test]
fn many_operations_are_bounded_and_none_is_lost() {
    let trace: Vec<Facts> =
        (1..=250).map(|id| called(&format!("op{id:03}"), id, server("a", id, 0))).collect();
    let detail = service_detail(&rollup(&[&trace]), &context(), "a").unwrap();
    assert_eq!((detail.operations.len(), detail.total_operations), (200, 250));
    assert_eq!(&*detail.operations[0].name, "op250");
    assert_eq!(detail.other_operations.unwrap().request_count, 50);
}
