//! R13: a map has a bounded number of nodes. The busiest stay, the rest becomes "other", visibly.

use std::collections::{BTreeMap, BTreeSet, HashSet, btree_map::Entry};

use super::{Edge, Graph, MessageFlow, Node, NodeType, identity::id};
use crate::{
    Text,
    limits::MAX_MAP_EDGES,
    rollup::{Cell, OTHER},
};

/// Most nodes of a type (all environments). Externals are the ones that grow without end.
fn cap(kind: NodeType) -> usize {
    match kind {
        NodeType::Service => 2_000,
        NodeType::External => 100,
        NodeType::Database | NodeType::Cache | NodeType::Queue | NodeType::Model | NodeType::User => 500,
    }
}

/// Folds what is over the caps, per type and environment; calls among the folded vanish from the edges.
pub(super) fn apply(graph: &mut Graph) {
    let mut by_type: BTreeMap<NodeType, Vec<usize>> = BTreeMap::new();
    for (at, node) in graph.nodes.iter().enumerate() {
        by_type.entry(node.kind).or_default().push(at);
    }
    let mut place: Vec<usize> = (0..graph.nodes.len()).collect();
    let mut others: BTreeMap<(NodeType, Option<Text>), usize> = BTreeMap::new();
    for (kind, mut members) in by_type {
        if members.len() <= cap(kind) {
            continue;
        }
        let rank = |at: usize| (std::cmp::Reverse(graph.nodes[at].requests.calls()), &graph.nodes[at].id);
        members.sort_by(|&a, &b| rank(a).cmp(&rank(b)));
        for at in members.split_off(cap(kind)) {
            let environment = graph.nodes[at].environment.clone();
            let other = *others.entry((kind, environment.clone())).or_insert_with(|| {
                graph.nodes.push(other(kind, environment));
                graph.nodes.len() - 1
            });
            place[at] = other;
            graph.folded_nodes += 1;
            fold(graph, at, other);
        }
    }
    thin(graph, &place, &mut others);
    if graph.folded_nodes + graph.folded_edges > 0 {
        unclash(graph, &others.into_values().collect());
        graph.edges = redirect(std::mem::take(&mut graph.edges), &place);
        graph.flows = redirect_flows(std::mem::take(&mut graph.flows), &place);
    }
}

/// Sends the edges over the limit, the least used ones, to the other nodes of their target's type.
fn thin(graph: &mut Graph, place: &[usize], others: &mut BTreeMap<(NodeType, Option<Text>), usize>) {
    if graph.edges.len() <= MAX_MAP_EDGES {
        return;
    }
    let id = |at: usize| &graph.nodes[at].id;
    let rank = |edge: &Edge| {
        let ends = (id(edge.source).clone(), id(edge.target).clone());
        (std::cmp::Reverse(edge.calls.calls()), ends, edge.protocol.clone())
    };
    let mut order: Vec<usize> = (0..graph.edges.len()).collect();
    order.sort_by_cached_key(|&at| rank(&graph.edges[at]));
    for at in order.split_off(MAX_MAP_EDGES) {
        let target = graph.edges[at].target;
        // Nodes that were folded have only the place that they went to.
        let of = &graph.nodes[place.get(target).copied().unwrap_or(target)];
        let (kind, environment) = (of.kind, of.environment.clone());
        let other = *others.entry((kind, environment.clone())).or_insert_with(|| {
            graph.nodes.push(other(kind, environment));
            graph.nodes.len() - 1
        });
        graph.edges[at].target = other;
        graph.edges[at].protocol = Text::from_static(OTHER);
        graph.folded_edges += 1;
    }
}

fn other(kind: NodeType, environment: Option<Text>) -> Node {
    let name = format!("other {}", plural(kind));
    Node {
        id: id(None, &name, environment.as_deref()),
        kind,
        name,
        namespace: None,
        environment,
        requests: Cell::default(),
        entries: Cell::default(),
        spans: 0,
        last_seen: None,
        source: None,
    }
}

fn plural(kind: NodeType) -> &'static str {
    match kind {
        NodeType::Service => "services",
        NodeType::Database => "databases",
        NodeType::Cache => "caches",
        NodeType::Queue => "queues",
        NodeType::External => "externals",
        NodeType::User => "users",
        NodeType::Model => "models",
    }
}

fn fold(graph: &mut Graph, at: usize, other: usize) {
    let nothing = Node { id: String::new(), ..self::other(NodeType::External, None) };
    let node = std::mem::replace(&mut graph.nodes[at], nothing);
    let into = &mut graph.nodes[other];
    into.requests.merge(&node.requests, 1);
    into.entries.merge(&node.entries, 1);
    into.spans = into.spans.saturating_add(node.spans);
    into.last_seen = into.last_seen.max(node.last_seen);
}

/// A node may really be called "other externals": the folded one steps aside.
fn unclash(graph: &mut Graph, others: &BTreeSet<usize>) {
    let kept = graph.nodes.iter().enumerate().filter(|(at, _)| !others.contains(at));
    let taken: HashSet<String> = kept.map(|(_, node)| node.id.clone()).collect();
    for &at in others {
        while taken.contains(&graph.nodes[at].id) {
            graph.nodes[at].id.push('#');
        }
    }
}

fn redirect(edges: Vec<Edge>, place: &[usize]) -> Vec<Edge> {
    let mut merged: BTreeMap<(usize, usize, Text), Edge> = BTreeMap::new();
    for mut edge in edges {
        // Nodes made here are where they are.
        let placed = |at: usize| place.get(at).copied().unwrap_or(at);
        (edge.source, edge.target) = (placed(edge.source), placed(edge.target));
        if edge.source == edge.target {
            continue;
        }
        match merged.entry((edge.source, edge.target, edge.protocol.clone())) {
            Entry::Vacant(free) => {
                free.insert(edge);
            }
            Entry::Occupied(mut kept) => {
                let kept = kept.get_mut();
                kept.calls.merge(&edge.calls, 1);
                kept.server.merge(&edge.server, 1);
                kept.requests.merge(&edge.requests, 1);
                kept.carried.merge(edge.carried);
                kept.inferred = kept.inferred.min(edge.inferred);
            }
        }
    }
    merged.into_values().collect()
}

fn redirect_flows(flows: Vec<MessageFlow>, place: &[usize]) -> Vec<MessageFlow> {
    let mut merged: BTreeMap<(usize, usize, usize), Cell> = BTreeMap::new();
    for flow in flows {
        let ends = (place[flow.source], place[flow.queue], place[flow.target]);
        merged.entry(ends).or_default().merge(&flow.messages, 1);
    }
    let flow = |((source, queue, target), messages)| MessageFlow { source, queue, target, messages };
    merged.into_iter().map(flow).collect()
}
