//! The native format, as a user sends it.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{Batch, MAX_KEPT_ERRORS, NativeError, decode_batch, decode_one};
use crate::{
    facts::Facts,
    otlp::{Flags, MAX_VALUE_DEPTH, Rules},
    span::{Kind, Span, Status, Value, attribute},
};

/// 2026-01-31T12:00:00Z.
const START: u64 = 1_769_860_800_000_000_000;

fn minimal() -> Json {
    json!({
        "trace_id": "0123456789abcdef0123456789ABCDEF",
        "span_id": "0123456789abcdEF",
        "service_name": "cart",
        "operation": "GET /cart",
        "start_time": "2026-01-31T12:00:00Z",
    })
}

fn with(fields: &Json) -> Json {
    let mut item = minimal();
    for (key, value) in fields.as_object().unwrap() {
        item[key] = value.clone();
    }
    item
}

fn decode(item: &Json) -> Result<Span, NativeError> {
    decode_one(item.to_string().as_bytes(), &Rules::default()).map(|(span, _)| span)
}

#[track_caller]
fn good(fields: &Json) -> Span {
    decode(&with(fields)).unwrap()
}

#[track_caller]
fn bad(fields: &Json) -> String {
    match decode(&with(fields)) {
        Err(NativeError::Span(text)) => text,
        other => panic!("{fields}: {other:?}"),
    }
}

#[test]
fn the_required_fields_are_enough() {
    let (span, flags) = decode_one(minimal().to_string().as_bytes(), &Rules::default()).unwrap();
    assert_eq!(span.trace_id.to_string(), "0123456789abcdef0123456789abcdef");
    assert_eq!(span.span_id.to_string(), "0123456789abcdef");
    assert_eq!((span.parent_span_id, span.kind, span.status), (None, Kind::Internal, Status::Unset));
    assert_eq!((&*span.name, span.start_ns, span.end_ns), ("GET /cart", START, None));
    assert_eq!((span.attributes.len(), span.events.len(), span.links.len()), (0, 0, 0));
    assert_eq!(Facts::from(&span).service, "cart");
    assert_eq!(flags, Flags { no_sampling: 1, ..Flags::default() });
}

#[test]
fn ids_in_every_spelling() {
    let trace = |id: &str| good(&json!({"trace_id": id})).trace_id.to_string();
    assert_eq!(trace("aF"), "000000000000000000000000000000af");
    assert_eq!(trace("0123456789abcdef"), "00000000000000000123456789abcdef");
    assert_eq!(trace("550E8400-e29b-41d4-a716-446655440000"), "550e8400e29b41d4a716446655440000");
    let span = |id: &str| good(&json!({"span_id": id})).span_id.to_string();
    assert_eq!(span("550e8400-e29b-41d4-a716-446655440000"), "550e8400e29b41d4");
    let parent = |id: Json| good(&json!({"parent_span_id": id})).parent_span_id.map(|id| id.to_string());
    assert_eq!(parent(json!("00000000000000AA")), Some("00000000000000aa".into()));
    for root in [json!(null), json!(""), json!("0000000000000000"), json!("0123456789abcdef")] {
        assert_eq!(parent(root.clone()), None, "{root}");
    }
}

#[test]
fn ids_that_are_none() {
    for id in [json!(""), json!("0"), json!("xyz"), json!("1".repeat(33)), json!(12), json!({}), json!("é")]
    {
        assert!(bad(&json!({"trace_id": id})).starts_with("trace_id: expected"), "{id}");
    }
    for id in [
        json!(""),
        json!("1"),
        json!("0000000000000000"),
        json!("1".repeat(17)),
        json!(7),
        json!("ééééééé\u{20ac}é"),
    ] {
        assert!(bad(&json!({"span_id": id})).starts_with("span_id: expected"), "{id}");
    }
    for id in [json!("1"), json!("parent"), json!(true)] {
        assert!(bad(&json!({"parent_span_id": id})).starts_with("parent_span_id: expected"), "{id}");
    }
}

#[test]
fn a_missing_field_is_named_with_the_likely_typo() {
    for field in ["trace_id", "span_id", "service_name", "operation", "start_time"] {
        let mut item = minimal();
        item.as_object_mut().unwrap().remove(field);
        let error = decode(&item).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{field}: missing; send ")), "{error}");
        item[field] = Json::Null;
        assert_eq!(decode(&item).unwrap_err().to_string(), error);
    }
    let mut typo = minimal();
    typo.as_object_mut().unwrap().remove("service_name");
    typo["service"] = json!("cart");
    let error = decode(&typo).unwrap_err().to_string();
    assert_eq!(error, "service_name: missing; send the name of the service as text (not a field: service)");
    for (field, value) in [("service_name", json!(" ")), ("operation", json!("")), ("service_name", json!(5))]
    {
        assert!(bad(&json!({field: value})).starts_with(&format!("{field}: ")));
    }
    assert_eq!(good(&json!({"newer_field": {"a": [1]}})), decode(&minimal()).unwrap());
}

#[test]
fn kinds_in_any_case() {
    for (text, kind) in [
        ("Server", Kind::Server),
        ("CLIENT", Kind::Client),
        ("producer", Kind::Producer),
        ("consumer", Kind::Consumer),
    ] {
        assert_eq!(good(&json!({"kind": text})).kind, kind);
    }
    assert!(bad(&json!({"kind": "SPAN_KIND_SERVER"})).starts_with("kind: expected internal, server,"));
    assert!(bad(&json!({"kind": 2})).starts_with("kind: expected text"));
}

#[test]
fn times_with_and_without_a_zone() {
    for (text, ns) in [
        ("2026-01-31T12:00:00Z", START),
        ("2026-01-31T13:00:00.000000001+01:00", START + 1),
        ("2026-01-31T12:00:00.25", START + 250_000_000),
        ("2026-01-31 12:00:00", START),
    ] {
        assert_eq!(good(&json!({"start_time": text})).start_ns, ns, "{text}");
    }
    for time in [
        json!("yesterday"),
        json!(1_769_860_800),
        json!("1969-12-31T23:59:59Z"),
        json!("2026-13-01T00:00:00Z"),
    ] {
        let error = bad(&json!({"start_time": time}));
        assert!(error.starts_with("start_time: expected an RFC 3339 time"), "{error}");
    }
}

#[test]
fn an_end_or_a_latency() {
    let end = |fields: Json| good(&fields).end_ns.map(|end| end - START);
    assert_eq!(end(json!({"latency_ms": 12.5})), Some(12_500_000));
    assert_eq!(end(json!({"latency_ms": 0})), Some(0));
    assert_eq!(end(json!({"end_time": "2026-01-31T12:00:01Z"})), Some(1_000_000_000));
    assert_eq!(end(json!({"end_time": "2026-01-31T12:00:01Z", "latency_ms": 5})), Some(1_000_000_000));
    assert_eq!(end(json!({"end_time": null, "latency_ms": null})), None);
    assert_eq!(good(&json!({"latency_ms": 1e300})).end_ns, Some(u64::MAX));
    for latency in [json!(-1), json!("fast"), json!("5")] {
        assert!(bad(&json!({"latency_ms": latency})).starts_with("latency_ms: expected milliseconds"));
    }
    let early = with(&json!({"end_time": "2026-01-31T11:00:00Z"})).to_string();
    let (span, flags) = decode_one(early.as_bytes(), &Rules::default()).unwrap();
    assert_eq!((span.end_ns, flags.end_before_start), (Some(START), 1));
}

#[test]
fn what_counts_as_an_error() {
    let status = |fields: Json| good(&fields).status;
    assert_eq!(status(json!({"status_code": 499})), Status::Unset);
    assert_eq!(status(json!({"status_code": 500})), Status::Error);
    assert_eq!(status(json!({"status_code": "503"})), Status::Error);
    assert_eq!(status(json!({"status_code": 200, "error": true})), Status::Error);
    assert_eq!(status(json!({"status_code": 500, "error": false})), Status::Error);
    for none in [json!(false), json!(null), json!("")] {
        assert_eq!(status(json!({"error": none})), Status::Unset);
    }
    let span = good(&json!({"error": "timeout after 3 s"}));
    assert_eq!((span.status, &*span.status_message), (Status::Error, "timeout after 3 s"));
    for error in [json!(1), json!({})] {
        assert!(bad(&json!({"error": error})).starts_with("error: expected true, false or a message"));
    }
    for code in [json!("OK"), json!(-1), json!(1000), json!(2.5), json!(true)] {
        assert!(
            bad(&json!({"status_code": code})).starts_with("status_code: expected an HTTP status"),
            "{code}"
        );
    }
    let span = good(&json!({"status_code": 404, "attributes": {"http.response.status_code": 1, "a": 2}}));
    assert_eq!(attribute(&span.attributes, "http.response.status_code"), Some(&Value::Int(404)));
    assert_eq!(span.attributes.len(), 2);
}

#[test]
fn downstream_makes_a_call() {
    for kind in [json!(null), json!("internal"), json!("client")] {
        let facts = Facts::from(&good(&json!({"downstream": " orders ", "kind": kind})));
        assert_eq!((facts.kind, &*facts.peer), (Kind::Client, "orders"), "{kind}");
    }
    let facts = Facts::from(&good(&json!({"downstream": "orders", "kind": "producer"})));
    assert_eq!((facts.kind, &*facts.peer), (Kind::Producer, "orders"));
    // On a server the peer would be the caller: the direction must not turn round.
    let span = good(&json!({"downstream": "orders", "kind": "server"}));
    assert_eq!((span.kind, &*Facts::from(&span).peer), (Kind::Server, ""));
    assert_eq!(attribute(&span.attributes, "nexarch.downstream").and_then(Value::as_str), Some("orders"));
    for none in [json!(null), json!("")] {
        assert_eq!(good(&json!({"downstream": none})), decode(&minimal()).unwrap());
    }
    assert!(bad(&json!({"downstream": ["a"]})).starts_with("downstream: expected text"));
}

#[test]
fn attributes_of_every_type() {
    let span = good(&json!({"attributes": {
        "text": "a\"\u{e9}", "yes": true, "whole": -7, "real": 1.5, "huge": u64::MAX, "none": null,
        "list": [1, "two", [3.5]], "map": {"a": {"b": null}}, "deployment.environment.name": "prod"
    }}));
    let of = |key| attribute(&span.attributes, key).unwrap().clone();
    assert_eq!(of("text"), Value::Str("a\"é".into()));
    assert_eq!(of("yes"), Value::Bool(true));
    assert_eq!(of("whole"), Value::Int(-7));
    assert_eq!(of("real"), Value::Double(1.5));
    assert_eq!(of("huge"), Value::Double(u64::MAX as f64));
    assert_eq!(of("none"), Value::Null);
    let inner = Value::Array(vec![Value::Double(3.5)]);
    assert_eq!(of("list"), Value::Array(vec![Value::Int(1), Value::Str("two".into()), inner]));
    let inner = Value::Map(vec![("b".into(), Value::Null)]);
    assert_eq!(of("map"), Value::Map(vec![("a".into(), inner)]));
    assert_eq!(Facts::from(&span).environment, "prod");
    for list in [json!([]), json!("a=b"), json!(5)] {
        assert!(bad(&json!({"attributes": list})).starts_with("attributes: "), "{list}");
    }
}

#[test]
fn attributes_nest_to_the_limit_and_no_further() {
    let nested = |levels| (1..levels).fold(json!(1), |inner, _| json!([inner]));
    good(&json!({"attributes": {"k": nested(MAX_VALUE_DEPTH)}}));
    let error = bad(&json!({"attributes": {"k": nested(MAX_VALUE_DEPTH + 1)}}));
    assert_eq!(error, "attributes: an attribute is nested deeper than 16 levels");
    let bottomless = "[".repeat(100_000) + &"]".repeat(100_000);
    let item = minimal()
        .to_string()
        .replace("\"GET /cart\"", &format!("\"x\",\"attributes\":{{\"k\":{bottomless}}}"));
    assert!(matches!(decode_one(item.as_bytes(), &Rules::default()), Err(NativeError::Span(_))));
}

#[test]
fn times_are_judged_when_a_present_is_given() {
    let old = Rules { now_ns: Some(START + 11), retention_ns: Some(10), ..Rules::default() };
    let error = decode_one(minimal().to_string().as_bytes(), &old).unwrap_err().to_string();
    assert!(error.starts_with("start_time: it is older than the retention"), "{error}");
    let early = Rules { now_ns: Some(START - 2 * 3_600_000_000_000), ..Rules::default() };
    assert!(decode_one(minimal().to_string().as_bytes(), &early).is_err());
}

#[test]
fn one_bad_item_never_costs_the_good_ones() {
    let items = json!([
        minimal(),
        with(&json!({"kind": "boss"})),
        5,
        null,
        [],
        with(&json!({"span_id": "00000000000000ff"}))
    ]);
    let Batch { spans, received, failed, errors, .. } =
        decode_batch(items.to_string().as_bytes(), &Rules::default()).unwrap();
    assert_eq!((received, spans.len(), failed), (6, 2, 4));
    assert_eq!(errors.iter().map(|error| error.index).collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(errors[0].error.starts_with("kind: "));
    assert_eq!(errors[1].error, "a span must be a JSON object");
    assert!(std::sync::Arc::ptr_eq(&spans[0].resource, &spans[1].resource));
}

#[test]
fn a_batch_is_an_array() {
    assert_eq!(decode_batch(b" [] ", &Rules::default()), Ok(Batch::default()));
    for body in [&b"{}"[..], b"5", b"null", b"\"x\"", br#"{"spans":[]}"#] {
        let error = decode_batch(body, &Rules::default()).unwrap_err();
        assert!(error.to_string().starts_with("the body must be a JSON array"), "{error}");
    }
    for body in [&b""[..], b"[", b"[1,", b"[] []", b"[\"\xff\"]", b"nonsense"] {
        let error = decode_batch(body, &Rules::default()).unwrap_err();
        assert!(error.to_string().starts_with("the body is not JSON"), "{error}");
    }
    for body in [&b""[..], b"{", b"{} {}", b"\xff"] {
        assert!(matches!(decode_one(body, &Rules::default()), Err(NativeError::Body(_))));
    }
    assert!(matches!(decode_one(b"[]", &Rules::default()), Err(NativeError::Span(_))));
}

#[test]
fn elements_that_weigh_nothing_cost_their_item() {
    let list = |len: usize| format!("[{}0]", "0,".repeat(len));
    let item = |list: String| {
        minimal().to_string().replace("\"GET /cart\"", &format!("\"x\",\"attributes\":{{\"k\":{list}}}"))
    };
    let map = format!("{{{}\"\":0}}", "\"\":0,".repeat(1_000_000));
    for value in [list(1_000_000), map] {
        let body = format!("[{},{}]", minimal(), item(value));
        let batch = decode_batch(body.as_bytes(), &Rules::default()).unwrap();
        assert_eq!((batch.spans.len(), batch.failed), (1, 1));
        assert!(batch.errors[0].error.starts_with("attributes: the request holds too many elements"));
    }
    assert!(decode_one(item(list(10_000)).as_bytes(), &Rules::default()).is_ok());
}

#[test]
fn errors_are_bounded() {
    let body = format!("[{}0]", "0,".repeat(100_000));
    let batch = decode_batch(body.as_bytes(), &Rules::default()).unwrap();
    assert_eq!((batch.received, batch.failed, batch.errors.len()), (100_001, 100_001, MAX_KEPT_ERRORS));
    assert!(bad(&json!({"kind": "x".repeat(100_000)})).len() < 400);
    let mut typos = minimal();
    typos.as_object_mut().unwrap().remove("operation");
    (0..1000).for_each(|nth| typos[format!("field_{nth}")] = json!(nth));
    assert!(decode(&typos).unwrap_err().to_string().len() < 400);
}

proptest! {
    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode_one(&body, &Rules::default());
        let _ = decode_batch(&body, &Rules::default());
    }

    #[test]
    fn damaged_items(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        fields in prop::sample::subsequence(vec!["latency_ms", "error", "attributes", "kind", "downstream"], 0..5),
    ) {
        let mut item = minimal();
        for field in fields {
            item[field] = json!({"latency_ms": 1, "error": "e", "attributes": {"a": [1]}, "kind": "client",
                "downstream": "b"})[field].clone();
        }
        let mut body = json!([item, minimal()]).to_string().into_bytes();
        for (place, byte) in edits {
            let at = place.index(body.len());
            body[at] = byte;
        }
        let _ = decode_one(&body, &Rules::default());
        if let Ok(batch) = decode_batch(&body, &Rules::default()) {
            prop_assert_eq!(batch.received, batch.spans.len() + batch.failed);
            prop_assert_eq!(batch.errors.len(), batch.failed);
        }
    }
}
