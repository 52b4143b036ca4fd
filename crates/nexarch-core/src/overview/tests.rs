use super::*;
use crate::{
    facts::Facts,
    graph::tests::{context, rollup},
    infer::testing::*,
    window::{Minutes, Window},
};

#[test]
fn the_overview_is_about_entry_requests() {
    let bad = Facts { error: true, duration_ns: Some(9_000_000), ..server("shop", 1, 0) };
    let trace = [bad, client("shop", 2, 1), server("pay", 3, 2), server("pay", 4, 2)];
    let seen = overview(
        &rollup(&[&trace, &[server("shop", 1, 0)], &[server("late", 5, 99)]]),
        &context(),
        Options::default(),
    );
    assert_eq!((seen.total_services, seen.total_requests, seen.total_spans), (3, 3, 6));
    assert_eq!(seen.error_rate, Some(0.333_333), "one failed request of three, not one span of six");
    assert_eq!(seen.avg_latency_ms, Some(3.667));
    assert_eq!(seen.hint, None);
    // A third failed: all 30 points. One failure is no finding.
    assert_eq!((seen.health_score, seen.critical_issues, seen.warnings), (Some(70), 0, 0));
    // shop calls pay.
    assert_eq!(seen.architecture_complexity, Some(0.333_333));
    assert_eq!((seen.uptime_percentage, seen.not_known.len()), (None, 2));
    let json = serde_json::to_value(&seen).unwrap();
    for field in [
        "total_services",
        "total_requests",
        "total_spans",
        "avg_latency_ms",
        "p50_latency_ms",
        "p95_latency_ms",
        "p99_latency_ms",
        "error_rate",
        "health_score",
        "critical_issues",
        "warnings",
        "architecture_complexity",
        "active_incidents",
        "uptime_percentage",
        "uptime_coverage",
        "last_updated",
        "window",
    ] {
        assert!(json.get(field).is_some(), "{field}");
    }
    assert!(json.get("hint").is_none());
}

#[test]
fn nothing_is_null_and_says_where_something_is() {
    let nothing = overview(
        &Rollup::default(),
        &Context { stored_ns: None, last_updated_us: 0, ..context() },
        Options::default(),
    );
    assert_eq!((nothing.total_spans, nothing.error_rate, nothing.p99_latency_ms), (0, None, None));
    assert_eq!((nothing.hint, nothing.last_updated), (None, None));
    assert_eq!((nothing.health_score, nothing.architecture_complexity), (None, None));

    let window = Window::Fixed(Minutes { from: 60, to: 120 }).range(None);
    let elsewhere = overview(&Rollup::default(), &Context { range: window, ..context() }, Options::default());
    assert!(elsewhere.hint.unwrap().contains("1971-11-26T10:40:00Z"));
}

#[test]
fn an_environment_counts_its_own() {
    let at = |environment: &str, span: Facts| span.with(|it| it.environment = environment.into());
    let rollup =
        rollup(&[&[at("prod", server("a", 1, 0))], &[at("test", server("a", 2, 0))], &[server("a", 3, 0)]]);
    let of = |environment| overview(&rollup, &Context { environment, ..context() }, Options::default());
    assert_eq!((of(None).total_services, of(None).total_requests), (3, 3));
    assert_eq!((of(Some("prod")).total_services, of(Some("prod")).total_requests), (1, 1));
    assert_eq!(of(Some("")).total_spans, 1);
    assert!(of(Some("moon")).hint.unwrap().contains("other environments"));
}
