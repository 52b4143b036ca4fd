//! From cells to the architecture graph of a window: what R4 left open is decided here, edges are added up, and
//! the number of nodes is bounded (R13).
//!
//! A cell names a peer or a host as its caller did. Whether that is a known service depends on the other traces of
//! the window: a service of the same environment whose name equals the peer, or the host, or that a pair showed at
//! that address, or whose name equals the host's first label. Such an edge is `inferred = address`.

mod caps;
mod carried;
mod find;
mod flows;
pub(crate) mod identity;
mod kind;
mod map;
mod resolve;

use rustc_hash::FxHashMap;
use serde::Serialize;

pub use carried::{Carried, MessageFlow};
pub(crate) use find::Finder;
pub use flows::MapFlow;
pub(crate) use identity::service_id;
pub use kind::NodeType;
pub(crate) use map::map_of;
pub use map::{
    ArchitectureMap, GraphStats, MapEdge, MapNode, NodeMetrics, Position, architecture_map, label,
};

use crate::{
    Text,
    rollup::{Cell, Key, NodeKey, Rollup, Via},
};

/// Why an edge is drawn without both halves of its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Inferred {
    /// From a parent and a child of two services (R2).
    Parent,
    /// From a name or an address that is a known service (R4).
    Address,
}

impl Inferred {
    /// How the edge is known.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::Parent => "inferred from a span and its parent",
            Self::Address => "inferred from a name or address",
        }
    }
}

/// A node with what is known of it.
#[derive(Debug, Clone)]
pub struct Node {
    /// `[namespace/]name[@environment]`, unique in the graph.
    pub id: String,
    /// Type.
    pub kind: NodeType,
    /// Name, without namespace and environment.
    pub name: String,
    /// `service.namespace`.
    pub namespace: Option<Text>,
    /// `deployment.environment.name`; of a node that sends no spans, its callers'.
    pub environment: Option<Text>,
    /// Requests: of a service as itself saw them, of anything else as its callers did.
    pub requests: Cell,
    /// Requests that entered the system here.
    pub entries: Cell,
    /// Stored spans.
    pub spans: u64,
    /// Begin of the newest cell with a span, minutes since the Unix epoch; services only.
    pub last_seen: Option<u32>,
    /// Its node in the rollup; `None` when made here.
    pub(crate) source: Option<u32>,
}

/// Calls from one node to another over one protocol.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Caller, index of [`Graph::nodes`].
    pub source: usize,
    /// Callee, index of [`Graph::nodes`].
    pub target: usize,
    /// What is spoken; empty when unknown.
    pub protocol: Text,
    /// `None` when some call was seen from both sides, or nothing else could be.
    pub inferred: Option<Inferred>,
    /// Calls as the callee saw them, with the caller's durations, where there is a caller's half.
    pub calls: Cell,
    /// The callee's durations of them.
    pub server: Cell,
    /// Requests as the caller saw them: a retry by a proxy is several calls and one of these.
    pub requests: Cell,
    /// What the calls carry.
    pub carried: Carried,
}

/// The architecture of a window: nodes by id, edges by source, target, protocol.
#[derive(Debug, Clone, Default)]
pub struct Graph {
    /// By id.
    pub nodes: Vec<Node>,
    /// By source id, target id and protocol.
    pub edges: Vec<Edge>,
    /// Whose messages reach whom, by source id, queue id and target id; as far as parents and links say.
    pub flows: Vec<MessageFlow>,
    /// Nodes that the caps folded into "other".
    pub folded_nodes: usize,
    /// Edges that lead to "other" because there are too many.
    pub folded_edges: usize,
}

/// Builds the graph of an environment, or of all together (`None`). An edge between two environments belongs to both.
pub fn build(rollup: &Rollup, environment: Option<&str>) -> Graph {
    let resolver = resolve::Resolver::new(rollup);
    let mut building = Building { rollup, nodes: Vec::new(), index: FxHashMap::default(), flows: Vec::new() };
    let wanted =
        |node: NodeKey| environment.is_none_or(|name| &**rollup.table.text_of(node.parts[0]) == name);
    let mut edges: FxHashMap<(usize, usize, u32), Draft> = FxHashMap::default();
    for (key, cell) in rollup.cells() {
        match key {
            Key::Spans(node) if wanted(rollup.table.node_of(node)) => {
                building.node(rollup.table.node_of(node));
            }
            Key::Call(via, from, to, protocol) | Key::Client(via, from, to, protocol) => {
                let (from, _) = resolver.resolve(rollup.table.node_of(from));
                let (to, by_address) = resolver.resolve(rollup.table.node_of(to));
                if from != to && (wanted(from) || wanted(to)) {
                    let ends = (building.node(from), building.node(to), protocol);
                    let is_call = matches!(key, Key::Call(..));
                    edges.entry(ends).or_default().absorb(is_call, via, by_address, cell);
                }
            }
            Key::Amount(amount, from, to, protocol) => {
                let [(from, _), (to, _)] =
                    [from, to].map(|node| resolver.resolve(rollup.table.node_of(node)));
                if from != to && (wanted(from) || wanted(to)) {
                    let ends = (building.node(from), building.node(to), protocol);
                    edges.entry(ends).or_default().carried.absorb(amount, cell);
                }
            }
            Key::Flow(from, queue, to) if cell.count > 0 => {
                let ends = [from, queue, to].map(|node| rollup.table.node_of(node));
                if ends.into_iter().any(wanted) {
                    let [source, queue, target] = ends.map(|node| building.node(node));
                    building.flows.push(MessageFlow { source, queue, target, messages: cell.clone() });
                }
            }
            _ => {}
        }
    }
    building.describe();
    building.finish(edges)
}

/// An edge while its cells are added up.
#[derive(Default)]
struct Draft {
    calls: Cell,
    server: Cell,
    requests: Cell,
    carried: Carried,
    /// Calls seen from both sides, or of something that sends no spans.
    direct: i64,
    by_parent: i64,
    by_address: i64,
}

impl Draft {
    fn absorb(&mut self, is_call: bool, via: Via, by_address: bool, cell: &Cell) {
        let counts = is_call || via == Via::Out;
        if counts {
            self.calls.merge_counts(cell);
            let sum = match via {
                _ if by_address => &mut self.by_address,
                Via::Below | Via::Parent => &mut self.by_parent,
                Via::Pair | Via::Out | Via::In => &mut self.direct,
            };
            *sum = sum.wrapping_add(cell.count);
        }
        // The edge shows the caller's duration where the caller's half exists.
        if is_call != via.has_client() {
            self.calls.merge_times(cell);
        }
        if is_call {
            self.server.merge(cell, 1);
        } else {
            self.requests.merge(cell, 1);
        }
    }

    fn inferred(&self) -> Option<Inferred> {
        if self.direct > 0 {
            None
        } else if self.by_parent >= self.by_address {
            Some(Inferred::Parent)
        } else {
            Some(Inferred::Address)
        }
    }
}

/// Nodes while they are collected.
struct Building<'a> {
    rollup: &'a Rollup,
    nodes: Vec<(NodeKey, Node)>,
    index: FxHashMap<NodeKey, usize>,
    flows: Vec<MessageFlow>,
}

impl Building<'_> {
    /// Fills in what the services of the graph say of themselves, those at the other end of an edge into the
    /// environment included.
    fn describe(&mut self) {
        for (key, cell) in self.rollup.cells() {
            let (Key::Spans(node) | Key::Request(node) | Key::Entry(node)) = key else { continue };
            let Some(&at) = self.index.get(&self.rollup.table.node_of(node)) else { continue };
            let described = &mut self.nodes[at].1;
            described.source = Some(node);
            match key {
                Key::Request(_) => described.requests = cell.clone(),
                Key::Entry(_) => described.entries = cell.clone(),
                _ => {
                    described.spans = u64::try_from(cell.count).unwrap_or(0);
                    described.last_seen = self.rollup.last_seen.get(&node).copied();
                }
            }
        }
    }

    fn node(&mut self, key: NodeKey) -> usize {
        *self.index.entry(key).or_insert_with(|| {
            self.nodes.push((key, identity::node(key, &self.rollup.table)));
            self.nodes.len() - 1
        })
    }

    fn finish(self, edges: FxHashMap<(usize, usize, u32), Draft>) -> Graph {
        let table = &self.rollup.table;
        let edges = edges
            .into_iter()
            .filter(|(_, draft)| draft.calls.weight > 0 || draft.calls.count > 0)
            .map(|((source, target, protocol), draft)| Edge {
                source,
                target,
                protocol: table.text_of(protocol).clone(),
                inferred: draft.inferred(),
                calls: draft.calls,
                server: draft.server,
                requests: draft.requests,
                carried: draft.carried,
            })
            .collect();
        let mut nodes: Vec<(NodeKey, Node)> = self.nodes;
        identity::make_unique(&mut nodes, table);
        let nodes = nodes.into_iter().map(|(_, node)| node).collect();
        let mut graph = Graph { nodes, edges, flows: self.flows, ..Graph::default() };
        graph.measure();
        caps::apply(&mut graph);
        graph.sort();
        graph
    }
}

impl Graph {
    /// Gives nodes that send no spans the figures of the edges that lead to them, or, where none does, from them.
    fn measure(&mut self) {
        let mut outgoing = vec![Cell::default(); self.nodes.len()];
        for edge in &self.edges {
            if self.nodes[edge.target].kind != NodeType::Service {
                self.nodes[edge.target].requests.merge(&edge.calls, 1);
            }
            if self.nodes[edge.source].kind != NodeType::Service {
                outgoing[edge.source].merge(&edge.calls, 1);
            }
        }
        for (node, outgoing) in self.nodes.iter_mut().zip(outgoing) {
            if node.requests.count == 0 && node.kind != NodeType::Service {
                node.requests = outgoing;
            }
        }
    }

    /// Drops nodes that nothing is known of, and puts everything in the order of ids.
    fn sort(&mut self) {
        let mut used = vec![false; self.nodes.len()];
        for edge in &self.edges {
            used[edge.source] = true;
            used[edge.target] = true;
        }
        for flow in &self.flows {
            for at in [flow.source, flow.queue, flow.target] {
                used[at] = true;
            }
        }
        let known = |at: usize, node: &Node| used[at] || node.spans > 0;
        let mut order: Vec<usize> = (0..self.nodes.len()).filter(|&at| known(at, &self.nodes[at])).collect();
        order.sort_by(|&a, &b| self.nodes[a].id.cmp(&self.nodes[b].id));
        let mut place = vec![usize::MAX; self.nodes.len()];
        for (rank, &at) in order.iter().enumerate() {
            place[at] = rank;
        }
        let mut nodes: Vec<(usize, Node)> = std::mem::take(&mut self.nodes).into_iter().enumerate().collect();
        nodes.retain(|(at, _)| place[*at] != usize::MAX);
        nodes.sort_by_key(|(at, _)| place[*at]);
        self.nodes = nodes.into_iter().map(|(_, node)| node).collect();
        for edge in &mut self.edges {
            (edge.source, edge.target) = (place[edge.source], place[edge.target]);
        }
        for flow in &mut self.flows {
            for at in [&mut flow.source, &mut flow.queue, &mut flow.target] {
                *at = place[*at];
            }
        }
        self.flows.sort_by_key(|flow| (flow.source, flow.queue, flow.target));
        self.edges.sort_by(|a, b| (a.source, a.target, &a.protocol).cmp(&(b.source, b.target, &b.protocol)));
    }
}

#[cfg(test)]
pub(crate) mod tests;
