//! Which part of the one architecture is which of the other: by what the map calls it, in one order.

use std::collections::BTreeMap;

use super::{EdgeDrift, NodeDrift, OperationDrift, compare::Pair};
use crate::{
    Text,
    graph::{Edge, Graph, Node, NodeType},
    rollup::{Cell, Key, OTHER, Rollup},
};

/// A part on the sides on which it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<T> {
    old: Option<T>,
    new: Option<T>,
}

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self { old: None, new: None }
    }
}

impl<T> Found<T> {
    pub(super) fn in_old(&self) -> bool {
        self.old.is_some()
    }

    pub(super) fn in_new(&self) -> bool {
        self.new.is_some()
    }

    fn put(&mut self, newer: bool, part: T) {
        *(if newer { &mut self.new } else { &mut self.old }) = Some(part);
    }
}

/// Nodes by type and id.
pub(super) struct Nodes<'a>(BTreeMap<(&'a str, NodeType), Found<&'a Node>>);

impl<'a> Nodes<'a> {
    pub(super) fn of(old: &'a Graph, new: &'a Graph) -> Self {
        let mut found: BTreeMap<_, Found<&Node>> = BTreeMap::new();
        for (newer, graph) in [(false, old), (true, new)] {
            for node in &graph.nodes {
                found.entry((&*node.id, node.kind)).or_default().put(newer, node);
            }
        }
        Self(found)
    }

    pub(super) fn pairs(&self) -> Vec<Pair<'a>> {
        let requests = |node: Option<&'a Node>| node.map(|node| &node.requests);
        self.0.values().map(|found| Pair::new(requests(found.old), requests(found.new))).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().map(|(id, _)| (*id).to_owned()).collect()
    }

    pub(super) fn describe(&self, pairs: Vec<Pair<'_>>, seconds: [u64; 2]) -> Vec<NodeDrift> {
        let drifts = self.0.values().zip(pairs).filter_map(|(found, pair)| {
            let node = found.new.or(found.old)?;
            Some(NodeDrift {
                id: node.id.clone(),
                name: node.name.clone(),
                kind: node.kind,
                drift: pair.describe(seconds)?,
            })
        });
        drifts.collect()
    }
}

/// Edges by the ids of their ends and protocol.
pub(super) struct Edges<'a>(BTreeMap<(&'a str, &'a str, &'a str), Found<&'a Edge>>);

impl<'a> Edges<'a> {
    pub(super) fn of(old: &'a Graph, new: &'a Graph) -> Self {
        let mut found: BTreeMap<_, Found<&Edge>> = BTreeMap::new();
        for (newer, graph) in [(false, old), (true, new)] {
            for edge in &graph.edges {
                let id = |at: usize| &*graph.nodes[at].id;
                let name = (id(edge.source), id(edge.target), &*edge.protocol);
                found.entry(name).or_default().put(newer, edge);
            }
        }
        Self(found)
    }

    pub(super) fn pairs(&self) -> Vec<Pair<'a>> {
        let calls = |edge: Option<&'a Edge>| edge.map(|edge| &edge.calls);
        self.0.values().map(|found| Pair::new(calls(found.old), calls(found.new))).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().map(|(source, target, _)| format!("{source} → {target}")).collect()
    }

    pub(super) fn describe(&self, pairs: Vec<Pair<'_>>, seconds: [u64; 2]) -> Vec<EdgeDrift> {
        let drifts = self.0.keys().zip(pairs).filter_map(|(&(source, target, protocol), pair)| {
            Some(EdgeDrift {
                source: source.into(),
                target: target.into(),
                protocol: (!protocol.is_empty()).then(|| protocol.into()),
                drift: pair.describe(seconds)?,
            })
        });
        drifts.collect()
    }
}

/// Operations by the id of their service and their name.
pub(super) struct Operations<'a>(BTreeMap<(&'a str, &'a Text), Found<&'a Cell>>);

impl<'a> Operations<'a> {
    pub(super) fn of(old: (&'a Rollup, &'a Graph), new: (&'a Rollup, &'a Graph)) -> Self {
        let mut found: BTreeMap<_, Found<&Cell>> = BTreeMap::new();
        for (newer, (rollup, graph)) in [(false, old), (true, new)] {
            let services: BTreeMap<u32, &str> =
                graph.nodes.iter().filter_map(|node| Some((node.source?, &*node.id))).collect();
            for (key, cell) in rollup.cells().filter(|(_, cell)| cell.count > 0) {
                if let Key::Operation(node, operation) = key
                    && let Some(service) = services.get(&node)
                {
                    let operation = rollup.table.text_of(operation);
                    // What names share is another mixture in every window.
                    if &**operation != OTHER {
                        found.entry((*service, operation)).or_default().put(newer, cell);
                    }
                }
            }
        }
        Self(found)
    }

    pub(super) fn count(&self, on: impl Fn(&Found<&'a Cell>) -> bool) -> usize {
        self.0.values().filter(|found| on(found)).count()
    }

    pub(super) fn pairs(&self) -> Vec<Pair<'a>> {
        self.0.values().map(|found| Pair::new(found.old, found.new)).collect()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().map(|(service, operation)| format!("{service}: {operation}")).collect()
    }

    pub(super) fn describe(&self, pairs: Vec<Pair<'_>>, seconds: [u64; 2]) -> Vec<OperationDrift> {
        let drifts = self.0.keys().zip(pairs).filter_map(|((service, operation), pair)| {
            Some(OperationDrift {
                service: (*service).into(),
                operation: operation.to_string(),
                drift: pair.describe(seconds)?,
            })
        });
        drifts.collect()
    }
}
