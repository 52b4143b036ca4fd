//! Turns: each is taken by one, whoever asks.

use std::time::Duration;

use super::{Clock, open_at};
use crate::Turn;

const LEASE: Duration = Duration::from_mins(1);
const LEASE_US: u64 = 60_000_000;

fn turn(due_us: u64, owner: &str) -> Turn<'_> {
    Turn { work: "sweep", due_us, owner }
}

/// Of several processes one has the turn, until it ends; the next one is for whoever asks first.
pub async fn a_turn_is_taken_once(url: &str) {
    let clock = Clock::default();
    let (one, other) = (open_at(url, &clock).await, open_at(url, &clock).await);
    let due = clock.now_us();
    assert!(one.take_turn(&turn(due, "one"), LEASE).await.unwrap());
    assert!(!other.take_turn(&turn(due, "other"), LEASE).await.unwrap());
    assert!(!other.take_turn(&turn(due + 5, "other"), LEASE).await.unwrap(), "a later one waits for its end");
    let else_ = Turn { work: "else", ..turn(due, "other") };
    assert!(other.take_turn(&else_, LEASE).await.unwrap(), "other work is another's business");
    other.end_turn(&turn(due, "other")).await.unwrap();
    assert!(!other.take_turn(&turn(due, "other"), LEASE).await.unwrap(), "nobody ends what is not his");
    one.end_turn(&turn(due, "one")).await.unwrap();
    for owner in ["one", "other"] {
        assert!(!other.take_turn(&turn(due, owner), LEASE).await.unwrap(), "it was done");
        assert!(!other.take_turn(&turn(due - 1, owner), LEASE).await.unwrap(), "and so were those before");
    }
    assert!(other.take_turn(&turn(due + 5, "other"), LEASE).await.unwrap());
    assert!(!one.take_turn(&turn(due + 5, "one"), LEASE).await.unwrap());
}

/// Of those who ask at the same moment one has it.
pub async fn a_race_has_one_winner(url: &str) {
    let clock = Clock::default();
    let stores = [open_at(url, &clock).await, open_at(url, &clock).await, open_at(url, &clock).await];
    let [one, two, three] = &stores;
    for due in clock.now_us()..clock.now_us() + 10 {
        let turns = ["one", "two", "three"].map(|owner| turn(due, owner));
        let [a, b, c] = &turns;
        let asked = tokio::join!(one.take_turn(a, LEASE), two.take_turn(b, LEASE), three.take_turn(c, LEASE));
        let taken = [asked.0.unwrap(), asked.1.unwrap(), asked.2.unwrap()];
        assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
        for (store, turn) in stores.iter().zip(&turns) {
            store.end_turn(turn).await.unwrap();
        }
    }
}

/// Who renews keeps it; who is not heard of loses it, and with it the right to end it.
pub async fn a_lease_that_lapsed_passes_on(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    let due = clock.now_us();
    assert!(store.take_turn(&turn(due, "one"), LEASE).await.unwrap());
    for _ in 0..3 {
        clock.set(clock.now_us() + LEASE_US - 1);
        assert!(!store.take_turn(&turn(due, "other"), LEASE).await.unwrap());
        assert!(store.take_turn(&turn(due, "one"), LEASE).await.unwrap(), "renewed");
    }
    clock.set(clock.now_us() + LEASE_US);
    assert!(store.take_turn(&turn(due, "other"), LEASE).await.unwrap(), "the same turn: it was not done");
    assert!(!store.take_turn(&turn(due, "one"), LEASE).await.unwrap(), "lost");
    store.end_turn(&turn(due, "one")).await.unwrap();
    assert!(store.take_turn(&turn(due, "other"), LEASE).await.unwrap(), "still the other's");
}

/// A clock that was wrong, and is set right, keeps nobody from working.
pub async fn a_clock_set_right_blocks_nobody(url: &str) {
    let clock = Clock::default();
    let store = open_at(url, &clock).await;
    let now = clock.now_us();
    clock.set(now + 365 * 86_400 * 1_000_000);
    assert!(store.take_turn(&turn(clock.now_us(), "one"), LEASE).await.unwrap());
    clock.set(now);
    assert!(store.take_turn(&turn(now, "other"), LEASE).await.unwrap());
    assert!(!store.take_turn(&turn(now, "one"), LEASE).await.unwrap());
    clock.set(u64::MAX);
    assert!(store.take_turn(&turn(u64::MAX, "one"), LEASE).await.unwrap());
}
