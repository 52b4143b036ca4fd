//! Slow and failing calls, each reported where it begins.

use super::{calls_of, percent, time};
use crate::{
    analysis::{Analysis, Issue, IssueKind, Severity, structure::reachable},
    graph::NodeType,
    rollup::Cell,
    season::{Figure, Regression},
};

/// Least number of calls whose p95 says something.
const LEAST_CALLS: i64 = 20;
/// More than this share of failures is too much, if there are at least [`LEAST_ERRORS`].
const ERRORS: f64 = 0.05;
const LEAST_ERRORS: i64 = 2;

/// Most callers listed as affected; their number is in the evidence.
const CALLERS_LISTED: usize = 100;

/// A slow pair of nodes.
struct Slow {
    ends: (usize, usize),
    p95_us: f64,
    calls: Cell,
    /// How the last hour was slower than the weeks before, when it was.
    regressed: Option<Regression>,
}

/// p95 over the latency objective, or far over what is usual, where no slow call of the callee explains it.
pub(super) fn high_latency(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    let objective_us = analysis.context.latency_objective_ms * 1000.0;
    let slow: Vec<Slow> = analysis
        .pairs()
        .filter_map(|pair| {
            let (calls, ends) = (pair.calls(), pair.ends());
            let regressed = analysis.context.regressed;
            let regressed = regressed.and_then(|all| all.edge(analysis.id(ends.0), analysis.id(ends.1)));
            let regressed = regressed.filter(|it| it.figure == Figure::Latency).copied();
            let p95_us = calls.quantile_us(950)?;
            let slow = p95_us > objective_us || regressed.is_some();
            (slow && calls.timed >= LEAST_CALLS).then_some(Slow { ends, p95_us, calls, regressed })
        })
        .collect();
    // Inside a cycle everything could explain everything: there the slowest edge is the cause.
    let part = |at: usize| analysis.components.of[at];
    let mut leaves_slow = vec![false; analysis.components.count];
    let mut slowest: Vec<Option<(f64, (usize, usize))>> = vec![None; analysis.components.count];
    for edge in &slow {
        let (from, to) = edge.ends;
        if part(from) != part(to) {
            leaves_slow[part(from)] = true;
        } else if slowest[part(from)].is_none_or(|(p95, _)| p95 < edge.p95_us) {
            slowest[part(from)] = Some((edge.p95_us, edge.ends));
        }
    }
    for edge in &slow {
        let (from, to) = edge.ends;
        let explained = leaves_slow[part(to)] || slowest[part(to)].is_some_and(|(_, ends)| ends != edge.ends);
        if !explained && (analysis.is_shown(from) || analysis.is_shown(to)) {
            issues.push(slow_issue(analysis, edge, objective_us));
        }
    }
}

fn slow_issue(analysis: &Analysis<'_>, edge: &Slow, objective_us: f64) -> Issue {
    let (from, to) = (analysis.id(edge.ends.0), analysis.id(edge.ends.1));
    let above = edge.calls.histogram.weight_above(whole(objective_us));
    let n = u64::try_from(edge.calls.timed).unwrap_or(0);
    let over = edge.p95_us > objective_us;
    let usual = edge.regressed.map(|it| {
        format!(
            "p95 of the last whole hour is {}, usual at this hour of the week is {} (z {:.1}, {} weeks)",
            time(it.now),
            time(it.usual),
            it.z,
            it.weeks
        )
    });
    let reason = match &usual {
        Some(usual) if !over => usual.clone(),
        _ => format!("p95 over the latency objective of {}", time(objective_us)),
    };
    let said = format!(
        "95 % of {n} calls took up to {}; the objective is {}. No slow call of {to} explains it.{}{}",
        time(edge.p95_us),
        time(objective_us),
        usual.filter(|_| over).map(|usual| format!(" The {usual}.")).unwrap_or_default(),
        analysis.how_known(edge.ends)
    );
    let issue =
        Issue::new(IssueKind::HighLatencyEdge, (Severity::High, reason), vec![from.into(), to.into()], n)
            .titled(format!("Calls of {from} to {to} are slow"), said)
            .doubted(edge.regressed.filter(|_| !over).map_or(0.0, |it| it.q_value));
    let affected = if over { calls_of(above) } else { edge.calls.calls() };
    let of = |figure: fn(Regression) -> f64| edge.regressed.map_or(f64::NAN, figure);
    Issue { affected_requests: affected, ..issue }.with([
        ("p95_ms", edge.p95_us / 1e3),
        ("objective_ms", objective_us / 1e3),
        ("calls", n as f64),
        ("slow_share", above as f64 / edge.calls.histogram.total().max(1) as f64),
        ("hour_p95_ms", of(|it| it.now / 1e3)),
        ("usual_p95_ms", of(|it| it.usual / 1e3)),
        ("robust_z", of(|it| it.z)),
    ])
}

/// A limit in whole microseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates, which is what a limit means"
)]
fn whole(us: f64) -> u64 {
    us as u64
}

fn fails(cell: &Cell) -> bool {
    cell.errors >= LEAST_ERRORS && cell.error_rate().is_some_and(|rate| rate > ERRORS)
}

/// Too many failures, reported at the deepest failing part; its failing callers are affected.
pub(super) fn high_error_rate(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    let nodes = &analysis.graph.nodes;
    let failing: Vec<bool> =
        nodes.iter().map(|node| node.kind != NodeType::User && fails(&node.requests)).collect();
    let mut below = vec![Vec::new(); nodes.len()];
    let mut above = vec![Vec::new(); nodes.len()];
    for pair in analysis.pairs() {
        let (from, to) = pair.ends();
        if failing[from] && failing[to] && fails(&pair.calls()) {
            below[from].push(to);
            above[to].push(from);
        }
    }
    let part = |at: usize| analysis.components.of[at];
    let mut explained = vec![false; analysis.components.count];
    let mut worst: Vec<Option<usize>> = vec![None; analysis.components.count];
    let rate = |at: usize| nodes[at].requests.error_rate().unwrap_or(0.0);
    for at in (0..nodes.len()).filter(|&at| failing[at]) {
        explained[part(at)] |= below[at].iter().any(|&to| part(to) != part(at));
        // Where failing parts call each other in a circle, the one that fails most stands for them.
        if worst[part(at)].is_none_or(|other| rate(other) < rate(at)) {
            worst[part(at)] = Some(at);
        }
    }
    // A failing node that no failing call connects with the worst of its component has a cause of its own.
    for at in (0..nodes.len()).filter(|&at| failing[at] && !explained[part(at)]) {
        if worst[part(at)] == Some(at) || below[at].is_empty() {
            let feels = reachable(nodes.len(), [at], |node| &above[node]);
            let affected: Vec<usize> =
                (0..nodes.len()).filter(|&other| other != at && feels[other]).collect();
            if analysis.is_shown(at) || affected.iter().any(|&other| analysis.is_shown(other)) {
                issues.push(error_issue(analysis, at, &affected));
            }
        }
    }
}

fn error_issue(analysis: &Analysis<'_>, at: usize, callers: &[usize]) -> Issue {
    let (id, requests) = (analysis.id(at), &analysis.graph.nodes[at].requests);
    let rate = requests.error_rate().unwrap_or(0.0);
    let n = u64::try_from(requests.count).unwrap_or(0);
    let reason = format!("over {} of its requests fail", percent(ERRORS));
    let mut issue = Issue::new(IssueKind::HighErrorRate, (Severity::Critical, reason), vec![id.into()], n)
        .titled(
            format!("{id} fails"),
            format!(
                "{} of {n} requests failed ({}). Nothing that it calls fails as often; {} of its callers do.",
                requests.errors,
                percent(rate),
                callers.len()
            ),
        );
    issue.affected.extend(callers.iter().take(CALLERS_LISTED).map(|&caller| analysis.id(caller).to_owned()));
    issue.affected_requests = calls_of(requests.error_weight);
    issue.with([
        ("error_rate", rate),
        ("errors", requests.errors as f64),
        ("requests", n as f64),
        ("failing_callers", callers.len() as f64),
    ])
}
