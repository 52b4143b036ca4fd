//! The HTTP surface: routes, and nothing else; one file per resource.

mod accept;
mod admin;
mod cache;
mod cached;
mod caller;
mod dashboard;
mod diagnostics;
mod edge;
mod error;
mod grpc;
mod health;
mod ingest;
mod limits;
mod metrics;
pub mod openapi;
mod otlp;
mod packed;
mod page;
mod params;
mod rest;
mod search;
mod stream;
mod traces;
mod warm;

use std::sync::Arc;

use axum::{
    Router,
    extract::Request,
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
    routing::{MethodRouter, any, delete, get, post},
};

#[cfg(feature = "otel")]
pub(crate) use self::edge::UNTRACED;
pub use self::{error::ApiError, params::Params};
use crate::app::App;

/// Everything.
pub fn router(app: Arc<App>) -> Router {
    let api = Router::new()
        .route("/api/v1/ingest", post(ingest::one))
        .route("/api/v1/ingest/batch", post(ingest::batch))
        .route("/api/v1/ingest/stats", get(ingest::stats))
        .route("/api/v1/ingest/diagnostics", get(diagnostics::diagnostics))
        .route("/api/v1/dashboard/overview", get(dashboard::overview))
        .route("/api/v1/dashboard/architecture-map", get(dashboard::map))
        .route("/api/v1/architecture/current", get(dashboard::current))
        .route("/api/v1/architecture/export", get(dashboard::export))
        .route("/api/v1/architecture/diff", get(dashboard::diff))
        .route("/api/v1/dashboard/services", get(dashboard::services))
        .route("/api/v1/dashboard/services/{name}", get(dashboard::service))
        .route("/api/v1/dashboard/services/{name}/metrics", get(dashboard::service_metrics))
        .route("/api/v1/dashboard/trends", get(dashboard::trends))
        .route("/api/v1/dashboard/bottlenecks", get(dashboard::bottlenecks))
        .route("/api/v1/dashboard/dependencies", get(dashboard::dependencies))
        .route("/api/v1/dashboard/health", get(dashboard::health))
        .route("/api/v1/architecture/issues", get(dashboard::issues))
        .route("/api/v1/traces", get(search::search))
        .route("/api/v1/traces/{trace_id}", get(traces::trace))
        .route("/api/v1/traces/{trace_id}/waterfall", get(traces::waterfall))
        .route("/api/v1/stream", get(stream::stream))
        .route("/api/v1/cache/stats", get(cache::stats))
        .route("/api/v1/cache/health", get(cache::health))
        .route("/api/v1/cache/warm", post(warm::all))
        .route("/api/v1/cache/warm/{operation}", post(warm::operation))
        .route("/api/v1/cache/invalidate", delete(cache::invalidate))
        .route("/api/v1/cache/invalidate/{operation}", delete(cache::invalidate_operation))
        .route("/api/v1/health", get(health::health))
        .route("/api/v1/health/ready", get(health::ready))
        .route("/api/v1/openapi.json", get(openapi::document))
        .route("/", get(page::index))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .merge(admin::routes(&app))
        .method_not_allowed_fallback(wrong_method)
        .fallback(not_found)
        .with_state(Arc::clone(&app));
    edge::around(api.merge(otlp_routes().with_state(Arc::clone(&app))), app)
}

/// The OTLP routes alone, for OTLP's own ports: HTTP and gRPC on either.
pub fn otlp_router(app: Arc<App>) -> Router {
    edge::around(otlp_routes().fallback(otlp::elsewhere).with_state(Arc::clone(&app)), app)
}

/// The page of figures, for a door of its own. Not counted among requests: it is nobody's.
pub fn metrics_router(app: Arc<App>) -> Router {
    let routes = Router::new().route("/metrics", get(metrics::page));
    routes.method_not_allowed_fallback(wrong_method).fallback(metrics::elsewhere).with_state(app)
}

fn otlp_routes() -> Router<Arc<App>> {
    let only_post: MethodRouter<Arc<App>> = post(otlp::traces).fallback(otlp::wrong_method);
    Router::new()
        .route("/v1/traces", only_post)
        .route("/v1/logs", any(otlp::traces_only))
        .route("/v1/metrics", any(otlp::traces_only))
        .route("/v1/{*other}", any(otlp::elsewhere))
        .route(grpc::EXPORT, post(grpc::export).fallback(otlp::wrong_method))
}

async fn not_found(request: Request) -> Response {
    let path = request.uri().path();
    if grpc::is_grpc(request.headers()) {
        return grpc::unknown(path);
    }
    ApiError::not_found(format!("there is nothing at {}; see /api/v1/openapi.json", shorten(path)))
        .into_response()
}

/// The router has put `Allow` on the answer already; this gives it a body.
async fn wrong_method(method: Method) -> Response {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("{method} is not supported here; see the Allow header"),
    )
    .into_response()
}

/// Runs a change to its end, also when the caller hangs up: what was committed is taken notice of, and written down.
async fn finish<T: Send + 'static>(
    app: &App,
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    app.lifecycle.tracker().spawn(change).await.map_err(ApiError::internal)?
}

fn shorten(path: &str) -> String {
    path.chars().take(100).collect()
}
