//! The caches of all tenants of this node, and the Redis behind them.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
};
use nexarch_cache::{MemoryStats, OperationStats, RemoteCounts, Scope, Totals};
use serde::Serialize;

use super::{
    super::{cache::moment, error::ApiError},
    Page, admit,
    doc::{Errors, PageParams},
};
use crate::{app::App, redis_info::RedisFigures};

/// Tenants whose figures are added up before other requests have their turn.
const AT_ONCE: usize = 50;

/// What the cache of this node did, for each tenant that it met since its start.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct NodeStats {
    /// The answering node.
    node: String,
    /// `memory`, `redis` or `disabled`.
    backend: &'static str,
    /// `memory`, `connected`, `degraded` or `disabled`.
    status: &'static str,
    /// Since when.
    since: String,
    /// Its memory tier.
    memory: NodeMemory,
    /// Its traffic with Redis; `null` without one.
    remote: Option<RemoteCounts>,
    /// The Redis server's own figures.
    server: RedisFigures,
    /// Tenants that this node knows, of which this is a page.
    tenant_count: usize,
    /// By id.
    tenants: Vec<TenantStats>,
    /// For the next page; `null`: this is the last one.
    next_cursor: Option<String>,
}

/// The memory tier of a node.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct NodeMemory {
    /// Bytes of all tenants.
    bytes: u64,
    /// Most of them.
    max_bytes: u64,
    /// Most of it for one tenant while others want room.
    tenant_max_percent: u8,
}

/// One tenant, as in `/api/v1/cache/stats`.
#[derive(Serialize, utoipa::ToSchema)]
struct TenantStats {
    tenant_id: String,
    totals: Totals,
    operations: BTreeMap<String, OperationStats>,
    memory: MemoryStats,
    /// Bytes of its values in Redis, as far as this node can tell.
    redis_bytes: u64,
}

/// Statistics of all tenants of this node, page by page, with the Redis server's own figures.
#[utoipa::path(get, path = "/api/v1/admin/cache/stats", operation_id = "node_cache_stats", tag = "admin", security(("admin" = [])), params(PageParams), responses((status = 200, body = NodeStats), Errors))]
pub(in crate::http) async fn stats(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<NodeStats>, ApiError> {
    admit(&app, &headers)?;
    let page = Page::parse(&uri)?;
    let after = page.tenant()?;
    let mut scopes = app.cache.scopes();
    let tenant_count = scopes.len();
    scopes.retain(|scope| after.as_ref().is_none_or(|after| scope.as_str() > after.as_str()));
    scopes.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    let next_cursor = page.cut(&mut scopes, |scope| scope.as_str().to_owned());
    let server = app.redis.get().await;
    let mut tenants = Vec::with_capacity(scopes.len());
    for scopes in scopes.chunks(AT_ONCE) {
        tenants.extend(scopes.iter().map(|scope| of_tenant(&app, scope)));
        tokio::task::yield_now().await;
    }
    let now = app.cache.status();
    Ok(Json(NodeStats {
        node: app.node.clone(),
        backend: now.backend.as_str(),
        status: now.status.as_str(),
        since: moment(now.since),
        memory: NodeMemory {
            bytes: app.cache.memory_bytes(),
            max_bytes: app.shares.memory_bytes,
            tenant_max_percent: app.shares.memory_percent,
        },
        remote: app.cache.remote_counts(),
        server,
        tenant_count,
        tenants,
        next_cursor,
    }))
}

fn of_tenant(app: &App, scope: &Scope) -> TenantStats {
    let stats = app.cache.stats(scope);
    TenantStats {
        tenant_id: scope.as_str().to_owned(),
        totals: stats.totals,
        operations: stats.operations,
        memory: stats.memory,
        redis_bytes: app.cache.remote_bytes(scope),
    }
}
