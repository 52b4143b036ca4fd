//! Moves spans in time, so that old recordings can be looked at as if they had just happened.

use nexarch_core::span::Span;

/// The latest moment of a span (nanoseconds since the Unix epoch).
pub(super) fn end_ns(span: &Span) -> u64 {
    span.end_ns.unwrap_or(span.start_ns)
}

/// By how much to move what ended last at `newest_ns`, so that it ends at `now_ns` (nanoseconds).
pub(super) fn offset(newest_ns: u64, now_ns: u64) -> i64 {
    let offset = i128::from(now_ns) - i128::from(newest_ns);
    i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX })
}

/// Moves a span with its events. An event without a time stays without.
pub(super) fn shift(span: &mut Span, offset: i64) {
    span.start_ns = span.start_ns.saturating_add_signed(offset);
    span.end_ns = span.end_ns.map(|end| end.saturating_add_signed(offset));
    for event in span.events.iter_mut().filter(|event| event.time_ns != 0) {
        event.time_ns = event.time_ns.saturating_add_signed(offset);
    }
}
