//! Exact round trips, and no trust in bytes.

use nexarch_core::{
    facts::Facts,
    span::{Attributes, Span, Value},
};
use proptest::prelude::*;

use super::{Corrupt, Encoded, bytes, decode_facts, decode_spans, encode, frame};
use crate::suite::{spans, strategy};

fn coded(all: &[Span]) -> (Vec<(Span, Facts)>, Encoded) {
    let rows: Vec<(Span, Facts)> = all.iter().map(|span| (span.clone(), Facts::from(span))).collect();
    let pairs: Vec<_> = rows.iter().map(|(span, facts)| (span, facts)).collect();
    let encoded = encode(&pairs).expect("it can be encoded");
    (rows, encoded)
}

/// Does a span hold texts that are a part of this range of memory?
fn shares(span: &Span, block: &std::ops::Range<*const u8>) -> bool {
    let inside = |text: &[u8]| !text.is_empty() && block.contains(&text.as_ptr());
    let value = |value: &Value| match value {
        Value::Str(text) => inside(text.as_bytes()),
        Value::Bytes(bytes) => inside(bytes),
        _ => false,
    };
    let values = |list: &Attributes| list.iter().any(|(key, it)| inside(key.as_bytes()) || value(it));
    let texts = [&span.name, &span.trace_state, &span.status_message];
    texts.iter().any(|text| inside(text.as_bytes()))
        || [&span.attributes, &span.resource.attributes, &span.scope.attributes].into_iter().any(values)
        || span.events.iter().any(|event| inside(event.name.as_bytes()) || values(&event.attributes))
        || span.links.iter().any(|link| inside(link.trace_state.as_bytes()) || values(&link.attributes))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn spans_and_facts_come_back_exactly(all in strategy::any_spans()) {
        let (rows, Encoded { hot, cold }) = coded(&all);
        let facts: Vec<Facts> = rows.iter().map(|(_, facts)| facts.clone()).collect();
        prop_assert_eq!(decode_facts(&hot, &|_| true).unwrap(), facts);
        prop_assert_eq!(decode_spans(&hot, &cold, &|_| true).unwrap(), rows);
    }

    #[test]
    fn one_trace_can_be_taken_out(all in strategy::any_spans(), number in 0..4_u64) {
        let (mut rows, Encoded { hot, cold }) = coded(&all);
        let trace = spans::trace_id(number);
        rows.retain(|(span, _)| span.trace_id == trace);
        prop_assert_eq!(decode_spans(&hot, &cold, &|other| *other == trace).unwrap(), rows);
    }

    #[test]
    fn detached_spans_share_nothing_with_their_block(all in strategy::any_spans()) {
        let (rows, _) = coded(&all);
        let pairs: Vec<_> = rows.iter().map(|(span, facts)| (span, facts)).collect();
        let raw = super::cold::encode(&pairs).unwrap();
        let block = raw.as_ptr_range();
        let facts = rows.iter().map(|(_, facts)| facts.clone()).enumerate().collect();
        let mut decoded = super::cold::decode(raw, facts).unwrap();
        if all.iter().any(|span| !span.trace_state.is_empty()) {
            prop_assert!(decoded.iter().any(|(span, _)| shares(span, &block)), "else this tests nothing");
        }
        for (span, _) in &mut decoded {
            super::detach(span);
            prop_assert!(!shares(span, &block));
        }
        prop_assert_eq!(decoded, rows);
    }

    /// Behind a right checksum, so that the damage reaches the decoders.
    #[test]
    fn damage_is_an_error_or_other_spans(
        all in strategy::any_spans(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let (_, Encoded { hot, cold }) = coded(&all);
        let damage = |sealed: &[u8]| {
            let mut raw = frame::open(sealed).unwrap();
            let at = at.index(raw.len());
            if cut { raw.truncate(at) } else { raw[at] = to }
            frame::seal(&raw).unwrap()
        };
        // Whatever comes out, it does not panic.
        decode_facts(&damage(&hot), &|_| true).ok();
        decode_spans(&damage(&hot), &cold, &|_| true).ok();
        decode_spans(&hot, &damage(&cold), &|_| true).ok();
    }

    #[test]
    fn any_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let opened = frame::open(&bytes);
        prop_assert!(opened.is_err(), "a checksum of 64 bits");
        let sealed = frame::seal(&bytes).unwrap();
        decode_facts(&sealed, &|_| true).ok();
        let (_, Encoded { hot, .. }) = coded(&spans::trace(1, 3));
        decode_spans(&hot, &sealed, &|_| true).ok();
    }

    #[test]
    fn numbers_come_back(value in any::<u64>(), unit in prop::sample::select(vec![1, 1_000, 1_000_000])) {
        let scaled = value / unit * unit;
        let mut out = Vec::new();
        bytes::put_varint(&mut out, value);
        bytes::put_scaled(&mut out, scaled);
        let mut reader = bytes::Reader::new(&out);
        prop_assert_eq!((reader.varint().unwrap(), reader.scaled().unwrap()), (value, scaled));
        prop_assert!(reader.finish().is_ok());
        prop_assert_eq!(bytes::unzigzag(bytes::zigzag(value.cast_signed())), value.cast_signed());
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    let (_, Encoded { hot, cold }) = coded(&spans::trace(1, 4));
    for (sealed, is_hot) in [(&hot, true), (&cold, false)] {
        let fails = |bad: &[u8]| {
            if is_hot {
                decode_facts(bad, &|_| true).is_err()
            } else {
                decode_spans(&hot, bad, &|_| true).is_err()
            }
        };
        for bit in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(fails(&bad), "bit {bit} of the {} block", if is_hot { "hot" } else { "cold" });
        }
        for len in 0..sealed.len() {
            assert!(fails(&sealed[..len]), "cut to {len}");
        }
    }
}

#[test]
fn blocks_of_different_chunks_do_not_fit() {
    let (_, one) = coded(&spans::trace(1, 4));
    let (_, two) = coded(&spans::trace(1, 3));
    assert_eq!(decode_spans(&one.hot, &two.cold, &|_| true), Err(Corrupt("blocks differ in length")));
}

/// A few bytes that claim very much must not make the decoder reserve it.
#[test]
fn lies_about_length_are_not_believed() {
    let mut huge = Vec::new();
    for _ in 0..8 {
        bytes::put_varint(&mut huge, u64::MAX / 2);
    }
    let sealed = frame::seal(&huge).unwrap();
    assert_eq!(decode_facts(&sealed, &|_| true), Err(Corrupt("count beyond the block")));
    let (_, Encoded { hot, .. }) = coded(&spans::trace(1, 1));
    assert_eq!(decode_spans(&hot, &sealed, &|_| true), Err(Corrupt("count beyond the block")));
    let mut little = Vec::new();
    bytes::put_varint(&mut little, 1_000);
    little.extend([0; 20]);
    let sealed = frame::seal(&little).unwrap();
    assert_eq!(decode_facts(&sealed, &|_| true), Err(Corrupt("count beyond the block")));
    let mut long = frame::seal(b"short").unwrap();
    long[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(frame::open(&long), Err(Corrupt("too large")));
}

/// Real calls take few bytes: what repeats is written once.
#[test]
fn a_full_chunk_is_small() {
    let all: Vec<Span> = (0..50).flat_map(|number| spans::trace(number, 20)).collect();
    let (_, Encoded { hot, cold }) = coded(&all);
    let per_span = (hot.len() + cold.len()) / all.len();
    // Two random numbers of 64 bits, which these are not quite, would be 16.
    assert!(per_span < 20, "{per_span} bytes per span");
}
