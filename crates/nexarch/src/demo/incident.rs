//! When the shop is unwell: `payments` turns slow and fails at times, then recovers.

/// One second in nanoseconds.
pub(super) const SECOND_NS: u64 = 1_000_000_000;

/// An incident begins this long after the shop opened: a viewer has seen it healthy, and need not wait.
pub(super) const HEALTHY_FIRST_NS: u64 = 45 * SECOND_NS;
/// It lasts this long: wherever it begins, it is seen in three minutes, with which it is an incident for the server too.
pub(super) const SLOW_NS: u64 = 150 * SECOND_NS;
/// The next one begins this long after the last one began: the minutes between are so many that it is another one.
pub(super) const CYCLE_NS: u64 = 600 * SECOND_NS;

/// Before the shop opened there was one incident, so that trends have something to show: it began this long ago …
pub(super) const PAST_BEGAN_NS: u64 = 38 * 60 * SECOND_NS;
/// … and ended this long ago.
pub(super) const PAST_ENDED_NS: u64 = 33 * 60 * SECOND_NS;

/// Median of the fraud check of `payments`, in microseconds, on a good day.
pub(super) const FRAUD_CHECK_US: u64 = 22_000;
/// The same during an incident: above the default latency objective of 1,000 ms.
pub(super) const SLOW_FRAUD_CHECK_US: u64 = 1_600_000;
/// Share of charges that fail during an incident.
pub(super) const FAILING_CHARGES: f64 = 0.15;

/// Is `payments` unwell at this time, in a shop that opened then (nanoseconds since the Unix epoch)?
pub(super) fn payments_unwell(opened_ns: u64, now_ns: u64) -> bool {
    match now_ns.checked_sub(opened_ns) {
        Some(open_for) => (HEALTHY_FIRST_NS..HEALTHY_FIRST_NS + SLOW_NS).contains(&(open_for % CYCLE_NS)),
        None => (PAST_ENDED_NS..PAST_BEGAN_NS).contains(&(opened_ns - now_ns)),
    }
}
