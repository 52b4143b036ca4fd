//! What is encoded decodes to the same, in both encodings, and the two agree.

use std::sync::Arc;

use proptest::prelude::*;

use super::arbitrary::spans;
use crate::{
    facts::Facts,
    otlp::{Decoded, Rules, decode_json, decode_protobuf, encode_json, encode_protobuf},
    span::{Span, Value},
};

fn protobuf(spans: &[Span]) -> Decoded {
    decode_protobuf(&encode_protobuf(spans).into(), &Rules::default()).unwrap()
}

fn json(spans: &[Span]) -> Decoded {
    decode_json(&encode_json(spans).into(), &Rules::default()).unwrap()
}

proptest! {
    #[test]
    fn both_encodings_give_back_the_spans(spans in spans()) {
        let (protobuf, json) = (protobuf(&spans), json(&spans));
        prop_assert_eq!(protobuf.received, spans.len());
        prop_assert_eq!(&protobuf.spans, &spans);
        prop_assert_eq!(&json, &protobuf);
    }

    #[test]
    fn facts_do_not_depend_on_the_encoding(spans in spans()) {
        let facts = Facts::of_all(&spans);
        prop_assert_eq!(&Facts::of_all(&protobuf(&spans).spans), &facts);
        prop_assert_eq!(&Facts::of_all(&json(&spans).spans), &facts);
        let one_by_one: Vec<Facts> = spans.iter().map(Facts::from).collect();
        prop_assert_eq!(one_by_one, facts);
    }

    #[test]
    fn spans_of_one_sender_share_it(spans in spans()) {
        for decoded in [protobuf(&spans).spans, json(&spans).spans] {
            for (pair, sent) in decoded.windows(2).zip(spans.windows(2)) {
                let same = Arc::ptr_eq(&sent[0].resource, &sent[1].resource);
                prop_assert_eq!(Arc::ptr_eq(&pair[0].resource, &pair[1].resource), same);
            }
        }
    }

    #[test]
    fn interleaved_senders_are_grouped(spans in spans(), seed in any::<u64>()) {
        let mut shuffled = spans.clone();
        let len = shuffled.len().max(1);
        shuffled.rotate_left(usize::try_from(seed % len as u64).unwrap());
        let key = |span: &Span| (Facts::from(span).content, span.trace_id, span.span_id);
        let mut decoded: Vec<_> = protobuf(&shuffled).spans.iter().map(key).collect();
        let mut sent: Vec<_> = spans.iter().map(key).collect();
        decoded.sort_unstable();
        sent.sort_unstable();
        prop_assert_eq!(decoded, sent);
    }
}

#[test]
fn numbers_that_are_hard_to_write_survive() {
    let numbers = [f64::NAN, -0.0, 0.1 + 0.2, 5e-324, f64::MAX, f64::INFINITY, f64::NEG_INFINITY, 1e23];
    let attributes =
        numbers.iter().enumerate().map(|(nth, number)| (format!("n{nth}").into(), Value::Double(*number)));
    let decoded = protobuf(&[super::fixtures::one_span()]).spans;
    let span = Span { attributes: attributes.collect(), ..decoded[0].clone() };
    let bits = |span: &Span| -> Vec<u64> {
        let bits = |value: &Value| if let Value::Double(number) = value { number.to_bits() } else { 0 };
        span.attributes.iter().map(|(_, value)| bits(value)).collect()
    };
    let spans = [span];
    assert_eq!(bits(&protobuf(&spans).spans[0]), bits(&spans[0]));
    assert_eq!(bits(&json(&spans).spans[0]), bits(&spans[0]));
    assert_eq!(Facts::from(&json(&spans).spans[0]).content, Facts::from(&spans[0]).content);
}
