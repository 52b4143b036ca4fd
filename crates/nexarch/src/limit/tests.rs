use proptest::prelude::*;

use super::*;

fn limits(requests: u32, spans: u32) -> Limits {
    Limits::new(Rates {
        requests_per_minute: NonZeroU32::new(requests),
        spans_per_second: NonZeroU32::new(spans),
    })
}

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn start() -> Instant {
    Instant::now()
}

#[test]
fn zero_is_no_limit() {
    let (limits, now) = (limits(0, 0), start());
    for _ in 0..1_000 {
        assert_eq!(limits.request(&tenant("a"), now), Ok(()));
        assert_eq!(limits.spans(&tenant("a"), usize::MAX, now), Ok(()));
    }
}

#[test]
fn tenants_do_not_share_and_time_gives_back() {
    let (limits, now) = (limits(60, 0), start());
    for _ in 0..60 {
        assert_eq!(limits.request(&tenant("a"), now), Ok(()));
    }
    let limited = limits.request(&tenant("a"), now).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_secs(1));
    assert!(limited.to_string().contains("60 requests per minute"), "{limited}");
    assert_eq!(limits.request(&tenant("b"), now), Ok(()), "another tenant");
    assert!(limits.request(&tenant("a"), now + Duration::from_millis(990)).is_err(), "not a whole token yet");
    let later = now + limited.retry_after;
    assert_eq!(limits.request(&tenant("a"), later), Ok(()));
    assert!(
        limits.request(&tenant("a"), later).is_err(),
        "a refused request costs nothing, a taken one does"
    );
}

#[test]
fn a_batch_of_any_size_is_let_in_and_paid_for() {
    let (limits, now) = (limits(0, 10), start());
    assert_eq!(limits.spans(&tenant("a"), 100, now), Ok(()));
    let limited = limits.spans(&tenant("a"), 1, now).unwrap_err();
    assert_eq!(limited.retry_after, Duration::from_secs(10), "90 of debt and one to spend");
    assert!(limits.spans(&tenant("a"), 0, now).is_err(), "known before the body is read");
    assert_eq!(limits.spans(&tenant("a"), 1, now + limited.retry_after), Ok(()));
}

#[test]
fn memory_is_bounded_and_debt_is_not_forgiven_for_it() {
    let (limits, now) = (limits(0, 10), start());
    limits.spans(&tenant("debtor"), 1_000_000, now).unwrap();
    for index in 0..MAX_TENANTS + 50 {
        limits.spans(&tenant(&format!("t{index}")), 5, now).unwrap();
    }
    let buckets = limits.spans.as_ref().unwrap();
    assert!(buckets.tenants.lock().unwrap().len() <= MAX_TENANTS);
    assert!(limits.spans(&tenant("debtor"), 1, now).is_err());
}

proptest! {
    /// Whatever is asked and when: over any time no more is let in than the bucket, the rate and one last batch.
    #[test]
    fn no_more_than_the_rate_is_let_in(
        limit in 1u32..1_000,
        asked in prop::collection::vec((0u64..3_000, 0usize..500), 1..200),
    ) {
        let (limits, start) = (limits(0, limit), start());
        let (mut now, mut taken, mut largest) = (start, 0usize, 0usize);
        for (pause_ms, spans) in asked {
            now += Duration::from_millis(pause_ms);
            if limits.spans(&tenant("a"), spans, now).is_ok() {
                taken += spans;
                largest = largest.max(spans);
            }
            let allowed = f64::from(limit) * (1.0 + (now - start).as_secs_f64()) + largest as f64;
            prop_assert!(taken as f64 <= allowed + 1e-3, "{taken} of {allowed}");
        }
    }

    /// Whoever waits as long as told is let in.
    #[test]
    fn the_wait_that_is_told_suffices(limit in 1u32..10_000, spans in 1usize..100_000) {
        let (limits, now) = (limits(limit, limit), start());
        limits.spans(&tenant("a"), spans, now).unwrap();
        if let Err(limited) = limits.spans(&tenant("a"), 1, now) {
            prop_assert_eq!(limits.spans(&tenant("a"), 1, now + limited.retry_after), Ok(()));
        }
    }
}

#[test]
fn what_was_not_stored_is_given_back() {
    let (limits, now) = (limits(0, 100), start());
    assert_eq!(limits.spans(&tenant("a"), 5_000, now), Ok(()));
    assert!(limits.spans(&tenant("a"), 0, now).is_err(), "in debt");
    limits.give_back(&tenant("a"), 5_000, now);
    assert_eq!(limits.spans(&tenant("a"), 100, now), Ok(()));
    assert!(limits.spans(&tenant("a"), 1, now).is_err(), "no more than there was");
    // Time has given back already: the bucket does not run over.
    let later = now + Duration::from_mins(1);
    limits.give_back(&tenant("a"), 100, later);
    limits.give_back(&tenant("b"), 100, later);
    for name in ["a", "b"] {
        assert_eq!(limits.spans(&tenant(name), 100, later), Ok(()));
        assert!(limits.spans(&tenant(name), 1, later).is_err());
    }
}
