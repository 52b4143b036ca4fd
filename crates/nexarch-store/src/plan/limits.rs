//! Bounds of the work on traces. Arguments of the planning, so that tests can meet them.

/// Largest trace that every append infers again as a whole, stored spans (each version of an updated one counts). Nearly
/// all traces are smaller: for them nothing is ever provisional. A span for a trace of this size costs about 2 ms; a larger
/// one is settled later.
const INLINE_TRACE: u64 = 2_048;

/// Most stored spans that one append of a tenant infers again, over all its traces: about 100 ms. Traces beyond it are
/// settled later, like large ones.
const INLINE_APPEND: u64 = 1 << 16;

/// Most spans of a trace that settling infers together: room for the trace of 100,000 spans of rule R13, and about
/// 50 MiB. A larger one (an endless loop under one id) is taken hour by hour, and an hour beyond it span by span.
const SETTLE_TRACE: u64 = 1 << 17;

/// Most unsettled spans of one transaction of settling, unless a single chunk has more: with the settled ones of
/// [`SETTLE_TRACE`] what a round holds in memory.
const SETTLE_SPANS: u64 = 1 << 15;

/// Most traces that one transaction of settling takes: some ten milliseconds of the writer's time.
const SETTLE_TRACES: usize = 1 << 13;

/// Most versions of one span that are stored. A sender that updates a span sends a handful; without a bound, one span
/// could be stored without end, and every reader of its trace would have to look at all of them.
const MAX_VERSIONS: u32 = 16;

/// Most stored facts held in memory at once while deciding, unless a single trace is larger (about 64 MiB where spans
/// repeat their names, and up to some 600 MiB where each has long names and many links of its own).
const WAVE: u64 = 1 << 18;

/// A span that starts longer before it is stored than this is counted as late, nanoseconds (2 h): rollups of its minute
/// may have been merged into coarser ones, and a dashboard of the last hour never showed it.
const LATE_NS: u64 = 7_200_000_000_000;

/// Stored spans whose facts are held at once while rollups are made anew: some 200 MB. A tenant with more is read several
/// times, each time for other traces.
const ANEW_SPANS: u64 = 500_000;

/// See the constants above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// See [`INLINE_TRACE`].
    pub(crate) inline_trace: u64,
    /// See [`INLINE_APPEND`].
    pub(crate) inline_append: u64,
    /// See [`SETTLE_TRACE`].
    pub(crate) settle_trace: u64,
    /// See [`SETTLE_SPANS`].
    pub(crate) settle_spans: u64,
    /// See [`SETTLE_TRACES`].
    pub(crate) settle_traces: usize,
    /// See [`MAX_VERSIONS`].
    pub(crate) versions: u32,
    /// See [`WAVE`].
    pub(crate) wave: u64,
    /// See [`LATE_NS`].
    pub(crate) late_ns: u64,
    /// See [`ANEW_SPANS`].
    pub(crate) anew_spans: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inline_trace: INLINE_TRACE,
            inline_append: INLINE_APPEND,
            settle_trace: SETTLE_TRACE,
            settle_spans: SETTLE_SPANS,
            settle_traces: SETTLE_TRACES,
            versions: MAX_VERSIONS,
            wave: WAVE,
            late_ns: LATE_NS,
            anew_spans: ANEW_SPANS,
        }
    }
}
