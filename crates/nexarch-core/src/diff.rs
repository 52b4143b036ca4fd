//! Drift: what differs between the architectures of two windows, and whether it is more than chance.
//!
//! Nodes, edges and operations are matched by id. What is on one side only is new or gone. What is on both is tested:
//! failures with a two-proportion z-test (Fisher's exact test for few), durations with the test of Mann and Whitney on the
//! two histograms; all p-values of a comparison are corrected together (Benjamini and Hochberg, 5 %). Something *changed*
//! when a corrected test says so and the difference matters: with a million calls a microsecond is significant.

mod compare;
mod matched;

use serde::Serialize;

pub use compare::{Errors, Interval, Latency, Quantile};

use crate::{
    graph::{Graph, NodeType, build},
    rollup::Rollup,
    view::{Context, Figures},
    window::{Range, WindowView},
};
use compare::Pair;
use matched::{Edges, Found, Nodes, Operations};

/// Share of false discoveries that is accepted.
pub const ALPHA: f64 = 0.05;
/// Entries listed of each kind, the most important first.
const LISTED: usize = 500;
/// Parts listed of which nothing can be said.
const LISTED_TOO_FEW: usize = 100;

const OVERLAP: &str = "the two windows overlap: what both hold would be compared with itself";

/// What became of a part of the architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DriftKind))]
pub enum Change {
    /// Only in the head.
    New,
    /// Only in the base.
    Gone,
    /// In both, and it fails more often or takes longer, and none of these the other way.
    Worse,
    /// In both, and it is worse in one way and better in another: failures, median and p95 move apart.
    Mixed,
    /// In both, and it fails less often or takes less time, and none of these the other way.
    Better,
}

/// The answer of `architecture/diff`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Drift {
    /// What is compared with.
    pub base: Side,
    /// What is compared.
    pub head: Side,
    /// How it was tested.
    pub comparison: Comparison,
    /// Nodes that are new, gone or changed, the most important first.
    pub nodes: Vec<NodeDrift>,
    /// Edges that are.
    pub edges: Vec<EdgeDrift>,
    /// Operations of services that are.
    pub operations: Vec<OperationDrift>,
    /// Nodes, edges and operations that are not listed, because there are too many.
    pub more: usize,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
}

/// One of the two architectures.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = DriftSide))]
pub struct Side {
    /// What its figures are of.
    pub window: WindowView,
    /// Number of nodes.
    pub total_nodes: usize,
    /// Number of edges.
    pub total_edges: usize,
    /// Number of operations of services.
    pub total_operations: usize,
    /// Nodes and edges that were added up as "other …" because there are too many: of these, new and gone ones cannot be
    /// told.
    pub folded: usize,
}

/// How the two were tested.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Comparison {
    /// Tests that could be made.
    pub tests: usize,
    /// Of these, how many are significant after correction; some of them may be too small to be listed.
    pub significant: usize,
    /// The expected share of false ones among the significant.
    pub alpha: f64,
    /// Why nothing was tested, if so.
    pub untested: Option<&'static str>,
    /// Parts on both sides of whose durations nothing can be said, because a side has fewer than 10; the busiest first, up
    /// to 100.
    pub too_few: Vec<TooFew>,
    /// Number of all of them.
    pub too_few_parts: usize,
}

/// A part with too few durations to compare them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TooFew {
    /// `node`, `edge` or `operation`.
    pub part: &'static str,
    /// Its id; of an edge those of both ends, of an operation that of its service with its name.
    pub name: String,
    /// Durations of the base.
    pub base_durations: u64,
    /// Durations of the head.
    pub head_durations: u64,
}

/// A node that is new, gone or changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeDrift {
    /// Its id on the map.
    pub id: String,
    /// Plain name.
    pub name: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// What became of it, in figures.
    #[serde(flatten)]
    pub drift: PartDrift,
}

/// An edge that is new, gone or changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EdgeDrift {
    /// Id of the caller.
    pub source: String,
    /// Id of the callee.
    pub target: String,
    /// What is spoken; `null` when unknown.
    pub protocol: Option<String>,
    /// What became of it, in figures.
    #[serde(flatten)]
    pub drift: PartDrift,
}

/// An operation that is new, gone or changed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperationDrift {
    /// Id of the service.
    pub service: String,
    /// Name of its spans.
    pub operation: String,
    /// What became of it, in figures.
    #[serde(flatten)]
    pub drift: PartDrift,
}

/// What became of a node, edge or operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartDrift {
    /// In one word.
    pub change: Change,
    /// Figures of the base; `null` when new.
    pub base: Option<Figures>,
    /// Figures of the head; `null` when gone.
    pub head: Option<Figures>,
    /// How the failures compare; `null` where one side is missing or nothing was tested.
    pub errors: Option<Errors>,
    /// How the durations compare; `null` as before, and with fewer than 10 durations on either side.
    pub latency: Option<Latency>,
}

/// One of the two architectures, before they are compared.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Its cells.
    pub rollup: &'a Rollup,
    /// The minutes that they are of.
    pub range: Range,
}

/// Where the two come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Two windows of one set of spans: where they overlap, spans would be compared with themselves.
    OneSet,
    /// Two sets of spans.
    TwoSets,
}

/// Compares two architectures; `context` says which environment, and is else of the head.
pub fn drift(base: Input<'_>, head: Input<'_>, sources: Sources, context: &Context<'_>) -> Drift {
    let graphs = [base, head].map(|side| build(side.rollup, context.environment));
    let [old, new] = &graphs;
    let overlap = sources == Sources::OneSet && base.range.minutes.overlaps(head.range.minutes);
    let untested = overlap.then_some(OVERLAP);
    let seconds = [base.range.seconds(), head.range.seconds()];
    let nodes = Nodes::of(old, new);
    let edges = Edges::of(old, new);
    let operations = Operations::of((base.rollup, old), (head.rollup, new));
    let mut pairs = [nodes.pairs(), edges.pairs(), operations.pairs()].map(|mut pairs| {
        if untested.is_none() {
            pairs.iter_mut().for_each(Pair::test);
        }
        pairs
    });
    let tested = compare::correct(pairs.iter_mut().flatten());
    let mut too_few = Vec::new();
    if untested.is_none() {
        let names = [("node", nodes.names()), ("edge", edges.names()), ("operation", operations.names())];
        for ((part, names), pairs) in names.into_iter().zip(&pairs) {
            too_few.extend(names.into_iter().zip(pairs).filter_map(|(name, pair)| {
                let [base_durations, head_durations] = pair.too_few()?;
                Some(TooFew { part, name, base_durations, head_durations })
            }));
        }
    }
    too_few.sort_by_key(|it| std::cmp::Reverse(it.base_durations.max(it.head_durations)));
    let too_few_parts = too_few.len();
    too_few.truncate(LISTED_TOO_FEW);
    let [of_nodes, of_edges, of_operations] = pairs;
    let side = |graph: &Graph, range: Range, total_operations| Side {
        window: range.into(),
        total_nodes: graph.nodes.len(),
        total_edges: graph.edges.len(),
        total_operations,
        folded: graph.folded_nodes + graph.folded_edges,
    };
    let mut drift = Drift {
        base: side(old, base.range, operations.count(Found::in_old)),
        head: side(new, head.range, operations.count(Found::in_new)),
        comparison: Comparison {
            tests: tested.tests,
            significant: tested.significant,
            alpha: ALPHA,
            untested,
            too_few,
            too_few_parts,
        },
        nodes: nodes.describe(of_nodes, seconds),
        edges: edges.describe(of_edges, seconds),
        operations: operations.describe(of_operations, seconds),
        more: 0,
        last_updated: context.last_updated(),
    };
    drift.more = rank(&mut drift.nodes, |node| &node.drift)
        + rank(&mut drift.edges, |edge| &edge.drift)
        + rank(&mut drift.operations, |operation| &operation.drift);
    drift
}

/// New and gone ones first, then what got worse, what is mixed, what got better; in each the busiest first. Returns how many are
/// left out.
fn rank<T>(list: &mut Vec<T>, drift: impl Fn(&T) -> &PartDrift) -> usize {
    let calls = |part: &PartDrift| {
        let of = |figures: &Option<Figures>| figures.as_ref().map_or(0, |figures| figures.request_count);
        of(&part.head).max(of(&part.base))
    };
    // Stable: of equal ones the first by id.
    list.sort_by_key(|item| (drift(item).change, std::cmp::Reverse(calls(drift(item)))));
    let more = list.len().saturating_sub(LISTED);
    list.truncate(LISTED);
    more
}

#[cfg(test)]
mod tests;
