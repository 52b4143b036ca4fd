//! What the analysis finds in each file.

use std::{collections::BTreeMap, fmt::Write as _};

use nexarch_core::{
    analysis::{Analysis, Options},
    facts::Facts,
    infer::contribution,
    jaeger,
    otlp::{Rules, decode_json},
    rollup::{Delta, Rollup},
    span::Span,
    view::{Context, Watched},
    window::Window,
    zipkin,
};

use crate::support::{fixture, lines, whole};

/// Shows what an analysis of spans says.
fn analysed<T>(spans: &[Span], show: impl Fn(&Analysis<'_>) -> T) -> T {
    let mut traces: BTreeMap<_, Vec<Facts>> = BTreeMap::new();
    for facts in Facts::of_all(spans) {
        traces.entry(facts.trace_id).or_default().push(facts);
    }
    let mut all = Delta::default();
    for trace in traces.values() {
        all.add(&contribution(trace));
    }
    let blobs = all.encode();
    let rollup = Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &blob[..]))).unwrap();
    let context = Context {
        range: Window::default().range(spans.iter().map(|span| span.start_ns).max()),
        environment: None,
        last_updated_us: 0,
        stored_ns: None,
        latency_objective_ms: 1000.0,
        regressed: None,
        watched: Watched::default(),
    };
    let analysis = Analysis::of(&rollup, traces.values().map(Vec::as_slice), &context, Options::default());
    show(&analysis)
}

/// Findings, bottlenecks and cycles in words.
fn text(spans: &[Span]) -> String {
    analysed(spans, words)
}

fn words(analysis: &Analysis<'_>) -> String {
    let mut text = String::new();
    for issue in analysis.issues().issues {
        let severity = format!("{:?}", issue.severity).to_lowercase();
        let _ = writeln!(text, "{severity:8} {}: {}", issue.kind.as_str(), issue.affected.join(", "));
        let _ = writeln!(text, "         {} ({})", issue.description, issue.severity_reason);
    }
    let health = analysis.health();
    let _ = writeln!(
        text,
        "\ncomplexity {:?}, health {:?}, scores {:?}",
        health.architecture_complexity, health.health_score, health.overall_score
    );
    for node in analysis.bottlenecks().bottlenecks.iter().take(5) {
        let _ = writeln!(text, "{:.1} % of critical paths: {}", node.critical_path_share * 100.0, node.id);
    }
    text
}

fn check(name: &str, why: &str, spans: &[Span]) {
    let mut settings = insta::Settings::clone_current();
    settings.set_description(why);
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.bind(|| insta::assert_snapshot!(format!("findings-{name}"), text(spans)));
}

fn otlp(name: &str) -> Vec<Span> {
    whole(decode_json(&fixture(&format!("otlp/{name}.json")).into(), &Rules::default()).unwrap())
}

fn zipkin(name: &str) -> Vec<Span> {
    zipkin::decode(&fixture(&format!("zipkin/{name}.json")).into(), &Rules::default()).unwrap().spans
}

#[test]
fn trainticket() {
    check("trainticket-normal", "", &lines("trainticket/2023-01-29-normal.jsonl.gz"));
    check("trainticket-15_44", "", &lines("trainticket/2023-01-29-15_44.jsonl.gz"));
}

#[test]
fn single_traces() {
    let genai = jaeger::decode(&fixture("jaeger/genai_trace_ui.json").into(), &Rules::default()).unwrap();
    check("jaeger-genai", "", &genai.spans);
    for name in [
        "jaeger_default",
        "jaeger_example_trace",
        "jaeger_link_attributes_trace",
        "jaeger_otel_traces_01",
        "trace",
    ] {
        check(&format!("otlp-{name}"), "", &otlp(name));
    }
    for name in [
        "ascend",
        "envoy",
        "messaging-kafka",
        "messaging",
        "messaging2",
        "simple-db-p6",
        "skew",
        "smartthings-mobile-web-install",
        "yelp",
    ] {
        check(&format!("zipkin-{name}"), "", &zipkin(name));
    }
}

/// Beside another program that counts traces by their services, and pairs without a parent and a child of both.
#[test]
fn temporal_coupling() {
    for (file, services, figures) in [
        ("2023-01-29-normal", ["ts-price-service", "ts-station-service"], (1.651_163, 0.605_634, 43)),
        ("2023-01-29-15_44", ["ts-contacts-service", "ts-security-service"], (9.6, 0.104_167, 10)),
    ] {
        let spans = lines(&format!("trainticket/{file}.jsonl.gz"));
        let first = analysed(&spans, |analysis| analysis.dependencies().temporal_coupling[0].clone());
        assert_eq!(
            (first.services, (first.lift, first.support, first.traces)),
            (services.map(String::from), figures)
        );
    }
}
