//! Every route that answers to GET, and what it is asked with: a new one has to be entered here, or tests fail.

/// A cached route: as the API document has it, one request of it, and its operation.
pub(crate) struct Cached {
    pub(crate) route: &'static str,
    pub(crate) path: &'static str,
    pub(crate) operation: &'static str,
}

const fn cached(route: &'static str, path: &'static str, operation: &'static str) -> Cached {
    Cached { route, path, operation }
}

/// Those that are answered from the cache.
pub(crate) const CACHED: &[Cached] = &[
    cached("/api/v1/architecture/current", "/api/v1/architecture/current", "architecture_map"),
    cached("/api/v1/architecture/diff", "/api/v1/architecture/diff?base=1h&head=1h", "graph_analysis"),
    cached("/api/v1/architecture/export", "/api/v1/architecture/export?format=html", "architecture_map"),
    cached("/api/v1/architecture/issues", "/api/v1/architecture/issues", "graph_analysis"),
    cached("/api/v1/dashboard/architecture-map", "/api/v1/dashboard/architecture-map", "architecture_map"),
    cached("/api/v1/dashboard/bottlenecks", "/api/v1/dashboard/bottlenecks", "graph_analysis"),
    cached("/api/v1/dashboard/dependencies", "/api/v1/dashboard/dependencies", "graph_analysis"),
    cached("/api/v1/dashboard/health", "/api/v1/dashboard/health", "graph_analysis"),
    cached("/api/v1/dashboard/overview", "/api/v1/dashboard/overview", "dashboard_overview"),
    cached("/api/v1/dashboard/services", "/api/v1/dashboard/services", "services"),
    cached("/api/v1/dashboard/services/{name}", "/api/v1/dashboard/services/shop", "service_detail"),
    cached(
        "/api/v1/dashboard/services/{name}/metrics",
        "/api/v1/dashboard/services/shop/metrics",
        "service_detail",
    ),
    cached("/api/v1/dashboard/trends", "/api/v1/dashboard/trends", "metrics"),
];

/// Those that are not.
pub(crate) const UNCACHED: &[&str] = &[
    "/api/v1/admin/cache/stats",
    "/api/v1/admin/tenants",
    "/api/v1/admin/tenants/{id}",
    "/api/v1/admin/tenants/{id}/keys",
    "/api/v1/admin/tenants/{id}/keys/{key_id}",
    "/api/v1/cache/health",
    "/api/v1/cache/stats",
    "/api/v1/health",
    "/api/v1/health/ready",
    "/api/v1/ingest/diagnostics",
    "/api/v1/ingest/stats",
    "/api/v1/openapi.json",
    "/api/v1/stream",
    "/api/v1/traces",
    "/api/v1/traces/{trace_id}",
    "/api/v1/traces/{trace_id}/waterfall",
];

/// Two routes with one value: the second is a hit by the first.
pub(crate) const SAME: [&str; 2] = ["/api/v1/architecture/current", "/api/v1/dashboard/architecture-map"];
