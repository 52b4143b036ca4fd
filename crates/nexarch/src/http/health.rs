//! Is it alive, and can it take work. Neither needs a key.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::{error::ApiError, params::Params};
use crate::app::App;

/// Answer of `/health`.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Health {
    /// `ok` while the process answers.
    status: &'static str,
    /// Version of the program.
    version: &'static str,
}

/// Answer of `/health/ready`.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Ready {
    /// `ready`, `draining` or `unavailable`.
    status: &'static str,
    /// `ok` or `unavailable`.
    database: &'static str,
    /// The cache never makes the service unready.
    cache: &'static str,
}

/// The process is alive.
#[utoipa::path(get, path = "/api/v1/health", tag = "health", security(()), responses((status = 200, body = Health)))]
pub(super) async fn health(uri: Uri) -> Result<Json<Health>, ApiError> {
    Params::parse(&uri, &[])?;
    Ok(Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }))
}

/// The process can take work: 503 only for the database or while draining.
#[utoipa::path(get, path = "/api/v1/health/ready", tag = "health", security(()), responses((status = 200, body = Ready), (status = 503, body = Ready)))]
pub(super) async fn ready(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    Params::parse(&uri, &[])?;
    let database = if app.store.ping().await.is_ok() { "ok" } else { "unavailable" };
    let status = match database {
        _ if app.lifecycle.drain().is_cancelled() => "draining",
        "ok" => "ready",
        _ => "unavailable",
    };
    let code = if status == "ready" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, Json(Ready { status, database, cache: app.cache.status().status.as_str() })).into_response())
}
