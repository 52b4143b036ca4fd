//! Whether calls go to a server: a pure state machine over `sync` types. Time is an argument.
//!
//! Closed: calls go, unanswered ones in a row are counted. Open: none goes. Half open: one probe is under way; its
//! answer closes, its silence opens again. Refusals (out of memory, read only, no permission) are answers: they prove
//! the server alive and never come here as silence.

use crate::clock::BootTime;
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// Unanswered calls in a row that open a breaker: each costs one caller one deadline, and all after them nothing.
pub(crate) const SILENT_LIMIT: u64 = 5;

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;

/// One server's breaker.
///
/// All of it is one word, so that letting a call through is one load: the state in the lowest two bits, the silent
/// calls in a row in the next six, above them the *period*, which goes up whenever the breaker opens or closes.
#[derive(Debug)]
pub(crate) struct Switch {
    word: AtomicU64,
    /// When the running probe began, in nanoseconds of the boot clock.
    probed: AtomicU64,
}

/// A call or a probe that was let through. It counts only in the period in which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass(u64);

const fn state(word: u64) -> u64 {
    word & 3
}

const fn silent(word: u64) -> u64 {
    word >> 2 & 63
}

const fn period(word: u64) -> u64 {
    word >> 8
}

const fn word(period: u64, silent: u64, state: u64) -> u64 {
    period << 8 | silent << 2 | state
}

impl Switch {
    /// Open, until a first probe is answered.
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(word(0, 0, OPEN)), probed: AtomicU64::new(0) }
    }

    pub(crate) fn is_closed(&self) -> bool {
        state(self.word.load(Ordering::Acquire)) == CLOSED
    }

    /// Lets a call through when closed.
    pub(crate) fn admit(&self) -> Option<Pass> {
        let word = self.word.load(Ordering::Acquire);
        (state(word) == CLOSED).then_some(Pass(period(word)))
    }

    /// A call was answered, whatever the answer.
    pub(crate) fn answered(&self, pass: Pass) {
        // Nearly always there is nothing to forget, and the word stays in every core's cache.
        if silent(self.word.load(Ordering::Acquire)) > 0 {
            self.change(|old| (of(old, pass, CLOSED)).then(|| word(period(old), 0, CLOSED)));
        }
    }

    /// A call was not answered in time. True when this opened the breaker, for exactly one caller.
    pub(crate) fn unanswered(&self, pass: Pass) -> bool {
        let changed = self.change(|old| {
            let open = silent(old) + 1 >= SILENT_LIMIT;
            let next = if open { word(period(old) + 1, 0, OPEN) } else { old + word(0, 1, 0) };
            of(old, pass, CLOSED).then_some(next)
        });
        changed.is_some_and(|new| state(new) == OPEN)
    }

    /// There is no connection: opens whatever it was. True when it was not open.
    pub(crate) fn trip(&self) -> bool {
        self.change(|old| (state(old) != OPEN).then(|| word(period(old) + 1, 0, OPEN))).is_some()
    }

    /// Lets one probe through when open, or when the probe under way is not heard of any more: one that was not reported
    /// within `life` is forgotten, as when its task was ended.
    pub(crate) fn probe(&self, now: BootTime, life: Duration) -> Option<Pass> {
        // Read after the word and written before it: whoever sees a probe under way sees when it began.
        let lost = || now.since(BootTime::from_nanos(self.probed.load(Ordering::Acquire))) > life;
        let begin = |word| {
            self.probed.store(now.as_nanos(), Ordering::Release);
            Some(word)
        };
        let new = self.change(|old| match state(old) {
            OPEN => begin(word(period(old), 0, HALF_OPEN)),
            // A new period, so that the lost probe cannot report any more.
            HALF_OPEN if lost() => begin(word(period(old) + 1, 0, HALF_OPEN)),
            _ => None,
        })?;
        Some(Pass(period(new)))
    }

    /// The probe was answered. True when this closed the breaker.
    pub(crate) fn close(&self, probe: Pass) -> bool {
        self.change(|old| of(old, probe, HALF_OPEN).then(|| word(period(old) + 1, 0, CLOSED))).is_some()
    }

    /// The probe was not answered, or refused.
    pub(crate) fn reopen(&self, probe: Pass) {
        self.change(|old| of(old, probe, HALF_OPEN).then(|| word(period(old) + 1, 0, OPEN)));
    }

    /// Replaces the word by what `next` makes of it, if anything, and returns the new one.
    fn change(&self, next: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut old = self.word.load(Ordering::Acquire);
        loop {
            let new = next(old)?;
            match self.word.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(new),
                Err(now) => old = now,
            }
        }
    }
}

fn of(word: u64, pass: Pass, wanted: u64) -> bool {
    state(word) == wanted && period(word) == pass.0
}
