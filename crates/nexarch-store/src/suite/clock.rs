//! A clock that tests turn.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Microseconds since the Unix epoch; stands still unless it is set.
#[derive(Clone)]
pub struct Clock(Arc<Hands>);

struct Hands {
    wall: AtomicU64,
    steady: AtomicU64,
}

impl Default for Clock {
    /// Some day in 2025.
    fn default() -> Self {
        Self(Arc::new(Hands { wall: AtomicU64::new(1_750_000_000_000_000), steady: AtomicU64::new(0) }))
    }
}

impl Clock {
    /// Sets it, forwards or backwards. Forwards that much time passes.
    pub fn set(&self, now_us: u64) {
        let passed = now_us.saturating_sub(self.0.wall.swap(now_us, Ordering::SeqCst));
        self.0.steady.fetch_add(passed, Ordering::SeqCst);
    }

    /// Sets it, and no time passes.
    pub fn jump(&self, now_us: u64) {
        self.0.wall.store(now_us, Ordering::SeqCst);
    }

    /// For [`crate::Options::steady_clock`].
    pub fn steady(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.0.steady.load(Ordering::SeqCst)
    }

    /// What it shows.
    pub fn now_us(&self) -> u64 {
        self.0.wall.load(Ordering::SeqCst)
    }

    /// For [`crate::Options::new`].
    pub fn reader(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now_us()
    }
}
