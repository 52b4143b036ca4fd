//! Time as an argument: one clock for leases and expiry, one for what people read.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment on the clock that counts from boot and goes on while the machine sleeps, in nanoseconds.
///
/// Leases and expiry are measured on it: a clock that stood still during suspension would keep a dead lease
/// alive, and a wall clock can be set back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootTime(u64);

impl BootTime {
    /// The moment `nanos` nanoseconds after boot.
    #[inline]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since boot.
    #[inline]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long before `self` the `earlier` moment was; zero when it was not earlier.
    #[inline]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// How far the two moments are apart, whichever comes first.
    pub(crate) const fn apart(self, other: Self) -> Duration {
        Duration::from_nanos(self.0.abs_diff(other.0))
    }

    /// The moment `after` this one; the end of time rather than an overflow.
    #[must_use]
    #[inline]
    pub fn plus(self, after: Duration) -> Self {
        Self(self.0.saturating_add(nanos(after)))
    }
}

/// Whole nanoseconds, at most `u64::MAX` (584 years).
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where the cache takes the time from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Time since boot, counted on while the machine sleeps.
    fn boot(&self) -> BootTime;

    /// Wall-clock time, for stamps that people read and for numbers that must grow across restarts.
    fn wall(&self) -> SystemTime;
}

/// The clocks of the machine: `CLOCK_BOOTTIME` (elsewhere than on Linux the monotonic clock) and the wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[cfg(any(target_os = "linux", target_os = "android"))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const BOOT_CLOCK: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

impl Clock for SystemClock {
    fn boot(&self) -> BootTime {
        let now = rustix::time::clock_gettime(BOOT_CLOCK);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
        BootTime(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else takes as an argument"
    )]
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }
}

/// A clock that moves only when told to, for tests and simulations.
///
/// ```
/// use nexarch_cache::{Clock, ManualClock};
/// use std::time::Duration;
///
/// let clock = ManualClock::default();
/// let before = clock.boot();
/// clock.advance(Duration::from_secs(2));
/// assert_eq!(clock.boot().since(before), Duration::from_secs(2));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    boot: AtomicU64,
    wall: AtomicU64,
}

impl Default for ManualClock {
    /// One hour after boot, one million seconds after the Unix epoch.
    fn default() -> Self {
        Self { boot: AtomicU64::new(3_600_000_000_000), wall: AtomicU64::new(1_000_000_000_000_000) }
    }
}

impl ManualClock {
    /// Moves both clocks on.
    pub fn advance(&self, by: Duration) {
        self.boot.fetch_add(nanos(by), Ordering::SeqCst);
        self.jump_wall(by);
    }

    /// Moves the wall clock alone, as when it is set or the boot clock stood still.
    pub fn jump_wall(&self, by: Duration) {
        self.wall.fetch_add(nanos(by), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn boot(&self) -> BootTime {
        BootTime(self.boot.load(Ordering::SeqCst))
    }

    fn wall(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.wall.load(Ordering::SeqCst))
    }
}

/// Microseconds since the Unix epoch; zero before it.
pub(crate) fn micros(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
