//! The critical path of a request, and self times.

use crate::{
    infer::tree::Tree,
    span::{Kind, Side},
};

/// Siblings that overlap by less than this ran after each other; clocks are no better. Or by 1 % of the earlier one:
/// as CRISP (USENIX ATC 2022) tolerates.
const OVERLAP_NS: u64 = 10_000;

/// A piece of a critical path: time that a span spent on it without any of its children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Index of the span.
    pub(crate) span: usize,
    /// Begin, nanoseconds since the Unix epoch, by the clock of the top.
    pub(crate) from: u64,
    /// End.
    pub(crate) to: u64,
}

/// A span whose children are being looked at, from the end backwards.
struct Visit {
    span: usize,
    from: u64,
    /// All before it is not yet explained.
    cursor: u64,
    /// Whether nothing was taken yet: then a child may end after its parent, and is cut.
    fresh: bool,
    /// The latest end last.
    children: Vec<usize>,
}

impl Visit {
    fn new(tree: &Tree<'_>, span: usize, from: u64, cursor: u64) -> Self {
        // Nobody waits for a message to be processed.
        let waited = |child: &usize| tree.is_timed(*child) && tree.spans[*child].kind != Kind::Consumer;
        let mut children: Vec<usize> = tree.children(span).iter().copied().filter(waited).collect();
        // Of equal ends the longer one is taken, and then the first in canonical order.
        children.sort_by_key(|&child| {
            let (start, end) = tree.times[child];
            (end, std::cmp::Reverse((start, child)))
        });
        Self { span, from, cursor, fresh: true, children }
    }

    /// The child that finished last before the cursor, with its part of the time that is not yet explained.
    fn next(&mut self, tree: &Tree<'_>) -> Option<(usize, u64, u64)> {
        while let Some(child) = self.children.pop() {
            let (start, end) = tree.times[child];
            let tolerated = OVERLAP_NS.max((end - start) / 100);
            let (start, cut) = (start.max(self.from), end.min(self.cursor));
            if start < cut && (self.fresh || end <= self.cursor.saturating_add(tolerated)) {
                self.fresh = false;
                return Some((child, start, cut));
            }
        }
        None
    }
}

/// The segments that explain the duration of a span, in time order: they partition its interval. From its end: the
/// child that finished last, and its own path; then the last child that had ended when that one started, and so on.
/// O(n log n).
pub(crate) fn critical_path(tree: &Tree<'_>, top: usize) -> Vec<Segment> {
    let (from, to) = tree.times[top];
    let mut segments = Vec::new();
    let mut open = vec![Visit::new(tree, top, from, to)];
    while let Some(visit) = open.last_mut() {
        if let Some((child, start, end)) = visit.next(tree) {
            segments.push(Segment { span: visit.span, from: end, to: visit.cursor });
            visit.cursor = start;
            open.push(Visit::new(tree, child, start, end));
        } else {
            segments.push(Segment { span: visit.span, from: visit.from, to: visit.cursor });
            open.pop();
        }
    }
    segments.retain(|segment| segment.from < segment.to);
    segments.reverse();
    segments
}

/// Duration of a span without the time in which a child ran, nanoseconds.
pub(crate) fn self_time(tree: &Tree<'_>, span: usize) -> u64 {
    let (from, to) = tree.times[span];
    let mut children: Vec<(u64, u64)> = tree.children(span).iter().map(|&child| tree.times[child]).collect();
    children.sort_unstable();
    let mut covered = from;
    let mut own = 0;
    for (start, end) in children {
        own += start.clamp(covered, to.max(covered)) - covered;
        covered = covered.max(end.min(to));
    }
    own + to.saturating_sub(covered)
}

/// How deep requests wait for requests: number of nested requests that end with this one, by span. A message begins
/// anew, and so does what starts after its caller ended.
pub(crate) fn depths(tree: &Tree<'_>) -> Vec<u32> {
    let mut depth = vec![0; tree.spans.len()];
    for &span in &tree.order {
        let above = tree.parent[span];
        if !tree.is_request(span) {
            depth[span] = depth[tree.request[span]];
            continue;
        }
        let waits = above.is_some_and(|above| {
            let message = tree.spans[span].kind == Kind::Consumer || tree.spans[above].kind == Kind::Producer;
            let late = tree.is_timed(above) && tree.times[span].0 >= tree.times[above].1;
            !message && !late
        });
        let callers = if waits { above.map_or(0, |above| depth[tree.request[above]]) } else { 0 };
        // A client at the top is no request.
        depth[span] = callers + u32::from(above.is_some() || tree.side(span) != Side::Out);
    }
    depth
}
