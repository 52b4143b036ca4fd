//! Looking for traces by what their spans are like.

use std::{fmt, sync::Arc};

use nexarch_core::{facts::Facts, ids::TraceId, span::Span};

/// Says whether the hot part of a span fits.
pub type FactsFit = Arc<dyn Fn(&Facts) -> bool + Send + Sync>;
/// Says whether a whole span fits.
pub type SpanFits = Arc<dyn Fn(&Span) -> bool + Send + Sync>;

/// What is looked for: traces with a span that fits. One page of it, with bounded work.
#[derive(Clone)]
pub struct Search {
    /// Starts from here, nanoseconds since the Unix epoch …
    pub from_ns: u64,
    /// … to before this.
    pub to_ns: u64,
    /// Where an earlier page ended.
    pub after: Option<Place>,
    /// Most traces of a page.
    pub limit: usize,
    /// What a span has to be like. There is no index of it: it is asked of each span of the range.
    pub fits: FactsFit,
    /// And what the whole span, with its attributes, has to be like; asked only of those that fit.
    pub whole: Option<SpanFits>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("from_ns", &self.from_ns)
            .field("to_ns", &self.to_ns)
            .field("after", &self.after)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// A place in the order in which spans are looked at: the newest hour first, in it what was stored last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Hours since the Unix epoch.
    pub hour: u64,
    /// Number of the chunk that was looked at last.
    pub chunk: i64,
    /// How many of its traces were passed; `u32::MAX` for all.
    pub passed: u32,
}

/// A page of traces.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// In the order of the search; a trace stands where its newest fitting span was stored.
    pub traces: Vec<FoundTrace>,
    /// Where the next page begins; `None` when all of the range was looked at. A page may have fewer traces than asked
    /// for, or none, and be followed by others: its work was used up.
    pub next: Option<Place>,
    /// How many spans were looked at.
    pub scanned: u64,
}

/// A trace that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundTrace {
    /// Its id.
    pub trace: TraceId,
    /// Its spans, each identity once, by start; of a very large trace only a part.
    pub spans: Vec<Facts>,
    /// How many of them fit.
    pub fitting: usize,
    /// Not all spans were read: figures made of `spans` are too small, and another page may list the trace again.
    pub partial: bool,
}
