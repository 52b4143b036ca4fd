//! R2, R3 and R5: what reached a service, and from whom.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Inference, Sample,
    messages::{Flow, flow, takes_in},
    target::{is_loopback, queue},
    trace::Above,
};
use crate::{
    Text,
    facts::{Facts, RemoteKind},
    rollup::{Class, Key, NodeKey, Note, Table, Via},
    span::{Kind, Side},
};

/// A server half may start so much before its client half without being worth a word, nanoseconds: clocks that are
/// kept in step differ by less than a millisecond.
const SKEW_NS: u64 = 1_000_000;

/// What one trace says of who reached whom.
#[derive(Default)]
pub(super) struct Seen {
    /// Client halves that were counted on an edge, so that each counts once: (span, callee, protocol).
    pub(super) counted: FxHashSet<(usize, u32, u32)>,
    /// Spans of a caller that an `in` span of a callee came from: (caller, callee).
    pub(super) reached: FxHashSet<(usize, u32)>,
    /// Spans of a callee below one span of a caller, that stand for one missing entry: (parent, callee).
    crossings: FxHashMap<(usize, u32), Crossing>,
}

/// The inside of a request whose entry span is missing.
struct Crossing {
    /// The earliest span, a `local` one if there is any.
    first: usize,
    /// From the first start to the last end of its `local` spans, nanoseconds; none when no duration is known.
    times: Option<(u64, u64)>,
    error: bool,
}

/// A CONSUMER that says that it sends, or settles: the operation counts for more than the kind (R7).
pub(super) fn is_misnamed(span: &Facts) -> bool {
    span.kind == Kind::Consumer && flow(span) != Some(Flow::Takes)
}

impl Inference<'_> {
    /// Every `in` span: a request, and the edge by which it came.
    pub(super) fn entries(&mut self, seen: &mut Seen) {
        for span in 0..self.trace.own {
            if self.trace.side(span) == Side::In {
                self.request(span, Sample::of(self.trace.spans[span]));
                self.arrive(span, seen);
            }
        }
    }

    fn arrive(&mut self, span: usize, seen: &mut Seen) {
        let facts = self.trace.spans[span];
        let is_root = self.trace.parent[span] == Above::Root;
        let caller = match self.trace.up[span] {
            Above::Span(caller) => Some(caller),
            Above::Root => None,
            Above::Absent => {
                self.orphan(span);
                None
            }
        };
        let from_elsewhere = caller.is_none_or(|at| self.trace.service[at] != self.trace.service[span]);
        if from_elsewhere && let Some(top) = self.trace.through(span) {
            self.covered[top] = true;
        }
        if from_elsewhere && let Some(caller) = caller {
            seen.reached.insert((caller, self.trace.service[span]));
        }
        if is_root {
            self.entry(span);
        } else if caller.is_none_or(|at| self.trace.side(at) != Side::Out) {
            let note = Key::Note(Note::Unreached, self.trace.service[span]);
            self.count(note, Sample::of(facts).untimed());
        }
        if takes_in(facts) && self.receive(span, caller, seen) {
            return;
        }
        if is_misnamed(facts) {
            self.named_otherwise(span);
            return;
        }
        match caller {
            Some(caller) if self.trace.side(caller) == Side::Out => self.pair(caller, span, seen),
            Some(caller) if from_elsewhere => {
                let (from, to, protocol) = self.edge(caller, span, &facts.protocol);
                self.count(Key::Call(Via::Parent, from, to, protocol), Sample::of(facts));
                self.answer(caller, span);
            }
            None if is_root && facts.kind == Kind::Server => {
                let environment = self.table.text(&facts.environment);
                let parts = [environment, Table::EMPTY, Table::EMPTY, Table::EMPTY, Table::EMPTY];
                let user = self.table.node(NodeKey { class: Class::User, parts });
                let protocol = self.table.text(&facts.protocol);
                let key = Key::Call(Via::In, user, self.trace.service[span], protocol);
                self.count(key, Sample::of(facts));
            }
            _ => {}
        }
    }

    /// The queue of an `in` span that does not receive.
    fn named_otherwise(&mut self, span: usize) {
        let facts = self.trace.spans[span];
        if let Some(queue) = queue(facts, &mut self.table) {
            let (queue, protocol) = (self.table.node(queue), self.table.text(&facts.protocol));
            self.count(Key::Client(Via::Out, self.trace.service[span], queue, protocol), Sample::of(facts));
        }
    }

    /// R2 (a): a client half and a server half are one call. R3: it failed when either half did.
    fn pair(&mut self, client: usize, server: usize, seen: &mut Seen) {
        self.answer(client, server);
        let (c, s) = (self.trace.spans[client], self.trace.spans[server]);
        let one_host = c.instance != 0 && c.instance == s.instance;
        if !one_host && s.start_ns.saturating_add(SKEW_NS) < c.start_ns {
            let note = Key::Note(Note::Skewed, self.trace.service[server]);
            self.count(note, Sample::of(s).untimed());
        }
        if self.trace.service[client] == self.trace.service[server] {
            return;
        }
        let protocol = if c.protocol.is_empty() { &s.protocol } else { &c.protocol };
        let (from, to, protocol) = self.edge(client, server, protocol);
        let call = Sample { error: c.error || s.error, ..Sample::of(s) };
        self.count(Key::Call(Via::Pair, from, to, protocol), call);
        if seen.counted.insert((client, to, protocol)) {
            self.count(Key::Client(Via::Pair, from, to, protocol), Sample::of(c));
        }
        if !c.address.is_empty() && !is_loopback(&c.address) {
            let (address, environment) = (self.table.text(&c.address), self.table.text(&c.environment));
            self.count(Key::Learned(to, address, environment), Sample::of(s).untimed());
        }
    }

    /// R2 (b): a `local` or `out` span of B whose parent belongs to A stands for a missing entry span of B.
    pub(super) fn crossings(&mut self, seen: &mut Seen) {
        for span in 0..self.trace.own {
            let Above::Span(parent) = self.trace.parent[span] else { continue };
            let (side, from_side) = (self.trace.side(span), self.trace.side(parent));
            let same = self.trace.service[parent] == self.trace.service[span];
            if same || side == Side::In || self.covered[span] {
                continue;
            }
            if side == Side::Local && from_side == Side::Local {
                // Neither has a kind: each is a call of its own.
                let facts = self.trace.spans[span];
                self.cross(parent, span, Sample::of(facts));
            } else if !seen.reached.contains(&(parent, self.trace.service[span])) {
                // Otherwise the entry is not missing: these are spans beside it, of the same request.
                self.join(parent, span, seen);
            }
        }
        for ((parent, _), crossing) in std::mem::take(&mut seen.crossings) {
            let facts = self.trace.spans[crossing.first];
            let duration_ns = crossing.times.map(|(start, end)| end.saturating_sub(start));
            self.cross(
                parent,
                crossing.first,
                Sample { error: crossing.error, duration_ns, ..Sample::of(facts) },
            );
        }
    }

    /// The parent has a kind: all its children in B are the inside of one request.
    fn join(&mut self, parent: usize, span: usize, seen: &mut Seen) {
        let facts = self.trace.spans[span];
        let local = self.trace.side(span) == Side::Local;
        let times = facts.duration_ns.filter(|_| local).map(|_| (facts.start_ns, facts.end_ns()));
        let crossing = seen.crossings.entry((parent, self.trace.service[span])).or_insert(Crossing {
            first: span,
            times: None,
            error: false,
        });
        crossing.error |= facts.error;
        crossing.times = match (crossing.times, times) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        let rank = |at: usize| {
            let span = self.trace.spans[at];
            (span.kind.side() != Side::Local, span.start_ns, at)
        };
        if rank(span) < rank(crossing.first) {
            crossing.first = span;
        }
    }

    fn cross(&mut self, parent: usize, first: usize, sample: Sample) {
        let facts = self.trace.spans[first];
        let by_client = self.trace.side(parent) == Side::Out;
        // An `out` span, or one that names a database, speaks of its own callee, not of how it was called.
        let speaks = self.trace.side(first) == Side::Local && facts.remote_kind == RemoteKind::Service;
        let none = Text::new();
        let protocol = if by_client && !self.trace.spans[parent].protocol.is_empty() {
            &self.trace.spans[parent].protocol
        } else if speaks {
            &facts.protocol
        } else {
            &none
        };
        let (from, to, protocol) = self.edge(parent, first, protocol);
        let via = if by_client { Via::Below } else { Via::Parent };
        self.count(Key::Call(via, from, to, protocol), sample);
        if by_client {
            self.count(Key::Client(via, from, to, protocol), Sample::of(self.trace.spans[parent]));
        }
        self.answer(parent, first);
        if self.trace.side(first) == Side::Local {
            self.request(first, sample);
        } else {
            self.count(Key::Request(to), sample);
        }
    }

    /// Roots, and what has no known caller, enter the system here.
    pub(super) fn roots(&mut self) {
        for span in 0..self.trace.own {
            let facts = self.trace.spans[span];
            let local = self.trace.side(span) == Side::Local;
            match self.trace.parent[span] {
                Above::Root if self.trace.side(span) != Side::In => {
                    self.entry(span);
                    if local && !self.covered[span] {
                        self.request(span, Sample::of(facts));
                    }
                }
                // Without kinds, a span whose parent is absent may be an entry, or the inside of one; the parent
                // will tell when it comes.
                Above::Absent if facts.kind == Kind::Unspecified && !self.covered[span] => {
                    self.orphan(span);
                    self.request(span, Sample::of(facts));
                }
                _ => {}
            }
        }
    }

    /// R5: an entry span whose caller did not arrive. Never "user": the caller may only be late.
    fn orphan(&mut self, span: usize) {
        let facts = self.trace.spans[span];
        // Bit 0: it is known whether the parent is remote; bit 1: it is.
        let note = if facts.remote & 3 == 1 { Note::LostLocal } else { Note::Orphan };
        self.count(Key::Note(note, self.trace.service[span]), Sample::of(facts).untimed());
        self.entry(span);
    }

    fn edge(&mut self, from: usize, to: usize, protocol: &Text) -> (u32, u32, u32) {
        (self.trace.service[from], self.trace.service[to], self.table.text(protocol))
    }

    /// Something of another service hangs below: the call in which `caller` lies reached it.
    pub(super) fn answer(&mut self, caller: usize, by: usize) {
        if let Some(call) = self.trace.call_at(caller) {
            self.answered[call].get_or_insert(by);
        }
    }
}
