//! The OpenAPI document, made from the handlers and their types.

mod answers;

use axum::{
    http::{Uri, header},
    response::{IntoResponse, Response},
};
use utoipa::{
    IntoParams, Modify, OpenApi,
    openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use self::answers::Answers;
use super::{admin, cache, dashboard, diagnostics, health, ingest, otlp, search, stream, traces, warm};

/// Which span of time, and which environment.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct RangeParams {
    /// `15m 1h 6h 24h 7d 30d`; ends at the newest accepted time. Default `24h`.
    window: Option<String>,
    /// RFC 3339; with `to`, instead of `window`.
    from: Option<String>,
    /// RFC 3339.
    to: Option<String>,
    /// Only this `deployment.environment.name`; default: all.
    environment: Option<String>,
}

/// Which two spans of time, and which environment.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct DiffParams {
    /// What is compared with: `15m 1h 6h 24h 7d 30d`, ending where `head` begins, or two times `FROM/TO` (RFC 3339).
    base: String,
    /// What is compared: `15m 1h 6h 24h 7d 30d`, ending at the newest accepted time, or two times `FROM/TO` (RFC 3339).
    head: String,
    /// Only this `deployment.environment.name`; default: all.
    environment: Option<String>,
}

/// Which traces.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct SearchParams {
    /// `15m 1h 6h 24h 7d 30d`; ends at the newest accepted time. Default `24h`.
    window: Option<String>,
    /// RFC 3339; with `to`, instead of `window`.
    from: Option<String>,
    /// RFC 3339.
    to: Option<String>,
    /// Only this `deployment.environment.name`; default: all.
    environment: Option<String>,
    /// Name of the span's service.
    service: Option<String>,
    /// Name of the span.
    operation: Option<String>,
    /// The span took at least so long.
    min_duration_ms: Option<f64>,
    /// The span took at most so long.
    max_duration_ms: Option<f64>,
    /// The span failed, or did not.
    error: Option<bool>,
    /// `key=value`, or a key alone: an attribute of the span or of its sender.
    attribute: Option<String>,
    /// Most traces of a page, 1 to 100. Default 20.
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A span as senders without OpenTelemetry have it. Fields that are not listed are passed over.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct NativeSpan {
    /// 32 hex digits in any case; fewer are padded on the left, dashes of a UUID are dropped.
    trace_id: String,
    /// 16 hex digits, or a UUID, of which the first 16 are taken.
    span_id: String,
    /// As `span_id`; absent for a root.
    parent_span_id: Option<String>,
    /// Who did it.
    service_name: String,
    /// What was done.
    operation: String,
    /// `internal`, `server`, `client`, `producer`, `consumer`; default `internal`.
    kind: Option<String>,
    /// RFC 3339; without a zone it is UTC.
    start_time: String,
    /// As `start_time`; or else `latency_ms`.
    end_time: Option<String>,
    /// How long it took.
    latency_ms: Option<f64>,
    /// Of HTTP, 100 to 599.
    status_code: Option<i64>,
    /// Whether it failed, or with what words.
    error: Option<serde_json::Value>,
    /// Whom it calls.
    downstream: Option<String>,
    /// Anything else, by name.
    attributes: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Which span of time.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its shape is read, by the document")]
pub(super) struct WindowParams {
    /// `15m 1h 6h 24h 7d 30d`; ends at the newest accepted time. Default `24h`.
    window: Option<String>,
    /// RFC 3339; with `to`, instead of `window`.
    from: Option<String>,
    /// RFC 3339.
    to: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Nexarch", description = "Architecture intelligence from OpenTelemetry spans, served from a cache that is never stale."),
    paths(
        otlp::traces, ingest::one, ingest::batch, ingest::stats, diagnostics::diagnostics,
        dashboard::overview, dashboard::map, dashboard::current, dashboard::export, dashboard::diff, dashboard::services, dashboard::service, dashboard::service_metrics, dashboard::trends,
        dashboard::bottlenecks, dashboard::dependencies, dashboard::health, dashboard::issues,
        search::search, traces::trace, traces::waterfall,
        stream::stream,
        cache::stats, cache::health, cache::invalidate, cache::invalidate_operation, warm::all, warm::operation,
        health::health, health::ready, document,
        admin::tenants::list, admin::tenants::create, admin::tenants::one, admin::tenants::change, admin::tenants::delete,
        admin::keys::list, admin::keys::create, admin::keys::one, admin::keys::revoke, admin::keys::rotate,
        admin::stats::stats,
    ),
    components(schemas(super::error::Problem, NativeSpan, ingest::BatchRejected)),
    modifiers(&Keys, &Answers),
    security(("key" = []), ("bearer" = []))
)]
struct Api;

struct Keys;

impl Modify for Keys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_default();
        components.add_security_scheme(
            "key",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))),
        );
        components.add_security_scheme(
            "admin",
            SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-Admin-Key"))),
        );
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
}

/// Templates of the paths that it describes.
pub(crate) fn paths() -> Vec<String> {
    Api::openapi().paths.paths.into_keys().collect()
}

/// The document as pretty-printed JSON.
pub fn json() -> Result<String, serde_json::Error> {
    Api::openapi().to_pretty_json()
}

/// This document.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "health", security(()), responses((status = 200, body = serde_json::Value)))]
pub(super) async fn document(uri: Uri) -> Result<Response, super::ApiError> {
    super::Params::parse(&uri, &[])?;
    match json() {
        Ok(text) => Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response()),
        Err(error) => Err(super::ApiError::internal(error)),
    }
}
