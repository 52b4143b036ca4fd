//! Exports of Jaeger as they are, and as they should not be.

use super::{Lines, Trace, decode};
use crate::{
    otlp::{Decoded, Rules},
    span::{Kind, Span, Status, Value, attribute},
};

const PROCESSES: &str =
    r#"{"p1":{"serviceName":"Cart","tags":[{"key":"hostname","type":"string","value":"h1"}]}}"#;

fn export(spans: &str) -> String {
    format!(
        r#"{{"data":[{{"traceID":"a1","spans":[{spans}],"processes":{PROCESSES}}}],"total":0,"errors":null}}"#
    )
}

fn of(text: &str) -> Decoded {
    decode(&text.as_bytes().to_vec().into(), &Rules::default()).unwrap()
}

fn span(rest: &str) -> String {
    format!(
        r#"{{"traceID":"a1","spanID":"b2","operationName":"op","startTime":5,"duration":7,"processID":"p1"{rest}}}"#
    )
}

fn one(rest: &str) -> Result<Span, String> {
    let mut decoded = of(&export(&span(rest)));
    assert_eq!(decoded.received, 1);
    match decoded.spans.pop() {
        Some(span) => Ok(span),
        None => Err(decoded.rejected[0].reason.to_string()),
    }
}

fn text<'a>(list: &'a crate::span::Attributes, key: &str) -> Option<&'a str> {
    attribute(list, key).and_then(Value::as_str)
}

#[test]
fn ids_times_and_senders() {
    let span = one("").unwrap();
    assert_eq!(span.trace_id.to_string(), "000000000000000000000000000000a1");
    assert_eq!(span.span_id.to_string(), "00000000000000b2");
    assert_eq!((&*span.name, span.start_ns, span.end_ns), ("op", 5_000, Some(12_000)));
    assert_eq!(
        text(&span.resource.attributes, "service.name"),
        Some("Cart"),
        "as it is: only Zipkin lowers names"
    );
    assert_eq!(text(&span.resource.attributes, "host.name"), Some("h1"));
    assert_eq!((span.kind, span.status, span.parent_span_id), (Kind::Unspecified, Status::Unset, None));
}

#[test]
fn the_first_child_of_inside_the_trace_is_the_parent_and_all_others_are_links() {
    let reference = |of_type: &str, trace: &str, span: u8| {
        format!(r#"{{"refType":"{of_type}","traceID":"{trace}","spanID":"{span:x}"}}"#)
    };
    let list = [
        reference("FOLLOWS_FROM", "a1", 1),
        reference("CHILD_OF", "ff", 2),
        reference("CHILD_OF", "00a1", 3),
        reference("CHILD_OF", "a1", 4),
        reference("CHILD_OF", "zz", 5),
    ];
    let span = one(&format!(r#","references":[{}]"#, list.join(","))).unwrap();
    assert_eq!(span.parent_span_id.unwrap().to_string(), "0000000000000003");
    let links: Vec<_> = span
        .links
        .iter()
        .map(|link| (link.span_id.to_bytes()[7], text(&link.attributes, "opentracing.ref_type")))
        .collect();
    assert_eq!(links, [(1, Some("follows_from")), (2, Some("child_of")), (4, Some("child_of"))]);
    let old = one(r#","parentSpanID":"c3""#).unwrap();
    assert_eq!(old.parent_span_id.unwrap().to_string(), "00000000000000c3");
    assert_eq!(one(r#","references":null,"parentSpanID":"0""#).unwrap().parent_span_id, None);
}

#[test]
fn tags_give_kind_and_status_and_keep_their_types() {
    let tag = |key: &str, of_type: &str, value: &str| {
        format!(r#"{{"key":"{key}","type":"{of_type}","value":{value}}}"#)
    };
    let with = |tags: &[String]| one(&format!(r#","tags":[{}]"#, tags.join(","))).unwrap();
    for (value, failed) in [
        ("true", true),
        ("false", false),
        (r#""true""#, true),
        (r#""false""#, false),
        (r#""""#, false),
        (r#""boom""#, true),
    ] {
        let of_type = if value.starts_with('"') { "string" } else { "bool" };
        assert_eq!(with(&[tag("error", of_type, value)]).status == Status::Error, failed, "{value}");
    }
    let span = with(&[
        tag("span.kind", "string", r#""consumer""#),
        tag("otel.status_code", "string", r#""ERROR""#),
        tag("otel.status_description", "string", r#""no stock""#),
        tag("otel.scope.name", "string", r#""lib""#),
        tag("w3c.tracestate", "string", r#""ot=th:c""#),
        tag("n", "int64", "-7"),
        tag("m", "int64", r#""9007199254740993""#),
        tag("x", "float64", "1.5"),
        tag("y", "bool", "true"),
        tag("z", "binary", r#""AAE=""#),
        tag("u", "", "3"),
    ]);
    assert_eq!((span.kind, span.status, &*span.status_message), (Kind::Consumer, Status::Error, "no stock"));
    assert_eq!((&*span.scope.name, &*span.trace_state), ("lib", "ot=th:c"));
    let expected = [
        ("n", Value::Int(-7)),
        ("m", Value::Int(9_007_199_254_740_993)),
        ("x", Value::Double(1.5)),
        ("y", Value::Bool(true)),
        ("z", Value::Bytes(vec![0, 1].into())),
        ("u", Value::Int(3)),
    ];
    assert_eq!(span.attributes, expected.map(|(key, value)| (key.into(), value)));
    assert_eq!(with(&[tag("otel.status_code", "string", r#""OK""#)]).status, Status::Ok);
}

#[test]
fn logs_are_events() {
    let span = one(r#","logs":[{"timestamp":6,"fields":[{"key":"event","type":"string","value":"retry"},{"key":"n","type":"int64","value":2}]},{}]"#).unwrap();
    assert_eq!((span.events[0].time_ns, &*span.events[0].name), (6_000, "retry"));
    assert_eq!(span.events[0].attributes, [("n".into(), Value::Int(2))]);
    assert_eq!(span.events.len(), 2);
}

#[test]
fn one_bad_span_costs_itself_and_is_named() {
    for (rest, words) in [
        (r#","startTime":-5"#, "startTime: expected microseconds"),
        (r#","duration":"x""#, "duration: expected microseconds"),
        (r#","traceID":"""#, "traceID: expected 1 to 32 hex digits, not all zero"),
        (r#","traceID":"000000000000000000000000000000001""#, "traceID: expected 1 to 32 hex digits"),
        (r#","spanID":"zz""#, "spanID: expected 1 to 16 hex digits"),
        (r#","tags":{}"#, "tags: expected an array"),
        (
            r#","tags":[{"key":"n","type":"int64","value":"many"}]"#,
            r#"tags: n: expected a 64-bit whole number, got "many""#,
        ),
        (r#","tags":[{"key":"n","type":"int64","value":NaN}]"#, ""),
        (r#","references":7"#, "references: expected an array, got 7"),
        (r#","processID":"p9""#, "processID: not among the processes of the trace"),
        (r#","processID":null"#, "processID: missing"),
        (r#","processID":null,"process":{}"#, "export from /api/traces"),
    ] {
        if words.is_empty() {
            let whole = export(&span(rest));
            assert!(decode(&whole.into_bytes().into(), &Rules::default()).is_err(), "not JSON: {rest}");
            continue;
        }
        let good = span("");
        let decoded = of(&export(&format!("{good},{},{good}", span(rest))));
        assert_eq!(
            (decoded.spans.len(), decoded.rejected_total, decoded.rejected[0].index),
            (2, 1, 1),
            "{rest}"
        );
        let error = decoded.rejected[0].reason.to_string();
        assert!(error.starts_with("span ") && error.contains(words), "{error}");
    }
}

#[test]
fn a_bad_trace_or_process_costs_its_own_spans() {
    let good = format!(r#"{{"traceID":"a1","spans":[{}],"processes":{PROCESSES}}}"#, span(""));
    let no_name = format!(r#"{{"spans":[{}],"processes":{{"p1":{{"serviceName":7}}}}}}"#, span(""));
    let text = format!(r#"{{"data":[{good},{{"spans":7}},{{}},{no_name},{good}]}}"#);
    let decoded = of(&text);
    let rejected: Vec<_> =
        decoded.rejected.iter().map(|span| (span.index, span.reason.to_string())).collect();
    assert_eq!(decoded.spans.len(), 2);
    assert_eq!(rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(rejected[0].1.contains("spans: expected an array"), "{rejected:?}");
    assert!(rejected[1].1.contains("spans: missing"), "{rejected:?}");
    assert!(rejected[2].1.contains("serviceName: expected text"), "{rejected:?}");
}

#[test]
fn a_trace_is_decoded_part_by_part() {
    let text = format!(
        "{{\"processes\":{PROCESSES},\n\"spans\":[\n{},\n{},\n{}]}}",
        span(""),
        span(r#","spanID":"""#),
        span("")
    );
    let trace = Trace::open(text.into_bytes().into()).unwrap();
    assert_eq!((trace.len(), trace.is_empty()), (3, false));
    let mut lines = Lines::default();
    let (mut found, mut at) = (Vec::new(), Vec::new());
    for nth in [0, 1, 1, 2, 0] {
        found.push(trace.lines_before(nth, &mut lines));
        at.push(lines.at);
    }
    assert_eq!(found, [2, 3, 3, 4, 2]);
    // What was looked at is not looked at again, but for a span before it.
    assert!(at[0] < at[1] && at[1] == at[2] && at[2] < at[3] && at[4] == at[0], "{at:?}");
    let part = trace.decode(1..3, &Rules::default());
    assert_eq!((part.spans.len(), part.rejected[0].index), (1, 0));
    assert_eq!(trace.decode(2..9, &Rules::default()).received, 0, "beyond the end there is nothing");
}

#[test]
fn what_is_cut_of_a_process_is_counted_with_the_first_spans_of_its_trace() {
    let tags: Vec<String> =
        (0..1_000).map(|nth| format!(r#"{{"key":"k{nth}","type":"int64","value":{nth}}}"#)).collect();
    let processes = format!(r#"{{"p1":{{"serviceName":"cart","tags":[{}]}}}}"#, tags.join(","));
    let text = format!("{{\"processes\":{processes},\"spans\":[{},{}]}}", span(""), span(""));
    let trace = Trace::open(text.into_bytes().into()).unwrap();
    let cut = |part| trace.decode(part, &Rules::default()).flags.cut;
    // The name of the service is one more, and stands first.
    assert_eq!((cut(0..1), cut(1..2)), (1_001 - 512, 0));
}
