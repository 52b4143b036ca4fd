//! The shop as a function of time.

use std::sync::Arc;

use nexarch_core::{Text, ids::TraceId, span::Span};

use super::{
    chance::Chance,
    flows,
    handler::{Handler, MAX_REQUEST_NS, Request},
    incident::SECOND_NS,
    landscape::Landscape,
};

/// At most one customer does something in each slot of this length (20/s, about 250 spans/s): enough to look
/// alive, little enough for a laptop that also runs the server.
const SLOT_NS: u64 = SECOND_NS / 20;
/// Share of slots in which nobody does anything, on average …
const QUIET: f64 = 0.2;
/// … and how far the share swings, so that throughput is a wave and not a line …
const SWING: f64 = 0.15;
/// … with this period.
const SWING_PERIOD_NS: u64 = 15 * 60 * SECOND_NS;

/// How long before its opening the shop has a past.
const PAST_NS: u64 = 60 * 60 * SECOND_NS;
/// The past is sampled by its heads: W3C `ot=th:f` keeps one trace in 16 and says so, and rates stay right
/// because every kept span then counts for 16 (OpenTelemetry: probability sampling, consistent by trace id).
const PAST_THRESHOLD: u64 = 0xf0_0000_0000_0000;
const PAST_TRACE_STATE: &str = "ot=th:f";
/// Everything is kept, and says so.
const LIVE_TRACE_STATE: &str = "ot=th:0";

/// A synthetic shop: what happens in it is a function of the seed, of the time when it opened, and of the time
/// asked for. The clock is the caller's.
#[derive(Debug, Clone)]
pub struct Shop {
    seed: u64,
    opened_ns: u64,
    landscape: Arc<Landscape>,
}

impl Shop {
    /// A shop that opens at a time (nanoseconds since the Unix epoch).
    ///
    /// It is healthy for 45 s, then `payments` is slow and fails at times for 150 s, then it is healthy for
    /// 450 s, and so on with a period of 600 s. Before the opening it was healthy but for one incident of five
    /// minutes, and only one trace in 16 of that time was kept.
    pub fn new(seed: u64, opened_ns: u64) -> Self {
        Self { seed, opened_ns, landscape: Arc::new(Landscape::new(seed)) }
    }

    /// When it opened (nanoseconds since the Unix epoch).
    pub fn opened_ns(&self) -> u64 {
        self.opened_ns
    }

    /// The earliest time worth asking for: an hour before the opening (nanoseconds since the Unix epoch).
    pub fn past_ns(&self) -> u64 {
        self.opened_ns.saturating_sub(PAST_NS)
    }

    /// The spans that end in `from_ns..to_ns` (nanoseconds since the Unix epoch), by end: what the services
    /// would have handed to their exporters in this time.
    ///
    /// Asking for two neighbouring intervals gives the same spans as asking for both at once. The work is
    /// proportional to the interval and 10 s more.
    ///
    /// ```
    /// # use nexarch::demo::Shop;
    /// let opened_ns = 1_790_000_000_000_000_000;
    /// let shop = Shop::new(7, opened_ns);
    /// let spans = shop.tick(opened_ns, opened_ns + 500_000_000);
    /// assert_eq!(spans, Shop::new(7, opened_ns).tick(opened_ns, opened_ns + 500_000_000));
    /// ```
    pub fn tick(&self, from_ns: u64, to_ns: u64) -> Vec<Span> {
        let first = from_ns.saturating_sub(MAX_REQUEST_NS) / SLOT_NS;
        let mut due: Vec<Span> = (first..to_ns.div_ceil(SLOT_NS))
            .flat_map(|slot| self.slot(slot))
            .filter(|span| span.end_ns.is_some_and(|end| (from_ns..to_ns).contains(&end)))
            .collect();
        due.sort_by_key(|span| (span.end_ns, span.trace_id, span.span_id));
        due
    }

    /// All spans of the customers who come in `from_ns..to_ns` (nanoseconds since the Unix epoch), however late they end,
    /// in no order: whole traces. Times are rounded to 50 ms.
    ///
    /// ```
    /// # use nexarch::demo::Shop;
    /// let opened_ns = 1_790_000_000_000_000_000;
    /// let spans = Shop::new(7, opened_ns).customers(opened_ns, opened_ns + 1_000_000_000);
    /// assert!(spans.iter().all(|span| span.start_ns >= opened_ns));
    /// ```
    pub fn customers(&self, from_ns: u64, to_ns: u64) -> Vec<Span> {
        (from_ns.div_ceil(SLOT_NS)..to_ns.div_ceil(SLOT_NS)).flat_map(|slot| self.slot(slot)).collect()
    }

    /// Everything that the customer of a slot causes.
    fn slot(&self, slot: u64) -> Vec<Span> {
        let mut chance = Chance::new(self.seed, slot);
        let start_ns = slot.saturating_mul(SLOT_NS).saturating_add(chance.below(SLOT_NS));
        if chance.happens(quiet(start_ns)) {
            return Vec::new();
        }
        let (trace_id, later_trace_id) = (trace_id(&mut chance), trace_id(&mut chance));
        let live = start_ns >= self.opened_ns;
        let kept = |trace: TraceId| live || randomness(trace) >= PAST_THRESHOLD;
        if !kept(trace_id) && !kept(later_trace_id) {
            return Vec::new();
        }
        let action = flows::next(&mut chance);
        let mut request = Request {
            landscape: &self.landscape,
            opened_ns: self.opened_ns,
            deadline_ns: start_ns.saturating_add(MAX_REQUEST_NS),
            later_trace_id,
            trace_state: Text::from_static(if live { LIVE_TRACE_STATE } else { PAST_TRACE_STATE }),
            product: 1 + chance.below(400),
            user: 1 + chance.below(5_000),
            order: 100_000 + slot % 900_000,
            chance,
            spans: Vec::new(),
        };
        Handler::next(&mut request, action.service, trace_id, start_ns).serve(action, None);
        request.spans.retain(|span| kept(span.trace_id));
        request.spans
    }
}

/// Probability that nobody does anything at this time.
fn quiet(now_ns: u64) -> f64 {
    let phase = (now_ns % SWING_PERIOD_NS) as f64 / SWING_PERIOD_NS as f64;
    QUIET + SWING * (phase * std::f64::consts::TAU).sin()
}

/// A fresh trace id.
fn trace_id(chance: &mut Chance) -> TraceId {
    loop {
        let bytes = (u128::from(chance.bits()) << 64) | u128::from(chance.bits());
        if let Some(id) = TraceId::from_bytes(bytes.to_be_bytes()) {
            return id;
        }
    }
}

/// The 56 random bits of a trace id that sampling compares with its threshold.
fn randomness(trace: TraceId) -> u64 {
    let [_, _, _, _, _, _, _, _, _, low @ ..] = trace.to_bytes();
    low.iter().fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}
