//! R13: a flood of names must not make rollups large. The busiest names keep cells of their own, the rest shares a cell
//! called [`OTHER`] of the same parent: operations of a service, protocols between two nodes, targets of a caller,
//! nodes of a type and environment.
//!
//! Folding only moves counts between cells of one parent, so sums over a parent never change. A contribution that is
//! taken back after its name was folded leaves a negative cell; it is folded too, and the sum is exact again.

mod rebuild;

use std::{cmp::Reverse, hash::Hash};

use rustc_hash::{FxHashMap, FxHashSet};

use super::{cell::Cell, key::Key, table::Table};
use crate::limits::{
    MAX_EDGES, MAX_ENVIRONMENTS, MAX_FLOWS, MAX_LEARNED, MAX_NODES, MAX_OPERATIONS, MAX_PROTOCOLS,
    MAX_SERVICE_OPERATIONS,
};

/// Name of what was folded. A sender may use it too, and is counted with the rest then.
pub(crate) const OTHER: &str = "(other)";

/// What a cell counts under a name that may be folded: the parent, and the name.
type Member = (Parent, u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Parent {
    /// Operations of a service.
    Operations(u32),
    /// Protocols from a node to another.
    Protocols(u32, u32),
    /// Addresses that were learned.
    Learned,
}

/// Which cells must stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Negative {
    /// Negative ones: in what is about to be written they take back what is stored under their own name.
    Keep,
    /// None: negative ones are folded first, wherever something was folded before.
    Fold,
}

/// What is over the limits.
struct Folded {
    nodes: FxHashSet<u32>,
    /// Pairs of nodes whose target becomes the other ones of its type.
    targets: FxHashSet<(u32, u32)>,
    names: FxHashSet<Member>,
    /// Flows of which all three nodes become others.
    flows: FxHashSet<(u32, u32, u32)>,
}

/// Where the nodes of a table went.
pub(super) type Moved = FxHashMap<u32, u32>;

/// Folds what is over the limits; `None` when nothing is.
pub(super) fn fold(table: &mut Table, negative: Negative) -> Option<Moved> {
    let seen_before = negative == Negative::Fold && table.knows(OTHER);
    if table.is_within(MAX_EDGES, MAX_NODES, MAX_SERVICE_OPERATIONS) && !seen_before {
        return None;
    }
    let nodes = folded_nodes(table, negative, seen_before);
    let targets = folded_targets(table, &nodes, negative, seen_before);
    let names = folded_names(table, &nodes, negative, seen_before);
    let flows = folded_flows(table, negative, seen_before);
    if nodes.is_empty() && targets.is_empty() && names.is_empty() && flows.is_empty() {
        return None;
    }
    Some(rebuild::rebuild(table, &Folded { nodes, targets, names, flows }))
}

/// The weight of names as cells are read.
struct Ranks<T>(FxHashMap<T, (i64, bool)>);

impl<T: Copy + Eq + Hash> Ranks<T> {
    fn new() -> Self {
        Self(FxHashMap::default())
    }

    fn add(&mut self, name: T, cell: &Cell) {
        let (weight, negative) = self.0.entry(name).or_default();
        *weight = weight.saturating_add(cell.weight);
        *negative |= cell.weight < 0 || cell.count < 0;
    }

    /// The names beyond the first `most`, by weight and then by `name`.
    fn beyond<N: Ord>(self, most: usize, negative: Negative, name: impl Fn(T) -> N) -> Vec<T> {
        let all = self.0.into_iter().filter(|(_, (_, minus))| negative == Negative::Fold || !minus);
        let mut all: Vec<(T, i64)> = all.map(|(it, (weight, _))| (it, weight)).collect();
        if all.len() <= most {
            return Vec::new();
        }
        all.sort_by_cached_key(|(it, weight)| (Reverse(*weight), name(*it)));
        all.split_off(most).into_iter().map(|(it, _)| it).collect()
    }

    /// The names that count less than nothing.
    fn below_zero(&self) -> Vec<T> {
        self.0.iter().filter(|(_, (weight, _))| *weight < 0).map(|(it, _)| *it).collect()
    }
}

/// Is a node what others were folded into?
fn is_other(table: &Table, node: u32) -> bool {
    &**table.text_of(table.node_of(node).parts[2]) == OTHER
}

fn folded_nodes(table: &Table, negative: Negative, seen_before: bool) -> FxHashSet<u32> {
    let mut folded = FxHashSet::default();
    // By class, and whether the node is what others were folded into, of which there is one for each environment.
    let mut classes: FxHashMap<(u8, bool), Ranks<u32>> = FxHashMap::default();
    for (&(_, key), cell) in &table.cells {
        let (_, refs, shape) = key.flatten();
        for (&node, _) in refs.iter().zip(shape).filter(|(_, is_node)| **is_node) {
            let described = table.node_of(node);
            let is_other = is_other(table, node);
            if !is_other || &**table.text_of(described.parts[0]) != OTHER {
                classes.entry((described.class as u8, is_other)).or_insert_with(Ranks::new).add(node, cell);
            }
        }
    }
    for ((_, is_other), ranks) in classes {
        if seen_before && !is_other {
            folded.extend(ranks.below_zero());
        }
        let most = if is_other { MAX_ENVIRONMENTS } else { MAX_NODES };
        folded.extend(ranks.beyond(most, negative, |node| table.describe(node).1));
    }
    folded
}

fn folded_flows(table: &Table, negative: Negative, seen_before: bool) -> FxHashSet<(u32, u32, u32)> {
    let mut flows = Ranks::new();
    for (&(_, key), cell) in &table.cells {
        if let Key::Flow(from, queue, to) = key
            && !(is_other(table, from) && is_other(table, to))
        {
            flows.add((from, queue, to), cell);
        }
    }
    let mut folded: FxHashSet<(u32, u32, u32)> = FxHashSet::default();
    if seen_before {
        folded.extend(flows.below_zero());
    }
    folded.extend(flows.beyond(MAX_FLOWS, negative, |(from, queue, to)| {
        [from, queue, to].map(|node| table.describe(node).1)
    }));
    folded
}

fn folded_targets(
    table: &Table,
    nodes: &FxHashSet<u32>,
    negative: Negative,
    seen_before: bool,
) -> FxHashSet<(u32, u32)> {
    let mut pairs = Ranks::new();
    for (&(_, key), cell) in &table.cells {
        if let Some((from, to)) = ends(key)
            && !nodes.contains(&to)
            && !is_other(table, to)
        {
            pairs.add((from, to), cell);
        }
    }
    let mut folded: FxHashSet<(u32, u32)> = FxHashSet::default();
    if seen_before {
        folded.extend(pairs.below_zero());
    }
    folded.extend(
        pairs.beyond(MAX_EDGES, negative, |(from, to)| (table.describe(from).1, table.describe(to).1)),
    );
    folded
}

fn folded_names(
    table: &Table,
    nodes: &FxHashSet<u32>,
    negative: Negative,
    seen_before: bool,
) -> FxHashSet<Member> {
    let mut parents: FxHashMap<Parent, Ranks<u32>> = FxHashMap::default();
    let mut operations = Ranks::new();
    for (&(_, key), cell) in &table.cells {
        let Some((parent, name)) = member(key) else { continue };
        if &**table.text_of(name) == OTHER {
            continue;
        }
        parents.entry(parent).or_insert_with(Ranks::new).add(name, cell);
        if let Parent::Operations(service) = parent
            && !nodes.contains(&service)
        {
            operations.add((service, name), cell);
        }
    }
    let mut folded = FxHashSet::default();
    for (parent, ranks) in parents {
        if seen_before {
            folded.extend(ranks.below_zero().into_iter().map(|name| (parent, name)));
        }
        let most = match parent {
            Parent::Operations(_) => MAX_SERVICE_OPERATIONS,
            Parent::Protocols(..) => MAX_PROTOCOLS,
            Parent::Learned => MAX_LEARNED,
        };
        let beyond = ranks.beyond(most, negative, |name| table.text_of(name));
        folded.extend(beyond.into_iter().map(|name| (parent, name)));
    }
    let beyond = operations
        .beyond(MAX_OPERATIONS, negative, |(service, name)| (table.text_of(name), table.describe(service).1));
    folded.extend(beyond.into_iter().map(|(service, name)| (Parent::Operations(service), name)));
    folded
}

fn member(key: Key) -> Option<Member> {
    match key {
        Key::Operation(service, name) => Some((Parent::Operations(service), name)),
        Key::Call(_, from, to, name) | Key::Client(_, from, to, name) | Key::Amount(_, from, to, name) => {
            Some((Parent::Protocols(from, to), name))
        }
        Key::Learned(_, name, _) => Some((Parent::Learned, name)),
        Key::Spans(_) | Key::Request(_) | Key::Entry(_) | Key::Failed(_) | Key::Note(..) | Key::Flow(..) => {
            None
        }
    }
}

/// The nodes of an edge.
fn ends(key: Key) -> Option<(u32, u32)> {
    match key {
        Key::Call(_, from, to, _) | Key::Client(_, from, to, _) | Key::Amount(_, from, to, _) => {
            Some((from, to))
        }
        _ => None,
    }
}
