//! The very file of the breaker, driven by arbitrary histories beside a plain model, and compiled over Shuttle's types
//! through thousands of schedules.
#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(dead_code, unreachable_pub, reason = "the files are compiled whole")]

#[path = "../../src/breaker.rs"]
mod breaker;
#[path = "../../src/clock.rs"]
mod clock;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

mod histories;
mod schedules;

use breaker::{Pass, Switch};
use clock::BootTime;
use std::time::Duration;

/// How long a probe may take before it is forgotten.
const LIFE: Duration = Duration::from_secs(2);

/// How long the one call of a trial may take before its turn is another's.
const TURN: Duration = Duration::from_millis(700);

fn ms(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

fn at(ms: u64) -> BootTime {
    BootTime::default().plus(Duration::from_millis(ms))
}

/// A call at a time at which no turn is over.
fn admit(switch: &Switch, now: u64) -> Option<Pass> {
    switch.admit(|| at(now), TURN)
}

fn closed() -> Switch {
    let switch = Switch::new();
    let probe = switch.probe(at(10_000), LIFE).unwrap();
    assert!(switch.close(probe, at(10_000)));
    switch
}
