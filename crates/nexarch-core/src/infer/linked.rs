//! R7: what a span's links lead to, in its own trace and in others.

use super::{
    Inference, Sample,
    calls::Seen,
    links::{delivers, key},
};
use crate::{
    ids::{SpanId, TraceId},
    rollup::{Key, Note, Via},
};

/// How many spans of one linked id are looked at for a sender. Ids are shared by two halves; all the spans of a hostile
/// trace may share one.
pub(super) const SHARING: usize = 16;

/// Linked spans, as far as they are known.
#[derive(Default)]
pub(super) struct Linked {
    /// Those that send, by their ids.
    pub(super) senders: Vec<usize>,
    /// Links that lead to nothing that sends.
    pub(super) others: usize,
    /// Links into other traces that lead to nothing that is known.
    absent: usize,
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
        if !extra.far.is_empty() {
            self.linked_far(&extra.far, &mut linked);
        }
        linked
    }

    /// Into other traces, whose spans stand behind those of this one.
    fn linked_far(&self, far: &[(TraceId, SpanId)], linked: &mut Linked) {
        let ends = &self.trace.spans[self.trace.own..];
        for target in far {
            let from = ends.partition_point(|end| key(end) < *target);
            let group = ends[from..].iter().take_while(|end| key(end) == *target);
            let group = self.trace.own + from..self.trace.own + from + group.count();
            match group.clone().find(|&at| self.sends(at)) {
                Some(sender) => linked.senders.push(sender),
                None if group.is_empty() => linked.absent += 1,
                None => linked.others += 1,
            }
        }
        linked.senders.sort_by_key(|&at| (self.trace.spans[at].span_id, self.trace.spans[at].trace_id));
    }

    /// Links of a span into other traces that lead nowhere, each once.
    pub(super) fn note_absent(&mut self, span: usize) {
        let note = Key::Note(Note::Unlinked, self.trace.service[span]);
        for _ in 0..self.linked(span).absent {
            self.count(note, Sample::of(self.trace.spans[span]).untimed());
        }
    }

    fn with_id(&self, id: SpanId) -> std::ops::Range<usize> {
        let spans = &self.trace.spans[..self.trace.own];
        let from = spans.partition_point(|span| span.span_id < id);
        from..from + spans[from..].partition_point(|span| span.span_id == id)
    }

    /// What spans of other traces tell of the senders here that they link to: where those send to that name no queue.
    pub(super) fn taken_elsewhere(&mut self, seen: &mut Seen) {
        for end in self.trace.own..self.trace.spans.len() {
            let facts = self.trace.spans[end];
            if !delivers(facts) {
                continue;
            }
            let named = self.named_queue(end).map(|queue| self.table.node(queue));
            for sender in self.linked_here(end) {
                let same_service = self.trace.service[sender] == self.trace.service[end];
                if let Some(queue) = named {
                    let system = self.system(end, queue);
                    self.leg(sender, queue, system, seen);
                } else if self.named_queue(sender).is_none() {
                    if same_service {
                        continue;
                    }
                    self.client_pair(sender, end, seen);
                }
                self.answered[sender].get_or_insert(end);
            }
        }
    }

    /// The senders of this trace that a span of another one links to.
    pub(super) fn linked_here(&self, end: usize) -> Vec<usize> {
        let Some(own) = self.trace.spans[..self.trace.own].first().map(|span| span.trace_id) else {
            return Vec::new();
        };
        let far = self.trace.spans[end].extra.iter().flat_map(|extra| &extra.far);
        let here = far.filter(|(trace, _)| *trace == own);
        here.filter_map(|(_, id)| self.with_id(*id).take(SHARING).find(|&at| self.sends(at))).collect()
    }

    /// Producers that are only linked, where nobody names a queue: each is a pair with the receiver, once a service.
    pub(super) fn linked_pairs(
        &mut self,
        span: usize,
        parent: Option<usize>,
        linked: &Linked,
        seen: &mut Seen,
    ) -> bool {
        let to = self.trace.service[span];
        let mut from: Vec<u32> = parent.map(|at| self.trace.service[at]).into_iter().collect();
        let mut paired = false;
        for &sender in linked.senders.iter().filter(|sender| Some(**sender) != parent) {
            let service = self.trace.service[sender];
            if service == to {
                continue;
            }
            paired = true;
            self.answered[sender].get_or_insert(span);
            if !from.contains(&service) {
                from.push(service);
                let protocol = self.pair_protocol(sender, span);
                let taken = Sample::of(self.trace.spans[span]);
                self.count(Key::Call(Via::Pair, service, to, protocol), taken);
            }
            self.client_pair(sender, span, seen);
        }
        paired
    }

    fn pair_protocol(&mut self, sender: usize, receiver: usize) -> u32 {
        let (taken, sent) = (self.trace.spans[receiver], self.trace.spans[sender]);
        self.table.text(if sent.protocol.is_empty() { &taken.protocol } else { &sent.protocol })
    }

    /// The sender's half of such a pair, once, and in the trace of the sender.
    fn client_pair(&mut self, sender: usize, receiver: usize, seen: &mut Seen) {
        let protocol = self.pair_protocol(sender, receiver);
        let (from, to) = (self.trace.service[sender], self.trace.service[receiver]);
        if sender < self.trace.own && seen.counted.insert((sender, to, protocol)) {
            let sent = Sample::of(self.trace.spans[sender]);
            self.count(Key::Client(Via::Pair, from, to, protocol), sent);
        }
    }
}
