//! Spans as tests think of them.

use super::wait::now_ns;

pub(crate) const INTERNAL: u32 = 1;
pub(crate) const SERVER: u32 = 2;
pub(crate) const CLIENT: u32 = 3;

/// One span.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Span {
    pub(crate) trace: u128,
    pub(crate) id: u64,
    /// 0 = a root.
    pub(crate) parent: u64,
    pub(crate) service: String,
    pub(crate) name: String,
    /// As OTLP numbers kinds.
    pub(crate) kind: u32,
    pub(crate) start_ns: u64,
    pub(crate) duration_ns: u64,
    pub(crate) error: bool,
}

impl Span {
    /// A root span of 5 ms that started a minute ago.
    pub(crate) fn new(trace: u128, id: u64, service: &str, kind: u32) -> Self {
        Self {
            trace,
            id,
            parent: 0,
            service: service.to_owned(),
            name: "work".to_owned(),
            kind,
            start_ns: now_ns() - 60_000_000_000,
            duration_ns: 5_000_000,
            error: false,
        }
    }

    pub(crate) fn child_of(mut self, parent: u64) -> Self {
        self.parent = parent;
        self
    }

    pub(crate) fn trace_hex(&self) -> String {
        format!("{:032x}", self.trace)
    }

    pub(crate) fn id_hex(&self) -> String {
        format!("{:016x}", self.id)
    }

    /// Empty for a root.
    pub(crate) fn parent_hex(&self) -> String {
        if self.parent == 0 { String::new() } else { format!("{:016x}", self.parent) }
    }
}

/// One request of `shop` to `stock`: three spans, one edge.
pub(crate) fn call(trace: u128) -> Vec<Span> {
    vec![
        Span::new(trace, 1, "shop", SERVER),
        Span::new(trace, 2, "shop", CLIENT).child_of(1),
        Span::new(trace, 3, "stock", SERVER).child_of(2),
    ]
}

/// `count` lone spans of one service in one trace.
pub(crate) fn many(trace: u128, count: u64) -> Vec<Span> {
    (1..=count).map(|id| Span::new(trace, id, "bulk", INTERNAL)).collect()
}
