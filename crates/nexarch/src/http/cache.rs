//! The cache's own routes: statistics, health, invalidation.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, SystemTime},
};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use nexarch_cache::{Cause, Invalidation, Reach, Reason, ScopeStats};
use nexarch_store::Scope;
use serde::Serialize;

use super::{
    cached::NEXARCH_VERSION,
    caller::caller,
    error::ApiError,
    finish,
    params::{Params, segment},
};
use crate::{
    app::App,
    audit::{self, By, Mutation, What},
    auth::Caller,
};

/// How long a caller waits for the database to commit an invalidation: it may have to wait for the lock of a busy one.
const PATIENCE: Duration = Duration::from_secs(5);
const UNCONFIRMED: &str =
    "the database did not confirm the invalidation, which may have been made; try again";

/// State of the cache; always 200, because the cache never makes the service unhealthy.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CacheHealth {
    /// Does the cache do its work? In every state it does: reads are answered.
    healthy: bool,
    /// `memory`, `redis` or `disabled`.
    backend: &'static str,
    /// `memory` (no Redis configured), `connected`, `degraded` or `disabled`.
    status: &'static str,
    /// How other nodes' changes are learned of: `pubsub`, `polling` or `local`.
    mode: &'static str,
    /// How long another node may show a value after it was overtaken; 0: one server per database file.
    staleness_bound_ms: u64,
    /// Since when.
    since: String,
    /// Why it is degraded, when it is.
    reason: Option<&'static str>,
}

/// Counters of the caller's tenant on the answering node since its start.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct CacheStats {
    tenant_id: String,
    node: String,
    backend: &'static str,
    status: &'static str,
    since: String,
    #[serde(flatten)]
    of_scope: ScopeStats,
    share: Share,
}

/// What the tenant holds of what it may hold.
#[derive(Serialize, utoipa::ToSchema)]
struct Share {
    /// Of the memory tier of this node.
    memory_percent: f64,
    /// Most of it while others want room.
    memory_max_percent: u8,
    /// Bytes of values in Redis, as far as this node can tell.
    redis_bytes: u64,
    /// Most of them; above it new values stay in memory.
    redis_max_bytes: u64,
}

impl Share {
    fn of(app: &App, scope: &nexarch_cache::Scope, stats: &ScopeStats) -> Self {
        Self {
            memory_percent: 100.0 * stats.memory.bytes as f64 / stats.memory.max_bytes.max(1) as f64,
            memory_max_percent: app.shares.memory_percent,
            redis_bytes: app.cache.remote_bytes(scope),
            redis_max_bytes: app.shares.redis_bytes,
        }
    }
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
    /// `cluster`: Redis took the message for all nodes, or there is no other; `node`: it did not. This node serves nothing
    /// older from now on; a node that no message reaches learns of it within the staleness bound.
    reach: &'static str,
    /// The version that reads from now on contain.
    version: u64,
}

/// What the cache did for the caller's tenant on this node.
#[utoipa::path(get, path = "/api/v1/cache/stats", tag = "cache", responses((status = 200, body = CacheStats)))]
pub(super) async fn stats(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    Params::parse(&uri, &[])?;
    let now = app.cache.status();
    let of_scope = app.cache.stats(&caller.scope);
    let stats = CacheStats {
        tenant_id: caller.tenant.to_string(),
        node: app.node.clone(),
        backend: now.backend.as_str(),
        status: now.status.as_str(),
        since: moment(now.since),
        share: Share::of(&app, &caller.scope, &of_scope),
        of_scope,
    };
    Ok(Json(stats).into_response())
}

/// State of the cache.
#[utoipa::path(get, path = "/api/v1/cache/health", tag = "cache", security(()), responses((status = 200, body = CacheHealth)))]
pub(super) async fn health(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<CacheHealth>, ApiError> {
    Params::parse(&uri, &[])?;
    let status = app.cache.status();
    Ok(Json(CacheHealth {
        healthy: true,
        backend: status.backend.as_str(),
        status: status.status.as_str(),
        mode: status.mode.as_str(),
        staleness_bound_ms: u64::try_from(status.staleness_bound.as_millis()).unwrap_or(u64::MAX),
        since: moment(status.since),
        reason: status.reason.map(Reason::as_str),
    }))
}

/// RFC 3339 in UTC.
pub(super) fn moment(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|at| at.to_string()).unwrap_or_default()
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
            let matching = app.cache.matching(pattern)?;
            let name = |id| app.cache.policy(id).map(|operation| operation.name.to_string());
            let names = matching.into_iter().map(name).collect::<Result<_, _>>()?;
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

/// Invalidates, and waits for it as long as a caller may.
async fn apply(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    scope: &'static str,
    what: Invalidation,
) -> Result<Response, ApiError> {
    let made = finish(app, carry_out(Arc::clone(app), Arc::clone(caller), scope, what));
    let waited = tokio::time::timeout(PATIENCE, made).await;
    let (done, reach) = waited
        .unwrap_or_else(|_elapsed| Err(ApiError::again(StatusCode::SERVICE_UNAVAILABLE, UNCONFIRMED)))?;
    let answer = Invalidated {
        status: "success",
        tenant_id: caller.tenant.to_string(),
        scope,
        operations: done.operations,
        reach,
        version: done.version,
    };
    let mut response = Json(answer).into_response();
    response.headers_mut().insert(NEXARCH_VERSION, HeaderValue::from(done.version));
    Ok(response)
}

/// Invalidates, writes it down and tells it, whether or not the caller waits for the answer, and however late it is
/// committed. What the database did not confirm may have been done, or be done yet; what it refused was not.
async fn carry_out(
    app: Arc<App>,
    by: Arc<Caller>,
    scope: &'static str,
    what: Invalidation,
) -> Result<(nexarch_cache::Invalidated, &'static str), ApiError> {
    // Then there is nothing to commit: the newest version is read.
    let nothing = matches!(&what, Invalidation::Operations(names) if names.is_empty());
    let doubt = || audit::unconfirmed(By::Key(&by.key_id), &by.tenant, scope);
    let mut work = pin!(app.cache.invalidate(&by.scope, what, Cause::Manual));
    let (done, late) = match tokio::time::timeout(PATIENCE, work.as_mut()).await {
        Ok(done) => (done, false),
        Err(_elapsed) => {
            doubt();
            app.cache.distrust();
            (work.await, true)
        }
    };
    let done = done.map_err(|error| {
        let mut error = ApiError::from(error);
        if !nothing && error.status.is_server_error() {
            if !late {
                doubt();
            }
            UNCONFIRMED.clone_into(&mut error.detail);
        }
        error
    })?;
    let reach = reach(&app, done.reach);
    let made = Mutation {
        by: By::Key(&by.key_id),
        tenant: &by.tenant,
        what: What::Invalidated { scope },
        operations: &done.operations,
        reach,
        version: done.version,
    };
    audit::record(&app.streams, &made);
    Ok((done, reach))
}

/// Where this is the only server of the database, nobody is left to be told.
pub(super) fn reach(app: &App, told: Reach) -> &'static str {
    if app.cache.staleness_bound().is_zero() { Reach::Cluster.as_str() } else { told.as_str() }
}
