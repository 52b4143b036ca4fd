//! R10: by how much the clock of a span's host differs from its caller's, for showing a trace in time and for what
//! takes part in its critical path. Counts of rollups and edges never use this.
//!
//! A child on another host that lies outside of its parent, where it cannot have been, is moved into it, and what it
//! caused on its own host moves along. Of a request and its answer the child is put into the middle of its parent, as if
//! both ways took the same time; of anything else only the order is certain, so it is moved to the begin of its parent.
//! (The query service of Jaeger does the same; here a span that ends late alone is no reason, unless somebody waited for
//! it, and a move beyond a limit is none.)

use super::{
    family::Family,
    trace::{Above, canonical, from_roots},
};
use crate::{
    facts::Facts,
    span::{Kind, Side},
};

/// The largest move, nanoseconds (5 minutes): clocks that nobody sets drift by seconds a day. More is a wrong parent, or
/// a wrong start.
pub const MAX_SHIFT_NS: u64 = 300_000_000_000;

/// For each span of one trace, in the order given, what has to be added to its times, nanoseconds. 0 where the clocks
/// agree, where they cannot be compared (the parent is absent, an id stands for several spans, a host is unknown), and
/// beyond [`MAX_SHIFT_NS`].
pub fn clock_shifts(trace: &[&Facts]) -> Vec<i64> {
    let mut order: Vec<usize> = (0..trace.len()).collect();
    order.sort_by(|&a, &b| canonical(trace[a]).cmp(&canonical(trace[b])));
    let spans: Vec<&Facts> = order.iter().map(|&at| trace[at]).collect();
    let mut parent = Family::new(&spans).parents();
    let top_down = from_roots(&mut parent);
    let known = |above| if let Above::Span(at) = above { Some(at) } else { None };
    let parent: Vec<Option<usize>> = parent.into_iter().map(known).collect();
    let mut given = vec![0; trace.len()];
    for (at, shift) in order.into_iter().zip(shifts(&spans, &parent, &top_down)) {
        given[at] = shift;
    }
    given
}

/// The same for spans in canonical order whose parents are known; `top_down` has parents before children.
pub(super) fn shifts(spans: &[&Facts], parent: &[Option<usize>], top_down: &[usize]) -> Vec<i64> {
    let ambiguous = ambiguous(spans);
    let mut shifts = vec![0; spans.len()];
    for &span in top_down {
        let Some(above) = parent[span] else { continue };
        let (p, c) = (spans[above], spans[span]);
        shifts[span] = if same_host(p, c) {
            shifts[above]
        } else if p.instance == 0 || c.instance == 0 || ambiguous[span] || ambiguous[above] {
            0
        } else {
            shift(p, shifts[above], c)
        };
    }
    shifts
}

/// Spans of one service whose host is unknown are taken to be of one host.
fn same_host(a: &Facts, b: &Facts) -> bool {
    a.instance == b.instance && (a.instance != 0 || a.service == b.service)
}

/// Spans whose id has another span of the same half: which of them a child belongs to is a guess.
fn ambiguous(spans: &[&Facts]) -> Vec<bool> {
    let mut ambiguous = Vec::with_capacity(spans.len());
    for group in spans.chunk_by(|a, b| a.span_id == b.span_id) {
        let of = |side| group.iter().filter(|span| span.kind.side() == side).count();
        let counts = [Side::Out, Side::In, Side::Local].map(of);
        ambiguous.extend(group.iter().map(|span| counts[span.kind.side() as usize] > 1));
    }
    ambiguous
}

/// The move of a child whose parent was moved by `by`.
fn shift(parent: &Facts, by: i64, child: &Facts) -> i64 {
    let (start, end) = (moved(parent.start_ns, by), moved(parent.end_ns(), by));
    let early = i128::from(child.start_ns) < start;
    let late = i128::from(child.end_ns()) > end;
    let waited = parent.kind == Kind::Client && child.kind == Kind::Server;
    let target = match (parent.duration_ns, child.duration_ns) {
        (Some(whole), Some(part)) if waited && part <= whole && (early || late) => {
            start + i128::from((whole - part) / 2)
        }
        _ if early => start,
        _ => return 0,
    };
    let shift = i64::try_from(target - i128::from(child.start_ns)).unwrap_or(0);
    if shift.unsigned_abs() > MAX_SHIFT_NS { 0 } else { shift }
}

fn moved(ns: u64, by: i64) -> i128 {
    i128::from(ns) + i128::from(by)
}
