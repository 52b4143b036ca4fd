//! How many connections are opened to one server in a time, however it goes wrong.
//!
//! Each task that connects rests with jitter between its attempts; this holds for all of them together, and whatever ends
//! their connections.

use super::socket::Target;
use crate::sync::lock;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Connections at once for each place: it is filled at the start, and when all connections are lost, with room for some that
/// fail.
const BURST: u32 = 4;

/// One connection a second for each place: what fails at once is tried about twice a second, by one task alone.
const PERIOD: Duration = Duration::from_secs(1);

/// Lets connections through: of each server [`BURST`] times its places at once, and then its places in each [`PERIOD`].
#[derive(Debug)]
pub(super) struct Gate {
    interval: Duration,
    burst: Duration,
    /// When the next connection to a server would be due, were there no bursts. Who is not in it opened none lately.
    due: Mutex<HashMap<Target, Instant>>,
}

impl Gate {
    /// For servers with so many places: connections for values, and one for messages.
    pub(super) fn new(places: u32) -> Self {
        let interval = PERIOD / places.max(1);
        Self { interval, burst: interval * (places.max(1) * BURST - 1), due: Mutex::default() }
    }

    /// Waits until another connection to `target` may be opened.
    pub(super) async fn pass(&self, target: &Target) {
        if let Some(turn) = self.turn(target, Instant::now()) {
            sleep_until(turn).await;
        }
    }

    /// When the caller's turn is; `None` when it is now. Turns are given in the order of the questions.
    fn turn(&self, target: &Target, now: Instant) -> Option<Instant> {
        let mut due = lock(&self.due);
        // Of these all of a burst is left again.
        due.retain(|_, due| *due + self.burst > now);
        let rested = || now.checked_sub(self.burst).unwrap_or(now);
        let turn = due.get(target).copied().unwrap_or_else(rested);
        due.insert(target.clone(), turn + self.interval);
        (turn > now).then_some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn target(port: u16) -> Target {
        Target { host: "one".into(), port, certificate_name: "one".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_through_and_then_one_a_second_for_each_place() {
        let (gate, began) = (Gate::new(3), Instant::now());
        for _ in 0..12 {
            gate.pass(&target(1)).await;
        }
        assert_eq!(began.elapsed(), Duration::ZERO);
        for _ in 0..30 {
            gate.pass(&target(1)).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(9990), "{:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(11), "{:?}", began.elapsed());
        // Others are not held up by it.
        let before = Instant::now();
        gate.pass(&target(2)).await;
        assert_eq!(before.elapsed(), Duration::ZERO);
        tokio::time::advance(Duration::from_mins(1)).await;
        gate.pass(&target(2)).await;
        assert_eq!(lock(&gate.due).len(), 1, "who opened none lately is forgotten");
    }

    proptest! {
        /// Whenever they come: none of any window has more than a burst and what the time brings.
        #[test]
        fn no_window_has_more(places in 1u32..20, pauses in prop::collection::vec(0u64..2000, 1..200)) {
            let (gate, mut now) = (Gate::new(places), Instant::now());
            let mut passed = Vec::new();
            for pause in pauses {
                now += Duration::from_millis(pause);
                passed.push(gate.turn(&target(1), now).unwrap_or(now));
            }
            for (from, first) in passed.iter().enumerate() {
                for (to, last) in passed.iter().enumerate().skip(from) {
                    let window = last.duration_since(*first);
                    let most = f64::from(places * BURST) + window.as_secs_f64() * f64::from(places) + 1e-6;
                    prop_assert!((to - from + 1) as f64 <= most + 1e-3, "{} in {window:?}", to - from + 1);
                }
            }
        }
    }
}
