//! Any bytes at all: an error or a partial success, never a panic.

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use super::{arbitrary::spans, fixtures::one_span};
use crate::{
    otlp::{
        Decoded, Encoding, MAX_VALUE_DEPTH, Reason, Rules, decode, encode_json, encode_protobuf, wire::Writer,
    },
    span::{Span, Value},
};

fn check(body: Vec<u8>, encoding: Encoding) -> Result<(), TestCaseError> {
    if let Ok(decoded) = decode(&body.into(), encoding, &Rules::default()) {
        prop_assert_eq!(decoded.received, decoded.spans.len() + decoded.rejected_total);
        for span in &decoded.spans {
            prop_assert!(span.end_ns.is_none_or(|end| end >= span.start_ns));
            prop_assert_ne!(span.parent_span_id, Some(span.span_id));
        }
        // What was accepted can be written, read and judged again.
        crate::facts::Facts::of_all(&decoded.spans);
        let again = decode(&encode_protobuf(&decoded.spans).into(), Encoding::Protobuf, &Rules::default());
        prop_assert_eq!(again.unwrap().spans.len(), decoded.spans.len());
    }
    Ok(())
}

/// Overwrites, removes or repeats bytes of a valid body.
fn mutate(mut body: Vec<u8>, edits: &[(Index, u8, u8)]) -> Vec<u8> {
    for (place, byte, what) in edits {
        if body.is_empty() {
            break;
        }
        let at = place.index(body.len());
        match what % 4 {
            0 => body[at] = *byte,
            1 => drop(body.remove(at)),
            2 => body.insert(at, *byte),
            _ => body.extend_from_within(at..(at + usize::from(*byte)).min(body.len())),
        }
    }
    body
}

fn edits() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    prop::collection::vec(any::<(Index, u8, u8)>(), 1..6)
}

proptest! {
    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..300)) {
        check(body.clone(), Encoding::Protobuf)?;
        check(body, Encoding::Json)?;
    }

    #[test]
    fn any_text(body in "[\\[\\]{}\":,a-z0-9\\\\ ]{0,200}") {
        check(body.into_bytes(), Encoding::Json)?;
    }

    #[test]
    fn damaged_protobuf(spans in spans(), edits in edits()) {
        check(mutate(encode_protobuf(&spans), &edits), Encoding::Protobuf)?;
    }

    #[test]
    fn damaged_json(spans in spans(), edits in edits()) {
        check(mutate(encode_json(&spans), &edits), Encoding::Json)?;
    }

    #[test]
    fn cut_bodies(spans in spans(), place in any::<Index>()) {
        for (body, encoding) in
            [(encode_protobuf(&spans), Encoding::Protobuf), (encode_json(&spans), Encoding::Json)]
        {
            let cut = place.index(body.len() + 1);
            check(body[..cut].to_vec(), encoding)?;
        }
    }
}

/// A value in this many lists.
fn nested(levels: usize) -> Value {
    (1..levels).fold(Value::Int(1), |inner, level| match level % 2 {
        0 => Value::Array(vec![inner]),
        _ => Value::Map(vec![("k".into(), inner)]),
    })
}

#[test]
fn values_may_nest_to_the_limit_and_no_further() {
    let with = |levels| Span { attributes: vec![("k".into(), nested(levels))], ..one_span() };
    let fits = [with(MAX_VALUE_DEPTH)];
    let spans = [one_span(), with(MAX_VALUE_DEPTH + 1), one_span()];
    for (encode, encoding) in [
        (encode_protobuf as fn(&[Span]) -> Vec<u8>, Encoding::Protobuf),
        (encode_json as fn(&[Span]) -> Vec<u8>, Encoding::Json),
    ] {
        let decoded = decode(&encode(&fits).into(), encoding, &Rules::default()).unwrap();
        assert_eq!(decoded.spans, fits, "{encoding:?}");
        let decoded = decode(&encode(&spans).into(), encoding, &Rules::default()).unwrap();
        assert_eq!((decoded.spans.len(), decoded.rejected_total), (2, 1));
        let reason = decoded.rejected[0].reason.to_string();
        assert!(reason.contains(&Reason::TooDeep.to_string()), "{reason}");
        assert_eq!(decoded.rejected[0].index, 1);
    }
}

const LEVELS: usize = 100_000;

/// Wraps bytes in `LEVELS` length-delimited fields, from the inside out.
fn wrapped(keys: &[u8]) -> Vec<u8> {
    let mut reversed = Vec::new();
    for level in 0..LEVELS {
        let mut len = Writer::default();
        len.varint_always(1, reversed.len() as u64);
        reversed.extend(len.0[1..].iter().rev());
        reversed.push(keys[(LEVELS - 1 - level) % keys.len()]);
    }
    reversed.reverse();
    reversed
}

#[test]
fn bottomless_protobuf_costs_one_span() {
    // array_value (5) of values (1), or kvlist_value (6) of pairs (1) of value (2).
    for keys in [&[0x2a, 0x0a][..], &[0x32, 0x0a, 0x12]] {
        let deep = wrapped(keys);
        let mut out = Writer::default();
        out.message(1, |out| {
            out.message(2, |out| {
                out.message(2, |out| {
                    out.bytes(1, &[1; 16]);
                    out.bytes(2, &[1; 8]);
                    out.message(9, |out| out.bytes(2, &deep));
                });
                out.message(2, |out| {
                    out.bytes(1, &[1; 16]);
                    out.bytes(2, &[2; 8]);
                });
            });
        });
        let decoded = decode(&out.0.into(), Encoding::Protobuf, &Rules::default()).unwrap();
        assert_eq!((decoded.received, decoded.spans.len()), (2, 1));
        assert_eq!(decoded.rejected[0].reason, Reason::TooDeep);
    }
    let groups = vec![0x63; LEVELS];
    assert!(decode(&groups.into(), Encoding::Protobuf, &Rules::default()).is_err());
}

#[test]
fn bottomless_json_costs_one_span_or_the_body() {
    let ids = r#""traceId":"00000000000000000000000000000001","spanId":"0000000000000001""#;
    let inner = r#"{"arrayValue":{"values":["#.repeat(LEVELS) + &"]}}".repeat(LEVELS);
    let spans = format!(r#"{{{ids},"attributes":[{{"key":"k","value":{inner}}}]}},{{{ids}}}"#);
    let body = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#);
    let decoded = decode(&body.into(), Encoding::Json, &Rules::default()).unwrap();
    assert_eq!((decoded.received, decoded.spans.len()), (2, 1));

    let unknown = format!(r#"{{"x":{}{}}}"#, "[".repeat(LEVELS), "]".repeat(LEVELS));
    assert_eq!(decode(&unknown.into(), Encoding::Json, &Rules::default()), Ok(Decoded::default()));
    for open in ["[", "{\"resourceSpans\":[", "{\"a\":"] {
        assert!(decode(&open.repeat(LEVELS).into(), Encoding::Json, &Rules::default()).is_err());
    }
}

#[test]
fn lengths_are_not_believed() {
    for len in [u64::MAX, 1 << 62, 1 << 40, u64::from(u32::MAX)] {
        let mut out = Writer::default();
        out.varint_always(1, len);
        out.0[0] = 0x0a;
        assert!(decode(&Bytes::from(out.0), Encoding::Protobuf, &Rules::default()).is_err());
    }
}
