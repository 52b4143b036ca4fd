//! A trace as far as it is read.

use std::collections::BTreeSet;

use super::size;
use crate::{
    Text,
    facts::Facts,
    limits::{MAX_TRACE_BYTES, MAX_TRACE_SPANS},
    span::{Span, Status},
};

/// How much of a trace is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Most spans.
    pub spans: usize,
    /// Most bytes of all of them, as [`size`] counts them.
    pub bytes: usize,
}

impl Extent {
    /// Everything, however much it is.
    pub const ALL: Self = Self { spans: usize::MAX, bytes: usize::MAX };

    /// What an answer of the API lists.
    pub const ANSWER: Self = Self { spans: MAX_TRACE_SPANS, bytes: MAX_TRACE_BYTES };
}

/// What was read of a trace: figures of all its spans, and the first ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Excerpt {
    /// Number of spans.
    pub span_count: u64,
    /// Number of failed spans.
    pub error_count: u64,
    /// Start of the earliest span, nanoseconds since the Unix epoch.
    pub start_ns: u64,
    /// End of the last one, nanoseconds since the Unix epoch; what has no end ends when it starts.
    pub end_ns: u64,
    /// Names of the services in it; the first ones, when there are more than spans may be listed.
    pub services: BTreeSet<Text>,
    /// The first spans, in the order of their starts.
    pub spans: Vec<Span>,
}

impl Excerpt {
    /// All of a trace whose spans are at hand, cut to an extent.
    pub fn of(mut spans: Vec<Span>, extent: Extent) -> Self {
        let facts = Facts::of_all(&spans);
        let start_ns = spans.iter().map(|span| span.start_ns).min().unwrap_or(0);
        let mut this = Self {
            span_count: spans.len() as u64,
            error_count: spans.iter().filter(|span| span.status == Status::Error).count() as u64,
            start_ns,
            end_ns: facts.iter().map(Facts::end_ns).max().unwrap_or(start_ns),
            services: facts.iter().map(|facts| facts.service.clone()).collect(),
            spans: Vec::new(),
        };
        spans.sort_by_key(|span| (span.start_ns, span.span_id, span.kind));
        let mut room = extent.bytes;
        let fits = |span: &Span| {
            let size = size(span);
            let fits = size <= room;
            room = room.saturating_sub(size);
            fits
        };
        this.spans = spans.into_iter().take(extent.spans).take_while(fits).collect();
        this
    }
}
