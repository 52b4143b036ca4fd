//! Rules that make findings of figures. Each has one finding per subject, whatever number of paths lead to it.

mod calls;
mod requests;
mod shape;

pub(super) use requests::{amplification, factor};

use super::{Analysis, Issue, IssueKind, NotChecked, issue};

/// Least number of services of which one can stand out.
pub(super) const LEAST_SERVICES: usize = 8;

/// All findings, the worst first.
pub(super) fn apply(analysis: &Analysis<'_>) -> Vec<Issue> {
    let mut issues = Vec::new();
    calls::high_latency(analysis, &mut issues);
    calls::high_error_rate(analysis, &mut issues);
    shape::cyclic(analysis, &mut issues);
    shape::single_points(analysis, &mut issues);
    shape::shared_databases(analysis, &mut issues);
    shape::god_services(analysis, &mut issues);
    requests::deep_chains(analysis, &mut issues);
    requests::fan_out(analysis, &mut issues);
    requests::loops(analysis, &mut issues);
    requests::retries(analysis, &mut issues);
    issue::sort(&mut issues);
    issues
}

/// What could not be looked for, and why.
pub(super) fn not_checked(analysis: &Analysis<'_>) -> Vec<NotChecked> {
    const TRACES: &str = "no trace of the window was looked at as a whole";
    const SERVICES: &str = "needs at least 8 services to tell which one stands out";
    let without_traces = [
        IssueKind::DeepSyncChain,
        IssueKind::FanOutOverload,
        IssueKind::GodService,
        IssueKind::NPlusOne,
        IssueKind::ChattyCalls,
        IssueKind::RetryStorm,
    ];
    if analysis.totals.traces == 0 {
        return without_traces.map(|kind| NotChecked { kind, reason: TRACES }).to_vec();
    }
    if analysis.services().count() < LEAST_SERVICES {
        return vec![NotChecked { kind: IssueKind::GodService, reason: SERVICES }];
    }
    Vec::new()
}

/// A share as people read it.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 { format!("{percent:.0} %") } else { format!("{percent:.1} %") }
}

/// A duration in microseconds as people read it.
fn time(us: f64) -> String {
    match us {
        us if us >= 10_000_000.0 => format!("{:.1} s", us / 1e6),
        us if us >= 10_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} ms", us / 1e3),
    }
}

/// Calls that a weight in 1/256 stands for.
fn calls_of(weight: i64) -> u64 {
    u64::try_from(weight / 256).unwrap_or(0)
}
