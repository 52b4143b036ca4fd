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
mod basis;
pub mod derived;
mod issue;
mod rules;
pub mod saturation;
pub mod structure;
mod traces;

use std::{ops::Deref, sync::Arc};

pub use answers::{
    Amplification, Bottleneck, Bottlenecks, Bridge, Company, CriticalPath, CycleView, Dependencies,
    DependencyNode, Frame, HealthAnswer, Issues, PathStep, Sampled, Scores, ServiceHealth, UnstableEdge,
};
pub use basis::Basis;
pub use issue::{Issue, IssueKind, NotChecked, Severity};
pub use traces::sample;
pub(crate) use traces::{critical_path, self_time};

use crate::{
    facts::Facts,
    graph::{ArchitectureMap, Edge, Inferred, NodeType, build, map_of},
    rollup::{Cell, Rollup},
    view::Context,
};
use saturation::Knees;

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
    basis: Arc<Basis>,
    /// What the traces are a sample of; `None` when they are all.
    drawn_of: Option<DrawnOf>,
    knees: Knees,
    issues: Vec<Issue>,
}

/// Its graph and what its traces show can be read as if they were its own.
impl Deref for Analysis<'_> {
    type Target = Basis;

    fn deref(&self) -> &Basis {
        &self.basis
    }
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
        let graph = Arc::new(build(rollup, context.environment));
        Self::on(Arc::new(Basis::of(rollup, graph, traces, context.environment)), context, options)
    }

    /// Analyses what was found out before, of the environment of `context`.
    pub fn on(basis: Arc<Basis>, context: &Context<'a>, options: Options) -> Self {
        let (drawn_of, knees, issues) = (None, Knees::new(), Vec::new());
        let mut analysis = Self { context: *context, options, basis, drawn_of, knees, issues };
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

#[cfg(test)]
mod tests;
