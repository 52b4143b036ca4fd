//! Which node of a graph is it that a trace names?

use rustc_hash::FxHashMap;

use super::{Graph, NodeType, identity, resolve::Resolver};
use crate::rollup::{Class, NodeKey, Rollup, Table};

/// Finds the nodes of a graph by the keys of another table.
pub(crate) struct Finder<'a> {
    graph: &'a Graph,
    table: &'a Table,
    resolver: Resolver<'a>,
    /// Services by their node in the rollup.
    services: FxHashMap<u32, usize>,
}

impl<'a> Finder<'a> {
    /// For a graph and the rollup that it was built from.
    pub(crate) fn new(rollup: &'a Rollup, graph: &'a Graph) -> Self {
        let sources = graph.nodes.iter().enumerate();
        Self {
            graph,
            table: &rollup.table,
            resolver: Resolver::new(rollup),
            services: sources.filter_map(|(at, node)| Some((node.source?, at))).collect(),
        }
    }

    /// The index of a node in the graph; `None` when it is not there, or was folded into another.
    pub(crate) fn find(&self, key: NodeKey, table: &Table) -> Option<usize> {
        let mut parts = [Table::EMPTY; 5];
        for (part, own) in parts.iter_mut().zip(key.parts) {
            *part = self.table.find_text(table.text_of(own))?;
        }
        let (key, _) = self.resolver.resolve(NodeKey { class: key.class, parts });
        if key.class == Class::Service {
            return self.services.get(&self.table.find_node(key)?).copied();
        }
        let wanted = identity::node(key, self.table);
        self.by_id(&wanted.id, wanted.kind)
            .or_else(|| self.by_id(&format!("{}#{}", wanted.id, wanted.kind.as_str()), wanted.kind))
    }

    fn by_id(&self, id: &str, kind: NodeType) -> Option<usize> {
        let found = self.graph.nodes.binary_search_by(|node| node.id.as_str().cmp(id)).ok()?;
        (self.graph.nodes[found].kind == kind).then_some(found)
    }
}
