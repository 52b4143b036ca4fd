//! Zipkin spans as they are sent, and as they should not be.

use proptest::prelude::*;

use super::{Element, Reader, decode};
use crate::{
    otlp::{DecodeError, Decoded, Rules},
    span::{Kind, Span, Status, Value, attribute},
};

fn of(text: &str) -> Decoded {
    decode(&text.as_bytes().to_vec().into(), &Rules::default()).unwrap()
}

/// A span of trace 1 with an id and further fields.
fn span(id: u64, rest: &str) -> String {
    format!(r#"{{"traceId":"0000000000000001","id":"{id:016x}"{rest}}}"#)
}

fn one(rest: &str) -> Result<Span, String> {
    let mut decoded = of(&format!("[{}]", span(2, rest)));
    assert_eq!(decoded.received, 1);
    match decoded.spans.pop() {
        Some(span) => Ok(span),
        None => Err(decoded.rejected[0].reason.to_string()),
    }
}

fn starts(decoded: &Decoded) -> Vec<(String, u64)> {
    decoded.spans.iter().map(|span| (span.span_id.to_string()[14..].to_owned(), span.start_ns)).collect()
}

#[test]
fn every_field_finds_its_place() {
    let span = one(
        r#","parentId":"0000000000000001","kind":"CLIENT","name":"get /","timestamp":5,"duration":7,"debug":true,
        "localEndpoint":{"serviceName":"Cart","ipv4":"10.0.0.1","port":8080},"shared":true,
        "remoteEndpoint":{"serviceName":"PAY","ipv6":"2001:db8::1","port":443},
        "annotations":[{"timestamp":6,"value":"ws"}],"tags":{"http.method":"GET","error":""}"#,
    )
    .unwrap();
    assert_eq!(span.trace_id.to_string(), "00000000000000000000000000000001");
    assert_eq!(span.parent_span_id.unwrap().to_string(), "0000000000000001");
    assert_eq!(
        (span.kind, &*span.name, span.start_ns, span.end_ns),
        (Kind::Client, "get /", 5_000, Some(12_000))
    );
    assert_eq!((span.status, &*span.status_message), (Status::Error, ""), "an empty error is one");
    let text = |list, key| attribute(list, key).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(text(&span.resource.attributes, "service.name"), "cart");
    assert_eq!(text(&span.resource.attributes, "service.instance.id"), "10.0.0.1:8080");
    assert_eq!(text(&span.attributes, "service.peer.name"), "pay");
    assert_eq!(text(&span.attributes, "network.peer.address"), "2001:db8::1");
    assert_eq!(attribute(&span.attributes, "network.peer.port"), Some(&Value::Int(443)));
    assert_eq!((span.events[0].time_ns, &*span.events[0].name), (6_000, "ws"));
}

#[test]
fn what_may_be_left_out() {
    let span = one(r#","timestamp":1"#).unwrap();
    assert_eq!((span.kind, span.end_ns, span.parent_span_id), (Kind::Unspecified, None, None));
    assert!(span.resource.attributes.is_empty());
    for root in [r#""""#, r#""0000000000000000""#, r#""0000000000000002""#, "null"] {
        assert_eq!(
            one(&format!(r#","timestamp":1,"parentId":{root}"#)).unwrap().parent_span_id,
            None,
            "{root}"
        );
    }
    assert_eq!(one(r#","timestamp":1,"duration":0"#).unwrap().end_ns, None);
    assert_eq!(one(r#","timestamp":1,"kind":"WORKER""#).unwrap().kind, Kind::Internal);
    assert_eq!(one(r#","timestamp":"12","duration":1.0"#).unwrap().end_ns, Some(13_000));
    let long = r#"[{"traceId":"ABCDEF00000000000000000000000001","id":"00000000000000aF","timestamp":1}]"#;
    assert_eq!(of(long).spans[0].trace_id.to_string(), "abcdef00000000000000000000000001");
    assert_eq!(of("[]").received, 0);
}

#[test]
fn one_bad_span_costs_itself_and_is_named() {
    for (rest, words) in [
        (r#","timestamp":-1"#, "timestamp: expected microseconds as a whole number of at least 0, got -1"),
        (r#","timestamp":1.5"#, "timestamp: expected microseconds"),
        (r#","timestamp":99999999999999999999"#, "timestamp: expected microseconds"),
        (
            r#","timestamp":1,"duration":"soon""#,
            r#"duration: expected microseconds as a whole number of at least 0, got "soon""#,
        ),
        (r#","timestamp":1,"parentId":"12""#, "parentId: expected 16 hex digits, or nothing for a root"),
        (r#","timestamp":1,"name":7"#, "name: expected text in quotes, got 7"),
        (r#","timestamp":1,"tags":[]"#, "tags: invalid type"),
        (r#","timestamp":1,"localEndpoint":"x""#, "localEndpoint: invalid type"),
        (
            r#","timestamp":1,"remoteEndpoint":{"port":70000}"#,
            "remoteEndpoint: port: expected a number of at most 65535",
        ),
        (r#","binaryAnnotations":[]"#, "Zipkin v1; export the trace from /api/v2"),
        ("", "timestamp: missing, and no span of its trace has one"),
    ] {
        let error = one(rest).unwrap_err();
        assert!(error.contains(words), "{rest}: {error}");
        let named =
            error.starts_with("span 0000000000000002: ") || rest.contains("localEndpoint") || rest.is_empty();
        assert!(named, "{error}");
    }
    for (bad, words) in [
        (r#"{"id":"0000000000000002","timestamp":1}"#, "traceId: missing; write 16 or 32 hex digits"),
        (r#"{"traceId":"1","id":"0000000000000002","timestamp":1}"#, "traceId: expected 16 or 32 hex digits"),
        (r#"{"traceId":"00000000000000000","id":"2","timestamp":1}"#, "traceId: expected 16 or 32"),
        (r#"{"traceId":"0000000000000001","id":"2","timestamp":1}"#, "id: expected 16 hex digits"),
        (r#"{"traceId":"0000000000000001","timestamp":1}"#, "id: missing"),
        ("7", "expected a JSON object"),
        ("null", "expected a JSON object"),
    ] {
        let decoded = of(&format!("[{},{bad}]", span(1, r#","timestamp":1"#)));
        assert_eq!((decoded.spans.len(), decoded.rejected_total, decoded.rejected[0].index), (1, 1, 1));
        assert!(decoded.rejected[0].reason.to_string().contains(words), "{:?}", decoded.rejected);
    }
    for body in ["{}", "7", "[{]", "", "[1", "\u{0}"] {
        let failed = decode(&body.as_bytes().to_vec().into(), &Rules::default());
        assert!(matches!(failed, Err(DecodeError::Json(_))), "{body}");
    }
}

#[test]
fn a_missing_start_is_that_of_the_id_then_of_the_nearest_span_above_then_of_the_trace() {
    let at = |id, parent: u64, us| span(id, &format!(r#","parentId":"{parent:016x}","timestamp":{us}"#));
    let untimed = |id, parent: u64| span(id, &format!(r#","parentId":"{parent:016x}","duration":3"#));
    // In any order: what tells the start may come later.
    let mut spans = [
        untimed(5, 4),
        untimed(4, 3),
        untimed(3, 2),
        at(2, 1, 70),
        at(3, 2, 80),
        at(9, 0, 20),
        untimed(8, 7),
    ];
    for _ in 0..spans.len() {
        spans.rotate_left(1);
        let decoded = of(&format!("[{}]", spans.join(",")));
        let mut found = starts(&decoded);
        found.sort();
        let expected = [("02", 70), ("03", 80), ("03", 80), ("04", 80), ("05", 80), ("08", 20), ("09", 20)];
        assert_eq!(found, expected.map(|(id, us)| (id.to_owned(), us * 1_000)));
        let untimed = decoded.spans.iter().filter(|span| span.end_ns == Some(span.start_ns + 3_000));
        assert_eq!(untimed.count(), 4, "a duration stays");
    }
}

#[test]
fn untimed_spans_in_a_cycle_or_of_another_trace_find_nothing() {
    let untimed = |id, parent: u64| span(id, &format!(r#","parentId":"{parent:016x}""#));
    let other = r#"{"traceId":"0000000000000002","id":"0000000000000004","timestamp":9}"#;
    let decoded = of(&format!("[{},{},{other}]", untimed(3, 4), untimed(4, 3)));
    assert_eq!((decoded.spans.len(), decoded.rejected_total), (1, 2));
}

#[test]
fn traces_may_be_arrays_in_the_array() {
    let time = r#","timestamp":1"#;
    let decoded =
        of(&format!("[[{},{}],[],[{}],{}]", span(1, time), span(2, time), span(3, time), span(4, time)));
    assert_eq!(starts(&decoded).iter().map(|(id, _)| &**id).collect::<Vec<_>>(), ["01", "02", "03", "04"]);
}

#[test]
fn spans_of_one_endpoint_share_their_sender() {
    let rest = r#","timestamp":1,"localEndpoint":{"serviceName":"a"}"#;
    let decoded = of(&format!("[{},{}]", span(1, rest), span(2, rest)));
    assert!(std::sync::Arc::ptr_eq(&decoded.spans[0].resource, &decoded.spans[1].resource));
}

proptest! {
    /// Element by element, in parts of any size, the same spans come out as from the whole.
    #[test]
    fn parts_do_not_matter(times in prop::collection::vec(prop::option::of(1u64..1000), 1..20), part in 1usize..6) {
        let spans: Vec<String> = (1u64..).zip(&times).map(|(id, time)| {
            let time = time.map_or(String::new(), |us| format!(r#","timestamp":{us}"#));
            span(id, &format!(r#","parentId":"{:016x}"{time}"#, id - 1))
        }).collect();
        let whole = of(&format!("[{}]", spans.join(",")));
        let mut reader = Reader::new(Rules::default());
        let mut found = Vec::new();
        for (nth, spans) in spans.chunks(part).enumerate() {
            let mut body = Vec::new();
            let elements: Vec<Element> = spans.iter().enumerate().map(|(at, span)| {
                let start = body.len();
                body.extend_from_slice(span.as_bytes());
                Element { place: start..body.len(), mark: (nth * part + at) as u64 }
            }).collect();
            let group = reader.spans(&body.into(), &elements);
            prop_assert_eq!(group.marks.len(), group.decoded.received);
            found.extend(group.decoded.spans);
        }
        let rest = reader.rest();
        prop_assert_eq!(rest.marks.len(), rest.decoded.received);
        let untimed: Vec<u64> = (0u64..).zip(&times).filter(|(_, time)| time.is_none()).map(|(at, _)| at).collect();
        prop_assert_eq!(&rest.marks, &untimed);
        found.extend(rest.decoded.spans);
        prop_assert_eq!(found, whole.spans);
    }
}
