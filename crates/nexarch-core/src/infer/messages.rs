//! R7: what moves through queues. The operation that a span states comes first, then its kind.
//!
//! Both legs of a message meet in one queue: service → queue is counted at the sender, queue → service at the receiver.
//! Which sender a receiver's messages come from is known from its parent and its links, as far as those are in this
//! trace; links into other traces are messages whose sender is not known here.

use super::{Inference, Sample, calls::Seen, target::queue, trace::Above};
use crate::{
    facts::{Facts, Messaging, RemoteKind},
    ids::SpanId,
    rollup::{Amount, Key, NodeKey, Via},
    span::{Kind, Side},
};

/// How far up a receiving span looks for another layer of the same delivery, in its own service.
const LAYERS: usize = 8;

/// How many spans of one linked id are looked at for a sender. Ids are shared by two halves; all the spans of a hostile
/// trace may share one.
const SHARING: usize = 16;

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

/// Linked spans, as far as this trace knows them.
#[derive(Default)]
pub(super) struct Linked {
    /// Those that send, in canonical order of their ids.
    pub(super) senders: Vec<usize>,
    /// Links into this trace that lead to nothing that sends.
    others: usize,
}

impl Inference<'_> {
    /// The spans that a span links to. Without links, which is the rule, nothing is allocated.
    pub(super) fn linked(&self, span: usize) -> Linked {
        let mut linked = Linked::default();
        let Some(extra) = &self.trace.spans[span].extra else { return linked };
        for &id in &extra.links {
            let mut group = self.with_id(id);
            let is_here = !group.is_empty();
            match group.by_ref().take(SHARING).find(|&at| at != span && self.sends(at)) {
                Some(sender) => linked.senders.push(sender),
                None if is_here => linked.others += 1,
                // Not here, or not yet.
                None => {}
            }
        }
        linked
    }

    fn with_id(&self, id: SpanId) -> std::ops::Range<usize> {
        let spans = &self.trace.spans;
        let from = spans.partition_point(|span| span.span_id < id);
        from..from + spans[from..].partition_point(|span| span.span_id == id)
    }

    /// May the messages of a receiving span come from this one? A client that states nothing may be a producer.
    pub(super) fn sends(&self, span: usize) -> bool {
        let facts = self.trace.spans[span];
        match flow(facts) {
            Some(flow) => flow == Flow::Sends,
            None => facts.kind == Kind::Client,
        }
    }

    /// Marks receiving spans whose delivery another span of the same service and queue stands for: asking for messages
    /// where processing them lies below; and what an INTERNAL span repeats of the span that it lies in.
    pub(super) fn layers(&mut self) {
        for span in 0..self.trace.spans.len() {
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
        for span in 0..self.trace.spans.len() {
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
            return sender.is_none() && self.linked_pairs(span, &linked, seen);
        };
        let queue = self.table.node(queue);
        let to = self.trace.service[span];
        let system = if facts.remote_kind == RemoteKind::Queue {
            self.table.text(&facts.protocol)
        } else {
            self.table.node_of(queue).parts[3]
        };
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
            // The sender's own leg is counted with its target, unless only the receiver names the queue.
            if self.named_queue(from).is_none() && seen.counted.insert((from, queue, system)) {
                let service = self.trace.service[from];
                let sent = Sample::of(self.trace.spans[from]);
                self.count(Key::Client(Via::Out, service, queue, system), sent);
            }
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

    fn named_queue(&mut self, span: usize) -> Option<NodeKey> {
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
        let near = extra.links.len() - linked.others + usize::from(parent.is_some());
        let known = i64::try_from(near).unwrap_or(0) + i64::from(extra.far_links);
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

    /// Messages that were made apart and sent together, by a span that links to them: not sent twice.
    pub(super) fn made_for_others(&self, folded: &mut [bool]) {
        for span in 0..self.trace.spans.len() {
            let facts = self.trace.spans[span];
            if facts.extra.is_none() || facts.messaging != Messaging::Send {
                continue;
            }
            for made in self.linked(span).senders {
                let creates = self.trace.spans[made].messaging == Messaging::Create;
                folded[made] |= creates && self.trace.service[made] == self.trace.service[span];
            }
        }
    }

    /// Producers that are only linked, where nobody names a queue: each is a pair with the receiver, once a service.
    fn linked_pairs(&mut self, span: usize, linked: &Linked, seen: &mut Seen) -> bool {
        let to = self.trace.service[span];
        let mut from: Vec<u32> = Vec::new();
        for &sender in &linked.senders {
            let service = self.trace.service[sender];
            if service == to {
                continue;
            }
            self.answered[sender].get_or_insert(span);
            let (taken, sent) = (self.trace.spans[span], self.trace.spans[sender]);
            let protocol =
                self.table.text(if sent.protocol.is_empty() { &taken.protocol } else { &sent.protocol });
            if !from.contains(&service) {
                from.push(service);
                self.count(Key::Call(Via::Pair, service, to, protocol), Sample::of(taken));
            }
            if seen.counted.insert((sender, to, protocol)) {
                self.count(Key::Client(Via::Pair, service, to, protocol), Sample::of(sent));
            }
        }
        !from.is_empty()
    }
}
