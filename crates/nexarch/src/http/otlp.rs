//! OTLP/HTTP: `POST /v1/traces`. Every answer, errors too, is in the encoding of the request.

use std::{io::Write, sync::Arc};

use super::{cached::NEXARCH_VERSION, caller::caller, error::ApiError, grpc};
use crate::{
    app::App,
    auth::Caller,
    ingest::{Transport, body::Encoding, inflight::Held},
    taken::Sent,
};
use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header},
    response::Response,
};
use bytes::Bytes;
use nexarch_core::otlp::{
    self, Encoding as Format,
    status::{Code, Status},
};
use nexarch_store::Scope;

/// From `Content-Type`; parameters such as a charset are ignored.
fn format_of(headers: &HeaderMap) -> Option<Format> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    match value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/x-protobuf" => Some(Format::Protobuf),
        "application/json" => Some(Format::Json),
        _ => None,
    }
}

fn media_type(format: Format) -> HeaderValue {
    HeaderValue::from_static(match format {
        Format::Protobuf => "application/x-protobuf",
        Format::Json => "application/json",
    })
}

/// OTLP/HTTP: an `ExportTraceServiceRequest` as protobuf or JSON, plain, gzip or zstd.
#[utoipa::path(post, path = "/v1/traces", tag = "ingest", request_body(content((Vec<u8> = "application/x-protobuf"), (serde_json::Value = "application/json"))), responses((status = 200), (status = 400), (status = 413), (status = 415), (status = 429), (status = 503)))]
pub(super) async fn traces(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let format = format_of(request.headers());
    let gzip = accepts_gzip(request.headers());
    match export(&app, request, format).await {
        Ok((reply, format, version)) => {
            let packed = if gzip { pack(&reply) } else { None };
            let is_packed = packed.is_some();
            let mut response = Response::new(Body::from(packed.unwrap_or(reply)));
            if is_packed {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response.headers_mut().insert(header::CONTENT_TYPE, media_type(format));
            response.headers_mut().insert(NEXARCH_VERSION, HeaderValue::from(version));
            response
        }
        Err(error) => failure(&error, format.unwrap_or(Format::Json)),
    }
}

/// Answers below this are not worth packing (bytes).
const MIN_PACKED: usize = 1024;

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let offered = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    offered.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("gzip"))
}

/// An answer as gzip, if that is worth it.
pub(super) fn pack(message: &[u8]) -> Option<Vec<u8>> {
    if message.len() < MIN_PACKED {
        return None;
    }
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(message).ok()?;
    encoder.finish().ok()
}

/// `/v1/logs`, `/v1/metrics`, and everything else below `/v1/`.
pub(super) async fn traces_only(headers: HeaderMap) -> Response {
    let error = ApiError::not_found("traces only: this server takes POST /v1/traces");
    failure(&error, format_of(&headers).unwrap_or(Format::Json))
}

/// What is nowhere on OTLP's own ports.
pub(super) async fn elsewhere(uri: Uri, headers: HeaderMap) -> Response {
    if grpc::is_grpc(&headers) { grpc::unknown(uri.path()) } else { traces_only(headers).await }
}

/// A call of gRPC's path that is no gRPC.
pub(super) fn not_grpc() -> Response {
    failure(
        &unsupported("Content-Type must be application/grpc; OTLP/HTTP is at POST /v1/traces"),
        Format::Json,
    )
}

/// Another method than POST.
pub(super) async fn wrong_method(method: Method, headers: HeaderMap) -> Response {
    let error =
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not supported here; use POST"));
    let mut response = failure(&error, format_of(&headers).unwrap_or(Format::Json));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
    response
}

async fn export(
    app: &Arc<App>,
    request: Request<Body>,
    format: Option<Format>,
) -> Result<(Vec<u8>, Format, u64), ApiError> {
    let caller = caller(app, request.headers(), Scope::Ingest).await?;
    let format = format
        .ok_or_else(|| unsupported("Content-Type must be application/x-protobuf or application/json"))?;
    let encoding = content_encoding(request.headers())
        .ok_or_else(|| unsupported("Content-Encoding must be gzip, zstd or identity"))?;
    // Before the body is read: who is in debt need not be listened to.
    app.limit_spans(&caller.tenant, 0)?;
    let mut held = app.ingest.hold(&caller.tenant);
    let bytes = app.receive(request.into_body(), encoding, &mut held).await?;
    let from = (Transport::OtlpHttp, format);
    let (reply, version) = store(app, &caller, bytes, from, held).await?;
    Ok((reply, format, version))
}

/// The error of something that is not known here.
pub(super) fn unsupported(what: &str) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what)
}

/// From the bytes of a request to an answer that may be given: decoded, stored, visible.
pub(super) async fn store(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    bytes: Bytes,
    (transport, format): (Transport, Format),
    mut held: Held,
) -> Result<(Vec<u8>, u64), ApiError> {
    let length = bytes.len();
    app.ingest.counters.received(transport, length);
    let decode = move |rules: &otlp::Rules| {
        let decoded = otlp::decode(&bytes, format, rules);
        let flags = decoded.as_ref().map_or_else(|_| otlp::Flags::default(), |decoded| decoded.flags);
        (decoded, flags)
    };
    let decoded = app.decode(length, &mut held, decode).await?;
    let decoded = decoded.map_err(|error| ApiError::bad_request(error.to_string()))?;
    app.limit_spans(&caller.tenant, decoded.received)?;
    let (rejected, mut message) = (decoded.rejected_total as u64, decoded.message().unwrap_or_default());
    let (received, flags, spans) = (decoded.received, decoded.flags, decoded.spans);
    let taken = app.take(caller, transport, Sent { spans, received, rejected, flags }, held).await?;
    if let Some(more) = taken.message() {
        message = if message.is_empty() { more } else { format!("{message}; {more}") };
    }
    Ok((otlp::status::export_response(rejected + taken.expired, &message, format), taken.version))
}

/// The one encoding of the body; several on top of each other are not supported.
pub(super) fn content_encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Some(Encoding::Identity) };
    if values.next().is_some() {
        return None;
    }
    Encoding::from_header(value.to_str().ok()?)
}

/// A google.rpc.Status in the encoding of the request.
fn failure(error: &ApiError, format: Format) -> Response {
    error.log();
    let code = code(error.status);
    let body = Status::new(code, error.detail.as_str()).encode(format);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = error.status;
    response.headers_mut().insert(header::CONTENT_TYPE, media_type(format));
    error.headers(&mut response);
    response
}

/// The code that says in gRPC what a status says in HTTP (the table of OTLP's answers).
pub(super) fn code(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::InvalidArgument,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::Unimplemented,
        StatusCode::PAYLOAD_TOO_LARGE => Code::ResourceExhausted,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        _ => Code::Internal,
    }
}
