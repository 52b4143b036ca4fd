//! Files as a report: order, repetition and splits do not matter.

use super::*;
use crate::otlp::{Encoding, Rules, decode};

/// One request of `shop` to `pay`, `at` milliseconds after a fixed time.
fn request(trace: u64, at: u64, ms: u64, failed: bool) -> Vec<Span> {
    let start = 1_750_000_000_000_000_000 + at * 1_000_000;
    let status = if failed { 2 } else { 0 };
    let span = |service: &str, id: u64, parent: &str, kind: u32| {
        serde_json::json!({
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]},
            "scopeSpans": [{"spans": [{
                "traceId": format!("{trace:032x}"), "spanId": format!("{id:016x}"), "parentSpanId": parent,
                "name": "pay", "kind": kind, "startTimeUnixNano": start.to_string(),
                "endTimeUnixNano": (start + ms * 1_000_000).to_string(), "status": {"code": status},
            }]}],
        })
    };
    let body = serde_json::json!({"resourceSpans": [
        span("shop", 1, "", 3), span("pay", 2, "0000000000000001", 2),
    ]});
    decode(&body.to_string().into(), Encoding::Json, &Rules::default()).unwrap().spans
}

fn evidence(requests: impl Iterator<Item = Vec<Span>>) -> Evidence {
    let mut evidence = Evidence::default();
    requests.for_each(|spans| evidence.add(&spans));
    evidence
}

#[test]
fn a_report_is_a_function_of_the_set_of_spans() {
    let all: Vec<Vec<Span>> = (1..80).map(|at| request(at, at * 1_000, 5 + at % 7, at % 9 == 0)).collect();
    let plain = Report::of(&evidence(all.iter().cloned()), None, 1000.0).unwrap();
    assert_eq!((plain.spans, plain.traces, plain.map.edges.len()), (158, 79, 1));
    let single = all.iter().rev().flatten().map(|span| vec![span.clone()]);
    let backwards = Report::of(&evidence(single), None, 1000.0).unwrap();
    assert_eq!(backwards, plain);
    // Sent twice: more spans were read, nothing else.
    let twice = Report::of(&evidence(all.iter().chain(&all).cloned()), None, 1000.0).unwrap();
    assert_eq!((twice.spans, &twice.map), (316, &plain.map));
    assert_eq!((&twice.findings, &twice.bottlenecks), (&plain.findings, &plain.bottlenecks));
    for form in [Form::Text, Form::Export(Format::Json), Form::Export(Format::Html)] {
        assert_eq!(backwards.render(form).unwrap(), plain.render(form).unwrap());
    }
}

#[test]
fn a_baseline_shows_what_changed_in_every_form_that_has_room() {
    let base = evidence((1..200).map(|at| request(at, at, 5, false)));
    // Of the same minute: they are other spans all the same.
    let head = evidence((1..200).map(|at| request(1_000 + at, at, 9, at % 4 == 0)));
    let report = Report::of(&head, Some(&base), 1000.0).unwrap();
    let drift = report.drift.as_ref().unwrap();
    assert_eq!(drift.comparison.untested, None);
    assert!(drift.edges.iter().any(|edge| edge.drift.change == crate::diff::Change::Worse), "{drift:?}");
    let text = report.render(Form::Text).unwrap();
    assert!(
        text.contains("Compared with the base: 0 new, 0 gone, ") && text.contains("shop → pay"),
        "{text}"
    );
    assert!(text.contains("errors +24.6 points (q <0.001)"), "{text}");
    let html = report.render(Form::Export(Format::Html)).unwrap();
    assert!(html.contains("<h2>Changes</h2>") && html.contains("<td class=\"state bad\">worse</td>"));
    let json: serde_json::Value =
        serde_json::from_str(&report.render(Form::Export(Format::Json)).unwrap()).unwrap();
    assert_eq!(json["drift"]["edges"][0]["change"], "worse");
    assert!(report.render(Form::Export(Format::Mermaid)).unwrap().contains("flowchart LR"));
    let same = Report::of(&head, Some(&head), 1000.0).unwrap();
    assert!(same.render(Form::Text).unwrap().contains("Nothing differs from the base"));
}

#[test]
fn findings_stand_in_it() {
    let report =
        Report::of(&evidence((1..80).map(|at| request(at, at, 5, at % 4 == 0))), None, 1000.0).unwrap();
    let text = report.render(Form::Text).unwrap();
    let part = |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
    assert!(part("critical").contains("pay fails") && part("critical").ends_with("19"), "{text}");
    assert!(part("pay  ").contains("100 %"), "{text}");
    let healthy = Report::of(&evidence((1..80).map(|at| request(at, at, 5, false))), None, 1000.0).unwrap();
    assert!(healthy.render(Form::Text).unwrap().contains("No findings"));
}

#[test]
fn nothing_is_a_report_too() {
    let report = Report::of(&Evidence::default(), Some(&Evidence::default()), 1000.0).unwrap();
    let text = report.render(Form::Text).unwrap();
    assert!(text.contains("No spans in this window") && text.contains("Nothing differs"), "{text}");
}
