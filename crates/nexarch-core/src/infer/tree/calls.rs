//! The calls in a trace, each once: the innermost of several layers, as R3, R4 and R6 count them.

use super::{super::target::target, Tree};
use crate::{
    facts::{Facts, RemoteKind},
    infer::trace::is_call,
    rollup::{NodeKey, Table},
    span::Kind,
};

/// A call of a service to something else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// The caller's span of it; where that is missing, the span with which the callee's request begins.
    pub(crate) at: usize,
    /// The callee's request, where it is known: the first of them.
    pub(crate) reached: Option<usize>,
    /// How many requests of the callee it became one after the other: more than one when a proxy retries.
    pub(crate) times: u32,
    /// What is called: a node of the table; `None` when nobody says.
    pub(crate) to: Option<u32>,
    /// Did a half of it fail?
    pub(crate) error: bool,
    /// Does the caller wait for it? Not for a message.
    pub(crate) waits: bool,
}

impl Tree<'_> {
    /// Fills in `calls`.
    pub(super) fn find_calls(&mut self, call_above: &[Option<usize>], table: &mut Table) {
        let mut reached: Vec<Vec<usize>> = vec![Vec::new(); self.spans.len()];
        let mut bare = vec![false; self.spans.len()];
        for &span in &self.order {
            let Some(above) = self.parent[span].filter(|_| self.is_request(span)) else { continue };
            let call = if is_call(self.spans[above]) { Some(above) } else { call_above[above] };
            match call {
                Some(call) => reached[call].push(span),
                None => bare[span] = self.service[span] != self.service[above],
            }
        }
        let targets: Vec<Option<u32>> = (0..self.spans.len())
            .map(|span| match reached[span].first() {
                Some(&request) => Some(self.service[request]),
                None if is_call(self.spans[span]) => {
                    target(self.spans[span], table).map(|key: NodeKey| table.node(key))
                }
                None => None,
            })
            .collect();
        let folded = self.folded(call_above, &reached, &targets);
        for &span in &self.order {
            if is_call(self.spans[span]) && !folded[span] {
                self.calls.push(self.call(span, &reached[span], targets[span]));
            }
            if bare[span] {
                self.calls.push(self.call(span, &[span], Some(self.service[span])));
            }
        }
    }

    fn call(&self, at: usize, reached: &[usize], to: Option<u32>) -> Call {
        let first = reached.first().copied();
        let message = |span: usize| matches!(self.spans[span].kind, Kind::Producer | Kind::Consumer);
        Call {
            at,
            reached: first,
            times: self.attempts(reached),
            to,
            error: self.spans[at].error
                || (!reached.is_empty() && reached.iter().all(|&by| self.spans[by].error)),
            waits: !message(at) && !first.is_some_and(message),
        }
    }

    /// How often a call was tried: a request that begins after another one failed repeats it. Requests at the same time
    /// are one call that went to several, such as a message to all.
    fn attempts(&self, reached: &[usize]) -> u32 {
        let mut by_start: Vec<(u64, usize)> =
            reached.iter().map(|&span| (self.times[span].0, span)).collect();
        by_start.sort_unstable();
        let (mut attempts, mut failed) = (1, None::<u64>);
        for (start, span) in by_start {
            if failed.is_some_and(|end| end <= start) {
                attempts += 1;
                failed = None;
            }
            if self.spans[span].error {
                let end = self.times[span].1;
                failed = Some(failed.map_or(end, |first| first.min(end)));
            }
        }
        attempts
    }

    /// Which calls are another layer of one that counts.
    fn folded(
        &self,
        call_above: &[Option<usize>],
        reached: &[Vec<usize>],
        targets: &[Option<u32>],
    ) -> Vec<bool> {
        let mut folded = vec![false; self.spans.len()];
        for &inner in self.order.iter().rev() {
            let Some(outer) = call_above[inner].filter(|_| is_call(self.spans[inner])) else { continue };
            let (o, i) = (self.spans[outer], self.spans[inner]);
            let lost = reached[inner].is_empty();
            if lost && !is_plain(o) && is_plain(i) {
                // A database or model call over HTTP is that call.
                folded[inner] = true;
            } else if lost && !reached[outer].is_empty() {
                folded[inner] |= same(o, i, targets[outer] == targets[inner]);
            } else {
                folded[outer] |= targets[outer].is_none() || same(o, i, targets[outer] == targets[inner]);
            }
        }
        folded
    }
}

fn is_plain(span: &Facts) -> bool {
    span.remote_kind == RemoteKind::Service
}

/// Are two layers of calls one call?
fn same(outer: &Facts, inner: &Facts, same_target: bool) -> bool {
    let store = |span: &Facts| matches!(span.remote_kind, RemoteKind::Database | RemoteKind::Cache);
    let same_host = !outer.address.is_empty() && outer.address == inner.address;
    same_target || same_host || (store(outer) && store(inner))
}
