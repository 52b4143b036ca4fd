//! R10: one clock for a trace.

use crate::facts::Facts;

/// A clock that is further off is no skew but another fault, which moving spans would hide.
const MOST_NS: u64 = 3_600_000_000_000;

/// Start and end of all spans by the clock of their top. A server half on another host cannot begin before its caller:
/// then it is moved into the caller's middle, and what is below on the same host along with it.
pub(super) fn aligned(spans: &[&Facts], parent: &[Option<usize>], order: &[usize]) -> Vec<(u64, u64)> {
    let mut times: Vec<(u64, u64)> = spans.iter().map(|span| (span.start_ns, span.end_ns())).collect();
    let mut shift = vec![0u64; spans.len()];
    for &span in order {
        let Some(above) = parent[span] else { continue };
        let (a, s) = (spans[above], spans[span]);
        if same_host(a, s) {
            shift[span] = shift[above];
        } else {
            let (from, to) = times[above];
            let early = from.saturating_sub(s.start_ns);
            if early > 0 {
                let room = (to - from).saturating_sub(s.duration_ns.unwrap_or(0));
                shift[span] = early + room / 2;
            }
        }
        if shift[span] <= MOST_NS {
            times[span].0 = times[span].0.saturating_add(shift[span]);
            times[span].1 = times[span].1.saturating_add(shift[span]);
        } else {
            shift[span] = 0;
        }
    }
    times
}

/// Do two spans have one clock? Without a host, one service is taken for one clock.
fn same_host(a: &Facts, b: &Facts) -> bool {
    if a.instance != 0 && b.instance != 0 { a.instance == b.instance } else { a.service == b.service }
}
