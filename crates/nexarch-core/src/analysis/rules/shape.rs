//! What the shape of the graph says.

use super::{LEAST_SERVICES, percent};
use crate::{
    analysis::{
        Analysis, Issue, IssueKind, Severity,
        structure::{Coupling, Cycle},
        traces::quantile,
    },
    graph::NodeType,
};

/// Services that depend on each other, one finding for each component.
pub(super) fn cyclic(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    for cycle in &analysis.cycles {
        if cycle.members.iter().any(|&at| analysis.is_shown(at)) {
            issues.push(cycle_issue(analysis, cycle));
        }
    }
}

fn cycle_issue(analysis: &Analysis<'_>, cycle: &Cycle) -> Issue {
    let ids = |nodes: &[usize]| nodes.iter().map(|&at| analysis.id(at).to_owned()).collect::<Vec<_>>();
    let queue = cycle.path.iter().any(|&at| analysis.graph.nodes[at].kind == NodeType::Queue);
    let severity = if queue {
        (Severity::Medium, "they wait for messages, not for each other".into())
    } else {
        (Severity::High, "none can start, be released or recover without the others".into())
    };
    let mut round = ids(&cycle.path);
    round.push(round[0].clone());
    let (from, to) = (analysis.id(cycle.cut.0), analysis.id(cycle.cut.1));
    let calls: u64 = cycle.path.iter().enumerate().fold(0, |sum, (at, &node)| {
        let next = cycle.path[(at + 1) % cycle.path.len()];
        sum.saturating_add(analysis.net.weight(node, next).unwrap_or(0))
    });
    // Members come and go. The first call of the cycle stays what it is, unless a new one makes a shorter cycle, or
    // one as short that comes before it.
    let subject = ids(&cycle.path[..2]);
    let issue = Issue::new(IssueKind::CyclicDependency, severity, subject, cycle.cut_weight).titled(
        format!("{} parts depend on each other", cycle.members.len()),
        format!(
            "A shortest cycle is {}. The call with the least traffic on it is {from} → {to} ({} calls).",
            round.join(" → "),
            cycle.cut_weight
        ),
    );
    Issue { affected: ids(&cycle.members), affected_requests: calls, ..issue }.with([
        ("members", cycle.members.len() as f64),
        ("cycle_length", cycle.path.len() as f64),
        ("cut_calls", cycle.cut_weight as f64),
    ])
}

/// At least this share of entry requests must pass a single point of failure, …
const PASSING: f64 = 0.5;
/// … and its failure must make theirs this much likelier.
const HARD: f64 = 0.5;
/// More callers than this are a note.
const CALLERS: usize = 5;

/// Dominators and articulation points whose failure is everybody's. Entries are left out: that every request passes
/// its own entry says nothing.
pub(super) fn single_points(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    for at in analysis.inner().filter(|&at| analysis.is_shown(at)) {
        let callers = analysis.net.callers(at).len();
        let (share, hardness) = (analysis.passing_share(at), analysis.totals.passing[at].hardness());
        // With nothing behind it a part is a leaf, however many call it: its callers' own findings tell of it.
        let needed = analysis.dominators.dominated[at] > 0 || analysis.cuts.cut_off[at] > 0;
        if !needed {
            continue;
        }
        let proven = share.is_some_and(|share| share >= PASSING) && hardness.is_some_and(|hard| hard > HARD);
        let severity = if proven && !analysis.is_entry[at] {
            let share = percent(share.unwrap_or(0.0));
            (Severity::High, format!("{share} of entry requests pass it, and fail when it does"))
        } else if callers > CALLERS {
            (Severity::Low, format!("{callers} callers, but no proof that requests fail with it"))
        } else {
            continue;
        };
        issues.push(single_point(analysis, at, severity));
    }
}

fn single_point(analysis: &Analysis<'_>, at: usize, severity: (Severity, String)) -> Issue {
    let (id, passing) = (analysis.id(at), &analysis.totals.passing[at]);
    let (share, hardness) = (analysis.passing_share(at), passing.hardness());
    let (below, cut_off) = (analysis.dominators.dominated[at], analysis.cuts.cut_off[at]);
    let requests = &analysis.graph.nodes[at].requests;
    let known = u64::try_from(requests.count).unwrap_or(0);
    let observed = if passing.count > 0 { passing.count } else { known };
    let issue = Issue::new(IssueKind::SinglePointOfFailure, severity, vec![id.into()], observed)
        .titled(format!("Much depends on {id}"), behind(analysis.net.callers(at).len(), below, cut_off));
    Issue { affected_requests: requests.calls(), ..issue }.with([
        ("entry_share", share.unwrap_or(f64::NAN)),
        ("hardness", hardness.unwrap_or(f64::NAN)),
        ("dominated", below as f64),
        ("cut_off", cut_off as f64),
        ("callers", analysis.net.callers(at).len() as f64),
        ("blast_radius", analysis.reach.above[at] as f64),
    ])
}

fn behind(callers: usize, below: usize, cut_off: usize) -> String {
    let part = |count: usize| if count == 1 { "1 part".to_owned() } else { format!("{count} parts") };
    let mut text = if callers == 1 { "1 caller".to_owned() } else { format!("{callers} callers") };
    if below > 0 {
        text += "; ";
        text += &part(below);
        text += " can be reached through it alone";
    }
    if cut_off > 0 {
        text += "; ";
        text += &part(cut_off);
        text += " would lose the connection with all others without it";
    }
    text + "."
}

/// Databases that several services use: a fault when several write.
pub(super) fn shared_databases(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    for at in analysis.inner().filter(|&at| analysis.graph.nodes[at].kind == NodeType::Database) {
        let users: Vec<usize> = analysis.net.callers(at).to_vec();
        if users.len() < 2 || !users.iter().any(|&user| analysis.is_shown(user)) {
            continue;
        }
        let accesses = |user: usize| analysis.totals.accesses.get(&(user, at)).copied().unwrap_or_default();
        let writers = users.iter().filter(|&&user| accesses(user).writes > 0).count();
        let readers = users
            .iter()
            .filter(|&&user| {
                let seen = accesses(user);
                seen.reads > 0 && seen.writes + seen.unknown == 0
            })
            .count();
        let severity = if writers >= 2 {
            (Severity::Medium, format!("{writers} services write to it"))
        } else if writers + readers == users.len() {
            (Severity::Low, "at most one service was seen to write".into())
        } else {
            (Severity::Low, "span names do not tell who writes".into())
        };
        let id = analysis.id(at);
        let mut subject = vec![id.to_owned()];
        subject.extend(users.iter().map(|&user| analysis.id(user).to_owned()));
        let requests = &analysis.graph.nodes[at].requests;
        let n = u64::try_from(requests.count).unwrap_or(0);
        let names = subject[1..].join(", ");
        let mut issue = Issue::new(IssueKind::SharedDatabase, severity, vec![id.into()], n)
            .titled(
                format!("{} services share {id}", users.len()),
                format!("{names} use one database: none can change its schema alone."),
            )
            .with([("services", users.len() as f64), ("writers", writers as f64), ("calls", n as f64)]);
        issue.affected = subject;
        issue.affected_requests = requests.calls();
        issues.push(issue);
    }
}

/// Services whose operations, callers, callees and time on critical paths are all far above the others'.
pub(super) fn god_services(analysis: &Analysis<'_>, issues: &mut Vec<Issue>) {
    let services: Vec<usize> = analysis.services().collect();
    let Some(shares) = &analysis.path_share else { return };
    if services.len() < LEAST_SERVICES {
        return;
    }
    // Shares in millionths: integers have a total order.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,000,000")]
    let figures = |at: usize| {
        let Coupling { callers, callees, .. } = Coupling::of(&analysis.net, at);
        [analysis.operations[at], callers, callees, (shares[at] * 1e6) as usize]
    };
    let all: Vec<[usize; 4]> = services.iter().map(|&at| figures(at)).collect();
    let fence = |which: usize| {
        let values: Vec<usize> = all.iter().map(|figures| figures[which]).collect();
        let (first, third) = (quantile(&values, 250).unwrap_or(0), quantile(&values, 750).unwrap_or(0));
        // Doubled, to stay whole.
        2 * third + 3 * (third - first)
    };
    let fences = [0, 1, 2, 3].map(fence);
    for (&at, figures) in services.iter().zip(&all) {
        if figures.iter().zip(fences).all(|(&figure, fence)| 2 * figure > fence) {
            issues.push(god_issue(analysis, at, *figures, services.len()));
        }
    }
}

fn god_issue(analysis: &Analysis<'_>, at: usize, figures: [usize; 4], services: usize) -> Issue {
    let (id, requests) = (analysis.id(at), &analysis.graph.nodes[at].requests);
    let [operations, fan_in, fan_out, share] = figures;
    let reason = format!("all four figures stand out among {services} services");
    let n = u64::try_from(requests.count).unwrap_or(0);
    let issue = Issue::new(IssueKind::GodService, (Severity::Medium, reason), vec![id.into()], n).titled(
        format!("{id} does too much"),
        format!(
            "{operations} operations, {fan_in} callers, {fan_out} callees, {} of all critical paths.",
            percent(share as f64 / 1e6)
        ),
    );
    Issue { affected_requests: requests.calls(), ..issue }.with([
        ("operations", operations as f64),
        ("callers", fan_in as f64),
        ("callees", fan_out as f64),
        ("critical_path_share", share as f64 / 1e6),
    ])
}
