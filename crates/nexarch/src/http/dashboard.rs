//! The cached reads: one handler each, all through the same [`View`].

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Uri},
    response::Response,
};
use nexarch_core::export::UnknownFormat;
use nexarch_store::Scope;

use super::{
    cached,
    caller::caller,
    error::ApiError,
    params::{Params, segment},
};
use crate::{
    app::App,
    view::{Range, View, Windows},
};

const SERVICES: &str = "/api/v1/dashboard/services/";
pub(super) const RANGE: &[&str] = &["window", "from", "to", "environment"];

/// The figures of the whole architecture.
#[utoipa::path(get, path = "/api/v1/dashboard/overview", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::overview::Overview)))]
pub(super) async fn overview(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Overview).await
}

/// The architecture as a graph with positions.
#[utoipa::path(get, path = "/api/v1/dashboard/architecture-map", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::graph::ArchitectureMap)))]
pub(super) async fn map(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Map).await
}

/// The architecture as a graph with positions, under its other name.
#[utoipa::path(get, path = "/api/v1/architecture/current", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::graph::ArchitectureMap)))]
pub(super) async fn current(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Map).await
}

/// The architecture as a file: `format` is `json`, `svg`, `mermaid`, `dot` or `html`.
#[utoipa::path(get, path = "/api/v1/architecture/export", tag = "dashboard", params(("format" = String, Query), super::openapi::RangeParams), responses(
    (status = 200, content(
        (nexarch_core::graph::ArchitectureMap = "application/json"),
        (String = "image/svg+xml"), (String = "text/vnd.mermaid"), (String = "text/vnd.graphviz"), (String = "text/html"),
    )),
    (status = 400),
))]
pub(super) async fn export(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    let params = Params::parse(&uri, &["format", "window", "from", "to", "environment"])?;
    let format = params.get("format").unwrap_or_default().parse();
    let format = format.map_err(|error: UnknownFormat| ApiError::bad_request(error.to_string()))?;
    let range = Range::parse(&params)?;
    cached::answer(&app, &caller, View::Export(range, format), &headers).await
}

/// What differs between two spans of time: new, gone and changed nodes, edges and operations, with tests of significance
/// corrected for their number. A named `head` ends at the newest accepted time, a named `base` where the head begins.
#[utoipa::path(get, path = "/api/v1/architecture/diff", tag = "dashboard", params(super::openapi::DiffParams), responses((status = 200, body = nexarch_core::diff::Drift), (status = 400)))]
pub(super) async fn diff(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    let params = Params::parse(&uri, &["base", "head", "environment"])?;
    cached::answer(&app, &caller, View::Diff(Windows::parse(&params)?), &headers).await
}

/// All services.
#[utoipa::path(get, path = "/api/v1/dashboard/services", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = Vec<nexarch_core::services::Service>)))]
pub(super) async fn services(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Services).await
}

/// The figures of the whole architecture over time.
#[utoipa::path(get, path = "/api/v1/dashboard/trends", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::trends::Series)))]
pub(super) async fn trends(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Trends).await
}

/// One service: `/services/{name}`, percent-encoded.
#[utoipa::path(get, path = "/api/v1/dashboard/services/{name}", tag = "dashboard", params(("name" = String, Path), super::openapi::RangeParams), responses((status = 200, body = nexarch_core::service_detail::ServiceDetail), (status = 404)))]
pub(super) async fn service(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let name = segment(&uri, SERVICES, "")?;
    ranged(&app, &headers, &uri, |range| View::Service(range, name)).await
}

/// One service over time.
#[utoipa::path(get, path = "/api/v1/dashboard/services/{name}/metrics", tag = "dashboard", params(("name" = String, Path), super::openapi::RangeParams), responses((status = 200, body = nexarch_core::trends::Series), (status = 404)))]
pub(super) async fn service_metrics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let name = segment(&uri, SERVICES, "/metrics")?;
    ranged(&app, &headers, &uri, |range| View::ServiceMetrics(range, name)).await
}

/// Where the time of requests goes.
#[utoipa::path(get, path = "/api/v1/dashboard/bottlenecks", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::analysis::Bottlenecks)))]
pub(super) async fn bottlenecks(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Bottlenecks).await
}

/// Who depends on whom, and how hard.
#[utoipa::path(get, path = "/api/v1/dashboard/dependencies", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::analysis::Dependencies)))]
pub(super) async fn dependencies(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Dependencies).await
}

/// How it all does: scores, budgets, services.
#[utoipa::path(get, path = "/api/v1/dashboard/health", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::analysis::HealthAnswer)))]
pub(super) async fn health(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Health).await
}

/// What is wrong, the worst first.
#[utoipa::path(get, path = "/api/v1/architecture/issues", tag = "dashboard", params(super::openapi::RangeParams), responses((status = 200, body = nexarch_core::analysis::Issues)))]
pub(super) async fn issues(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    ranged(&app, &headers, &uri, View::Issues).await
}

async fn ranged(
    app: &Arc<App>,
    headers: &HeaderMap,
    uri: &Uri,
    view: impl FnOnce(Range) -> View,
) -> Result<Response, ApiError> {
    let caller = caller(app, headers, Scope::Read).await?;
    let params = Params::parse(uri, RANGE)?;
    let range = Range::parse(&params)?;
    cached::answer(app, &caller, view(range), headers).await
}
