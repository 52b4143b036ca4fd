//! Whether calls go to a server: a pure state machine over `sync` types. Time is an argument.
//!
//! Closed: calls go. Some unanswered ones in a row open it. So does a bucket that unanswered ones fill and answered ones
//! drain: more than a tenth of all fill it, whatever is answered in between. It is deep enough that fewer, which come by
//! chance and now and then close together, do not: stragglers are no reason to do without a server. Open: none goes. Half open: one probe is under way; its answer closes, its
//! silence opens again. Refusals (out of memory, read only, no permission) are answers: they prove
//! the server alive and never come here as silence.
//!
//! A probe is not a call. Where calls were silent, an answered probe closes *on trial*: one call goes at a time, and the
//! first that is silent opens again. So a server that answers probes alone, or small values alone, costs one caller his
//! deadline and not one after the other; and each time it happens soon after a close, the next probe comes later. Who has
//! this one turn and is not heard of any more, as a caller who is not polled, loses it to the next.

use crate::clock::BootTime;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::time::Duration;

/// Unanswered calls in a row that open a breaker: each costs one caller one deadline, and all after them nothing.
pub(crate) const SILENT_LIMIT: u64 = 5;

/// What an unanswered call puts into the bucket; an answered one takes one out. So it fills where more than one call in ten
/// is unanswered.
const LATE: u64 = 9;

/// A bucket this full opens a breaker. Where one call in twenty is late by chance, it gets this full about once in 10^10 calls
/// (the chance to climb so far against a mean step of −0.5 with variance 4.75: e^(−2 · 0.5 · 108 / 4.75) for each time that it
/// was empty); a quarter as deep it would do so every few thousand.
const FULL: u64 = 12 * LATE;

/// Answered calls that end a trial.
pub(crate) const TRIALS: u64 = 5;

/// Silence this soon after a close on trial is a relapse.
pub(crate) const STEADY: Duration = Duration::from_secs(10);

/// No probe for this long after a first relapse; doubled with each further one.
pub(crate) const FIRST_HOLD: Duration = Duration::from_secs(1);

/// The longest time without a probe. It bounds how late it is noticed that the server is well again.
pub(crate) const LONGEST_HOLD: Duration = Duration::from_secs(30);

const CLOSED: u64 = 0;
const OPEN: u64 = 1;
const HALF_OPEN: u64 = 2;
const TRIAL: u64 = 3;

/// Of an open or half-open breaker: it closes on trial.
const DOUBTED: u64 = 1 << 2;
/// Of a trial: its one call is under way.
const BUSY: u64 = 1 << 3;
const COUNTED: u64 = 1 << 4;
const COUNTS: u64 = 127;
/// Of a closed one: unanswered calls in a row.
const SILENT: u64 = 1 << 11;
const SILENTS: u64 = 7;
const PERIOD: u64 = 1 << 14;

/// One server's breaker.
///
/// All that a call asks is one word, so that letting it through is one load: the state in the lowest two bits, the two
/// flags, a number (what is in the bucket, or answered calls of a trial), unanswered calls in a row, above them the *period*,
/// which goes up whenever the breaker opens or closes, and with each call of a trial.
#[derive(Debug)]
pub(crate) struct Switch {
    word: AtomicU64,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    /// When the running probe began.
    probed: BootTime,
    /// When it closed on trial, if that was the latest close.
    closed: Option<BootTime>,
    hold: Duration,
    /// No probe before.
    held: BootTime,
    /// When the one turn of a trial was given.
    turned: BootTime,
}

/// A call or a probe that was let through. It counts only in the period in which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pass {
    period: u64,
    trial: bool,
}

const fn state(word: u64) -> u64 {
    word & 3
}

const fn count(word: u64) -> u64 {
    (word / COUNTED) & COUNTS
}

const fn silent(word: u64) -> u64 {
    (word / SILENT) & SILENTS
}

const fn period(word: u64) -> u64 {
    word / PERIOD
}

/// The next period, in this state, with nothing counted.
const fn next(word: u64, state: u64) -> u64 {
    ((period(word) + 1) * PERIOD) | state
}

/// What an open breaker keeps of its past.
const fn doubt(word: u64) -> u64 {
    if state(word) == TRIAL { DOUBTED } else { word & DOUBTED }
}

impl Switch {
    /// Open, until a first probe is answered.
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(OPEN), past: Mutex::new(Past::default()) }
    }

    /// Whether calls go: all, or on trial.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(state(self.word.load(Ordering::Acquire)), CLOSED | TRIAL)
    }

    /// Whether no call goes and no probe is under way.
    pub(crate) fn is_open(&self) -> bool {
        state(self.word.load(Ordering::Acquire)) == OPEN
    }

    /// Whether one call at a time goes.
    pub(crate) fn is_on_trial(&self) -> bool {
        state(self.word.load(Ordering::Acquire)) == TRIAL
    }

    /// Lets a call through when closed; on trial one at a time, which is to be given back with [`Switch::release`] when
    /// nothing came of it. One that was not heard of within `life` is forgotten, and its turn is the next caller's.
    pub(crate) fn admit(&self, now: impl FnOnce() -> BootTime, life: Duration) -> Option<Pass> {
        let word = self.word.load(Ordering::Acquire);
        match state(word) {
            CLOSED => Some(Pass { period: period(word), trial: false }),
            TRIAL => self.admit_on_trial(now(), life),
            _ => None,
        }
    }

    #[cold]
    fn admit_on_trial(&self, now: BootTime, life: Duration) -> Option<Pass> {
        let mut past = lock(&self.past);
        let lost = now.since(past.turned) > life;
        let free = |old| state(old) == TRIAL && (old & BUSY == 0 || lost);
        // A new period, so that nothing else is heard of the call before.
        let new = self.change(|old| free(old).then_some((old | BUSY) + PERIOD))?;
        past.turned = now;
        Some(Pass { period: period(new), trial: true })
    }

    /// Lets a call through that proves nothing for others, as a message: a trial is neither its place nor its matter.
    pub(crate) fn admit_beside(&self) -> Option<Pass> {
        let word = self.word.load(Ordering::Acquire);
        matches!(state(word), CLOSED | TRIAL).then_some(Pass { period: period(word), trial: false })
    }

    /// A call was answered, whatever the answer. True when this ended a trial.
    pub(crate) fn answered(&self, pass: Pass) -> bool {
        if pass.trial {
            return self.answered_on_trial(pass);
        }
        if count(self.word.load(Ordering::Acquire)) > 0 {
            // Nearly always the bucket is empty, and the word stays in every core's cache. Who is silent fills it by more
            // than one answer takes out, so that in an empty one nobody is.
            self.change(|old| {
                let counts = of(old, pass, CLOSED) && count(old) > 0;
                counts.then(|| (old & !(SILENTS * SILENT)) - COUNTED)
            });
        }
        false
    }

    #[cold]
    fn answered_on_trial(&self, pass: Pass) -> bool {
        let new = self.change(|old| {
            let over = count(old) + 1 >= TRIALS;
            let ended = if over { next(old, CLOSED) } else { (old & !BUSY) + COUNTED };
            on_trial(old, pass).then_some(ended)
        });
        new.is_some_and(|new| state(new) == CLOSED)
    }

    /// Nothing came of a call, neither answer nor silence: it was not sent, or its caller hung up.
    pub(crate) fn release(&self, pass: Pass) {
        if pass.trial {
            self.change(|old| on_trial(old, pass).then_some(old & !BUSY));
        }
    }

    /// A call was not answered in time. True when this opened the breaker, for exactly one caller.
    pub(crate) fn unanswered(&self, pass: Pass, now: BootTime) -> bool {
        self.silence(now, |old| {
            let full = silent(old) + 1 >= SILENT_LIMIT || count(old) + LATE >= FULL;
            let open = pass.trial || full;
            let counts = if pass.trial { on_trial(old, pass) } else { of(old, pass, CLOSED) };
            counts.then(|| if open { next(old, OPEN | DOUBTED) } else { old + LATE * COUNTED + SILENT })
        })
    }

    /// Calls are not answered, as is seen by something else than their number. True when this opened it.
    pub(crate) fn condemn(&self, now: BootTime) -> bool {
        self.silence(now, |old| matches!(state(old), CLOSED | TRIAL).then(|| next(old, OPEN | DOUBTED)))
    }

    fn silence(&self, now: BootTime, next: impl Fn(u64) -> Option<u64>) -> bool {
        // Whoever is to probe waits for this, and sees how long not to.
        let mut past = lock(&self.past);
        let opened = self.change(next).is_some_and(|new| state(new) == OPEN);
        if opened {
            past.relapse(now);
        }
        opened
    }

    /// There is no connection: opens whatever it was. True when it was not open.
    pub(crate) fn trip(&self) -> bool {
        self.change(|old| (state(old) != OPEN).then(|| next(old, OPEN | doubt(old)))).is_some()
    }

    /// Lets one probe through when open and nothing holds it off, or when the probe under way is not heard of any more: one
    /// that was not reported within `life` is forgotten, as when its task was ended.
    pub(crate) fn probe(&self, now: BootTime, life: Duration) -> Option<Pass> {
        let mut past = lock(&self.past);
        let lost = now.since(past.probed) > life;
        let new = self.change(|old| match state(old) {
            OPEN if now >= past.held => Some((period(old) * PERIOD) | HALF_OPEN | doubt(old)),
            // A new period, so that the lost probe cannot report any more.
            HALF_OPEN if lost => Some(next(old, HALF_OPEN | doubt(old))),
            _ => None,
        })?;
        past.probed = now;
        Some(Pass { period: period(new), trial: false })
    }

    /// The probe was answered. True when this closed the breaker.
    pub(crate) fn close(&self, probe: Pass, now: BootTime) -> bool {
        let mut past = lock(&self.past);
        let closed = |old| if doubt(old) == 0 { CLOSED } else { TRIAL };
        let new = self.change(|old| of(old, probe, HALF_OPEN).then(|| next(old, closed(old))));
        if let Some(new) = new {
            past.closed = (state(new) == TRIAL).then_some(now);
        }
        new.is_some()
    }

    /// The probe was not answered, or refused.
    pub(crate) fn reopen(&self, probe: Pass) {
        self.change(|old| of(old, probe, HALF_OPEN).then(|| next(old, OPEN | doubt(old))));
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

impl Past {
    /// Silence opened it. The longer it was held off, the longer it has to be well before that is forgotten.
    fn relapse(&mut self, now: BootTime) {
        let soon = self.closed.is_some_and(|closed| now.since(closed) < STEADY + self.hold);
        self.hold = match (soon, self.hold) {
            (false, _) => Duration::ZERO,
            (true, Duration::ZERO) => FIRST_HOLD,
            (true, hold) => (hold * 2).min(LONGEST_HOLD),
        };
        self.held = now.plus(self.hold);
    }
}

fn of(word: u64, pass: Pass, wanted: u64) -> bool {
    state(word) == wanted && period(word) == pass.period
}

fn on_trial(word: u64, pass: Pass) -> bool {
    of(word, pass, TRIAL) && word & BUSY != 0
}
