//! A day of the demo's shop, as many spans as wanted: the same services, minutes and shapes at every size.

use nexarch_core::span::Span;

use crate::demo::Shop;

/// Nanoseconds of a minute.
pub const MINUTE_NS: u64 = 60_000_000_000;
/// Minutes of the day.
pub const MINUTES: u64 = 24 * 60;
/// The shop is open for multiples of this, nanoseconds: at most one customer comes in that time.
const SLOT_NS: u64 = 50_000_000;
/// Slots for which the shop is watched to learn how many spans a customer makes.
const WATCHED_SLOTS: u64 = 2_400;
/// The same shop in every run.
const SEED: u64 = 7;

/// The day before a moment. The shop opens in each of its minutes for the same time, short or long (or, for fewer than
/// some 15,000 spans, in every few minutes), and every trace is whole: so a day with few spans has as many minutes,
/// services and edges as one with many.
#[derive(Debug, Clone)]
pub struct History {
    shop: Shop,
    from_ns: u64,
    open_ns: u64,
    every: u64,
}

impl History {
    /// About so many spans, at most 20 million, in the 24 hours before `until_ns` (nanoseconds since the Unix epoch).
    pub fn new(spans: usize, until_ns: u64) -> Self {
        let from_ns = until_ns.saturating_sub((MINUTES + 1) * MINUTE_NS) / MINUTE_NS * MINUTE_NS;
        let shop = Shop::new(SEED, from_ns);
        let watched = shop.customers(from_ns, from_ns + WATCHED_SLOTS * SLOT_NS).len().max(1) as u64;
        let slots = (spans as u64 * WATCHED_SLOTS / watched).max(1);
        let open_ns = (slots.div_ceil(MINUTES) * SLOT_NS).min(MINUTE_NS);
        Self { shop, from_ns, open_ns, every: (MINUTES / slots).max(1) }
    }

    /// The spans of the customers who come in one of the [`MINUTES`].
    pub fn minute(&self, minute: u64) -> Vec<Span> {
        if !minute.is_multiple_of(self.every) {
            return Vec::new();
        }
        let from_ns = self.from_ns + minute * MINUTE_NS;
        let mut spans = self.shop.customers(from_ns, from_ns + self.open_ns);
        spans.sort_by_key(|span| (span.end_ns, span.trace_id, span.span_id));
        spans
    }

    /// All spans, minute by minute.
    pub fn spans(self) -> impl Iterator<Item = Vec<Span>> {
        (0..MINUTES).map(move |minute| self.minute(minute))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const UNTIL_NS: u64 = 1_790_000_000_000_000_000;

    #[test]
    fn a_history_is_the_same_twice_has_the_wanted_size_and_ends_in_time() {
        for wanted in [2_000, 60_000] {
            let spans: Vec<Span> = History::new(wanted, UNTIL_NS).spans().flatten().collect();
            assert!((wanted * 2 / 3..wanted * 3 / 2).contains(&spans.len()), "{} of {wanted}", spans.len());
            assert!(spans.iter().all(|span| span.end_ns.is_some_and(|end| end < UNTIL_NS)));
            let again: Vec<Span> = History::new(wanted, UNTIL_NS).spans().flatten().collect();
            assert!(spans == again, "another history");
        }
    }

    #[test]
    fn traces_are_whole() {
        let spans = History::new(3_000_000, UNTIL_NS).minute(5);
        let ids: HashSet<_> = spans.iter().map(|span| span.span_id).collect();
        let orphans = spans.iter().filter(|span| span.parent_span_id.is_some_and(|id| !ids.contains(&id)));
        assert!(!spans.is_empty());
        assert_eq!(orphans.count(), 0);
    }
}
