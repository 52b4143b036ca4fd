//! What is particular to the binary form.

use bytes::Bytes;
use prost::Message;

use super::{fixtures::one_span, oracle};
use crate::{
    otlp::{DecodeError, Decoded, Rules, decode_protobuf, encode_protobuf, wire::Writer},
    span::{Value, attribute},
};

fn decode(body: impl Into<Bytes>) -> Result<Decoded, DecodeError> {
    decode_protobuf(&body.into(), &Rules::default())
}

/// A request around the bytes of one span.
fn around(span: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |out| out.message(2, |out| out.bytes(2, span)));
    out.0
}

#[test]
fn an_empty_body_is_an_empty_request() {
    assert_eq!(decode(Vec::new()), Ok(Decoded::default()));
}

#[test]
fn texts_are_slices_of_the_body() {
    let body = Bytes::from(encode_protobuf(&[one_span()]));
    let span = decode(body.clone()).unwrap().spans.remove(0);
    let inside = body.as_ptr_range();
    let (key, value) = &span.attributes[0];
    for text in [&*span.name, &**key, value.as_str().unwrap(), &*span.scope.name] {
        assert!(inside.contains(&text.as_ptr()), "{text}");
    }
}

#[test]
fn text_that_is_not_utf8_costs_only_itself() {
    let mut body = encode_protobuf(&[one_span()]);
    let at = body.windows(10).position(|bytes| bytes == b"some value").unwrap();
    body[at] = 0xff;
    let decoded = decode(body).unwrap();
    assert_eq!((decoded.rejected_total, decoded.flags.replaced_text), (0, 1));
    let value = attribute(&decoded.spans[0].attributes, "my.span.attr").and_then(Value::as_str);
    assert_eq!(value, Some("\u{fffd}ome value"));
    assert_eq!(decoded.spans[0].name, "I'm a server span");
}

#[test]
fn a_resource_may_follow_its_spans_and_come_in_pieces() {
    let span = oracle::request(&[one_span()]).resource_spans[0].scope_spans[0].spans[0].encode_to_vec();
    let pair = |key: &str| {
        let value = oracle::AnyValue { value: Some(oracle::Value::Str(key.into())) };
        oracle::KeyValue { key: key.into(), value: Some(value) }.encode_to_vec()
    };
    let mut out = Writer::default();
    out.message(1, |out| {
        out.message(2, |out| {
            out.bytes(2, &span);
            out.message(1, |out| out.text(1, "late scope"));
        });
        out.message(1, |out| out.bytes(1, &pair("service.name")));
        out.message(1, |out| out.bytes(1, &pair("second")));
    });
    let decoded = decode(out.0).unwrap();
    let keys: Vec<_> = decoded.spans[0].resource.attributes.iter().map(|(key, _)| key.to_string()).collect();
    assert_eq!(keys, ["service.name", "second"]);
    assert_eq!(decoded.spans[0].scope.name, "late scope");
}

#[test]
fn unknown_fields_of_every_wire_type_are_passed_over() {
    let mut span = oracle::request(&[one_span()]).resource_spans[0].scope_spans[0].spans[0].encode_to_vec();
    let known = decode(around(&span)).unwrap();
    let mut extra = Writer::default();
    extra.varint_always(1000, u64::MAX);
    extra.fixed64_always(1001, 1);
    extra.bytes(1002, b"later");
    extra.fixed32(1003, 1);
    span.extend(extra.0);
    // A group of field 12 that holds a group of field 13 that holds a varint.
    span.extend([0x63, 0x6b, 0x08, 0x05, 0x6c, 0x64]);
    assert_eq!(decode(around(&span)).unwrap(), known);
    assert_eq!(
        known.spans,
        [crate::span::Span {
            resource: std::sync::Arc::default(),
            scope: std::sync::Arc::default(),
            ..one_span()
        }]
    );
}

#[test]
fn malformed_bytes_are_an_error() {
    let overlong_varint = [0xff; 11];
    let cases: [&[u8]; 15] = [
        b"{}",
        b"\x0a",
        b"\x0a\x05ab",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        &overlong_varint,
        b"\x02\x00",
        b"\x08\x01",
        b"\x0f",
        b"\x0c",
        b"\x63\x08\x01",
        b"\x19\x01\x02",
        // Also in fields that nobody reads: wire types 4 and 7, and a number of 65 bits.
        b"\x14",
        b"\x17",
        b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
    ];
    for body in cases {
        assert!(matches!(decode(body.to_vec()), Err(DecodeError::Protobuf(_))), "{body:?}");
    }
    let largest = b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
    assert_eq!(decode(largest.to_vec()), Ok(Decoded::default()));
    // A wrong type inside a span cannot be told from a body that is something else.
    assert!(matches!(decode(around(b"\x08\x01")), Err(DecodeError::Protobuf(_))));
}
