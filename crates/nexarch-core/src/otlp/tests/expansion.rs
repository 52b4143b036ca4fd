//! Memory is bounded by the size of the body, however little its elements weigh.

use std::sync::Arc;

use crate::{
    limits::{MAX_ATTRIBUTES, MAX_EVENTS, MAX_NAME_BYTES},
    otlp::{
        Decoded, EXPANSION_BASE, Encoding, MAX_EXPANSION, Reason, Rules, decode, encode_json,
        encode_protobuf, wire::Writer,
    },
    span::{Attributes, Event, Resource, Scope, Span, Value},
};

use super::fixtures::one_span;

fn protobuf(body: Vec<u8>) -> Decoded {
    decode(&body.into(), Encoding::Protobuf, &Rules::default()).unwrap()
}

/// A request of two spans, of which the second holds this field this often; its content is empty.
fn repeated(field: u32, times: usize) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |out| {
        out.message(2, |out| {
            for id in 1..3 {
                out.message(2, |out| {
                    out.bytes(1, &[1; 16]);
                    out.bytes(2, &[id; 8]);
                    (0..times * usize::from(id - 1)).for_each(|_| out.bytes(field, b""));
                });
            }
        });
    });
    out.0
}

#[test]
fn of_ten_thousand_attributes_the_first_are_kept_and_the_others_counted() {
    let attributes = (0..10_000).map(|nth| (format!("key.{nth}").into(), Value::Int(nth))).collect();
    let mut spans = [Span { attributes, name: "n".repeat(1 << 20).into(), ..one_span() }];
    let bodies = (encode_protobuf(&spans), encode_json(&spans));
    spans[0].attributes.truncate(MAX_ATTRIBUTES);
    spans[0].name = "n".repeat(MAX_NAME_BYTES).into();
    let json = decode(&bodies.1.into(), Encoding::Json, &Rules::default()).unwrap();
    for decoded in [protobuf(bodies.0), json] {
        assert_eq!((decoded.flags.cut, decoded.rejected_total), (10_000 - MAX_ATTRIBUTES as u64 + 1, 0));
        assert_eq!(decoded.spans, spans);
    }
}

#[test]
fn what_is_cut_of_a_resource_or_a_scope_is_counted_once() {
    let attributes: Attributes =
        (0..1_000).map(|nth| (format!("key.{nth}").into(), Value::Int(nth))).collect();
    let resource = Arc::new(Resource { attributes: attributes.clone() });
    let scope = Arc::new(Scope { name: "n".repeat(5_000).into(), attributes, ..Scope::default() });
    let spans = vec![Span { resource, scope, ..one_span() }; 3];
    let json = decode(&encode_json(&spans).into(), Encoding::Json, &Rules::default()).unwrap();
    for decoded in [protobuf(encode_protobuf(&spans)), json] {
        assert_eq!(decoded.flags.cut, 2 * (1_000 - MAX_ATTRIBUTES as u64) + 1);
        let Span { resource, scope, .. } = &decoded.spans[2];
        assert_eq!((resource.attributes.len(), scope.attributes.len()), (MAX_ATTRIBUTES, MAX_ATTRIBUTES));
        assert_eq!(scope.name.len(), MAX_NAME_BYTES);
    }
}

#[test]
fn elements_that_weigh_nothing_cost_their_span() {
    // Attributes, events: two bytes each in the body, 72 and more in memory.
    for field in [9, 11] {
        let decoded = protobuf(repeated(field, 1_000_000));
        assert_eq!((decoded.received, decoded.spans.len()), (2, 1), "field {field}");
        assert_eq!(decoded.rejected[0].reason, Reason::TooManyElements);
        // A small request may still hold some.
        assert_eq!(protobuf(repeated(field, 1000)).spans.len(), 2);
    }
    let empty = "{},".repeat(1_000_000) + "{}";
    let ids = r#""traceId":"00000000000000000000000000000001","spanId":"0000000000000001""#;
    let span = format!(r#"{{{ids},"attributes":[{empty}]}}"#);
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{ids}}},{span}]}}]}}]}}"#);
    let decoded = decode(&body.into(), Encoding::Json, &Rules::default()).unwrap();
    assert_eq!((decoded.received, decoded.spans.len()), (2, 1));
    assert_eq!(decoded.rejected[0].reason, Reason::TooManyElements);
}

#[test]
fn a_repeated_resource_or_scope_goes_on_and_is_paid_for() {
    // Of a resource, of a scope: the same message again and again, each time with one empty attribute.
    let repeated = |in_scope: bool, times: usize| {
        let part = |out: &mut Writer| {
            let field = if in_scope { 3 } else { 1 };
            (0..times).for_each(|_| out.message(1, |out| out.bytes(field, b"")));
        };
        let mut out = Writer::default();
        out.message(1, |out| {
            if !in_scope {
                part(out);
            }
            out.message(2, |out| {
                if in_scope {
                    part(out);
                }
                out.message(2, |out| {
                    out.bytes(1, &[1; 16]);
                    out.bytes(2, &[1; 8]);
                });
            });
        });
        out.0
    };
    for in_scope in [false, true] {
        let decoded = protobuf(repeated(in_scope, 1_000));
        assert_eq!((decoded.spans.len(), decoded.flags.repeated_key), (1, 1), "{in_scope}");
        let decoded = protobuf(repeated(in_scope, 500_000));
        assert_eq!((decoded.spans.len(), decoded.flags.too_many_elements), (0, 1), "{in_scope}");
    }
}

#[test]
fn senders_of_nothing_are_nothing() {
    let mut out = Writer::default();
    (0..1_000).for_each(|_| out.message(1, |out| out.message(2, |_| ())));
    let decoded = protobuf(out.0);
    assert_eq!((decoded.received, decoded.spans.capacity()), (0, 0));
    // And yet they are read: what is no message is none.
    let mut broken = Writer::default();
    broken.message(1, |out| out.message(2, |out| out.message(1, |out| out.bytes(1, &[]))));
    broken.0.extend([0x0a, 0x02, 0x0a, 0x05]);
    assert!(decode(&broken.0.into(), Encoding::Protobuf, &Rules::default()).is_err());
}

#[test]
fn accepted_lists_hold_no_spare_room() {
    let decoded = protobuf(repeated(9, 10_000));
    assert_eq!(decoded.spans[1].attributes.len(), 1, "ten thousand empty keys are one repeated key");
    let decoded = protobuf(repeated(11, 10_000));
    let events = &decoded.spans[1].events;
    assert_eq!((events.len(), events.capacity()), (MAX_EVENTS, MAX_EVENTS));
}

#[test]
fn honest_spans_of_any_shape_fit() {
    // The smallest that still say something: short keys, small numbers, bare events; a large batch of them.
    let small = Span {
        attributes: (0..16).map(|nth| (format!("k{nth}").into(), Value::Bool(true))).collect(),
        events: vec![Event { time_ns: 1, name: "e".into(), attributes: Vec::new() }; 4],
        ..one_span()
    };
    let spans = vec![small; 20_000];
    let body = encode_protobuf(&spans);
    assert!(body.len() > 4 * EXPANSION_BASE / MAX_EXPANSION, "the batch must outweigh the base");
    assert_eq!(protobuf(body).rejected_total, 0);
    // Texts of templates and of JSON hold braces, and no objects.
    for text in [r#"{"a":{"b":{}}}"#, "{}", r"\{", "{\"{"] {
        let braces = Value::Str(text.repeat(1_000).into());
        let texts = vec![Span { attributes: vec![("payload".into(), braces)], ..one_span() }; 200];
        let json = decode(&encode_json(&texts).into(), Encoding::Json, &Rules::default()).unwrap();
        assert_eq!((json.rejected_total, json.spans.len()), (0, 200), "{text}");
    }
}

#[test]
fn a_body_takes_no_more_room_than_there_is() {
    let spans = vec![Span { attributes: vec![("k".into(), Value::Int(1)); 3], ..one_span() }; 4_000];
    let (protobuf, json) = (encode_protobuf(&spans), encode_json(&spans));
    for (body, encoding) in [(protobuf, Encoding::Protobuf), (json, Encoding::Json)] {
        let body = body.into();
        let with = |max_memory| decode(&body, encoding, &Rules { max_memory, ..Rules::default() }).unwrap();
        assert_eq!(with(None).spans.len(), 4_000);
        assert_eq!(with(Some(usize::MAX)).flags.too_many_elements, 0);
        let cut = with(Some(1 << 20));
        let room = cut.spans.len() * size_of::<Span>();
        assert!((1 << 18..=1 << 20).contains(&room), "{encoding:?}: {room}");
        assert_eq!(cut.flags.too_many_elements, 4_000 - cut.spans.len() as u64);
    }
    // What has nothing in it takes room as well.
    let bare =
        vec![Span { attributes: Vec::new(), events: Vec::new(), links: Vec::new(), ..one_span() }; 100];
    for (body, encoding) in
        [(encode_protobuf(&bare), Encoding::Protobuf), (encode_json(&bare), Encoding::Json)]
    {
        let ten = Rules { max_memory: Some(10 * size_of::<Span>()), ..Rules::default() };
        let decoded = decode(&body.into(), encoding, &ten).unwrap();
        assert!((1..=10).contains(&decoded.spans.len()), "{encoding:?}: {}", decoded.spans.len());
        assert_eq!(decoded.flags.too_many_elements, 100 - decoded.spans.len() as u64);
    }
    let sender = Resource { attributes: vec![("k".into(), Value::Int(1)); 100] };
    let body = encode_protobuf(&[Span { resource: Arc::new(sender), ..one_span() }]).into();
    let none = Rules { max_memory: Some(1_000), ..Rules::default() };
    assert_eq!(decode(&body, Encoding::Protobuf, &none).unwrap().flags.too_many_elements, 1, "of a sender");
}

/// Of keys that are repeated in every span, no room is left behind.
#[test]
fn lists_give_back_the_room_of_repeated_keys() {
    for field in [9, 11] {
        let decoded = protobuf(repeated(field, 500));
        let Span { attributes, events, .. } = &decoded.spans[1];
        assert!(attributes.capacity() <= 2 * attributes.len() && events.capacity() <= 2 * events.len());
    }
}
