//! What the graph of a window and a sample of its traces say about an architecture: bottlenecks, single points of
//! failure, cycles, anti-patterns. A pure function of the sets of spans; bounded on any graph.
//!
//! | part | where |
//! |---|---|
//! | algorithms on the graph | [`structure`] |
//! | critical paths, nesting, repeated calls of whole traces | `traces` |
//! | rules that make findings of both | `rules` |
//! | scores and figures of a window | [`derived`] |
//! | what the API shows | `answers` |

mod answers;
pub mod derived;
mod issue;
mod rules;
pub mod saturation;
pub mod structure;
mod traces;

use rustc_hash::FxHashMap;

pub use answers::{
    Amplification, Bottleneck, Bottlenecks, Bridge, Company, CriticalPath, CycleView, Dependencies,
    DependencyNode, Frame, HealthAnswer, Issues, PathStep, Sampled, Scores, ServiceHealth, UnstableEdge,
};
pub use issue::{Issue, IssueKind, NotChecked, Severity};
pub use traces::sample;
pub(crate) use traces::{critical_path, self_time};

use crate::{
    facts::Facts,
    graph::{ArchitectureMap, Edge, Graph, Inferred, NodeType, build, map_of},
    rollup::{Cell, Key, Rollup, Table},
    view::Context,
};
use saturation::Knees;
use structure::{Components, Cuts, Cycle, Dominators, Net, Reach};
use traces::{Observer, Totals};

/// What may differ between tenants, beside what a [`Context`] holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Share of requests that should not fail, 0…1.
    pub availability_objective: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { availability_objective: 0.99 }
    }
}

/// The analysis of a window.
///
/// ```
/// use nexarch_core::{analysis::{Analysis, Options}, rollup::Rollup, view::Context, window::Window};
/// let context = Context {
///     range: Window::default().range(None),
///     environment: None,
///     last_updated_us: 0,
///     stored_ns: None,
///     latency_objective_ms: 1000.0,
///     regressed: None,
///     watched: Default::default(),
/// };
/// let nothing = Analysis::of(&Rollup::default(), [], &context, Options::default());
/// assert!(nothing.issues().issues.is_empty());
/// assert_eq!(nothing.complexity(), None);
/// ```
pub struct Analysis<'a> {
    context: Context<'a>,
    options: Options,
    graph: Graph,
    /// Calls between the nodes of the graph, without whoever calls from outside.
    net: Net,
    components: Components,
    cycles: Vec<Cycle>,
    reach: Reach,
    cuts: Cuts,
    dominators: Dominators,
    /// Requests enter the system at this node.
    is_entry: Vec<bool>,
    /// Number of operations, by node.
    operations: Vec<usize>,
    /// Share of the time of entry requests that a node spent on critical paths; `None` without traces.
    path_share: Option<Vec<f64>>,
    totals: Totals,
    /// Names in `totals`.
    table: Table,
    /// Entry requests of the window.
    entries: Cell,
    /// What the traces are a sample of; `None` when they are all.
    drawn_of: Option<DrawnOf>,
    knees: Knees,
    issues: Vec<Issue>,
}

/// What the traces of an analysis are a sample of.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DrawnOf {
    /// Traces of the hours that were looked at, as the sample tells.
    pub traces: f64,
    /// Hours with traces that were looked at.
    pub hours: u64,
}

impl<'a> Analysis<'a> {
    /// Analyses the cells of a window, and traces of it (each given by all its spans), in any order.
    pub fn of<'t>(
        rollup: &Rollup,
        traces: impl IntoIterator<Item = &'t [Facts]>,
        context: &Context<'a>,
        options: Options,
    ) -> Self {
        let graph = build(rollup, context.environment);
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
        let mut analysis = Self {
            cycles: cycles_of(&graph, &net, &components),
            reach: Reach::of(&net, &components),
            cuts: Cuts::of(&net),
            dominators: Dominators::of(&net, &from),
            operations: operations_of(rollup, &graph),
            path_share: path_share(&totals, graph.nodes.len()),
            entries: entry_requests(rollup, context),
            drawn_of: None,
            knees: Knees::new(),
            issues: Vec::new(),
            context: *context,
            options,
            graph,
            net,
            components,
            is_entry,
            totals,
            table,
        };
        analysis.issues = rules::apply(&analysis);
        analysis
    }

    /// The same, saying that its traces are a sample.
    #[must_use]
    pub fn drawn_of(self, all: DrawnOf) -> Self {
        Self { drawn_of: Some(all), ..self }
    }

    /// The same with knees of its services ([`saturation::knees`]).
    #[must_use]
    pub fn with_knees(self, knees: Knees) -> Self {
        Self { knees, ..self }
    }

    /// The architecture map, with bottlenecks and critical paths.
    pub fn architecture_map(&self) -> ArchitectureMap {
        let (bottlenecks, critical_paths) = self.on_map();
        ArchitectureMap {
            bottlenecks,
            critical_paths,
            sample: self.sampled(),
            ..map_of(&self.graph, &self.context)
        }
    }

    /// Mean number of other nodes that a node depends on, directly or not, 0…N−1; without whoever calls from outside.
    /// `None` without nodes.
    pub fn complexity(&self) -> Option<f64> {
        let nodes = self.inner().count();
        (nodes > 0).then(|| self.reach.below.iter().sum::<u64>() as f64 / nodes as f64)
    }

    /// Findings of a severity.
    pub fn count(&self, severity: Severity) -> usize {
        self.issues.iter().filter(|issue| issue.severity == severity).count()
    }

    /// Nodes other than whoever calls from outside.
    fn inner(&self) -> impl Iterator<Item = usize> {
        (0..self.graph.nodes.len()).filter(|&at| self.graph.nodes[at].kind != NodeType::User)
    }

    /// Services of the environment asked for.
    fn services(&self) -> impl Iterator<Item = usize> {
        self.inner().filter(|&at| self.graph.nodes[at].kind == NodeType::Service && self.is_shown(at))
    }

    /// Is it of the environment asked for? The other end of an edge may be of another one.
    fn is_shown(&self, at: usize) -> bool {
        self.context.includes(self.graph.nodes[at].environment.as_deref().unwrap_or_default())
    }

    fn id(&self, at: usize) -> &str {
        &self.graph.nodes[at].id
    }

    fn name(&self, text: u32) -> &str {
        self.table.text_of(text)
    }

    /// Calls by pair of nodes: several protocols are one.
    fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        self.graph.edges.chunk_by(|a, b| (a.source, a.target) == (b.source, b.target)).map(Pair)
    }

    /// A sentence on how calls are known that were not seen from both sides; empty for others.
    fn how_known(&self, ends: (usize, usize)) -> String {
        let edges = self.graph.edges.iter().filter(|edge| (edge.source, edge.target) == ends);
        let how: Option<Vec<Inferred>> = edges.map(|edge| edge.inferred).collect();
        match how.as_deref() {
            Some([first, ..]) => format!(" These calls are {}.", first.in_words()),
            _ => String::new(),
        }
    }

    /// Share of the entry requests of the sample that pass a node; `None` without traces.
    fn passing_share(&self, at: usize) -> Option<f64> {
        let all = self.totals.entry_weight;
        (all > 0).then(|| self.totals.passing[at].weight as f64 / all as f64)
    }
}

/// The edges from one node to another.
#[derive(Clone, Copy)]
struct Pair<'a>(&'a [Edge]);

impl Pair<'_> {
    fn ends(self) -> (usize, usize) {
        (self.0[0].source, self.0[0].target)
    }

    fn calls(self) -> Cell {
        let mut sum = self.0[0].calls.clone();
        self.0[1..].iter().for_each(|edge| sum.merge(&edge.calls, 1));
        sum
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

fn entry_requests(rollup: &Rollup, context: &Context<'_>) -> Cell {
    let mut entries = Cell::default();
    for (key, cell) in rollup.cells() {
        if let Key::Entry(node) = key
            && context.includes(rollup.table.describe(node).1[0])
        {
            entries.merge(cell, 1);
        }
    }
    entries
}

#[cfg(test)]
mod tests;
