//! What whole requests show.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use super::{percent, time};
use crate::{
    analysis::{
        Analysis, Issue, IssueKind, Severity,
        traces::{Example, FanOut, Hop, Loop, Route, weighted_quantile},
    },
    graph::NodeType,
};

/// More nested requests than this in one request of twenty.
const DEEP: u32 = 5;
/// So many findings of this kind are compared with each other.
const MOST_CHAINS: usize = 50;
/// More distinct callees of one request than this.
const WIDE: u32 = 10;
/// So much of the latency objective spent in a loop is more than a note.
const COSTLY: f64 = 0.05;
/// Calls for each one that was meant, from which retries are a storm; and the least number of retries.
const AMPLIFIED: f64 = 1.5;
const LEAST_RETRIES: u64 = 3;
/// Calls for each one at the entry, over all hops.
const AMPLIFIED_PATH: f64 = 3.0;

/// The requests of one entry operation, nested too deeply.
struct Chain<'a> {
    entry: &'a str,
    operation: &'a str,
    /// Nodes of the deepest, from the first caller on.
    nodes: &'a [usize],
    /// The same, each once, ascending.
    parts: BTreeSet<usize>,
    route: &'a Route,
    p95: u32,
}

/// One finding for each longest chain. Of the operations by which one service enters it, the first by name is its
/// subject: which of them was deepest, and over which parts, changes with the sample.
pub(super) fn deep_chains(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    let mut found: Vec<Chain<'_>> = Vec::new();
    for (&(at, operation), route) in &analysis.totals.routes {
        let (p95, nodes) = (weighted_quantile(&route.depths, 950).unwrap_or(0), &route.deepest.1[..]);
        if p95 > DEEP && nodes.iter().any(|&at| analysis.is_shown(at)) {
            let (entry, operation) = (analysis.id(at), analysis.name(operation));
            let parts = nodes.iter().copied().collect();
            found.push(Chain { entry, operation, nodes, parts, route, p95 });
        }
    }
    found.sort_by_key(|it| (Reverse(it.nodes.len()), it.nodes, it.entry, it.operation));
    let mut kept: Vec<Chain<'_>> = Vec::new();
    for chain in found {
        if let Some(longer) = kept.iter_mut().find(|longer| longer.holds(&chain)) {
            if longer.entry == chain.entry {
                longer.operation = longer.operation.min(chain.operation);
            }
        } else if kept.len() < MOST_CHAINS {
            kept.push(chain);
        }
    }
    issues.extend(kept.iter().map(|chain| chain.issue(analysis)));
}

impl Chain<'_> {
    /// Is another a part of it, or the same parts in another order?
    fn holds(&self, other: &Self) -> bool {
        self.nodes.windows(other.nodes.len().max(1)).any(|window| window == other.nodes)
            || self.parts == other.parts
    }

    fn issue(&self, analysis: &Analysis<'_>) -> Issue {
        let Self { nodes, route, p95, .. } = self;
        let id = |at: &usize| analysis.id(*at).to_owned();
        let n = route.depths.len() as u64;
        let reason = format!("one request of twenty waits for {p95} nested requests or more");
        let shown = nodes.iter().map(id).collect::<Vec<_>>().join(" → ");
        let subject = vec![self.entry.to_owned(), self.operation.to_owned()];
        let issue = Issue::new(IssueKind::DeepSyncChain, (Severity::Medium, reason), subject, n).titled(
            format!("{} requests wait for each other", nodes.len()),
            format!("Every hop adds its latency and its failures: {shown}."),
        );
        Issue {
            affected: self.parts.iter().map(id).collect(),
            affected_requests: route.weight / 256,
            example_trace_id: shown_trace(route.deepest.0),
            ..issue
        }
        .with([
            ("p95_depth", f64::from(*p95)),
            ("deepest", nodes.len() as f64),
            ("requests", n as f64),
        ])
    }
}

/// One finding for each service: its widest operation.
pub(super) fn fan_out(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    let mut widest: BTreeMap<usize, (u32, &str, &FanOut)> = BTreeMap::new();
    for (&(at, operation), fan) in &analysis.totals.fan_out {
        let p95 = weighted_quantile(&fan.callees, 950).unwrap_or(0);
        let name = analysis.name(operation);
        let better = widest.get(&at).is_none_or(|kept| p95 > kept.0 || (p95 == kept.0 && name < kept.1));
        if p95 > WIDE && better && analysis.is_shown(at) {
            widest.insert(at, (p95, name, fan));
        }
    }
    for (at, (p95, operation, fan)) in widest {
        let (id, n) = (analysis.id(at), fan.callees.len() as u64);
        let calls = weighted_quantile(&fan.calls, 950).unwrap_or(0);
        let reason = format!("it is as slow as the slowest of {p95}, and fails when one fails");
        let issue = Issue::new(IssueKind::FanOutOverload, (Severity::Medium, reason), vec![id.into()], n)
            .titled(
                format!("A request of {id} calls {p95} others"),
                format!(
                    "{operation} calls up to {p95} different parts ({calls} calls) in 95 % of {n} requests."
                ),
            );
        let requests = analysis.graph.nodes[at].requests.calls();
        issues.push(
            Issue { affected_requests: requests, example_trace_id: shown_trace(fan.widest), ..issue }.with([
                ("p95_callees", f64::from(p95)),
                ("p95_calls", f64::from(calls)),
                ("requests", n as f64),
            ]),
        );
    }
}

/// One finding for each pair of caller and callee: its costliest loop.
pub(super) fn loops(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    type Costliest<'a> = (Loop, &'a str, &'a str, (usize, u32));
    fn rank<'a>(one: &Costliest<'a>) -> (u128, u128, Reverse<(&'a str, &'a str)>) {
        (one.0.cost_ns, one.0.calls, Reverse((one.1, one.2)))
    }
    let mut pairs: BTreeMap<(usize, usize), (Costliest<'_>, usize)> = BTreeMap::new();
    for (&(from, operation, to, what), seen) in &analysis.totals.loops {
        let new: Costliest<'_> = (*seen, analysis.name(operation), analysis.name(what), (from, operation));
        let kept = pairs.entry((from, to)).or_insert((new, 0));
        kept.1 += 1;
        if rank(&new) > rank(&kept.0) {
            kept.0 = new;
        }
    }
    for ((from, to), (costliest, number)) in pairs {
        if analysis.is_shown(from) || analysis.is_shown(to) {
            issues.push(loop_issue(analysis, (from, to), costliest, number));
        }
    }
}

fn loop_issue(
    analysis: &Analysis<'_>,
    (from, to): (usize, usize),
    (seen, operation, what, step): (Loop, &str, &str, (usize, u32)),
    number: usize,
) -> Issue {
    let (source, target) = (analysis.id(from), analysis.id(to));
    let store = matches!(analysis.graph.nodes[to].kind, NodeType::Database | NodeType::Cache);
    let kind = if store { IssueKind::NPlusOne } else { IssueKind::ChattyCalls };
    let each = seen.calls as f64 / seen.weight as f64;
    let cost_us = seen.cost_ns as f64 / seen.weight as f64 / 1e3;
    let objective_us = analysis.context.latency_objective_ms * 1e3;
    let fan = analysis.totals.fan_out.get(&step);
    let requests = fan.map_or(0, |fan| fan.callees.len() as u64);
    let severity = if cost_us >= COSTLY * objective_us {
        (
            Severity::Medium,
            format!("costs {} of a request that meets the objective", percent(cost_us / objective_us)),
        )
    } else {
        (Severity::Low, format!("costs only {} each time", time(cost_us)))
    };
    let issue = Issue::new(kind, severity, vec![source.into(), target.into()], seen.parents).titled(
        format!("{source} calls {target} in a loop"),
        format!(
            "{operation} makes the same call ({what}) {each:.1} times in turn, {} times in {requests} requests. Made at \
             once they would save up to {} each time.{}",
            seen.parents,
            time(cost_us),
            analysis.how_known((from, to))
        ),
    );
    let all = fan.map_or(0, |fan| fan.weight);
    let share = if all > 0 { (seen.weight as f64 / all as f64).min(1.0) } else { f64::NAN };
    Issue {
        affected_requests: (seen.weight / 256).max(1),
        example_trace_id: shown_trace(seen.worst),
        ..issue
    }
    .with([
        ("calls_in_turn", each),
        ("occurrences", seen.parents as f64),
        ("request_share", share),
        ("saving_ms", cost_us / 1e3),
        ("loops", number as f64),
    ])
}

/// One finding for each pair of caller and callee.
pub(super) fn retries(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    let reached = amplification(analysis);
    let mut hops: Vec<(&(usize, usize), &Hop)> = analysis.totals.hops.iter().collect();
    hops.sort_unstable_by_key(|hop| *hop.0);
    for (&(from, to), hop) in hops {
        let retries = hop.calls.saturating_sub(hop.logical);
        let factor = factor(hop);
        let shown = analysis.is_shown(from) || analysis.is_shown(to);
        if factor < AMPLIFIED || retries < LEAST_RETRIES || !shown {
            continue;
        }
        let along = reached[from] * factor;
        let severity = if along >= AMPLIFIED_PATH {
            (Severity::High, format!("{along:.1} calls reach it for each one at the entry"))
        } else {
            (Severity::Medium, format!("{factor:.1} calls for each one that was meant"))
        };
        let (source, target) = (analysis.id(from), analysis.id(to));
        let issue = Issue::new(
            IssueKind::RetryStorm,
            severity,
            vec![source.into(), target.into()],
            hop.logical,
        )
        .titled(
            format!("{source} repeats failed calls of {target}"),
            format!(
                "{retries} of {} calls repeat a failed one: the load grows when {target} is weakest.{}",
                hop.calls,
                analysis.how_known((from, to))
            ),
        );
        issues.push(
            Issue {
                affected_requests: (hop.weights[0].saturating_sub(hop.weights[1])) / 256,
                example_trace_id: shown_trace(hop.worst),
                ..issue
            }
            .with([
                ("amplification", factor),
                ("path_amplification", along),
                ("retries", retries as f64),
                ("calls", hop.calls as f64),
            ]),
        );
    }
}

/// Calls for each one that was meant.
pub(in crate::analysis) fn factor(hop: &Hop) -> f64 {
    hop.weights[0] as f64 / hop.weights[1].max(1) as f64
}

/// The largest product of factors on a way to each node. Calls inside of a cycle are left out: a way through them has
/// no end.
pub(in crate::analysis) fn amplification(analysis: &Analysis<'_>) -> Vec<f64> {
    let parts = &analysis.components;
    let mut reached = vec![1.0f64; parts.count];
    // Callers have higher numbers.
    let mut hops: Vec<(usize, usize, f64)> = analysis
        .totals
        .hops
        .iter()
        .map(|(&(from, to), hop)| (parts.of[from], parts.of[to], factor(hop)))
        .filter(|(from, to, _)| from > to)
        .collect();
    hops.sort_unstable_by_key(|hop| Reverse(hop.0));
    for (from, to, factor) in hops {
        reached[to] = reached[to].max(reached[from] * factor);
    }
    parts.of.iter().map(|&part| reached[part]).collect()
}

fn shown_trace(example: Example) -> Option<String> {
    example.trace().map(|trace| trace.to_string())
}
