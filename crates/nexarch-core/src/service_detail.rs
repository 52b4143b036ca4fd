//! One service by name: its figures, operations, callers and callees.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    Text,
    graph::{Edge, Graph, Inferred, NodeType, build},
    rollup::{Cell, Key, Rollup},
    services::is_shown,
    view::{Context, Figures, Health, milliseconds, ratio},
    window::{WindowView, rfc3339},
};

/// Most operations listed, by total time; the rest is added up as [`ServiceDetail::other_operations`].
const OPERATIONS: usize = 200;
/// Most callers, and most callees, listed, by calls.
const NEIGHBOURS: usize = 200;

/// The answer of `services/{name}`: all services of the name, of all environments and namespaces, together.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceDetail {
    /// Plain name.
    pub name: String,
    /// Always `service`.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// The services of this name, by id.
    pub identities: Vec<Identity>,
    /// Their environments, without the absent one.
    pub environments: Vec<String>,
    /// Their namespaces, without the absent one.
    pub namespaces: Vec<String>,
    /// Requests of all of them.
    pub metrics: Figures,
    /// Requests that entered the system here.
    pub entry_metrics: Figures,
    /// Stored spans.
    pub span_count: u64,
    /// How they do together.
    pub health_status: Health,
    /// Operations, the one with the most total time first.
    pub operations: Vec<Operation>,
    /// Number of operations, those not listed included.
    pub total_operations: usize,
    /// Requests of the operations not listed; `null` when all are.
    pub other_operations: Option<Figures>,
    /// What calls it, most calls first.
    pub callers: Vec<Neighbour>,
    /// What it calls, most calls first.
    pub callees: Vec<Neighbour>,
    /// Callers and callees that are not listed.
    pub more_neighbours: usize,
    /// See [`crate::services::Service::last_seen`].
    pub last_seen: Option<String>,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// One of the services of a name.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Identity {
    /// `[namespace/]name[@environment]`.
    pub id: String,
    /// `service.namespace`, `null` when absent.
    pub namespace: Option<String>,
    /// `deployment.environment.name`, `null` when absent.
    pub environment: Option<String>,
    /// Its requests, by sampling weight.
    pub request_count: u64,
    /// How it does.
    pub health_status: Health,
    /// See [`crate::services::Service::last_seen`].
    pub last_seen: Option<String>,
}

/// Requests of one operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Name of its spans.
    pub name: String,
    /// Sum of the durations of its requests.
    pub total_time_ms: f64,
    /// Its part of the total time of all operations, 0…1; `null` when no duration is known.
    pub time_share: Option<f64>,
    /// The rest.
    #[serde(flatten)]
    pub metrics: Figures,
}

/// A caller or callee, over one protocol.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Neighbour {
    /// Its id on the map.
    pub id: String,
    /// Plain name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// What is spoken; `null` when unknown.
    pub protocol: Option<String>,
    /// Calls, by sampling weight.
    pub call_count: u64,
    /// Mean; `null` when no duration is known.
    pub avg_latency_ms: Option<f64>,
    /// 95 % are not slower.
    pub p95_latency_ms: Option<f64>,
    /// Share of failures, 0…1.
    pub error_rate: Option<f64>,
    /// How the edge is known, when no call was seen from both sides.
    pub inferred: Option<Inferred>,
}

/// The services of a name in a window; `None` when none sent a span in it.
pub fn service_detail(rollup: &Rollup, context: &Context<'_>, name: &str) -> Option<ServiceDetail> {
    service_detail_of(rollup, &build(rollup, context.environment), context, name)
}

/// As [`service_detail`], with the graph of `rollup` that was built before.
pub fn service_detail_of(
    rollup: &Rollup,
    graph: &Graph,
    context: &Context<'_>,
    name: &str,
) -> Option<ServiceDetail> {
    let own: Vec<usize> = (0..graph.nodes.len())
        .filter(|&at| is_shown(graph, at, context) && graph.nodes[at].name == name)
        .collect();
    if own.is_empty() {
        return None;
    }
    let (mut requests, mut entries) = (Cell::default(), Cell::default());
    for &at in &own {
        requests.merge(&graph.nodes[at].requests, 1);
        entries.merge(&graph.nodes[at].entries, 1);
    }
    let seconds = context.range.seconds();
    let operations = Operations::of(rollup, graph, &own);
    let around = Around::of(graph, &own);
    let nodes = || own.iter().map(|&at| &graph.nodes[at]);
    let distinct = |texts: Vec<&Text>| -> Vec<String> {
        texts
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .map(ToString::to_string)
            .collect()
    };
    Some(ServiceDetail {
        name: name.into(),
        kind: NodeType::Service,
        identities: own.iter().map(|&at| identity(graph, at, context)).collect(),
        environments: distinct(nodes().filter_map(|node| node.environment.as_ref()).collect()),
        namespaces: distinct(nodes().filter_map(|node| node.namespace.as_ref()).collect()),
        metrics: Figures::of(&requests, seconds),
        entry_metrics: Figures::of(&entries, seconds),
        span_count: nodes().fold(0, |sum, node| sum.saturating_add(node.spans)),
        // Its identities together, and each that an incident is about.
        health_status: nodes()
            .map(|node| context.health(&node.id, &requests))
            .max()
            .unwrap_or(Health::Unknown),
        total_operations: operations.total,
        other_operations: operations.rest.as_ref().map(|rest| Figures::of(rest, seconds)),
        operations: operations.shown(seconds),
        more_neighbours: around.more,
        callers: around.callers,
        callees: around.callees,
        last_seen: nodes().filter_map(|node| node.last_seen).max().map(rfc3339),
        last_updated: context.last_updated(),
        window: context.window(),
    })
}

fn identity(graph: &Graph, at: usize, context: &Context<'_>) -> Identity {
    let node = &graph.nodes[at];
    Identity {
        id: node.id.clone(),
        namespace: node.namespace.as_ref().map(ToString::to_string),
        environment: node.environment.as_ref().map(ToString::to_string),
        request_count: node.requests.calls(),
        health_status: context.health(&node.id, &node.requests),
        last_seen: node.last_seen.map(rfc3339),
    }
}

/// Operations by total time, the longest first.
struct Operations {
    listed: Vec<(Text, Cell)>,
    total: usize,
    rest: Option<Cell>,
    time: i128,
}

impl Operations {
    fn of(rollup: &Rollup, graph: &Graph, own: &[usize]) -> Self {
        let sources: Vec<u32> = own.iter().filter_map(|&at| graph.nodes[at].source).collect();
        let mut by_name: BTreeMap<&Text, Cell> = BTreeMap::new();
        for (key, cell) in rollup.cells() {
            if let Key::Operation(node, operation) = key
                && sources.contains(&node)
            {
                by_name.entry(rollup.table.text_of(operation)).or_default().merge(cell, 1);
            }
        }
        let mut listed: Vec<(Text, Cell)> = by_name
            .into_iter()
            .filter(|(_, cell)| cell.count > 0)
            .map(|(name, cell)| (name.clone(), cell))
            .collect();
        let time = listed.iter().fold(0i128, |sum, (_, cell)| sum.saturating_add(cell.time));
        // Stable: of equal times the first by name.
        listed.sort_by_key(|(_, cell)| std::cmp::Reverse((cell.time, cell.weight)));
        let total = listed.len();
        let rest = listed.split_off(total.min(OPERATIONS));
        let rest = rest.into_iter().map(|(_, cell)| cell).reduce(|mut sum, cell| {
            sum.merge(&cell, 1);
            sum
        });
        Self { listed, total, rest, time }
    }

    fn shown(self, seconds: u64) -> Vec<Operation> {
        let all = self.time as f64;
        let shown = |(name, cell): (Text, Cell)| Operation {
            name: name.to_string(),
            // 1/256 µs in one millisecond.
            total_time_ms: milliseconds(Some(cell.time as f64 / 256.0)).unwrap_or(0.0),
            time_share: ratio((all > 0.0).then(|| cell.time as f64 / all)),
            metrics: Figures::of(&cell, seconds),
        };
        self.listed.into_iter().map(shown).collect()
    }
}

/// Callers and callees outside the name itself, most calls first, the first [`NEIGHBOURS`] of each.
#[derive(Default)]
struct Around {
    callers: Vec<Neighbour>,
    callees: Vec<Neighbour>,
    more: usize,
}

impl Around {
    fn of(graph: &Graph, own: &[usize]) -> Self {
        let mut around = Self::default();
        for edge in &graph.edges {
            match (own.contains(&edge.source), own.contains(&edge.target)) {
                (false, true) => around.callers.push(neighbour(graph, edge.source, edge)),
                (true, false) => around.callees.push(neighbour(graph, edge.target, edge)),
                _ => {}
            }
        }
        for list in [&mut around.callers, &mut around.callees] {
            // Stable: of equal counts the first by id, because edges are in that order.
            list.sort_by_key(|neighbour| std::cmp::Reverse(neighbour.call_count));
            around.more += list.len().saturating_sub(NEIGHBOURS);
            list.truncate(NEIGHBOURS);
        }
        around
    }
}

fn neighbour(graph: &Graph, at: usize, edge: &Edge) -> Neighbour {
    let node = &graph.nodes[at];
    Neighbour {
        id: node.id.clone(),
        name: node.name.clone(),
        kind: node.kind,
        protocol: (!edge.protocol.is_empty()).then(|| edge.protocol.to_string()),
        call_count: edge.calls.calls(),
        avg_latency_ms: milliseconds(edge.calls.mean_us()),
        p95_latency_ms: milliseconds(edge.calls.quantile_us(950)),
        error_rate: ratio(edge.calls.error_rate()),
        inferred: edge.inferred,
    }
}

#[cfg(test)]
mod tests;
