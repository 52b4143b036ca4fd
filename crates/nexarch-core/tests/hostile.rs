//! Real files, cut and damaged: every reader answers with an error or a partial success, and in bounded memory.

use std::path::Path;

use bytes::Bytes;
use nexarch_core::{
    facts::Facts,
    jaeger,
    otlp::{
        DecodeError, Decoded, EXPANSION_BASE, MAX_EXPANSION, Rules, decode_json, decode_protobuf,
        encode_protobuf,
    },
    span::Span,
    zipkin,
};
use proptest::{prelude::*, sample::Index};

type Reader = fn(&Bytes, &Rules) -> Result<Decoded, DecodeError>;

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)).unwrap()
}

/// A small real file of each format, and its reader.
fn seeds() -> Vec<(Vec<u8>, Reader)> {
    let otlp = fixture("otlp/jaeger_otel_traces_01.json");
    let spans = decode_json(&otlp.clone().into(), &Rules::default()).unwrap().spans;
    let genai = String::from_utf8(fixture("jaeger/genai_trace_ui.json")).unwrap();
    // The first spans and all processes: cutting at every byte of the whole would take minutes.
    let fourth = genai.match_indices("},{\"traceID\"").nth(3).unwrap().0;
    let processes = genai.find("],\"processes\"").unwrap();
    let small = format!("{}}}{}", &genai[..fourth], &genai[processes..]);
    vec![
        (encode_protobuf(&spans), decode_protobuf),
        (otlp, decode_json),
        (fixture("zipkin/messaging2.json"), zipkin::decode),
        (small.into_bytes(), jaeger::decode),
    ]
}

fn check(body: Vec<u8>, reader: Reader) {
    let len = body.len();
    let Ok(decoded) = reader(&body.into(), &Rules::default()) else { return };
    assert_eq!(decoded.received, decoded.spans.len() + decoded.rejected_total);
    assert!(decoded.spans.len() * size_of::<Span>() <= len * MAX_EXPANSION + EXPANSION_BASE);
    for span in &decoded.spans {
        assert!(span.end_ns.is_none_or(|end| end >= span.start_ns));
        assert_ne!(span.parent_span_id, Some(span.span_id));
    }
    // What was accepted goes on its way.
    Facts::of_all(&decoded.spans);
    let again = decode_protobuf(&encode_protobuf(&decoded.spans).into(), &Rules::default()).unwrap();
    assert_eq!(again.spans.len(), decoded.spans.len());
}

#[test]
fn the_seeds_are_good() {
    for (body, reader) in seeds() {
        let decoded = reader(&body.into(), &Rules::default()).unwrap();
        assert!(decoded.spans.len() >= 4 && decoded.rejected_total == 0, "{:?}", decoded.message());
    }
}

#[test]
fn cut_at_every_byte() {
    for (body, reader) in seeds() {
        for end in 0..body.len() {
            check(body[..end].to_vec(), reader);
        }
    }
}

#[test]
fn every_byte_made_a_bracket_a_quote_or_zero() {
    for (body, reader) in seeds() {
        for at in (0..body.len()).step_by(7) {
            for byte in [b'{', b']', b'"', 0, 0xff] {
                let mut damaged = body.clone();
                damaged[at] = byte;
                check(damaged, reader);
            }
        }
    }
}

/// Overwrites, removes, inserts or repeats bytes.
fn damaged(mut body: Vec<u8>, edits: &[(Index, u8, u8)]) -> Vec<u8> {
    for (place, byte, what) in edits {
        if body.is_empty() {
            break;
        }
        let at = place.index(body.len());
        match what % 4 {
            0 => body[at] = *byte,
            1 => drop(body.remove(at)),
            2 => body.insert(at, *byte),
            _ => body.extend_from_within(at..(at + 4 * usize::from(*byte)).min(body.len())),
        }
    }
    body
}

proptest! {
    #[test]
    fn damaged_files(edits in prop::collection::vec(any::<(Index, u8, u8)>(), 1..8)) {
        for (body, reader) in seeds() {
            check(damaged(body, &edits), reader);
        }
    }

    #[test]
    fn any_bytes(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for reader in [decode_protobuf as Reader, decode_json, zipkin::decode, jaeger::decode] {
            check(body.clone(), reader);
        }
    }

    /// Words of the formats in any order.
    #[test]
    fn any_words(words in prop::collection::vec(prop::sample::select(WORDS), 0..40)) {
        let body = words.concat().into_bytes();
        for reader in [decode_json as Reader, zipkin::decode, jaeger::decode] {
            check(body.clone(), reader);
        }
    }
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "7",
    "-1",
    "1e999",
    "\"\"",
    "\"a1\"",
    "\"00000000000000a1\"",
    "\"data\":",
    "\"spans\":",
    "\"processes\":",
    "\"traceID\":",
    "\"traceId\":",
    "\"id\":",
    "\"spanID\":",
    "\"tags\":",
    "\"p1\":",
    "\"timestamp\":",
    "\"startTime\":",
    "\"processID\":",
    "\"references\":",
    "\"localEndpoint\":",
    "\"serviceName\":",
];

#[test]
fn nesting_of_any_depth_costs_a_span_or_the_file() {
    const LEVELS: usize = 100_000;
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(LEVELS), close.repeat(LEVELS));
    for nested in [deep("[", "]"), deep("{\"a\":", "}").replacen(":}", ":1}", 1)] {
        let zipkin = format!(
            r#"[{{"traceId":"0000000000000001","id":"0000000000000002","timestamp":1,"tags":{{"a":{nested}}}}},
            {{"traceId":"0000000000000001","id":"0000000000000003","timestamp":1,"x":{nested}}}]"#
        );
        let decoded = zipkin::decode(&zipkin.into_bytes().into(), &Rules::default()).unwrap();
        assert_eq!((decoded.spans.len(), decoded.rejected_total), (1, 1), "{:?}", decoded.message());
        let tag = format!(r#"{{"key":"k","type":"string","value":{nested}}}"#);
        let jaeger = format!(
            r#"{{"data":[{{"spans":[{{"traceID":"1","spanID":"2","startTime":1,"processID":"p","tags":[{tag}]}}],
            "processes":{{"p":{{"serviceName":"a"}}}}}}]}}"#
        );
        let decoded = jaeger::decode(&jaeger.into_bytes().into(), &Rules::default()).unwrap();
        assert_eq!(decoded.received, 1, "{:?}", decoded.message());
        for reader in [zipkin::decode as Reader, jaeger::decode] {
            check(nested.clone().into_bytes(), reader);
            check(nested.as_bytes()[..LEVELS].to_vec(), reader);
        }
    }
}

#[test]
fn elements_of_two_bytes_are_bounded() {
    let many = "{},".repeat(400_000);
    let tags = format!(
        r#"{{"spans":[{{"traceID":"1","spanID":"2","startTime":1,"processID":"p","tags":[{many}{{}}]}}],"processes":{{"p":{{}}}}}}"#
    );
    let decoded = jaeger::decode(&tags.into_bytes().into(), &Rules::default()).unwrap();
    assert_eq!((decoded.received, decoded.rejected_total), (1, 1), "too many elements");
    let notes = format!(
        r#"[{{"traceId":"0000000000000001","id":"0000000000000002","timestamp":1,"annotations":[{many}{{}}]}}]"#
    );
    let decoded = zipkin::decode(&notes.into_bytes().into(), &Rules::default()).unwrap();
    assert_eq!((decoded.received, decoded.rejected_total), (1, 1), "too many elements");
}
