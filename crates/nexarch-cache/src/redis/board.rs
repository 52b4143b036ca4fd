//! What the connections report, gathered into one status and at most one line in the log for each change.

use super::failure::Failure;
use crate::clock::{Clock, SystemClock};
use crate::remote::{Breaker, Losses, Reason, RemoteStatus};
use crate::sync::lock;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// After one loss, further ones within this time go to the debug log only: a server that comes and goes is no news.
const QUIET: Duration = Duration::from_secs(10);

/// A loss whose reason says nothing is told after this time: mostly the attempt that follows finds a better one, but a
/// server that is not ready has none.
const UNEXPLAINED: Duration = Duration::from_secs(2);

/// The same at the start: longer than an attempt takes that nobody answers.
const UNEXPLAINED_YET: Duration = Duration::from_secs(10);

/// Names a server on the board.
pub(super) type NodeId = u64;

#[derive(Debug)]
pub(super) struct Board {
    status: watch::Sender<RemoteStatus>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// In the order in which they came, so that the word for several is the same each time.
    nodes: BTreeMap<NodeId, State>,
    messages: bool,
    /// Why writes are refused although reads are answered.
    writes: Option<Reason>,
    /// What to tell while nothing is known.
    before: Failure,
    lost: Option<Lost>,
    told: Option<Instant>,
    ever: bool,
    told_of_writes: Option<Instant>,
    /// Whether the log says that writes are refused.
    unwritten_told: bool,
    losses: Losses,
}

#[derive(Debug)]
enum State {
    Up,
    /// It is up for one call at a time, to see.
    Trial,
    /// And whether somebody looks just now if it is still so.
    Down(Failure, bool),
}

#[derive(Debug)]
struct Lost {
    at: Instant,
    /// Whether the loss was told in the log; it is, once its reason is known.
    told: bool,
    /// Whether somebody was told of it elsewhere, and has to hear of its end.
    owed: bool,
    /// Whether it was counted: then, too.
    counted: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        let status = RemoteStatus {
            values: false,
            messages: false,
            reason: Some(Reason::Connecting),
            since: SystemClock.wall(),
            breaker: Breaker::Open,
            reconnects: 0,
            losses: Losses::default(),
            floods: 0,
            round_trip: (Duration::ZERO, Duration::ZERO),
        };
        let inner = Inner {
            nodes: BTreeMap::new(),
            messages: false,
            writes: None,
            before: Failure::new(Reason::Connecting, "not connected yet"),
            lost: Some(Lost { at: Instant::now(), told: false, owed: false, counted: true }),
            told: None,
            ever: false,
            told_of_writes: None,
            unwritten_told: false,
            losses: Losses::default(),
        };
        Self { status: watch::Sender::new(status), inner: Mutex::new(inner) }
    }

    pub(super) fn watch(&self) -> watch::Receiver<RemoteStatus> {
        self.status.subscribe()
    }

    /// A server joins, not proved yet. Until it does, what is told of it is not heard: its tasks may still report when
    /// it is forgotten already.
    pub(super) fn join(&self, node: NodeId, failure: Failure) {
        self.change(|inner| {
            inner.nodes.insert(node, State::Down(failure, false));
        });
    }

    /// A server answers.
    pub(super) fn up(&self, node: NodeId) {
        self.set(node, State::Up);
    }

    /// A server answers probes, and one call at a time is let through to see whether it answers those.
    pub(super) fn on_trial(&self, node: NodeId) {
        self.set(node, State::Trial);
    }

    /// A server does not, or a connection to it could not be made.
    pub(super) fn down(&self, node: NodeId, failure: Failure) {
        self.set(node, State::Down(failure, false));
    }

    fn set(&self, node: NodeId, state: State) {
        self.change(|inner| {
            if let Some(known) = inner.nodes.get_mut(&node) {
                *known = state;
            }
        });
    }

    /// A server is no longer one of ours.
    pub(super) fn forget(&self, node: NodeId) {
        self.change(|inner| {
            inner.nodes.remove(&node);
        });
    }

    pub(super) fn messages(&self, usable: bool) {
        self.change(|inner| inner.messages = usable);
    }

    /// Whether writes are refused, and why.
    pub(super) fn writes(&self, refused: Option<Reason>) {
        self.change(|inner| {
            if inner.writes != refused {
                inner.writes = refused;
                inner.tell_of_writes();
            }
        });
    }

    /// Tells a loss that is still there and was not told. To be called now and then.
    pub(super) fn remind(&self) {
        let mut inner = lock(&self.inner);
        if inner.lost.as_ref().is_some_and(|lost| !lost.told)
            && !inner.is_quiet(Instant::now())
            && let Some(failure) = inner.failure()
        {
            inner.tell(Some(&failure));
        }
    }

    /// Why writes are refused, when they are.
    pub(super) fn write_refusal(&self) -> Option<Reason> {
        lock(&self.inner).writes
    }

    /// Whether a server that is down is being tried; over when it is told what came of it. That alone is no news.
    pub(super) fn probing(&self, node: NodeId, is: bool) {
        let mut inner = lock(&self.inner);
        if let Some(State::Down(_, probing)) = inner.nodes.get_mut(&node) {
            *probing = is;
            let breaker = inner.breaker();
            self.quietly(|status| status.breaker = breaker);
        }
    }

    /// Somebody was told that Redis is not used, although its reason is not known: he is told when it is.
    pub(super) fn fallback_told(&self) {
        let mut inner = lock(&self.inner);
        match &mut inner.lost {
            // Its reason is told in the log, or was, and once.
            Some(lost) => lost.owed = true,
            None => back(Duration::ZERO),
        }
    }

    pub(super) fn reconnected(&self) {
        self.quietly(|status| status.reconnects += 1);
    }

    /// The connection for messages ended because one was too long.
    pub(super) fn flooded(&self) {
        self.quietly(|status| status.floods += 1);
    }

    pub(super) fn round_trip(&self, quantiles: (Duration, Duration)) {
        self.quietly(|status| status.round_trip = quantiles);
    }

    /// The words for the operator, when values are not usable.
    pub(super) fn problem(&self) -> Option<Failure> {
        lock(&self.inner).failure()
    }

    /// Numbers that change all the time wake nobody.
    fn quietly(&self, change: impl FnOnce(&mut RemoteStatus)) {
        self.status.send_if_modified(|status| {
            change(status);
            false
        });
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        // The status is published under the lock, or an older one could overwrite a newer.
        let mut inner = lock(&self.inner);
        change(&mut inner);
        let failure = inner.failure();
        // Whatever stopped the values may have stopped the messages: they are proved anew.
        inner.messages &= failure.is_none();
        inner.tell(failure.as_ref());
        self.status.send_if_modified(|status| inner.publish(failure.as_ref(), status));
    }
}

impl Inner {
    /// Why values are not usable: the first server's reason, for all are down.
    fn failure(&self) -> Option<Failure> {
        let mut worst = None;
        for state in self.nodes.values() {
            match state {
                State::Up | State::Trial => return None,
                // "Connecting" says the least.
                State::Down(failure, _) if failure.reason == Reason::Connecting && worst.is_some() => {}
                State::Down(failure, _) => worst = Some(failure),
            }
        }
        Some(worst.unwrap_or(&self.before).clone())
    }

    fn publish(&self, failure: Option<&Failure>, status: &mut RemoteStatus) -> bool {
        let values = failure.is_none();
        let messages = self.messages;
        let reason = match failure {
            Some(failure) => Some(failure.reason),
            None if !messages => Some(Reason::Messages),
            None => self.writes,
        };
        let breaker = self.breaker();
        let closed = |breaker| breaker == Breaker::Closed;
        let old = (status.values, status.messages, status.reason, closed(status.breaker));
        if (status.values, status.messages) != (values, messages) {
            status.since = SystemClock.wall();
        }
        (status.values, status.messages, status.reason, status.breaker) = (values, messages, reason, breaker);
        status.losses = self.losses;
        // Every attempt half opens it: that is for who asks.
        old != (values, messages, reason, closed(breaker))
    }

    /// That of the server that is worst off.
    fn breaker(&self) -> Breaker {
        let any = |is: fn(&State) -> bool| self.nodes.values().any(is);
        if self.nodes.is_empty() || any(|state| matches!(state, State::Down(_, false))) {
            Breaker::Open
        } else if any(|state| matches!(state, State::Trial | State::Down(_, true))) {
            Breaker::HalfOpen
        } else {
            Breaker::Closed
        }
    }

    /// One line when it is lost and one when it is back.
    fn tell(&mut self, failure: Option<&Failure>) {
        let now = Instant::now();
        if let Some(failure) = failure {
            let lost = self.lost.get_or_insert(Lost { at: now, told: false, owed: false, counted: false });
            if failure.reason != Reason::Connecting && !std::mem::replace(&mut lost.counted, true) {
                self.losses.add(failure.reason);
            }
            // A broken connection says nothing; the attempt that follows at once finds the reason.
            let patience = if self.ever { UNEXPLAINED } else { UNEXPLAINED_YET };
            let unexplained = failure.reason == Reason::Connecting && now.duration_since(lost.at) < patience;
            if lost.told || unexplained {
                return;
            }
            let reason = failure.reason;
            if self.is_quiet(now) {
                tracing::debug!(detail = %failure, "cache: Redis lost ({reason}), using memory");
                return;
            }
            if let Some(lost) = &mut self.lost {
                lost.told = true;
            }
            self.told = Some(now);
            if self.ever {
                tracing::warn!(detail = %failure, "cache: Redis lost ({reason}), using memory");
            } else {
                tracing::warn!(detail = %failure, "cache: Redis not reached ({reason}), using memory");
            }
        } else {
            self.ever = true;
            if let Some(lost) = self.lost.take() {
                if !lost.counted {
                    self.losses.add(Reason::Connecting);
                }
                if lost.told || lost.owed {
                    back(now.duration_since(lost.at));
                }
            }
        }
    }
}

impl Inner {
    /// Whether there was a line a short time ago.
    fn is_quiet(&self, now: Instant) -> bool {
        self.told.is_some_and(|told| now.duration_since(told) < QUIET)
    }

    /// One line when writes begin to be refused and one when they are taken again; what comes and goes is no news.
    fn tell_of_writes(&mut self) {
        let now = Instant::now();
        match self.writes {
            Some(reason) if self.told_of_writes.is_none_or(|told| now.duration_since(told) >= QUIET) => {
                tracing::warn!("cache: Redis takes no writes ({reason}), reading only");
                (self.told_of_writes, self.unwritten_told) = (Some(now), true);
            }
            Some(reason) if !self.unwritten_told => {
                tracing::debug!("cache: Redis takes no writes ({reason}), reading only");
            }
            None if self.unwritten_told => {
                tracing::info!("cache: Redis takes writes again");
                self.unwritten_told = false;
            }
            _ => {}
        }
    }
}

fn back(after: Duration) {
    tracing::info!("cache: Redis back after {:.1} s", after.as_secs_f64());
}

#[cfg(test)]
mod tests;
