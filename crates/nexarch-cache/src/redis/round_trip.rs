//! How long answers took lately.

use crate::sync::lock;
use std::sync::Mutex;
use std::time::Duration;

/// Answers that are remembered: enough for a 99th percentile, cheap to sort once a second.
const REMEMBERED: usize = 512;

/// The latest answers, the oldest forgotten first.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    times: Vec<Duration>,
    next: usize,
}

impl RoundTrips {
    pub(super) fn record(&self, time: Duration) {
        let mut recent = lock(&self.recent);
        if recent.times.len() < REMEMBERED {
            recent.times.push(time);
        } else {
            let at = recent.next;
            recent.times[at] = time;
        }
        recent.next = (recent.next + 1) % REMEMBERED;
    }

    /// Median and 99th percentile; zero when there was no answer yet.
    pub(super) fn quantiles(&self) -> (Duration, Duration) {
        let mut times = lock(&self.recent).times.clone();
        times.sort_unstable();
        let at =
            |percent: usize| times.get((times.len() * percent / 100).min(times.len().max(1) - 1)).copied();
        (at(50).unwrap_or_default(), at(99).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_latest() {
        let trips = RoundTrips::default();
        assert_eq!(trips.quantiles(), (Duration::ZERO, Duration::ZERO));
        trips.record(Duration::from_millis(7));
        assert_eq!(trips.quantiles(), (Duration::from_millis(7), Duration::from_millis(7)));
        (0..1000).for_each(|_| trips.record(Duration::from_secs(9)));
        (1..=512).for_each(|ms| trips.record(Duration::from_millis(ms)));
        assert_eq!(trips.quantiles(), (Duration::from_millis(257), Duration::from_millis(507)));
    }
}
