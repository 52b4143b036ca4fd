//! The list of services.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    analysis::derived::apdex,
    graph::{Graph, Node, NodeType, build},
    rollup::Rollup,
    view::{Context, Figures, Health},
    window::rfc3339,
};

/// One service; the answer of `services` is a list of them, by id.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Service {
    /// Plain name.
    pub name: String,
    /// `[namespace/]name[@environment]`.
    pub id: String,
    /// `service.namespace`, `null` when absent.
    pub namespace: Option<String>,
    /// `deployment.environment.name`, `null` when absent.
    pub environment: Option<String>,
    /// Always `service`.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// Requests, by sampling weight.
    pub request_count: u64,
    /// Requests really observed.
    pub observed_count: u64,
    /// Stored spans.
    pub span_count: u64,
    /// Requests per second of the window; `null` for an empty one.
    pub requests_per_second: Option<f64>,
    /// Mean; `null` when no duration is known, like the others.
    pub avg_latency_ms: Option<f64>,
    /// Median.
    pub p50_latency_ms: Option<f64>,
    /// 95 % are not slower.
    pub p95_latency_ms: Option<f64>,
    /// 99 % are not slower.
    pub p99_latency_ms: Option<f64>,
    /// Share of failures, 0…1; `null` without requests.
    pub error_rate: Option<f64>,
    /// Apdex of its requests, 0…1: `(satisfied + tolerating/2)/total` with the latency objective and four times of it; `null`
    /// when no duration is known.
    pub apdex: Option<f64>,
    /// Ids of what it calls.
    pub dependencies: Vec<String>,
    /// Ids of what calls it.
    pub dependents: Vec<String>,
    /// How it does.
    pub health_status: Health,
    /// Begin of the newest cell of time with a span of it, RFC 3339: exact to the minute, to 5 minutes after two
    /// hours, to the hour after two days.
    pub last_seen: Option<String>,
}

/// The services of a window that sent a span, by id.
pub fn services(rollup: &Rollup, context: &Context<'_>) -> Vec<Service> {
    services_of(&build(rollup, context.environment), context)
}

/// As [`services`], of a graph that was built before.
pub fn services_of(graph: &Graph, context: &Context<'_>) -> Vec<Service> {
    let mut called = vec![BTreeSet::new(); graph.nodes.len()];
    let mut calling = called.clone();
    for edge in &graph.edges {
        called[edge.source].insert(edge.target);
        calling[edge.target].insert(edge.source);
    }
    let ids =
        |neighbours: &BTreeSet<usize>| neighbours.iter().map(|&at| graph.nodes[at].id.clone()).collect();
    (0..graph.nodes.len())
        .filter(|&at| is_shown(graph, at, context))
        .map(|at| service(&graph.nodes[at], ids(&called[at]), ids(&calling[at]), context))
        .collect()
}

/// A service of the environment; one of another environment may be in the graph at the end of an edge.
pub(crate) fn is_shown(graph: &Graph, at: usize, context: &Context<'_>) -> bool {
    let node = &graph.nodes[at];
    node.kind == NodeType::Service && context.includes(node.environment.as_deref().unwrap_or_default())
}

fn service(
    node: &Node,
    dependencies: Vec<String>,
    dependents: Vec<String>,
    context: &Context<'_>,
) -> Service {
    let figures = Figures::of(&node.requests, context.range.seconds());
    Service {
        name: node.name.clone(),
        id: node.id.clone(),
        namespace: node.namespace.as_ref().map(ToString::to_string),
        environment: node.environment.as_ref().map(ToString::to_string),
        kind: node.kind,
        request_count: figures.request_count,
        observed_count: figures.observed_count,
        span_count: node.spans,
        requests_per_second: figures.requests_per_second,
        avg_latency_ms: figures.avg_latency_ms,
        p50_latency_ms: figures.p50_latency_ms,
        p95_latency_ms: figures.p95_latency_ms,
        p99_latency_ms: figures.p99_latency_ms,
        error_rate: figures.error_rate,
        apdex: apdex(&node.requests, context.latency_objective_ms),
        dependencies,
        dependents,
        health_status: context.health(&node.id, &node.requests),
        last_seen: node.last_seen.map(rfc3339),
    }
}

#[cfg(test)]
mod tests;
