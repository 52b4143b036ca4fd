//! The native way in: one span or an array, as plain JSON.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use nexarch_core::{
    native::{self, NativeError},
    otlp::{Reason, Rules},
};
use nexarch_store::Scope;
use serde::Serialize;

use super::{
    cached::NEXARCH_VERSION, caller::caller, error::ApiError, otlp::content_encoding, params::Params,
};
use crate::{
    accounts,
    app::App,
    auth::Caller,
    ingest::{Refusal, Transport, inflight::Held},
    lifecycle,
    taken::{Sent, Taken},
};

const DAY_US: u64 = 86_400_000_000;

/// Most item errors listed in one answer; all are counted.
const MAX_ERRORS: usize = 100;

/// Answer to one span.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Accepted {
    /// `accepted`.
    status: &'static str,
    /// The span's id, 16 hex digits.
    span_id: String,
}

/// Answer to an array: `count + duplicates + failed` = sent.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct BatchAccepted {
    /// `accepted`.
    status: &'static str,
    /// New spans.
    count: u64,
    /// Spans that were known.
    duplicates: u64,
    /// Items that are no valid span.
    failed: u64,
    /// Why, for the first 100.
    errors: Vec<ItemError>,
}

/// Answer to an array without one valid span: a problem (RFC 9457) with the same counts.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct BatchRejected {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    count: u64,
    duplicates: u64,
    failed: u64,
    errors: Vec<ItemError>,
}

/// One item that is no valid span.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct ItemError {
    /// Place in the array, from 0.
    index: usize,
    /// What is wrong with it.
    error: String,
}

/// What arrived, for the tenant and this node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Stats {
    /// The caller's tenant.
    tenant_id: String,
    /// Spans stored since the tenant was created, also those that retention dropped since.
    total_spans: u64,
    /// Their traces, counted in the same way.
    total_traces: u64,
    /// Spans that were known when they came.
    duplicates: u64,
    /// Spans refused by this node since its start.
    rejected: u64,
    /// Start of the oldest and the newest stored span.
    oldest: Option<String>,
    /// See `oldest`.
    newest: Option<String>,
    /// What its quota of spans counts.
    today: Today,
    /// Figures of this node, all tenants.
    queue: Queue,
}

/// Spans stored on this UTC day, better versions of known ones included.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Today {
    /// So many.
    spans: u64,
    /// Most of them (`QUOTA_SPANS_PER_DAY`); `null` = any number.
    quota: Option<u64>,
    /// What is left of the quota.
    left: Option<u64>,
    /// When the next day begins.
    resets_at: String,
}

impl Today {
    fn new(spans: u64, quota: Option<u64>) -> Self {
        let midnight = (lifecycle::now_us() / DAY_US + 1) * DAY_US;
        let left = quota.map(|quota| quota.saturating_sub(spans));
        Self { spans, quota, left, resets_at: accounts::moment(midnight) }
    }
}

/// The door of this node.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Queue {
    /// Requests that met a full queue since the start.
    rejected_busy: u64,
    /// Bytes of requests under way.
    inflight_bytes: usize,
    /// Most of them.
    max_inflight_bytes: usize,
    /// Transactions since the start: each stored one or more requests.
    commits: u64,
}

/// Takes one span.
#[utoipa::path(post, path = "/api/v1/ingest", tag = "ingest", request_body(content = super::openapi::NativeSpan, content_type = "application/json"), responses((status = 202, body = Accepted), (status = 422)))]
pub(super) async fn one(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, ApiError> {
    let (caller, bytes, mut held) = receive(&app, request).await?;
    let length = bytes.len();
    let decode = move |rules: &Rules| {
        let decoded = native::decode_one(&bytes, rules);
        let flags = decoded.as_ref().map_or_else(native::flags_of, |(_, flags)| *flags);
        (decoded, flags)
    };
    let decoded = app.decode(length, &mut held, decode).await?;
    app.limit_spans(&caller.tenant, 1)?;
    let (span, flags) = decoded.map_err(|error| {
        app.ingest.counters.answered(Transport::Native, 0, 0, 1);
        app.note(&caller.tenant, 1, &native::flags_of(&error));
        match error {
            NativeError::Body(detail) => ApiError::bad_request(detail),
            NativeError::Span(detail) => ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail),
        }
    })?;
    let span_id = span.span_id.to_string();
    let sent = Sent { spans: vec![span], received: 1, rejected: 0, flags };
    let taken = app.take(&caller, Transport::Native, sent, held).await?;
    if taken.expired > 0 {
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, Reason::Expired.to_string()));
    }
    let answer = Json(Accepted { status: "accepted", span_id });
    Ok(versioned(StatusCode::ACCEPTED, taken.version, answer))
}

/// Takes an array of spans; one bad span never costs the good ones.
#[utoipa::path(post, path = "/api/v1/ingest/batch", tag = "ingest", request_body(content = Vec<super::openapi::NativeSpan>, content_type = "application/json"), responses((status = 202, body = BatchAccepted), (status = 400), (status = 422, body = BatchRejected, content_type = "application/problem+json")))]
pub(super) async fn batch(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, ApiError> {
    let (caller, bytes, mut held) = receive(&app, request).await?;
    let length = bytes.len();
    let decode = move |rules: &Rules| {
        let decoded = native::decode_batch(&bytes, rules);
        let flags = decoded.as_ref().map_or_else(native::flags_of, |batch| batch.flags);
        (decoded, flags)
    };
    let decoded = app.decode(length, &mut held, decode).await?;
    let decoded = decoded.map_err(|error| ApiError::bad_request(error.to_string()))?;
    let sent = decoded.spans.len() + decoded.failed;
    app.limit_spans(&caller.tenant, sent)?;
    let errors = decoded.errors.into_iter().take(MAX_ERRORS);
    let errors: Vec<_> = errors.map(|item| ItemError { index: item.index, error: item.error }).collect();
    let (rejected, flags, spans) = (decoded.failed as u64, decoded.flags, decoded.spans);
    let sent = Sent { spans, received: sent, rejected, flags };
    let Taken { accepted: count, duplicates, expired, version } =
        app.take(&caller, Transport::Native, sent, held).await?;
    let failed = rejected + expired;
    let all_failed = failed > 0 && count + duplicates == 0;
    if all_failed {
        let problem = BatchRejected {
            kind: "about:blank",
            title: "Unprocessable Entity",
            status: 422,
            detail: "no item is a valid span; errors says why",
            count: 0,
            duplicates: 0,
            failed,
            errors,
        };
        let mut response = versioned(StatusCode::UNPROCESSABLE_ENTITY, version, Json(problem));
        let problem_json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem_json);
        return Ok(response);
    }
    let answer = BatchAccepted { status: "accepted", count, duplicates, failed, errors };
    Ok(versioned(StatusCode::ACCEPTED, version, Json(answer)))
}

/// What arrived so far.
#[utoipa::path(get, path = "/api/v1/ingest/stats", tag = "ingest", responses((status = 200, body = Stats)))]
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Stats>, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    Params::parse(&uri, &[])?;
    let mut snapshot = app.store.snapshot(&caller.tenant).await?;
    let totals = snapshot.totals().await?;
    let today = Today::new(snapshot.used_today().await?, app.shares.spans_per_day);
    let moment = |ns: u64| jiff::Timestamp::from_nanosecond(i128::from(ns)).map(|t| t.to_string()).ok();
    Ok(Json(Stats {
        tenant_id: caller.tenant.to_string(),
        total_spans: totals.spans,
        total_traces: totals.traces,
        duplicates: totals.duplicates,
        rejected: app.rejected(&caller.tenant),
        oldest: snapshot.oldest_ns().and_then(moment),
        newest: snapshot.newest_ns().and_then(moment),
        today,
        queue: Queue {
            rejected_busy: app.ingest.counters.refused(Refusal::QueueFull),
            inflight_bytes: app.ingest.inflight_bytes(),
            max_inflight_bytes: app.ingest.max_inflight_bytes(),
            commits: app.ingest.counters.groups.load(Ordering::Relaxed),
        },
    }))
}

async fn receive(
    app: &Arc<App>,
    request: Request<Body>,
) -> Result<(Arc<Caller>, bytes::Bytes, Held), ApiError> {
    let caller = caller(app, request.headers(), Scope::Ingest).await?;
    Params::parse(request.uri(), &[])?;
    let unsupported = |what: &str| ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what.to_owned());
    if !is_json(request.headers()) {
        return Err(unsupported("Content-Type must be application/json"));
    }
    let encoding = content_encoding(request.headers())
        .ok_or_else(|| unsupported("Content-Encoding must be gzip, zstd or identity"))?;
    app.limit_spans(&caller.tenant, 0)?;
    let mut held = app.ingest.hold(&caller.tenant);
    let bytes = app.receive(request.into_body(), encoding, &mut held).await?;
    app.ingest.counters.received(Transport::Native, bytes.len());
    Ok((caller, bytes, held))
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}

fn versioned(status: StatusCode, version: u64, answer: impl IntoResponse) -> Response {
    let mut response = (status, answer).into_response();
    response.headers_mut().insert(NEXARCH_VERSION, HeaderValue::from(version));
    response
}
