//! Who depends on whom, and how hard.

use std::cmp::Ordering;

use serde::Serialize;

use super::Sampled;
use crate::{
    analysis::{
        Analysis,
        rules::{amplification, factor},
        structure::{Coupling, against_stability, betweenness, page_rank},
        traces::Together,
    },
    graph::NodeType,
    view::ratio,
    window::WindowView,
};

/// Most edges of a kind listed.
const LISTED: usize = 200;
/// Most pairs of services that are in the same traces.
const COMPANY: usize = 50;
/// Least number of traces that two services are both in, and least lift, to be told.
const MEETINGS: u64 = 10;
const LIFT: f64 = 1.5;
/// Below this a factor is a retry now and then.
const AMPLIFIED: f64 = 1.05;

/// The answer of `dashboard/dependencies`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dependencies {
    /// By id, without whoever calls from outside.
    pub nodes: Vec<DependencyNode>,
    /// One for each set of parts that all depend on each other.
    pub cycles: Vec<CycleView>,
    /// Pairs whose only connection are the calls between them.
    pub bridges: Vec<Bridge>,
    /// Stable parts that depend on less stable ones, most calls first; up to 200.
    pub unstable: Vec<UnstableEdge>,
    /// Pairs where calls are repeated, the largest factor first; up to 200.
    pub amplification: Vec<Amplification>,
    /// Services that are in the same traces more often than chance would have it, though neither calls the other: the
    /// largest lift first, up to 50.
    pub temporal_coupling: Vec<Company>,
    /// Mean number of other nodes that a node depends on; `null` without nodes.
    pub architecture_complexity: Option<f64>,
    /// What `entry_share`, `hardness`, `amplification` and `temporal_coupling` rest on.
    pub sample: Sampled,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// A node and its place among the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DependencyNode {
    /// Id on the map.
    pub id: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// Distinct callers (afferent coupling).
    pub callers: usize,
    /// Distinct callees (efferent coupling).
    pub callees: usize,
    /// `callees/(callers + callees)`: 0 is stable, 1 unstable; `null` without neighbours.
    pub instability: Option<f64>,
    /// Number of others that depend on it, directly or not.
    pub blast_radius: u64,
    /// Number of others that it depends on, directly or not.
    pub depends_on: u64,
    /// Share of the sampled entry requests that really passed it, 0…1; `null` without traces.
    pub entry_share: Option<f64>,
    /// Number of others to which every call path leads through it.
    pub dominated: usize,
    /// Number of others that lose their connection with the rest of the map without it.
    pub cut_off: usize,
    /// P(an entry request fails when something failed here) − P(it fails when nothing did), −1…1; `null` when one of
    /// both was never seen.
    pub hardness: Option<f64>,
    /// `PageRank` over calls from callers to callees; the sum is 1.
    pub page_rank: f64,
    /// Share of the shortest paths between others that lead through it, 0…1.
    pub betweenness: f64,
}

/// Parts that all depend on each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CycleView {
    /// Ids of all of them.
    pub members: Vec<String>,
    /// A shortest cycle, in the order of calls.
    pub path: Vec<String>,
    /// Caller of the call on it with the least traffic: where cutting costs least.
    pub cut_source: String,
    /// Its callee.
    pub cut_target: String,
    /// Calls there, by sampling weight.
    pub cut_calls: u64,
}

/// Two nodes that one pair of calls connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bridge {
    /// Id of the caller; of two that call each other the first by id.
    pub source: String,
    /// Id of the other.
    pub target: String,
}

/// A call against the stable-dependencies rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnstableEdge {
    /// Id of the caller.
    pub source: String,
    /// Id of the callee, which is less stable.
    pub target: String,
    /// Instability of the caller.
    pub source_instability: Option<f64>,
    /// Instability of the callee.
    pub target_instability: Option<f64>,
    /// Calls, by sampling weight.
    pub call_count: u64,
}

/// Calls that are repeated.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Amplification {
    /// Id of the caller.
    pub source: String,
    /// Id of the callee.
    pub target: String,
    /// Calls that reached the callee for each one that was meant.
    pub factor: f64,
    /// The same from the entry on: the largest product over the hops of a way.
    pub path_factor: f64,
    /// Calls of the sample.
    pub calls: u64,
}

/// Two services that are in the same traces.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = TemporalCoupling))]
pub struct Company {
    /// Ids of both, in order.
    pub services: [String; 2],
    /// P(both)/(P(one)·P(other)): 1 when they meet by chance, 2 when twice as often.
    pub lift: f64,
    /// Share of all traces that both are in, 0…1.
    pub support: f64,
    /// Traces of the sample that both are in.
    pub traces: u64,
}

impl Analysis<'_> {
    /// Who depends on whom.
    pub fn dependencies(&self) -> Dependencies {
        Dependencies {
            nodes: self.dependency_nodes(),
            cycles: self.cycle_views(),
            bridges: self.bridges(),
            unstable: self.unstable(),
            amplification: self.amplified(),
            temporal_coupling: self.company(),
            architecture_complexity: ratio(self.complexity()),
            sample: self.sampled(),
            last_updated: self.context.last_updated(),
            window: self.context.window(),
        }
    }

    fn dependency_nodes(&self) -> Vec<DependencyNode> {
        let (rank, between) = (page_rank(&self.net), betweenness(&self.net));
        // Whoever calls from outside has a part of the rank, and is not listed.
        let all: f64 = self.inner().map(|at| rank[at]).sum();
        let rounded = |value: f64| ratio(Some(value)).unwrap_or(0.0);
        let node = |at: usize| {
            let Coupling { callers, callees, instability } = Coupling::of(&self.net, at);
            DependencyNode {
                id: self.id(at).into(),
                kind: self.graph.nodes[at].kind,
                callers,
                callees,
                instability: ratio(instability),
                blast_radius: self.reach.above[at],
                depends_on: self.reach.below[at],
                entry_share: ratio(self.passing_share(at)),
                dominated: self.dominators.dominated[at],
                cut_off: self.cuts.cut_off[at],
                hardness: ratio(self.totals.passing[at].hardness()),
                page_rank: rounded(rank[at] / all),
                betweenness: rounded(between[at]),
            }
        };
        self.inner().map(node).collect()
    }

    fn cycle_views(&self) -> Vec<CycleView> {
        let ids = |nodes: &[usize]| nodes.iter().map(|&at| self.id(at).to_owned()).collect();
        let view = |cycle: &crate::analysis::structure::Cycle| CycleView {
            members: ids(&cycle.members),
            path: ids(&cycle.path),
            cut_source: self.id(cycle.cut.0).into(),
            cut_target: self.id(cycle.cut.1).into(),
            cut_calls: cycle.cut_weight,
        };
        self.cycles.iter().map(view).collect()
    }

    fn bridges(&self) -> Vec<Bridge> {
        let bridge = |&(a, b): &(usize, usize)| {
            let (source, target) = if self.net.weight(a, b).is_some() { (a, b) } else { (b, a) };
            Bridge { source: self.id(source).into(), target: self.id(target).into() }
        };
        self.cuts.bridges.iter().map(bridge).collect()
    }

    fn unstable(&self) -> Vec<UnstableEdge> {
        let mut edges = against_stability(&self.net);
        let calls = |&(a, b): &(usize, usize)| self.net.weight(a, b).unwrap_or(0);
        edges.sort_by_key(|edge| (std::cmp::Reverse(calls(edge)), *edge));
        edges.truncate(LISTED);
        let edge = |(a, b): (usize, usize)| UnstableEdge {
            source: self.id(a).into(),
            target: self.id(b).into(),
            source_instability: ratio(Coupling::of(&self.net, a).instability),
            target_instability: ratio(Coupling::of(&self.net, b).instability),
            call_count: calls(&(a, b)),
        };
        edges.into_iter().map(edge).collect()
    }

    fn company(&self) -> Vec<Company> {
        let all = self.totals.trace_weight as f64;
        let is_service = |at: usize| self.graph.nodes[at].kind == NodeType::Service && self.is_shown(at);
        let apart = |a: usize, b: usize| self.net.weight(a, b).is_none() && self.net.weight(b, a).is_none();
        let rounded = |value: f64| ratio(Some(value)).unwrap_or(0.0);
        let company = |(&(a, b), both): (&(usize, usize), &Together)| {
            let alone = |at: usize| self.totals.present.get(&at).map_or(0.0, |&weight| weight as f64);
            let lift = both.weight as f64 * all / (alone(a) * alone(b)).max(1.0);
            (both.traces >= MEETINGS && lift >= LIFT && is_service(a) && is_service(b) && apart(a, b)).then(
                || Company {
                    services: [self.id(a).into(), self.id(b).into()],
                    lift: rounded(lift),
                    support: rounded(both.weight as f64 / all),
                    traces: both.traces,
                },
            )
        };
        let mut found: Vec<Company> = self.totals.together.iter().filter_map(company).collect();
        found.sort_by(|a, b| {
            let rank = |one: &Company| (one.lift, one.support);
            rank(b).partial_cmp(&rank(a)).unwrap_or(Ordering::Equal).then_with(|| a.services.cmp(&b.services))
        });
        found.truncate(COMPANY);
        found
    }

    fn amplified(&self) -> Vec<Amplification> {
        let along = amplification(self);
        let rounded = |value: f64| ratio(Some(value)).unwrap_or(0.0);
        let hops = self.totals.hops.iter().filter(|(_, hop)| factor(hop) >= AMPLIFIED);
        let mut found: Vec<Amplification> = hops
            .map(|(&(from, to), hop)| Amplification {
                source: self.id(from).into(),
                target: self.id(to).into(),
                factor: rounded(factor(hop)),
                path_factor: rounded(along[from] * factor(hop)),
                calls: hop.calls,
            })
            .collect();
        found.sort_by(|a, b| {
            b.factor.total_cmp(&a.factor).then_with(|| (&a.source, &a.target).cmp(&(&b.source, &b.target)))
        });
        found.truncate(LISTED);
        found
    }
}
