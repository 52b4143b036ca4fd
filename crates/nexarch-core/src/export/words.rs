//! What the exports say in words. Not escaped: each format does that in its own way.

use std::{cmp::Reverse, fmt::Write};

use super::{
    mood::Mood,
    text::{NAME_CHARACTERS, count, cut_to, latency, percent, plain},
};
use crate::{
    graph::{ArchitectureMap, MapEdge, MapNode, NodeType},
    view::Health,
    window::WindowView,
};

/// A name or an id on one line, where there is room for it.
pub(super) fn name(text: &str) -> String {
    short(text, NAME_CHARACTERS)
}

/// A name or an id on one line, cut in its middle to a width in characters.
pub(super) fn short(text: &str, width: usize) -> String {
    plain(&cut_to(text, width))
}

/// `12 services · 3 databases · 20 connections`.
pub(super) fn summary(map: &ArchitectureMap) -> String {
    let of = |kind: NodeType| map.nodes.iter().filter(|node| node.kind == kind).count();
    let some = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let parts = [
        some(of(NodeType::Service), "service", "services"),
        some(of(NodeType::Database), "database", "databases"),
        some(of(NodeType::Cache), "cache", "caches"),
        some(of(NodeType::Queue), "queue", "queues"),
        some(of(NodeType::Model), "model", "models"),
        some(of(NodeType::External), "external", "externals"),
        some(map.edges.len(), "connection", "connections"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// `FROM – TO`; `None` for a window without data.
pub(super) fn window(window: &WindowView) -> Option<String> {
    let (from, to) = window.from.as_ref().zip(window.to.as_ref())?;
    Some(format!("{from} – {to}"))
}

/// All that is known of an edge, line by line.
pub(super) fn edge(edge: &MapEdge) -> String {
    let mut text =
        format!("{} → {}\n{} calls", name(&edge.source), name(&edge.target), count(edge.call_count));
    if let Some(protocol) = &edge.protocol {
        let _ = write!(text, " over {}", name(protocol));
    }
    let _ = write!(
        text,
        "\np50 {}, p95 {}, errors {}",
        latency(edge.p50_latency_ms),
        latency(edge.p95_latency_ms),
        percent(edge.error_rate)
    );
    if let Some(how) = edge.inferred {
        let _ = write!(text, "\n{}", how.in_words());
    }
    text
}

/// All that is known of a node, line by line.
pub(super) fn node(node: &MapNode) -> String {
    let metrics = &node.metrics;
    format!(
        "{} ({})\n{} requests\np50 {}, p95 {}, p99 {}, errors {}",
        name(&node.id),
        node.kind.as_str(),
        count(metrics.call_count),
        latency(metrics.p50_latency_ms),
        latency(metrics.p95_latency_ms),
        latency(metrics.p99_latency_ms),
        percent(metrics.error_rate)
    )
}

/// How a service does.
pub(super) fn health(health: Health) -> &'static str {
    match health {
        Health::Unknown => "unknown",
        Health::Healthy => "healthy",
        Health::Warning => "warning",
        Health::Critical => "critical",
    }
}

/// Nodes, failing ones first, then the busiest.
pub(super) fn worst_nodes(map: &ArchitectureMap) -> Vec<&MapNode> {
    let mut nodes: Vec<&MapNode> = map.nodes.iter().collect();
    // Stable: of equal ones the first in the order of the map, which is by id.
    nodes.sort_by_key(|node| Reverse((Mood::of_node(node), node.metrics.call_count)));
    nodes
}

/// Edges, failing ones first, then the busiest.
pub(super) fn worst_edges(map: &ArchitectureMap) -> Vec<&MapEdge> {
    let mut edges: Vec<&MapEdge> = map.edges.iter().collect();
    edges.sort_by_key(|edge| Reverse((Mood::of(edge.error_rate), edge.call_count)));
    edges
}
