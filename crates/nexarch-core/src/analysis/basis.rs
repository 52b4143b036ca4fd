//! What analyses of one environment and window have in common, whatever their objectives.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{
    structure::{self, Components, Cuts, Cycle, Dominators, Net, Reach},
    traces::{Observer, Totals},
};
use crate::{
    facts::Facts,
    graph::{Graph, NodeType},
    rollup::{Cell, Key, Rollup, Table},
};

/// The graph of an environment, what whole traces showed, and what follows from both. It depends on no objective, so one
/// serves several analyses ([`super::Analysis::on`]).
pub struct Basis {
    pub(super) graph: Arc<Graph>,
    /// Calls between the nodes of the graph, without whoever calls from outside.
    pub(super) net: Net,
    pub(super) components: Components,
    pub(super) cycles: Vec<Cycle>,
    pub(super) reach: Reach,
    pub(super) cuts: Cuts,
    pub(super) dominators: Dominators,
    /// Requests enter the system at this node.
    pub(super) is_entry: Vec<bool>,
    /// Number of operations, by node.
    pub(super) operations: Vec<usize>,
    /// Share of the time of entry requests that a node spent on critical paths; `None` without traces.
    pub(super) path_share: Option<Vec<f64>>,
    pub(super) totals: Totals,
    /// Names in `totals`.
    pub(super) table: Table,
    /// Entry requests of the window.
    pub(super) entries: Cell,
}

impl Basis {
    /// Of the cells of a window, their graph of an environment ([`crate::graph::build`]), and traces of the window (each
    /// given by all its spans), in any order.
    pub fn of<'t>(
        rollup: &Rollup,
        graph: Arc<Graph>,
        traces: impl IntoIterator<Item = &'t [Facts]>,
        environment: Option<&str>,
    ) -> Self {
        let mut observer = Observer::new(rollup, &graph);
        // What has a bound keeps what comes first.
        let mut traces: Vec<&[Facts]> = traces.into_iter().collect();
        traces.sort_by_key(|trace| trace.first().map(|span| span.trace_id));
        for trace in traces {
            observer.trace(trace);
        }
        let (totals, table) = observer.finish();
        let net = calls_between(&graph);
        let components = Components::of(&net);
        let is_entry = entries_of(&graph, &net);
        let from: Vec<usize> = (0..net.len()).filter(|&at| is_entry[at]).collect();
        Self {
            cycles: cycles_of(&graph, &net, &components),
            reach: Reach::of(&net, &components),
            cuts: Cuts::of(&net),
            dominators: Dominators::of(&net, &from),
            operations: operations_of(rollup, &graph),
            path_share: path_share(&totals, graph.nodes.len()),
            entries: entry_requests(rollup, environment),
            graph,
            net,
            components,
            is_entry,
            totals,
            table,
        }
    }

    /// Number of nodes of the graph.
    pub fn nodes(&self) -> usize {
        self.graph.nodes.len()
    }

    /// Number of spans of the traces.
    pub fn spans(&self) -> usize {
        usize::try_from(self.totals.spans).unwrap_or(usize::MAX)
    }
}

/// Calls by pair, without whoever calls from outside.
fn calls_between(graph: &Graph) -> Net {
    let inner = |at: usize| graph.nodes[at].kind != NodeType::User;
    let edges = graph.edges.iter().filter(|edge| inner(edge.source) && inner(edge.target));
    Net::new(graph.nodes.len(), edges.map(|edge| (edge.source, edge.target, edge.calls.calls().max(1))))
}

/// Where requests enter: what nothing calls, and what at least a tenth of whose requests came from outside. Fewer are
/// requests whose caller is late or lost, and would hide every dominator below.
fn entries_of(graph: &Graph, net: &Net) -> Vec<bool> {
    let entered = |at: usize| {
        let node = &graph.nodes[at];
        node.entries.weight > 0 && node.entries.weight.saturating_mul(10) >= node.requests.weight
    };
    (0..graph.nodes.len())
        .map(|at| graph.nodes[at].kind != NodeType::User && (net.callers(at).is_empty() || entered(at)))
        .collect()
}

/// Cycles of at least two services. One that works off its own queue is no more a cycle than one that calls itself.
fn cycles_of(graph: &Graph, net: &Net, components: &Components) -> Vec<Cycle> {
    let is_service = |at: &&usize| graph.nodes[**at].kind == NodeType::Service;
    let mut cycles = structure::cycles(net, components);
    cycles.retain(|cycle| cycle.members.iter().filter(is_service).count() >= 2);
    cycles
}

fn operations_of(rollup: &Rollup, graph: &Graph) -> Vec<usize> {
    let sources: FxHashMap<u32, usize> =
        graph.nodes.iter().enumerate().filter_map(|(at, node)| Some((node.source?, at))).collect();
    let mut operations = vec![0; graph.nodes.len()];
    for (key, cell) in rollup.cells() {
        if let Key::Operation(node, _) = key
            && cell.count > 0
            && let Some(&at) = sources.get(&node)
        {
            operations[at] += 1;
        }
    }
    operations
}

fn path_share(totals: &Totals, nodes: usize) -> Option<Vec<f64>> {
    if totals.root_ns == 0 {
        return None;
    }
    let mut sums = vec![0u128; nodes];
    for (&(node, _), on_path) in &totals.path {
        sums[node] += on_path.weighted_ns;
    }
    Some(sums.into_iter().map(|sum| sum as f64 / totals.root_ns as f64).collect())
}

fn entry_requests(rollup: &Rollup, environment: Option<&str>) -> Cell {
    let mut entries = Cell::default();
    for (key, cell) in rollup.cells() {
        if let Key::Entry(node) = key
            && environment.is_none_or(|wanted| &**rollup.table.describe(node).1[0] == wanted)
        {
            entries.merge(cell, 1);
        }
    }
    entries
}
