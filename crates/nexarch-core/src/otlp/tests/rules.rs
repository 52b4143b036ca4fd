//! What is valid, what is flagged, what is rejected: in both encodings.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::{fixtures::one_span, oracle};
use crate::{
    otlp::{
        Decoded, Encoding, Flags, MAX_FUTURE_NS, MAX_KEPT_REJECTIONS, Reason, Rules, decode, encode_json,
        encode_protobuf,
    },
    span::{Event, Kind, Resource, Span, Status, Value},
};

/// A span as protobuf, changed, decoded between two good ones.
fn changed(change: impl Fn(&mut oracle::Span)) -> Decoded {
    let mut request = oracle::request(&[one_span(), one_span(), one_span()]);
    change(&mut request.resource_spans[1].scope_spans[0].spans[0]);
    decode(&request.encode_to_vec().into(), Encoding::Protobuf, &Rules::default()).unwrap()
}

/// The same as JSON, by replacing one piece of text.
fn changed_json(from: &str, to: &str) -> Decoded {
    let text = |spans: &[Span]| String::from_utf8(encode_json(spans)).unwrap();
    let good = text(&[one_span()]);
    assert!(good.contains(from), "{from} is not in {good}");
    let bad = good.replace(from, to);
    let strip = |text: &str| text["{\"resourceSpans\":[".len()..text.len() - 2].to_owned();
    let body = format!("{{\"resourceSpans\":[{},{},{}]}}", strip(&good), strip(&bad), strip(&good));
    decode(&Bytes::from(body), Encoding::Json, &Rules::default()).unwrap()
}

#[track_caller]
fn rejects_the_second(decoded: &Decoded, reason: &Reason) {
    assert_eq!((decoded.received, decoded.spans.len(), decoded.rejected_total), (3, 2, 1));
    assert_eq!((decoded.rejected[0].index, &decoded.rejected[0].reason), (1, reason));
}

#[test]
fn invalid_ids_cost_their_span() {
    for bad in [vec![], vec![0; 16], vec![1; 15], vec![1; 17], vec![1; 32]] {
        rejects_the_second(&changed(|span| span.trace_id.clone_from(&bad)), &Reason::TraceId);
    }
    for bad in [vec![], vec![0; 8], vec![1; 7], vec![1; 16]] {
        rejects_the_second(&changed(|span| span.span_id.clone_from(&bad)), &Reason::SpanId);
    }
    for bad in [vec![1; 7], vec![1; 16], vec![0; 16]] {
        rejects_the_second(&changed(|span| span.parent_span_id.clone_from(&bad)), &Reason::ParentSpanId);
    }
    let (trace, span) = ("\"5b8efff798038103d269b633813fc60c\"", "\"eee19b7ec3c1b174\"");
    for bad in
        ["\"\"", "\"0\"", "null", "\"00000000000000000000000000000000\"", "\"W47/95gDgQPSabYzgT/GDA==\""]
    {
        rejects_the_second(&changed_json(trace, bad), &Reason::TraceId);
    }
    for bad in ["\"\"", "\"0000000000000000\"", "\"eee19b7ec3c1b17g\"", "\"7uGbfsPBsXQ=\""] {
        rejects_the_second(&changed_json(span, bad), &Reason::SpanId);
    }
    for bad in ["\"eee19b7ec3c1b1\"", "\"00000000\"", "\"eee19b7ec3c1b17xx\""] {
        rejects_the_second(&changed_json("\"eee19b7ec3c1b173\"", bad), &Reason::ParentSpanId);
    }
}

#[test]
fn an_absent_or_zero_parent_is_a_root() {
    let root = |decoded: Decoded| {
        assert_eq!(decoded.rejected_total, 0);
        assert_eq!(decoded.spans[1].parent_span_id, None);
        assert!(decoded.spans[0].parent_span_id.is_some());
    };
    root(changed(|span| span.parent_span_id.clear()));
    root(changed(|span| span.parent_span_id = vec![0; 8]));
    for parent in ["\"\"", "null", "\"0000000000000000\""] {
        root(changed_json("\"eee19b7ec3c1b173\"", parent));
    }
}

#[test]
fn odd_spans_are_accepted_and_flagged() {
    let flags = |change: fn(&mut Span)| {
        let mut span = one_span();
        change(&mut span);
        let spans = [span];
        let flagged = [(Encoding::Protobuf, encode_protobuf(&spans)), (Encoding::Json, encode_json(&spans))]
            .map(|(encoding, body)| decode(&body.into(), encoding, &Rules::default()).unwrap());
        assert_eq!(flagged[0], flagged[1]);
        assert_eq!(flagged[0].rejected_total, 0);
        let Decoded { mut spans, flags, .. } = flagged.into_iter().next().unwrap();
        (spans.remove(0), flags)
    };
    let usual = Flags { no_sampling: 1, ..Flags::default() };

    let (span, flagged) = flags(|span| span.end_ns = Some(span.start_ns - 1));
    assert_eq!((span.end_ns, flagged), (Some(span.start_ns), Flags { end_before_start: 1, ..usual }));
    let (span, flagged) = flags(|span| span.end_ns = None);
    assert_eq!((span.end_ns, flagged), (None, usual));
    let (span, flagged) = flags(|span| span.parent_span_id = Some(span.span_id));
    assert_eq!((span.parent_span_id, flagged), (None, Flags { self_parent: 1, ..usual }));
    let (_, flagged) = flags(|span| span.name = "".into());
    assert_eq!(flagged, Flags { no_name: 1, ..usual });
    let (_, flagged) = flags(|span| span.kind = Kind::Unspecified);
    assert_eq!(flagged, Flags { no_kind: 1, ..usual });
    let (_, flagged) = flags(|span| span.resource = Arc::default());
    assert_eq!(flagged, Flags { no_service_name: 1, ..usual });
    let (_, flagged) = flags(|span| {
        let name = ("service.name".into(), Value::Str("unknown_service:node".into()));
        span.resource = Arc::new(Resource { attributes: vec![name] });
    });
    assert_eq!(flagged, Flags { no_service_name: 1, ..usual });
    let (_, flagged) = flags(|span| span.trace_state = "ot=th:8".into());
    assert_eq!(flagged, Flags::default());
    let (span, flagged) = flags(|span| {
        let event = |name: &str| Event { time_ns: 1, name: name.into(), attributes: Vec::new() };
        span.events = vec![event(""), event("named")];
    });
    assert_eq!((span.events.len(), flagged), (2, Flags { unnamed_event: 1, ..usual }));
    let (span, flagged) = flags(|span| {
        span.attributes =
            vec![("k".into(), Value::Int(1)), ("x".into(), Value::Null), ("k".into(), Value::Int(2))];
    });
    assert_eq!(span.attributes, [("k".into(), Value::Int(2)), ("x".into(), Value::Null)]);
    assert_eq!(flagged, Flags { repeated_key: 1, ..usual });
}

#[test]
fn unknown_numbers_have_a_meaning() {
    for kind in [6, 77, -1, i32::MAX] {
        let decoded = changed(|span| span.kind = kind);
        assert_eq!((decoded.spans[1].kind, decoded.flags.unknown_kind), (Kind::Internal, 1));
        let decoded = changed_json("\"kind\":2", &format!("\"kind\":{kind}"));
        assert_eq!((decoded.spans[1].kind, decoded.flags.unknown_kind), (Kind::Internal, 1));
    }
    let decoded = changed(|span| span.status = Some(oracle::Status { message: "?".into(), code: 9 }));
    assert_eq!(decoded.spans[1].status, Status::Unset);
    assert_eq!(decoded.spans[1].status_message, "?");
}

#[test]
fn links_without_ids_are_dropped_and_counted() {
    let link = |trace_id| oracle::Link { trace_id, span_id: vec![1; 8], ..oracle::Link::default() };
    let decoded = changed(|span| span.links = vec![link(vec![1; 16]), link(vec![]), link(vec![0; 16])]);
    assert_eq!((decoded.spans[1].links.len(), decoded.flags.invalid_link), (1, 2));
    let ids = "\"traceId\":\"00000000000000000000000000000001\",\"spanId\":\"0000000000000001\"";
    let links = format!("\"kind\":2,\"links\":[{{{ids}}},{{\"traceId\":\"1\"}},{{}}]");
    let decoded = changed_json("\"kind\":2", &links);
    assert_eq!((decoded.spans[1].links.len(), decoded.flags.invalid_link), (1, 2));
}

#[test]
fn times_are_judged_only_when_a_present_is_given() {
    let now = 1_700_000_000_000_000_000;
    let day = 86_400_000_000_000;
    let starts = [now - day - 1, now - day, now, now + MAX_FUTURE_NS, now + MAX_FUTURE_NS + 1];
    let spans = starts.map(|start_ns| Span { start_ns, end_ns: None, ..one_span() });
    let body = encode_protobuf(&spans).into();
    let kept = |rules: Rules| decode(&body, Encoding::Protobuf, &rules).unwrap();

    assert_eq!(kept(Rules::default()).rejected_total, 0);
    let decoded = kept(Rules { now_ns: Some(now), retention_ns: Some(day), ..Rules::default() });
    let reasons: Vec<_> =
        decoded.rejected.iter().map(|rejected| (rejected.index, &rejected.reason)).collect();
    assert_eq!(reasons, [(0, &Reason::Expired), (4, &Reason::Future)]);
    assert_eq!(decoded.spans.iter().map(|span| span.start_ns).collect::<Vec<_>>(), starts[1..4]);
    let without_retention = kept(Rules { now_ns: Some(now), ..Rules::default() });
    assert_eq!(without_retention.rejected_total, 1);
}

#[test]
fn many_rejections_are_counted_and_few_are_told() {
    let expired = Rules { now_ns: Some(u64::MAX), retention_ns: Some(1), ..Rules::default() };
    let spans = vec![one_span(); 1000];
    let decoded = decode(&encode_json(&spans).into(), Encoding::Json, &expired).unwrap();
    assert_eq!((decoded.received, decoded.spans.len(), decoded.rejected_total), (1000, 0, 1000));
    assert_eq!(decoded.rejected.len(), MAX_KEPT_REJECTIONS);
    let message = decoded.message().unwrap();
    assert!(message.starts_with("1000 of 1000 spans rejected: span 0: it is older than the retention"));
    assert!(message.ends_with("…"));
    assert!(message.len() < 4000);
    assert_eq!(Decoded::default().message(), None);
}
