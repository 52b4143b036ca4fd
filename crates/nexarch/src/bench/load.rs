//! Spans as the bodies of requests.

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use nexarch_core::{otlp::encode_protobuf, span::Span};

/// Spans of a request: the usual size of an exporter's batch is half of it, a collector's several times.
pub const BATCH_SPANS: usize = 1_000;

/// Batches of spans as OTLP protobuf, gzip at the level that exporters use.
pub fn packed(spans: &[Span]) -> Vec<Bytes> {
    spans.chunks(BATCH_SPANS).map(|batch| gzip(&encode_protobuf(batch))).collect()
}

fn gzip(body: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.map(Bytes::from).unwrap_or_default()
}
