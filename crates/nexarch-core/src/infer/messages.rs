//! R7: what moves through queues. The operation that a span states comes first, then its kind.
//!
//! Both legs of a message meet in one queue: service → queue is counted at the sender, queue → service at the receiver.
//! Which sender a receiver's messages come from is known from its parent and its links, into this trace and into others
//! ([`super::links`]). What is linked and not stored is a message whose sender is not known.

use super::{Inference, Sample, calls::Seen, linked::Linked, target::queue, trace::Above};
use crate::{
    facts::{Facts, Messaging, RemoteKind},
    rollup::{Amount, Key, NodeKey, Via},
    span::{Kind, Side},
};

/// How far up a receiving span looks for another layer of the same delivery, in its own service.
const LAYERS: usize = 8;

/// Which way a span moves messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    /// Into a queue.
    Sends,
    /// Out of a queue.
    Takes,
    /// Neither: it settles.
    Rests,
}

/// The way that a span moves messages, if it is about messages at all.
pub(super) fn flow(span: &Facts) -> Option<Flow> {
    match span.messaging {
        Messaging::Create | Messaging::Send => Some(Flow::Sends),
        Messaging::Receive | Messaging::Process => Some(Flow::Takes),
        Messaging::Settle => Some(Flow::Rests),
        Messaging::Unstated => match (span.kind, span.remote_kind) {
            (Kind::Producer, _) | (Kind::Client, RemoteKind::Queue) => Some(Flow::Sends),
            (Kind::Consumer, _) => Some(Flow::Takes),
            _ => None,
        },
    }
}

/// Does a SERVER or CONSUMER span take messages? A broker that is traced itself serves sends and receives; what a SERVER
/// processes was delivered to it.
pub(super) fn takes_in(span: &Facts) -> bool {
    flow(span) == Some(Flow::Takes) && (span.kind == Kind::Consumer || span.messaging == Messaging::Process)
}

/// May the messages of a receiving span come from this one? A client that states nothing may be a producer.
pub(super) fn may_send(span: &Facts) -> bool {
    match flow(span) {
        Some(flow) => flow == Flow::Sends,
        None => span.kind == Kind::Client,
    }
}

impl Inference<'_> {
    /// See [`may_send`].
    pub(super) fn sends(&self, span: usize) -> bool {
        may_send(self.trace.spans[span])
    }

    /// Marks receiving spans whose delivery another span of the same service and queue stands for: asking for messages
    /// where processing them lies below; and what an INTERNAL span repeats of the span that it lies in.
    pub(super) fn layers(&mut self) {
        for span in 0..self.trace.own {
            if flow(self.trace.spans[span]) != Some(Flow::Takes) {
                continue;
            }
            let Some(own) = queue(self.trace.spans[span], &mut self.table) else { continue };
            let mut at = span;
            for _ in 0..LAYERS {
                let Above::Span(above) = self.trace.parent[at] else { break };
                if self.trace.service[above] != self.trace.service[span] {
                    break;
                }
                at = above;
                if flow(self.trace.spans[above]) == Some(Flow::Takes)
                    && queue(self.trace.spans[above], &mut self.table) == Some(own)
                {
                    self.fold_layer(above, span);
                }
            }
        }
    }

    fn fold_layer(&mut self, outer: usize, inner: usize) {
        let asks = |at: usize| self.trace.spans[at].messaging == Messaging::Receive;
        let folded = if asks(outer) && (!asks(inner) || self.trace.side(outer) != Side::In) {
            outer
        } else if self.trace.side(inner) == Side::Local {
            inner
        } else {
            return;
        };
        if self.layered.is_empty() {
            self.layered.resize(self.trace.spans.len(), false);
        }
        self.layered[folded] = true;
    }

    /// Receiving spans that are no `in` spans: they ask for messages, and are no requests.
    pub(super) fn polls(&mut self, seen: &mut Seen) {
        for span in 0..self.trace.own {
            let facts = self.trace.spans[span];
            if self.trace.side(span) == Side::In || flow(facts) != Some(Flow::Takes) {
                continue;
            }
            let sender = match self.trace.parent[span] {
                Above::Span(parent) if flow(self.trace.spans[parent]) == Some(Flow::Sends) => Some(parent),
                _ => None,
            };
            if self.receive(span, sender, seen)
                && let Some(sender) = sender
                && self.trace.service[sender] != self.trace.service[span]
            {
                // The queue stands between them: not a crossing.
                seen.reached.insert((sender, self.trace.service[span]));
                if self.trace.side(span) == Side::Local {
                    self.covered[span] = true;
                    self.request(span, Sample::of(facts));
                }
            }
        }
    }

    /// queue → service, and what it says of the senders. False when nobody names a queue and nothing links: then a
    /// producer and its consumer are an ordinary pair, so that the edge is not lost.
    pub(super) fn receive(&mut self, span: usize, caller: Option<usize>, seen: &mut Seen) -> bool {
        let facts = self.trace.spans[span];
        let sender = caller.filter(|&at| self.trace.side(at) == Side::Out && self.sends(at));
        let linked = self.linked(span);
        let (from_sender, own) = (sender.and_then(|at| self.named_queue(at)), self.named_queue(span));
        let from_link = || linked.senders.iter().copied();
        let found = from_sender.or(own).or_else(|| from_link().find_map(|at| self.named_queue(at)));
        let Some(queue) = found else {
            // The parent is a pair by itself.
            return self.linked_pairs(span, sender, &linked, seen) && sender.is_none();
        };
        let queue = self.table.node(queue);
        let to = self.trace.service[span];
        let system = self.system(span, queue);
        let counts = !self.layered.get(span).is_some_and(|layered| *layered);
        if counts {
            self.count(Key::Call(Via::In, queue, to, system), Sample::of(facts));
            let more = self.messages(span, sender, &linked) - 1;
            self.carry(Key::Amount(Amount::Messages, queue, to, system), Sample::of(facts), more);
        }
        let senders =
            sender.into_iter().chain(linked.senders.iter().copied().filter(|at| Some(*at) != sender));
        for from in senders {
            self.answered[from].get_or_insert(span);
            if counts {
                self.flows(from, queue, span);
            }
            self.leg(from, queue, system, seen);
        }
        let linked_to = |service: u32| linked.senders.iter().any(|&at| self.trace.service[at] == service);
        if let Some(caller) = caller.filter(|_| sender.is_none())
            && counts
            && flow(self.trace.spans[caller]) != Some(Flow::Takes)
        {
            let from = self.trace.service[caller];
            if from != to && !linked_to(from) {
                self.answer(caller, span);
                self.count(Key::Call(Via::Parent, from, queue, system), Sample::of(facts).untimed());
            }
        }
        true
    }

    /// service → queue of a sender, by what its receiver names: it is counted with the sender's own target, unless there is
    /// none, and in the trace of the sender.
    pub(super) fn leg(&mut self, from: usize, queue: u32, system: u32, seen: &mut Seen) {
        if from < self.trace.own
            && self.named_queue(from).is_none()
            && seen.counted.insert((from, queue, system))
        {
            let service = self.trace.service[from];
            let sent = Sample::of(self.trace.spans[from]);
            self.count(Key::Client(Via::Out, service, queue, system), sent);
        }
    }

    /// The messaging system as a receiving span of a queue says it.
    pub(super) fn system(&mut self, span: usize, queue: u32) -> u32 {
        let facts = self.trace.spans[span];
        if facts.remote_kind == RemoteKind::Queue {
            self.table.text(&facts.protocol)
        } else {
            self.table.node_of(queue).parts[3]
        }
    }

    pub(super) fn named_queue(&mut self, span: usize) -> Option<NodeKey> {
        queue(self.trace.spans[span], &mut self.table)
    }

    /// One message from a sender, with the time that it was in the queue: from the end of sending to the begin of
    /// processing, where the clocks allow it.
    fn flows(&mut self, from: usize, queue: u32, span: usize) {
        let (sent, taken) = (self.trace.spans[from], self.trace.spans[span]);
        let key = Key::Flow(self.trace.service[from], queue, self.trace.service[span]);
        let processes = taken.messaging != Messaging::Receive;
        let waited = taken.start_ns.checked_sub(sent.end_ns()).filter(|&ns| ns > 0 && processes);
        self.count(key, Sample { error: false, duration_ns: waited, ..Sample::of(taken) });
    }

    /// How many messages a receiving span took: its links and its parent, each once, or the size of the batch that it
    /// states, if that is larger.
    fn messages(&self, span: usize, sender: Option<usize>, linked: &Linked) -> i64 {
        let Some(extra) = &self.trace.spans[span].extra else { return 1 };
        let parent = sender.map(|at| self.trace.spans[at].span_id).filter(|id| !extra.links.contains(id));
        let near = extra.links.len() + usize::from(parent.is_some());
        let senders = i64::try_from(near).unwrap_or(0) + i64::from(extra.far_links);
        let known = senders - i64::try_from(linked.others).unwrap_or(0);
        match extra.messages {
            Some(stated) => known.max(i64::from(stated)),
            None => known.max(1),
        }
    }

    /// How many messages a sending span sent: the batch that it states, or the messages made for it.
    pub(super) fn sent(&self, span: usize) -> i64 {
        let facts = self.trace.spans[span];
        let Some(extra) = &facts.extra else { return 1 };
        let made = if facts.messaging == Messaging::Send { self.linked(span).senders.len() } else { 0 };
        i64::from(extra.messages.unwrap_or(1)).max(i64::try_from(made).unwrap_or(0)).max(1)
    }

    /// Messages that were made apart and sent together, by a span that links to them, here or in another trace: not sent
    /// twice.
    pub(super) fn made_for_others(&self, folded: &mut [bool]) {
        for span in 0..self.trace.spans.len() {
            let facts = self.trace.spans[span];
            if facts.extra.is_none() || facts.messaging != Messaging::Send {
                continue;
            }
            let linked =
                if span < self.trace.own { self.linked(span).senders } else { self.linked_here(span) };
            for made in linked.into_iter().filter(|made| *made < self.trace.own) {
                let creates = self.trace.spans[made].messaging == Messaging::Create;
                folded[made] |= creates && self.trace.service[made] == self.trace.service[span];
            }
        }
    }
}
