//! OTLP/JSON is read strictly, and a wrong type inside a span costs that span.

use bytes::Bytes;

use crate::{
    otlp::{DecodeError, Decoded, Encoding, Reason, Rules, decode},
    span::{Attributes, Kind, Value, attribute},
};

fn try_decode(body: &str) -> Result<Decoded, DecodeError> {
    decode(&Bytes::from(body.to_owned()), Encoding::Json, &Rules::default())
}

const IDS: &str = r#""traceId":"000000000000000000000000000000aA","spanId":"00000000000000Bb""#;

/// One span with these further fields.
fn with(fields: &str) -> Decoded {
    try_decode(&format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{IDS},{fields}}}]}}]}}]}}"#))
        .unwrap()
}

#[track_caller]
fn rejected(fields: &str) -> String {
    let decoded = with(fields);
    assert_eq!((decoded.received, decoded.rejected_total), (1, 1), "{fields} was accepted");
    match &decoded.rejected[0].reason {
        Reason::Field(text) => text.clone(),
        other => panic!("{other:?}"),
    }
}

fn attributes(list: &str) -> Attributes {
    let decoded = with(&format!(r#""attributes":[{list}]"#));
    assert_eq!(decoded.message(), None);
    decoded.spans.into_iter().next().unwrap().attributes
}

fn value(json: &str) -> Value {
    attributes(&format!(r#"{{"key":"k","value":{json}}}"#)).remove(0).1
}

#[test]
fn containers_make_the_whole_body_undecodable() {
    for body in [
        "",
        "null",
        "[]",
        "5",
        "{",
        "{}}",
        "{} x",
        "\u{feff}{}",
        r#"{"resourceSpans":{}}"#,
        r#"{"resourceSpans":5}"#,
        r#"{"resourceSpans":[5]}"#,
        r#"{"resourceSpans":[[]]}"#,
        r#"{"resourceSpans":[{"scopeSpans":5}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":{}}]}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{]}]}]}"#,
        r#"{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{},"spans":7}]}]}"#,
    ] {
        assert!(matches!(try_decode(body), Err(DecodeError::Json(_))), "{body}");
    }
    let not_utf8 = decode(&Bytes::from_static(b"{\"a\":\"\xff\"}"), Encoding::Json, &Rules::default());
    assert_eq!(not_utf8, Err(DecodeError::Json("it is not UTF-8".into())));
}

#[test]
fn nothing_sent_is_a_success() {
    for body in [
        "{}",
        " {\n} ",
        r#"{"resourceSpans":null}"#,
        r#"{"resourceSpans":[]}"#,
        r#"{"resourceSpans":[{}]}"#,
        r#"{"resourceSpans":[{"resource":null,"scopeSpans":null}]}"#,
        r#"{"resourceSpans":[{"scopeSpans":[{"scope":null,"spans":null}]}]}"#,
        r#"{"unknown":[{"deep":[[[]]]}]}"#,
    ] {
        assert_eq!(try_decode(body), Ok(Decoded::default()), "{body}");
    }
}

#[test]
fn a_wrong_type_names_its_field() {
    for (fields, expected) in [
        (r#""kind":"SPAN_KIND_SERVER""#, "kind: "),
        (r#""status":{"code":"STATUS_CODE_ERROR"}"#, "status: code: "),
        (r#""name":5"#, "name: "),
        (r#""startTimeUnixNano":"now""#, "startTimeUnixNano: "),
        (r#""startTimeUnixNano":-1"#, "startTimeUnixNano: "),
        (r#""endTimeUnixNano":1.5"#, "endTimeUnixNano: "),
        (r#""flags":4294967296"#, "flags: "),
        (r#""attributes":{}"#, "attributes: "),
        (r#""attributes":[{"key":"k","value":"plain"}]"#, "attributes: value: "),
        (r#""attributes":[{"key":"k","value":{"intValue":true}}]"#, "attributes: value: intValue: "),
        (
            r#""attributes":[{"key":"k","value":{"intValue":"9223372036854775808"}}]"#,
            "attributes: value: intValue",
        ),
        (r#""attributes":[{"key":"k","value":{"boolValue":"true"}}]"#, "attributes: value: boolValue: "),
        (r#""attributes":[{"key":"k","value":{"bytesValue":"*"}}]"#, "attributes: value: bytesValue: "),
        (r#""events":[{"timeUnixNano":[]}]"#, "events: timeUnixNano: "),
        (r#""links":[5]"#, "links: "),
        (r#""traceId":5"#, "traceId: "),
    ] {
        let text = rejected(fields);
        assert!(text.starts_with(expected), "{fields}: {text}");
        assert!(!text.contains(" line "), "{text}");
    }
    let long = rejected(&format!(r#""kind":"{}""#, "x".repeat(100_000)));
    assert!(long.len() < 300, "{}", long.len());
}

#[test]
fn a_span_that_is_no_object_is_one_rejected_span() {
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[5,{{{IDS}}},null]}}]}}]}}"#);
    let decoded = try_decode(&body).unwrap();
    assert_eq!((decoded.received, decoded.spans.len(), decoded.rejected_total), (3, 1, 2));
    assert_eq!(decoded.rejected.iter().map(|rejected| rejected.index).collect::<Vec<_>>(), [0, 2]);
}

#[test]
fn an_invalid_sender_costs_its_own_spans() {
    let body = format!(
        r#"{{"resourceSpans":[
            {{"resource":5,"scopeSpans":[{{"spans":[{{{IDS}}},{{{IDS}}}]}}]}},
            {{"scopeSpans":[{{"scope":{{"name":7}},"spans":[{{{IDS}}}]}},{{"spans":[{{{IDS}}}]}}]}}
        ]}}"#
    );
    let decoded = try_decode(&body).unwrap();
    assert_eq!((decoded.received, decoded.spans.len(), decoded.rejected_total), (4, 1, 3));
    let message = decoded.message().unwrap();
    assert!(message.contains("span 1: its resource is invalid: "), "{message}");
    assert!(message.contains("span 2: its scope is invalid: name: "), "{message}");
}

#[test]
fn only_lower_camel_case_is_read_and_the_rest_ignored() {
    let decoded = with(
        r#""trace_id":5,"start_time_unix_nano":"x","startTimeUnixNano":"7","Kind":"CLIENT","kind":3,"new":{"a":[1]},
           "droppedAttributesCount":9"#,
    );
    assert_eq!((decoded.spans[0].start_ns, decoded.spans[0].kind), (7, Kind::Client));
    let none = try_decode(r#"{"resource_spans":[{"scope_spans":[]}]}"#).unwrap();
    assert_eq!(none.received, 0);
}

#[test]
fn ids_are_hex_in_either_case() {
    let span = &with(r#""parentSpanId":"00000000000000Cc""#).spans[0];
    assert_eq!(span.trace_id.to_string(), "000000000000000000000000000000aa");
    assert_eq!(span.span_id.to_string(), "00000000000000bb");
    assert_eq!(span.parent_span_id.unwrap().to_string(), "00000000000000cc");
}

#[test]
fn whole_numbers_come_as_numbers_or_text() {
    for start in ["1544712660000000000", "\"1544712660000000000\"", "1.54471266e18"] {
        let decoded = with(&format!(r#""startTimeUnixNano":{start}"#));
        assert_eq!(decoded.spans[0].start_ns, 1_544_712_660_000_000_000, "{start}");
    }
    assert_eq!(with(r#""endTimeUnixNano":18446744073709551615"#).spans[0].end_ns, Some(u64::MAX));
    for (json, number) in
        [("5", 5), ("\"5\"", 5), ("-7", -7), ("\"-9223372036854775808\"", i64::MIN), ("3.0", 3)]
    {
        assert_eq!(value(&format!(r#"{{"intValue":{json}}}"#)), Value::Int(number), "{json}");
    }
    assert_eq!(with(r#""flags":"257""#).spans[0].flags, 257);
}

#[test]
fn values_of_every_type() {
    assert_eq!(value(r#"{"stringValue":"a\u00e9\n"}"#), Value::Str("aé\n".into()));
    assert_eq!(value(r#"{"boolValue":false}"#), Value::Bool(false));
    assert_eq!(value(r#"{"doubleValue":72.5}"#), Value::Double(72.5));
    assert_eq!(value(r#"{"doubleValue":7}"#), Value::Double(7.0));
    assert_eq!(value(r#"{"doubleValue":"-Infinity"}"#), Value::Double(f64::NEG_INFINITY));
    for bytes in ["AAAwOf/+", "AAAwOf_-"] {
        let expected = Value::Bytes(Bytes::from_static(&[0, 0, 0x30, 0x39, 0xff, 0xfe]));
        assert_eq!(value(&format!(r#"{{"bytesValue":"{bytes}"}}"#)), expected);
    }
    assert_eq!(value(r#"{"bytesValue":"AAAwOQ=="}"#), value(r#"{"bytesValue":"AAAwOQ"}"#));
    assert_eq!(value("{}"), Value::Null);
    assert_eq!(value("null"), Value::Null);
    assert_eq!(value(r#"{"stringValue":null}"#), Value::Null);
    assert_eq!(
        value(
            r#"{"arrayValue":{"values":[{"intValue":1},{"kvlistValue":{"values":[{"key":"a"}]}},{"arrayValue":{}}]}}"#
        ),
        Value::Array(vec![Value::Int(1), Value::Map(vec![("a".into(), Value::Null)]), Value::Array(vec![])])
    );
    let repeated = attributes(r#"{"key":"a","value":{"intValue":1}},{"key":"a","value":{"intValue":2}}"#);
    assert_eq!(attribute(&repeated, "a"), Some(&Value::Int(2)));
    assert_eq!(repeated.len(), 1);
}

#[test]
fn a_lone_surrogate_costs_one_character() {
    let decoded = with(r#""name":"a\ud800b""#);
    assert_eq!(decoded.rejected_total, 0);
    let name = &decoded.spans[0].name;
    assert!(name.starts_with('a') && name.ends_with('b') && name.contains('\u{fffd}'), "{name:?}");
    assert_eq!(decoded.flags.replaced_text, 1);
}

#[test]
fn senders_may_follow_their_spans() {
    let body = format!(
        r#"{{"resourceSpans":[{{
            "scopeSpans":[{{"spans":[{{{IDS}}}],"scope":{{"name":"lib"}}}}],
            "resource":{{"attributes":[{{"value":{{"stringValue":"late"}},"key":"service.name"}}]}}
        }}]}}"#
    );
    let span = &try_decode(&body).unwrap().spans[0];
    assert_eq!(attribute(&span.resource.attributes, "service.name").and_then(Value::as_str), Some("late"));
    assert_eq!(span.scope.name, "lib");
}

#[test]
fn texts_are_slices_of_the_body() {
    let body = Bytes::from(format!(
        r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{IDS},"name":"checkout"}}]}}]}}]}}"#
    ));
    let decoded = decode(&body, Encoding::Json, &Rules::default()).unwrap();
    let inside = body.as_ptr_range();
    assert!(inside.contains(&decoded.spans[0].name.as_ptr()));
}
