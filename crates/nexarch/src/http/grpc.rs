//! OTLP/gRPC: `TraceService/Export`, on every door.
//!
//! Written out rather than with tonic's server: a unary call is one framed message in and one out, and tonic reserves
//! what the frame claims before a byte of it came, and inflates beside the byte budget. Here the message goes the way
//! of every other body (`ingest/body.rs`), and errors carry what OTLP asks for.
//!
//! Sources: gRPC over HTTP/2 (`doc/PROTOCOL-HTTP2.md`, `doc/compression.md` of grpc/grpc), OTLP 1.11.

mod frame;
mod reply;

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Request, header},
    response::Response,
};
use nexarch_core::otlp::{Encoding as Format, status::Code};
use nexarch_store::Scope;

use super::{caller::caller, error::ApiError, otlp};
use crate::{
    app::App,
    ingest::{Transport, body::Encoding},
};

/// Path of the one method that is served.
pub(super) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Is this a gRPC call?
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    subtype(headers).is_some()
}

/// What stands behind `application/grpc`: empty, or a name such as `proto`.
fn subtype(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = value.split(';').next().unwrap_or_default().trim();
    match media_type.strip_prefix("application/grpc")? {
        "" => Some(""),
        // Not `application/grpc-web`, which is framed differently.
        rest => rest.strip_prefix('+'),
    }
}

/// `TraceService/Export`.
pub(super) async fn export(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    if !is_grpc(request.headers()) {
        return otlp::not_grpc();
    }
    let packs = accepts_gzip(request.headers());
    match take(&app, request).await {
        Ok((message, version)) => reply::message(&message, version, packs),
        Err(error) => reply::failure(&error),
    }
}

/// Every other method of every other service.
pub(super) fn unknown(path: &str) -> Response {
    let detail = if path.starts_with("/opentelemetry.proto.collector.") {
        "traces only: this server takes TraceService/Export".to_owned()
    } else {
        format!("there is no method {}; this server takes {EXPORT}", super::shorten(path))
    };
    reply::status(Code::Unimplemented, &detail, None)
}

async fn take(app: &Arc<App>, request: Request<Body>) -> Result<(Vec<u8>, u64), ApiError> {
    let caller = caller(app, request.headers(), Scope::Ingest).await?;
    if !matches!(subtype(request.headers()), Some("" | "proto")) {
        return Err(otlp::unsupported(
            "the message must be protobuf: application/grpc or application/grpc+proto",
        ));
    }
    let encoding = encoding_of(request.headers())
        .ok_or_else(|| otlp::unsupported("grpc-encoding must be gzip or identity"))?;
    app.limit_spans(&caller.tenant, 0)?;
    let frame = frame::open(request.into_body(), encoding, app.max_body_bytes).await?;
    let mut held = app.ingest.hold(&caller.tenant);
    let bytes = app.receive(frame.message, frame.encoding, &mut held).await?;
    otlp::store(app, &caller, bytes, (Transport::OtlpGrpc, Format::Protobuf), held).await
}

/// `grpc-encoding` of the call; `None` for one that is not supported.
fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Some(Encoding::Identity),
        Some(b"gzip") => Some(Encoding::Gzip),
        Some(_) => None,
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all("grpc-accept-encoding").iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|name| name.trim() == "gzip")
}

#[cfg(test)]
mod tests;
