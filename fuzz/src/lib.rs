//! The readers of foreign bytes as functions of them. Each panics when a promise is broken: an error or a partial success,
//! in memory that the size of the input bounds.

use bytes::Bytes;
use nexarch_core::{
    facts::Facts,
    infer::contribution,
    jaeger,
    otlp::{
        DecodeError, Decoded, EXPANSION_BASE, MAX_EXPANSION, Rules, decode_json, decode_protobuf,
        encode_protobuf,
    },
    span::Span,
    zipkin,
};

/// OTLP protobuf.
pub fn otlp_protobuf(data: &[u8]) {
    check(data, decode_protobuf);
}

/// OTLP/JSON.
pub fn otlp_json(data: &[u8]) {
    check(data, decode_json);
}

/// Zipkin v2 JSON.
pub fn zipkin(data: &[u8]) {
    check(data, zipkin::decode);
}

/// Jaeger UI JSON.
pub fn jaeger(data: &[u8]) {
    check(data, jaeger::decode);
}

/// A value of the shared tier of the cache, sealed or not.
pub fn cache_envelope(data: &[u8]) {
    nexarch_cache::testing::read_envelope(data);
}

/// A message between caches.
pub fn cache_message(data: &[u8]) {
    nexarch_cache::testing::read_message(data);
}

/// A value of a type that contains itself, as the shared tier may have it.
pub fn cache_typed(data: &[u8]) {
    // One part for each byte, or for each of those that take none.
    let parts = nexarch_cache::testing::read_typed(data).unwrap_or(0);
    assert!(parts <= 3 * data.len() + (1 << 16), "{parts}");
}

/// What a Redis answers, by the limit of its first byte.
pub fn redis_replies(data: &[u8]) {
    let Some((most, replies)) = data.split_first() else { return };
    nexarch_cache::testing::read_replies(replies, usize::from(*most));
}

/// The address of a Redis; what is read is written as itself.
pub fn redis_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(config) = nexarch_cache::RedisConfig::from_url(&text) else { return };
    let again = nexarch_cache::RedisConfig::from_url(&config.url()).expect("what was written is read");
    assert_eq!(again.url(), config.url());
}

fn check(data: &[u8], reader: fn(&Bytes, &Rules) -> Result<Decoded, DecodeError>) {
    let Ok(decoded) = reader(&Bytes::copy_from_slice(data), &Rules::default()) else { return };
    assert_eq!(decoded.received, decoded.spans.len() + decoded.rejected_total);
    assert!(decoded.spans.len() * size_of::<Span>() <= data.len() * MAX_EXPANSION + EXPANSION_BASE);
    for span in &decoded.spans {
        assert!(span.end_ns.is_none_or(|end| end >= span.start_ns));
        assert_ne!(span.parent_span_id, Some(span.span_id));
    }
    // What was accepted goes on its way: to the map, and out again.
    contribution(&Facts::of_all(&decoded.spans));
    let again = decode_protobuf(&encode_protobuf(&decoded.spans).into(), &Rules::default());
    assert_eq!(again.map(|again| again.spans.len()), Ok(decoded.spans.len()));
}
