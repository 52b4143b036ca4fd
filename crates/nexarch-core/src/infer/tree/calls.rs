//! The calls in a trace, each once: of several layers the one that the map counts.

use super::{
    super::{
        calls::is_misnamed,
        messages::{Flow, flow},
        nested::Nested,
        outs::calls,
        target::{names_queue, target},
        trace::{Above, is_call},
    },
    Tree,
};
use crate::{
    facts::Facts,
    rollup::{NodeKey, Table},
    span::{Kind, Side},
};

/// A call of a service to something else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    /// The caller's span of it; where that is missing, the span with which the callee's request begins.
    pub(crate) at: usize,
    /// The request of the caller.
    pub(crate) caller: usize,
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
    pub(super) fn find_calls(&mut self, call_above: &[Option<usize>], up: &[Above], table: &mut Table) {
        let mut reached: Vec<Vec<usize>> = vec![Vec::new(); self.spans.len()];
        let mut bare = vec![false; self.spans.len()];
        for &span in &self.order {
            let Some(above) = self.parent[span] else { continue };
            if self.takes_from(above, span) {
                reached[above].push(span);
                continue;
            }
            if !self.is_request(span) {
                continue;
            }
            if is_misnamed(self.spans[span]) || takes(self.spans[span]) && takes(self.spans[above]) {
                // Who asks a queue for messages calls nobody that processes them.
                continue;
            }
            // Local spans of the callee are its own.
            let Above::Span(above) = up[span] else { continue };
            let call = if is_call(self.spans[above]) { Some(above) } else { call_above[above] };
            match call {
                Some(call) => reached[call].push(span),
                None => bare[span] = self.service[span] != self.service[above],
            }
        }
        let answered: Vec<Option<usize>> = reached.iter().map(|by| by.first().copied()).collect();
        let names = |span: &&Facts| calls(span).then(|| target(span, table)).flatten();
        let targets: Vec<Option<NodeKey>> = self.spans.iter().map(names).collect();
        let (spans, answered, targets) = (&self.spans[..], &answered[..], &targets[..]);
        let mut folded = Nested { spans, call_above, answered, targets }.folded();
        for &span in self.order.iter().filter(|&&span| is_call(spans[span])) {
            if let Some(outer) = call_above[span] {
                folded[outer] |= answered[outer].is_none() && targets[outer].is_none();
            }
        }
        for &span in &self.order {
            let to = match answered[span] {
                Some(request) => Some(self.service[request]),
                None => targets[span].map(|key| table.node(key)),
            };
            let arrives = answered[span].is_some_and(|by| !takes(spans[by]));
            let is_told = calls(spans[span]) || is_call(spans[span]) && arrives;
            if is_told && !folded[span] {
                self.calls.push(self.call(span, &reached[span], to));
            }
            if bare[span] {
                self.calls.push(self.call(span, &[span], Some(self.service[span])));
            }
        }
    }

    /// Does a span that asks for messages, without being a request, take them from its parent through a queue?
    fn takes_from(&self, above: usize, span: usize) -> bool {
        let (from, by) = (self.spans[above], self.spans[span]);
        let asks = self.side(span) != Side::In && takes(by);
        asks && self.side(above) == Side::Out
            && flow(from) == Some(Flow::Sends)
            && (names_queue(from) || names_queue(by))
    }

    fn call(&self, at: usize, reached: &[usize], to: Option<u32>) -> Call {
        let first = reached.first().copied();
        let by = self.parent[at].filter(|_| first == Some(at)).unwrap_or(at);
        let message = |span: usize| matches!(self.spans[span].kind, Kind::Producer | Kind::Consumer);
        Call {
            at,
            caller: self.request[by],
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
}

fn takes(span: &Facts) -> bool {
    flow(span) == Some(Flow::Takes)
}
