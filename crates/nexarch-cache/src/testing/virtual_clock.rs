//! A clock that runs with tokio's timers, so that pausing these pauses everything.

use crate::clock::{BootTime, Clock};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Boot time and wall clock of one machine, in step with tokio's time. The wall clock may be set wrong.
#[derive(Debug)]
pub struct VirtualClock {
    began: Instant,
    /// Microseconds that the wall clock is ahead of the true time.
    skew: AtomicI64,
}

/// Where both clocks begin: an hour after boot, a million seconds after 1970.
const UPTIME: Duration = Duration::from_hours(1);
const BEGINNING: Duration = Duration::from_secs(1_000_000);

impl VirtualClock {
    /// A clock that begins now. Machines that share a `began` share the true time.
    pub fn new(began: Instant) -> Self {
        Self { began, skew: AtomicI64::new(0) }
    }

    /// Sets the wall clock this many microseconds ahead of the true time, or behind it.
    pub fn set_skew(&self, micros: i64) {
        self.skew.store(micros, Ordering::SeqCst);
    }
}

impl Clock for VirtualClock {
    fn boot(&self) -> BootTime {
        BootTime::default().plus(UPTIME + self.began.elapsed())
    }

    fn wall(&self) -> SystemTime {
        let skew = self.skew.load(Ordering::SeqCst);
        let wall = UNIX_EPOCH + BEGINNING + self.began.elapsed();
        let by = Duration::from_micros(skew.unsigned_abs());
        if skew < 0 { wall - by } else { wall + by }
    }
}
