//! From the set of spans of one trace to what it adds to the rollups: rules R0 to R8.
//!
//! | rule | where |
//! |---|---|
//! | R0 identity, R1 one span once and its parent | [`trace`], [`family`] |
//! | R2 calls, R3 count once, R5 missing client | [`calls`] |
//! | R4 missing server, R6 databases and caches, the sending leg of R7, the models of R8 | [`outs`], [`target`] |
//! | the receiving leg of R7, and whose messages they are | [`messages`] |
//! | what links lead to, and which spans of other traces that takes | [`linked`], [`links`] |
//! | the agents and tools of R8 | [`genai`] |
//! | R10 clocks, for the timeline of a trace alone | [`skew`] |
//!
//! Two things that R4 needs are knowledge of more than one trace: which services exist, and which address an
//! earlier pair showed to be a service. They are *not* used here: a cell names the peer or the host as the caller
//! did, pairs contribute what they teach, and [`crate::graph`] brings both together. So a contribution is a
//! function of one trace and can be taken back exactly.
//!
//! What is a request of a service: every `in` span; every crossing as R2 (b) counts them; a `local` root; and a
//! span without kind whose parent is absent. The last two not when an `in` span of the same service hangs below
//! through `local` spans alone: then that one is the request. What is an entry request: a root, and a request whose
//! caller is absent.
//!
//! A call counts in the minute in which the span that defines it starts: the server half for what the callee saw,
//! the client half for what the caller saw. Calls of a service to itself make no edge.

mod calls;
mod family;
mod genai;
mod linked;
mod links;
mod messages;
mod nested;
mod outs;
mod skew;
mod target;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trace;
pub(crate) mod tree;

use calls::Seen;
pub use links::{MAX_ENDS, Wants, contributions, ends};
pub use skew::{MAX_SHIFT_NS, clock_shifts};
use trace::Trace;

use crate::{
    attributes::UNKNOWN_SERVICE,
    facts::{Facts, SAMPLING_KNOWN},
    rollup::{Delta, Key, Note, Table, cell::Cell},
    span::Kind,
};

const MINUTE_NS: u64 = 60_000_000_000;

/// What one trace contributes, as a pure function of the set of its spans: order and repetition do not matter.
///
/// All spans are taken to be of one trace; of equal identities (R1) the superseding one counts.
pub fn contribution(trace: &[Facts]) -> Delta {
    let mut delta = Delta::default();
    contribute(&mut delta, trace);
    delta
}

/// Adds [`contribution`] to what is there, without making a table for each trace: the traces of a batch share names.
pub fn contribute(delta: &mut Delta, trace: &[Facts]) {
    contribute_linked(delta, trace, &[]);
}

/// As [`contribute`], of a trace that has links into others, or is linked from others: `ends` are the spans at their other
/// ends, as [`ends`] chose them. They are known here and count where they are.
pub fn contribute_linked(delta: &mut Delta, trace: &[Facts], ends: &[Facts]) {
    let mut table = std::mem::take(&mut delta.table);
    if table.cells.is_empty() {
        // About two cells a span in a small trace; in a large one they repeat.
        table.reserve(2 * trace.len().min(256));
    }
    let trace = Trace::new(trace, ends, &mut table);
    let count = trace.spans.len();
    let mut inference = Inference {
        table,
        trace,
        covered: vec![false; count],
        answered: vec![None; count],
        layered: Vec::new(),
    };
    inference.spans();
    let mut seen = Seen::default();
    inference.layers();
    inference.entries(&mut seen);
    inference.polls(&mut seen);
    inference.taken_elsewhere(&mut seen);
    inference.crossings(&mut seen);
    inference.roots();
    inference.outs();
    inference.agents();
    delta.table = inference.table;
}

/// The work on one trace.
struct Inference<'a> {
    trace: Trace<'a>,
    table: Table,
    /// `local` spans below which an `in` span of their service was found: that one is the request.
    covered: Vec<bool>,
    /// Calls that something of another service hangs below, and one such span.
    answered: Vec<Option<usize>>,
    /// Receiving spans that another layer of the same delivery stands for; empty when there are none.
    layered: Vec<bool>,
}

/// Is it what an SDK calls a service that nobody named: `unknown_service`, alone or with the name of the program?
fn is_unnamed(service: &str) -> bool {
    service.strip_prefix(UNKNOWN_SERVICE).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// What one span, or call, adds to a cell.
#[derive(Clone, Copy)]
struct Sample {
    minute: u32,
    weight: u32,
    error: bool,
    duration_ns: Option<u64>,
}

impl Sample {
    fn of(span: &Facts) -> Self {
        Self {
            // 2^64 ns are 3.1e8 minutes.
            minute: u32::try_from(span.start_ns / MINUTE_NS).unwrap_or(u32::MAX),
            weight: span.weight,
            error: span.error,
            duration_ns: span.duration_ns,
        }
    }

    fn untimed(self) -> Self {
        Self { duration_ns: None, ..self }
    }
}

impl Inference<'_> {
    fn count(&mut self, key: Key, sample: Sample) {
        let cell: &mut Cell = self.table.cell(sample.minute, key);
        cell.observe(sample.weight, sample.error, sample.duration_ns);
    }

    /// Adds an amount that a call carries; nothing is not worth a cell.
    fn carry(&mut self, key: Key, sample: Sample, amount: i64) {
        if amount != 0 {
            self.table.cell(sample.minute, key).carry(sample.weight, amount);
        }
    }

    fn spans(&mut self) {
        for span in 0..self.trace.own {
            let facts = self.trace.spans[span];
            let service = self.trace.service[span];
            let sample = Sample::of(facts).untimed();
            self.count(Key::Spans(service), sample);
            if facts.kind == Kind::Unspecified {
                self.count(Key::Note(Note::Kindless, service), sample);
            }
            if facts.remote & SAMPLING_KNOWN != 0 {
                self.count(Key::Note(Note::Sampled, service), sample);
            }
            if is_unnamed(&facts.service) {
                self.count(Key::Note(Note::Nameless, service), sample);
            }
            if facts.extra.as_ref().is_some_and(|extra| !extra.far.is_empty()) {
                self.note_absent(span);
            }
        }
    }

    /// A request of the service of a span, under the span's name.
    fn request(&mut self, span: usize, sample: Sample) {
        let service = self.trace.service[span];
        let operation = self.table.text(&self.trace.spans[span].name);
        self.count(Key::Request(service), sample);
        self.count(Key::Operation(service, operation), sample);
    }

    /// A request that entered the system with this span.
    fn entry(&mut self, span: usize) {
        let (facts, service) = (self.trace.spans[span], self.trace.service[span]);
        self.count(Key::Entry(service), Sample::of(facts));
        if facts.error {
            self.count(Key::Failed(service), Sample::of(facts));
        }
    }
}
