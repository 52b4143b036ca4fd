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

#[test]
fn a_standing_says_what_is_left_and_for_how_long() {
    let (limits, now) = (limits(60, 10), start());
    let of =
        |now| (limits.requests_of(&tenant("a"), now).unwrap(), limits.spans_of(&tenant("a"), now).unwrap());
    let full = Standing { policy: "requests", quota: 60, window_s: 60, left: 60, reset_s: 60 };
    assert_eq!(of(now).0, full);
    assert_eq!(of(now).1, Standing { policy: "spans", quota: 10, window_s: 1, left: 10, reset_s: 1 });
    for _ in 0..59 {
        limits.request(&tenant("a"), now).unwrap();
    }
    assert_eq!(of(now).0, Standing { left: 1, reset_s: 1, ..full });
    limits.request(&tenant("a"), now).unwrap();
    assert_eq!(of(now).0, Standing { left: 0, reset_s: 1, ..full });
    let half = now + Duration::from_millis(500);
    assert_eq!(of(half).0, Standing { left: 0, reset_s: 1, ..full }, "half a request is none");
    assert_eq!(of(now + Duration::from_secs(20)).0, Standing { left: 20, reset_s: 20, ..full });
    limits.spans(&tenant("a"), 95, now).unwrap();
    let debt = of(now).1;
    assert_eq!((debt.left, debt.reset_s), (0, 9), "85 of debt and one to spend, at ten a second");
    assert_eq!(limits.requests_of(&tenant("b"), now), Some(full), "another tenant");
    limits.forget(&tenant("a"));
    assert_eq!(of(now).0, full);
    assert_eq!(Limits::new(Rates::default()).requests_of(&tenant("a"), now), None);
}

proptest! {
    /// Who spends what is left, all at once, evenly or at the last moment, is never refused, and finds as much again when
    /// the time is over; who finds nothing left waits as long as told, and no longer than a refusal tells.
    #[test]
    fn who_keeps_to_the_standing_is_never_refused(
        limit in 1u32..2_000,
        used in 0u64..4_000,
        pause_ms in 0u64..120_000,
        spread in 0.0f64..=1.0,
    ) {
        let (limits, start, a) = (limits(limit, 0), start(), tenant("a"));
        for _ in 0..used {
            let _ = limits.request(&a, start);
        }
        let now = start + Duration::from_millis(pause_ms);
        let standing = limits.requests_of(&a, now).unwrap();
        prop_assert!(standing.left <= u64::from(limit) && standing.reset_s <= 60.max(1 + 60 / u64::from(limit)));
        let window = Duration::from_secs(standing.reset_s);
        for nth in 0..standing.left {
            let at = now + window.mul_f64(spread * nth as f64 / standing.left as f64);
            prop_assert!(limits.request(&a, at).is_ok(), "{nth} of {standing:?}");
        }
        if standing.left == 0 {
            let told = limits.request(&a, now).unwrap_err();
            prop_assert_eq!(told.retry_after, window);
            prop_assert_eq!(told.policy, "requests");
        }
        let again = limits.requests_of(&a, now + window).unwrap();
        prop_assert!(again.left >= standing.left.max(1), "{again:?} after {standing:?}");
    }
}
