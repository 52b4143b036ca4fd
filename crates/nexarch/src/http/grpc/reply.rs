//! Answers of gRPC: HTTP 200 always, and the outcome in `grpc-status`, as a trailer of a message or as a header alone.

use std::fmt::Write as _;

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, HeaderName, HeaderValue, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use http_body_util::{BodyExt, Full};
use nexarch_core::otlp::{
    Encoding as Format,
    status::{Code, Status},
};

use super::{
    super::{cached::NEXARCH_VERSION, error::ApiError, otlp},
    frame::HEADER,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// Longest message of a status (bytes): it travels twice, grows threefold at worst, and clients take 8 KiB of headers.
const MAX_MESSAGE: usize = 1024;
/// A message and the status OK.
pub(super) fn message(message: &[u8], version: u64, gzip: bool) -> Response {
    let packed = if gzip { otlp::pack(message) } else { None };
    let flag = u8::from(packed.is_some());
    let content = packed.as_deref().unwrap_or(message);
    let mut framed = Vec::with_capacity(HEADER + content.len());
    framed.push(flag);
    // Answers are some KiB at most: their length always fits.
    framed.extend_from_slice(&u32::try_from(content.len()).unwrap_or(u32::MAX).to_be_bytes());
    framed.extend_from_slice(content);
    let mut trailers = HeaderMap::new();
    trailers.insert(GRPC_STATUS, HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from(framed)).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = started(Body::new(body));
    response.headers_mut().insert(NEXARCH_VERSION, HeaderValue::from(version));
    if flag == 1 {
        response.headers_mut().insert(GRPC_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A refusal: the same error as over HTTP, said in gRPC's words.
pub(super) fn failure(error: &ApiError) -> Response {
    error.log();
    let retry_after = error.retry_after.map(|after| after.as_secs().max(1));
    status(otlp::code(error.status), &error.detail, retry_after)
}

/// A status without a message. `retry_after_s` becomes a `RetryInfo`, without which clients do not repeat some codes.
pub(super) fn status(code: Code, detail: &str, retry_after_s: Option<u64>) -> Response {
    let detail = &detail[..detail.floor_char_boundary(MAX_MESSAGE)];
    let mut details = Status::new(code, detail);
    details.retry_after_s = retry_after_s.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX));
    let mut response = started(Body::empty());
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS, HeaderValue::from(code as u16));
    for (name, value) in [
        (GRPC_MESSAGE, escape(detail)),
        (GRPC_DETAILS, STANDARD_NO_PAD.encode(details.encode(Format::Protobuf))),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}

fn started(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_ACCEPT_ENCODING, HeaderValue::from_static("gzip,identity"));
    response
}

/// Percent-encodes what is not printable ASCII, and the percent sign (gRPC over HTTP/2, "Status-Message").
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}
