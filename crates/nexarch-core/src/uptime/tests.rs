//! Cases that can be counted by hand, and what must hold for any traffic.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    facts::Facts,
    infer::{contribution, testing::*},
    rollup::Delta,
};

/// The first minute of the hand-made traffic: an hour begins here.
const HOUR_0: u32 = 999_960;
const LIMIT_US: u64 = 4_000_000;

/// Requests of a minute of the hour: good, failed, slow, both.
type Plan = (u32, [u32; 4]);

fn requests(environment: &str, plan: &[Plan]) -> Delta {
    let mut sum = Delta::default();
    for &(minute, kinds) in plan {
        for (kind, count) in kinds.into_iter().enumerate() {
            for nth in 0..count {
                let ms = if kind >= 2 { 5_000 } else { 10 };
                sum.add(&contribution(&[Facts {
                    error: kind % 2 == 1,
                    start_ns: u64::from(HOUR_0 + minute) * 60_000_000_000 + u64::from(nth),
                    duration_ns: Some(ms * 1_000_000),
                    ..server("a", 1, 0)
                }
                .with(|it| it.environment = environment.into())]));
            }
        }
    }
    sum
}

fn judged(delta: &Delta) -> Vec<Verdicts> {
    let blobs = delta.encode();
    judge(blobs.iter().map(|(minute, blob)| (*minute, &**blob)), LIMIT_US).unwrap()
}

/// Minutes of the first hour that were seen, and down.
fn first_hour(delta: &Delta) -> (Vec<u32>, Vec<u32>) {
    let masks = judged(delta).first().map(|first| first.masks).unwrap_or_default();
    let bits = |mask: u64| (0..60).filter(|bit| mask >> bit & 1 == 1).collect();
    (bits(masks.seen), bits(masks.down))
}

#[test]
fn a_request_is_bad_from_four_times_the_objective_on() {
    assert_eq!((limit_us(1_000.0), limit_us(0.5), limit_us(f64::MAX)), (LIMIT_US, 2_000, u64::MAX));
}

#[test]
fn a_request_is_bad_once_though_it_failed_and_was_slow() {
    // Of 40 requests 5 % are 2: not over it. One more is.
    assert_eq!(first_hour(&requests("", &[(0, [38, 0, 0, 2])])).1, [] as [u32; 0]);
    assert_eq!(first_hour(&requests("", &[(0, [37, 1, 1, 1])])).1, [0]);
    assert_eq!(first_hour(&requests("", &[(0, [37, 0, 0, 3])])).1, [0]);
    // One bad one is not an outage, whatever its share.
    assert_eq!(first_hour(&requests("", &[(0, [9, 1, 0, 0])])).1, [] as [u32; 0]);
}

#[test]
fn few_requests_are_judged_together_up_to_five_minutes_of_the_clock() {
    // 3 + 3 + 4 are ten: one slot with two bad ones. The next four minutes are another.
    let plan = [(0, [2, 1, 0, 0]), (1, [3, 0, 0, 0]), (3, [3, 1, 0, 0]), (4, [9, 0, 0, 0])];
    assert_eq!(first_hour(&requests("", &plan)), (vec![0, 1, 3, 4], vec![0, 1, 3]));
    // Two bad ones on both sides of a border of 5 minutes are never joined.
    let plan = [(4, [0, 1, 0, 0]), (5, [0, 1, 0, 0])];
    assert_eq!(first_hour(&requests("", &plan)), (vec![4, 5], vec![]));
    let plan = [(5, [0, 1, 0, 0]), (9, [0, 1, 0, 0])];
    assert_eq!(first_hour(&requests("", &plan)), (vec![5, 9], vec![5, 9]));
}

#[test]
fn silence_is_neither_up_nor_down() {
    let delta = requests("", &[(10, [20, 0, 0, 0]), (11, [0, 20, 0, 0]), (13, [20, 0, 0, 0])]);
    let blobs = delta.encode();
    let window = Minutes { from: HOUR_0, to: HOUR_0 + 60 };
    let minutes = || blobs.iter().map(|(minute, blob)| (*minute, &**blob));
    let of = |window, environment| uptime(&[], minutes(), window, environment, LIMIT_US).unwrap();
    let hour = of(window, None);
    assert_eq!((hour.percentage, hour.coverage), (Some(66.6667), Some(0.05)));
    let cut = of(Minutes { from: HOUR_0 + 11, to: HOUR_0 + 12 }, None);
    assert_eq!((cut.percentage, cut.coverage), (Some(0.0), Some(1.0)));
    let none = of(Minutes { from: 0, to: 0 }, None);
    assert_eq!((none.percentage, none.coverage), (None, None));
    assert_eq!(of(window, Some("prod")).percentage, None);
    assert_eq!(of(window, Some("")).percentage, Some(66.6667));
}

#[test]
fn environments_are_judged_for_themselves() {
    let mut sum = requests("prod", &[(0, [0, 10, 0, 0])]);
    sum.add(&requests("test", &[(0, [990, 0, 0, 0])]));
    let all = judged(&sum);
    let shown: Vec<_> = all.iter().map(|it| (it.environment.as_deref(), it.masks.down)).collect();
    assert_eq!(shown, [(None, 0), (Some("test"), 0), (Some("prod"), 1)]);
}

#[test]
fn what_is_kept_gives_way_to_minutes_and_stays_elsewhere() {
    let kept = [(HOUR_0, Masks { seen: 0b11_1111_1111, down: 0b10_0000_0001 })];
    let window = Minutes { from: HOUR_0, to: HOUR_0 + 60 };
    let known = uptime(&kept, [], window, None, LIMIT_US).unwrap();
    assert_eq!(known.percentage, Some(80.0));
    let blobs = requests("", &[(1, [20, 0, 0, 0])]).encode();
    let minutes = blobs.iter().map(|(minute, blob)| (*minute, &**blob));
    let known = uptime(&kept, minutes, window, None, LIMIT_US).unwrap();
    assert_eq!((known.percentage, known.coverage), (Some(83.3333), Some(0.1)), "6 minutes, one down");
}

#[test]
fn masks_are_replaced_and_completed() {
    let known = Masks { seen: 0b11_0011, down: 0b01_0001 };
    let found = Masks { seen: 0b00_1110, down: 0b00_1010 };
    assert_eq!(known.replaced(Masks::block(HOUR_0 + 4), found), Masks { seen: 0b10_1110, down: 0b00_1010 });
    assert_eq!(known.completed(found), Masks { seen: 0b11_1111, down: 0b01_1001 });
    assert_eq!(Masks::block(HOUR_0 + 59), 0b1_1111 << 55);
}

proptest! {
    /// Any order, any split, anything taken back: the verdicts are those of the set.
    #[test]
    fn what_is_taken_back_was_never_there(
        plan in vec((0u32..10, [0u32..6, 0u32..3, 0u32..3, 0u32..3]), 1..6),
        gone in vec((0u32..10, [0u32..6, 0u32..3, 0u32..3, 0u32..3]), 0..4),
    ) {
        let expected = judged(&requests("", &plan));
        let mut sum = requests("", &gone);
        let reversed: Vec<Plan> = plan.iter().rev().copied().collect();
        sum.add(&requests("", &reversed));
        sum.subtract(&requests("", &gone));
        prop_assert_eq!(judged(&sum), expected);
    }

    /// One pass over all requests finds what cells do.
    #[test]
    fn cells_say_what_the_requests_do(plan in vec((0u32..5, [0u32..20, 0u32..3, 0u32..3, 0u32..3]), 1..5)) {
        let mut minutes = [(0u32, 0u32); 5];
        for (minute, [good, failed, slow, both]) in &plan {
            let of = &mut minutes[*minute as usize];
            *of = (of.0 + good + failed + slow + both, of.1 + failed + slow + both);
        }
        let (mut down, mut slot, mut members) = (Vec::new(), (0, 0), Vec::new());
        let last = minutes.iter().rposition(|it| it.0 > 0);
        for (minute, (all, bad)) in (0u32..).zip(minutes).filter(|(_, it)| it.0 > 0) {
            members.push(minute);
            slot = (slot.0 + all, slot.1 + bad);
            if slot.0 >= 10 || Some(minute as usize) == last {
                if slot.1 >= 2 && slot.1 * 20 > slot.0 {
                    down.append(&mut members);
                }
                members.clear();
                slot = (0, 0);
            }
        }
        prop_assert_eq!(first_hour(&requests("", &plan)).1, down);
    }
}
