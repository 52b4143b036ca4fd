//! The cache's own routes: statistics, health, invalidation.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri},
    response::{IntoResponse, Response},
};
use nexarch_cache::{Cause, Error as CacheError, Invalidation, ScopeStats};
use nexarch_store::Scope;
use serde::Serialize;

use super::{
    cached::NEXARCH_VERSION,
    caller::caller,
    error::ApiError,
    params::{Params, segment},
};
use crate::{app::App, auth::Caller};

/// State of the cache; always 200, because the cache never makes the service unhealthy.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CacheHealth {
    /// Does the cache do its work?
    healthy: bool,
    /// `memory` or `disabled`.
    backend: &'static str,
    /// `memory` or `disabled`.
    status: &'static str,
    /// `local`: no messages between nodes.
    mode: &'static str,
    /// How long another node may show a value after it was overtaken; 0: one server per database file.
    staleness_bound_ms: u64,
    /// Since when.
    since: String,
    /// Why it is degraded, when it is.
    reason: Option<&'static str>,
}

/// Counters of the caller's tenant on the answering node since its start.
#[derive(Serialize)]
struct Stats {
    tenant_id: String,
    node: String,
    backend: &'static str,
    status: &'static str,
    since: String,
    #[serde(flatten)]
    of_scope: ScopeStats,
}

/// Answer to an invalidation.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Invalidated {
    /// `success`.
    status: &'static str,
    /// The caller's tenant.
    tenant_id: String,
    /// `tenant`, `operation` or `pattern`.
    scope: &'static str,
    /// What was in scope.
    operations: Vec<String>,
    /// `cluster`: no node serves an older value from now on.
    reach: &'static str,
    /// The version that reads from now on contain.
    version: u64,
}

/// What the cache did for the caller's tenant on this node.
#[utoipa::path(get, path = "/api/v1/cache/stats", tag = "cache", responses((status = 200)))]
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    Params::parse(&uri, &[])?;
    let stats = Stats {
        tenant_id: caller.tenant.to_string(),
        node: app.node.clone(),
        backend: app.cache_status(),
        status: app.cache_status(),
        since: app.started_at(),
        of_scope: app.cache.stats(&caller.scope),
    };
    Ok(Json(stats).into_response())
}

/// State of the cache.
#[utoipa::path(get, path = "/api/v1/cache/health", tag = "cache", security(()), responses((status = 200, body = CacheHealth)))]
pub(super) async fn health(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<CacheHealth>, ApiError> {
    Params::parse(&uri, &[])?;
    Ok(Json(CacheHealth {
        healthy: true,
        backend: app.cache_status(),
        status: app.cache_status(),
        mode: "local",
        staleness_bound_ms: app.staleness_bound_ms(),
        since: app.started_at(),
        reason: None,
    }))
}

/// Invalidates everything of the tenant, or the operations whose names match `pattern`.
#[utoipa::path(delete, path = "/api/v1/cache/invalidate", tag = "cache", params(("pattern" = Option<String>, Query)), responses((status = 200, body = Invalidated)))]
pub(super) async fn invalidate(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Admin).await?;
    let params = Params::parse(&uri, &["pattern"])?;
    match params.given("pattern") {
        None => apply(&app, &caller, "tenant", Invalidation::All).await,
        Some(pattern) => {
            let matching = app.cache.matching(pattern).map_err(problem)?;
            let name = |id| app.cache.policy(id).map(|operation| operation.name.to_string());
            let names = matching.into_iter().map(name).collect::<Result<_, _>>().map_err(problem)?;
            apply(&app, &caller, "pattern", Invalidation::Operations(names)).await
        }
    }
}

/// Invalidates one operation by its exact name.
#[utoipa::path(delete, path = "/api/v1/cache/invalidate/{operation}", tag = "cache", params(("operation" = String, Path)), responses((status = 200, body = Invalidated), (status = 404)))]
pub(super) async fn invalidate_operation(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Admin).await?;
    Params::parse(&uri, &[])?;
    let operation = segment(&uri, "/api/v1/cache/invalidate/", "")?;
    apply(&app, &caller, "operation", Invalidation::Operations(vec![operation])).await
}

async fn apply(
    app: &Arc<App>,
    caller: &Caller,
    scope: &'static str,
    what: Invalidation,
) -> Result<Response, ApiError> {
    let done = app.cache.invalidate(&caller.scope, what, Cause::Manual).await.map_err(problem)?;
    tracing::info!(tenant = %caller.tenant, key = caller.key_id, scope, operations = ?done.operations, "cache invalidated");
    let answer = Invalidated {
        status: "success",
        tenant_id: caller.tenant.to_string(),
        scope,
        operations: done.operations,
        reach: "cluster",
        version: done.version,
    };
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(NEXARCH_VERSION, HeaderValue::from(done.version));
    Ok(response)
}

fn problem(error: CacheError) -> ApiError {
    match error {
        CacheError::UnknownOperation { .. } => ApiError::not_found(error.to_string()),
        CacheError::PatternTooLong { .. } => ApiError::bad_request(error.to_string()),
        CacheError::Unverified(cause) => match cause.downcast_ref::<nexarch_store::Error>() {
            Some(error) => error.into(),
            None => ApiError::internal(cause),
        },
        other => ApiError::internal(other),
    }
}
