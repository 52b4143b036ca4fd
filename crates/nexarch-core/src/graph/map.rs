//! The architecture map: the graph of a window with figures and positions.

use petgraph::{algo::toposort, graph::DiGraph};
use serde::Serialize;

use super::{Edge, Graph, Inferred, MapFlow, Node, NodeType, build, flows};
use crate::{
    analysis::{Bottleneck, CriticalPath, Sampled},
    layout,
    limits::MAX_MAP_FLOWS,
    rollup::Rollup,
    view::{Context, Health, milliseconds, ratio},
    window::WindowView,
};

/// Width to height that the map is laid out for.
const ASPECT: f64 = 16.0 / 9.0;

/// The answer of `architecture-map`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ArchitectureMap {
    /// By id.
    pub nodes: Vec<MapNode>,
    /// By source, target and protocol.
    pub edges: Vec<MapEdge>,
    /// Whose messages reach whom through which queue, where parents and links say; absent when nothing does. An edge from
    /// the one service to the other can be drawn from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub message_flows: Vec<MapFlow>,
    /// Figures of the graph as a whole.
    pub graph_stats: GraphStats,
    /// Nodes on the critical paths of sampled traces, by score; the first ten of `dashboard/bottlenecks`.
    pub bottlenecks: Vec<Bottleneck>,
    /// Entry operations with the steps on their critical paths, the one with the most total time first; the first ten.
    pub critical_paths: Vec<CriticalPath>,
    /// What the two rest on.
    pub sample: Sampled,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// A node of the map.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MapNode {
    /// `[namespace/]name[@environment]`, unique in the map.
    pub id: String,
    /// Plain name.
    pub name: String,
    /// `service.namespace`, `null` when absent.
    pub namespace: Option<String>,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// `deployment.environment.name`, `null` when absent.
    pub environment: Option<String>,
    /// How it does; of services only.
    pub health_status: Option<Health>,
    /// Its requests.
    pub metrics: NodeMetrics,
    /// Centre, in units of the layout (1/96 inch at full size).
    pub position: Position,
}

/// Requests of a node: of a service as itself saw them, of anything else as its callers did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeMetrics {
    /// By sampling weight.
    pub call_count: u64,
    /// Really observed.
    pub observed_count: u64,
    /// Mean; `null` when no duration is known, like the others.
    pub avg_latency_ms: Option<f64>,
    /// Median.
    pub p50_latency_ms: Option<f64>,
    /// 95 % are not slower.
    pub p95_latency_ms: Option<f64>,
    /// 99 % are not slower.
    pub p99_latency_ms: Option<f64>,
    /// Share of failures, 0…1; `null` without calls.
    pub error_rate: Option<f64>,
}

/// A place on the map: x to the right, y down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// To the right.
    pub x: i32,
    /// Down.
    pub y: i32,
}

/// Calls from one node to another over one protocol.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MapEdge {
    /// Id of the caller.
    pub source: String,
    /// Id of the callee.
    pub target: String,
    /// What is spoken; `null` when unknown.
    pub protocol: Option<String>,
    /// Calls as the callee saw them, by sampling weight.
    pub call_count: u64,
    /// Calls really observed.
    pub observed_count: u64,
    /// Requests as the caller saw them, where its spans show: a retry by a proxy is several calls of one request.
    pub request_count: Option<u64>,
    /// Mean of the caller's durations (the callee's, where the caller's half is missing).
    pub avg_latency_ms: Option<f64>,
    /// Median of them.
    pub p50_latency_ms: Option<f64>,
    /// 95 % of them are not longer.
    pub p95_latency_ms: Option<f64>,
    /// 99 % of them are not longer.
    pub p99_latency_ms: Option<f64>,
    /// Mean of the callee's durations.
    pub server_avg_latency_ms: Option<f64>,
    /// 95 % of the callee's durations are not longer.
    pub server_p95_latency_ms: Option<f64>,
    /// Network and queue: mean of the caller's durations minus mean of the callee's, never below 0.
    pub network_latency_ms: Option<f64>,
    /// Share of calls of which a half failed, 0…1.
    pub error_rate: Option<f64>,
    /// Messages that the calls carried, of edges to and from queues: one operation may carry many. Absent for others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_count: Option<u64>,
    /// Tokens that went into a model; absent when no call says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens that came out of a model; absent when no call says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// How the edge is known, when no call was seen from both sides.
    pub inferred: Option<Inferred>,
    /// Points that the edge runs through, so that it crosses no unrelated node; absent when it needs none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bends: Vec<Position>,
}

/// Figures of the graph as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GraphStats {
    /// Nodes on the map.
    pub total_nodes: usize,
    /// Edges on the map.
    pub total_edges: usize,
    /// Has no cycle of calls.
    pub is_dag: bool,
    /// Edge ends per node, 2·E/N; `null` without nodes.
    pub avg_degree: Option<f64>,
    /// Nodes that were folded into "other …" because there are too many of their type.
    pub folded_nodes: usize,
    /// Edges that lead to "other …" because there are too many.
    pub folded_edges: usize,
    /// Flows of messages that are not listed because there are too many; absent when all are.
    #[serde(skip_serializing_if = "is_zero")]
    pub folded_flows: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields by reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// The map of a window, of its cells alone: who has traces asks [`crate::analysis::Analysis::architecture_map`].
pub fn architecture_map(rollup: &Rollup, context: &Context<'_>) -> ArchitectureMap {
    map_of(&build(rollup, context.environment), context)
}

/// The map of a graph.
pub(crate) fn map_of(graph: &Graph, context: &Context<'_>) -> ArchitectureMap {
    let labels: Vec<&str> = graph.nodes.iter().map(|node| label(node.kind, &node.name)).collect();
    let pairs: Vec<(usize, usize)> = graph.edges.iter().map(|edge| (edge.source, edge.target)).collect();
    let arranged = layout::arrange(&labels, &pairs, ASPECT);
    let nodes =
        graph.nodes.iter().zip(arranged.centres).map(|(node, at)| map_node(node, at, context)).collect();
    let edges =
        graph.edges.iter().zip(arranged.bends).map(|(edge, bends)| map_edge(graph, edge, bends)).collect();
    ArchitectureMap {
        nodes,
        edges,
        message_flows: flows::flows(graph),
        graph_stats: stats(graph, pairs),
        bottlenecks: Vec::new(),
        critical_paths: Vec::new(),
        sample: Sampled::default(),
        last_updated: context.last_updated(),
        window: context.window(),
    }
}

/// What a box on the map says: the name; of a database or cache without its system, which the icon stands for.
pub fn label(kind: NodeType, name: &str) -> &str {
    match (kind, name.split_once(':')) {
        (NodeType::Database | NodeType::Cache, Some((_, place))) if !place.is_empty() => place,
        _ => name,
    }
}

fn stats(graph: &Graph, pairs: Vec<(usize, usize)>) -> GraphStats {
    let (nodes, edges) = (graph.nodes.len(), graph.edges.len());
    let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let calls = DiGraph::<(), ()>::from_edges(pairs.into_iter().map(|(a, b)| (index(a), index(b))));
    GraphStats {
        total_nodes: nodes,
        total_edges: edges,
        // Not `is_cyclic_directed`: that recurses, and a chain of services may be long.
        is_dag: toposort(&calls, None).is_ok(),
        avg_degree: ratio((nodes > 0).then(|| 2.0 * edges as f64 / nodes as f64)),
        folded_nodes: graph.folded_nodes,
        folded_edges: graph.folded_edges,
        folded_flows: graph.flows.len().saturating_sub(MAX_MAP_FLOWS),
    }
}

/// A sum in 1/256 as a whole number.
fn whole(sum: i128) -> u64 {
    u64::try_from(sum.saturating_add(128) >> 8).unwrap_or(0)
}

fn map_node(node: &Node, position: Position, context: &Context<'_>) -> MapNode {
    let cell = &node.requests;
    let service = node.kind == NodeType::Service;
    MapNode {
        id: node.id.clone(),
        name: node.name.clone(),
        namespace: node.namespace.as_ref().map(ToString::to_string),
        kind: node.kind,
        environment: node.environment.as_ref().map(ToString::to_string),
        health_status: service.then(|| context.health(&node.id, cell)),
        metrics: NodeMetrics {
            call_count: cell.calls(),
            observed_count: u64::try_from(cell.count).unwrap_or(0),
            avg_latency_ms: milliseconds(cell.mean_us()),
            p50_latency_ms: milliseconds(cell.quantile_us(500)),
            p95_latency_ms: milliseconds(cell.quantile_us(950)),
            p99_latency_ms: milliseconds(cell.quantile_us(990)),
            error_rate: ratio(cell.error_rate()),
        },
        position,
    }
}

fn map_edge(graph: &Graph, edge: &Edge, bends: Vec<Position>) -> MapEdge {
    let cell = &edge.calls;
    let network = match (edge.requests.mean_us(), edge.server.mean_us()) {
        (Some(client), Some(server)) => Some((client - server).max(0.0)),
        _ => None,
    };
    let by_queue = [edge.source, edge.target].iter().any(|&at| graph.nodes[at].kind == NodeType::Queue);
    let messages = whole(i128::from(cell.weight).saturating_add(edge.carried.more_messages));
    MapEdge {
        source: graph.nodes[edge.source].id.clone(),
        target: graph.nodes[edge.target].id.clone(),
        protocol: (!edge.protocol.is_empty()).then(|| edge.protocol.to_string()),
        call_count: cell.calls(),
        observed_count: u64::try_from(cell.count).unwrap_or(0),
        request_count: (edge.requests.count > 0).then(|| edge.requests.calls()),
        avg_latency_ms: milliseconds(cell.mean_us()),
        p50_latency_ms: milliseconds(cell.quantile_us(500)),
        p95_latency_ms: milliseconds(cell.quantile_us(950)),
        p99_latency_ms: milliseconds(cell.quantile_us(990)),
        server_avg_latency_ms: milliseconds(edge.server.mean_us()),
        server_p95_latency_ms: milliseconds(edge.server.quantile_us(950)),
        network_latency_ms: milliseconds(network),
        error_rate: ratio(cell.error_rate()),
        message_count: by_queue.then_some(messages),
        input_tokens: edge.carried.input_tokens.map(whole),
        output_tokens: edge.carried.output_tokens.map(whole),
        inferred: edge.inferred,
        bends,
    }
}
