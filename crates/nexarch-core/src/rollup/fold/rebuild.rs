//! What folding does to a table: cells move to the names that are left.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Folded, Moved, OTHER, ends, is_other, member};
use crate::{
    limits::MAX_ENVIRONMENTS,
    rollup::{
        key::{Key, NodeKey},
        table::Table,
    },
};

/// Moves all cells into a new table, which holds only the names that are left.
pub(super) fn rebuild(table: &mut Table, folded: &Folded) -> Moved {
    let old = std::mem::take(table);
    let many = folded.nodes.iter().map(|node| old.node_of(*node).parts[0]).collect::<FxHashSet<_>>().len();
    let mut place = Places { keep_environment: many <= MAX_ENVIRONMENTS, ..Places::default() };
    for (&(bucket, key), cell) in &old.cells {
        let folded_target = match ends(key) {
            Some((from, to)) => folded.targets.contains(&(from, to)),
            None => false,
        };
        let folded_flow = matches!(key, Key::Flow(a, b, c) if folded.flows.contains(&(a, b, c)));
        // What many nodes that become one are called apart would again be a flood.
        let folded_parent = match (key, ends(key)) {
            (Key::Operation(service, _), _) => folded.nodes.contains(&service),
            (_, Some((from, to))) => folded.nodes.contains(&from) || folded.nodes.contains(&to),
            _ => false,
        };
        let folded_name = folded_target
            || folded_parent
            || member(key).is_some_and(|member| folded.names.contains(&member));
        let (head, mut refs, shape) = key.flatten();
        for (at, (reference, is_node)) in refs.iter_mut().zip(shape).enumerate() {
            let from = *reference;
            *reference = if !is_node {
                let is_name = at == name_place(key);
                if is_name && folded_name { table.text_str(OTHER) } else { place.text(table, &old, from) }
            } else if (folded_flow || (folded_target && at == 1)) && !folded.nodes.contains(&from) {
                place.other(table, &old, from)
            } else {
                place.node(table, &old, from, folded.nodes.contains(&from))
            };
        }
        if let Some(key) = Key::unflatten(head, refs) {
            table.merge_cell(bucket, key, cell, 1);
        }
    }
    place.moved
}

/// Where texts and nodes of the old table are in the new one.
#[derive(Default)]
struct Places {
    keep_environment: bool,
    moved: Moved,
    others: Moved,
    texts: FxHashMap<u32, u32>,
}

impl Places {
    fn text(&mut self, table: &mut Table, old: &Table, text: u32) -> u32 {
        *self.texts.entry(text).or_insert_with(|| table.text(old.text_of(text)))
    }

    fn other(&mut self, table: &mut Table, old: &Table, node: u32) -> u32 {
        let keep = self.keep_environment;
        *self.others.entry(node).or_insert_with(|| other(table, old, node, keep))
    }

    fn node(&mut self, table: &mut Table, old: &Table, node: u32, folded: bool) -> u32 {
        let keep = self.keep_environment;
        *self
            .moved
            .entry(node)
            .or_insert_with(|| if folded { other(table, old, node, keep) } else { copy(table, old, node) })
    }
}

/// Which reference of a key is the name that may be folded.
fn name_place(key: Key) -> usize {
    match key {
        Key::Call(..) | Key::Client(..) | Key::Amount(..) => 2,
        _ => 1,
    }
}

fn copy(table: &mut Table, old: &Table, node: u32) -> u32 {
    let NodeKey { class, parts } = old.node_of(node);
    let parts = parts.map(|part| table.text(old.text_of(part)));
    table.node(NodeKey { class, parts })
}

/// The node that stands for the others of its type; of its environment, unless those are a flood themselves.
fn other(table: &mut Table, old: &Table, node: u32, keep_environment: bool) -> u32 {
    let NodeKey { class, parts } = old.node_of(node);
    let other = table.text_str(OTHER);
    let keep_environment = keep_environment && !is_other(old, node);
    let environment = if keep_environment { table.text(old.text_of(parts[0])) } else { other };
    table.node(NodeKey { class, parts: [environment, Table::EMPTY, other, Table::EMPTY, Table::EMPTY] })
}
