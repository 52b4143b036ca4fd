//! A clock that tests turn.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Microseconds since the Unix epoch; stands still unless it is set.
#[derive(Clone)]
pub struct Clock(Arc<AtomicU64>);

impl Default for Clock {
    /// Some day in 2025.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(1_750_000_000_000_000)))
    }
}

impl Clock {
    /// Sets it, forwards or backwards.
    pub fn set(&self, now_us: u64) {
        self.0.store(now_us, Ordering::SeqCst);
    }

    /// What it shows.
    pub fn now_us(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// For [`crate::Options::new`].
    pub fn reader(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now_us()
    }
}
