//! One server: its connections for values and its breaker.

use super::board::NodeId;
use super::failure::{Failure, RedisFailure, of_call};
use super::link::Link;
use super::socket::Target;
use super::tier::Tier;
use super::wire::{Request, Unanswered};
use crate::breaker::{Pass, SILENT_LIMIT, Switch};
use crate::remote::{Reason, RemoteError};
use crate::sync::lock;
use redis::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Every so many calls are timed for the round trips.
const TIMED: u64 = 8;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) target: Target,
    pub(super) switch: Switch,
    /// Whether the breaker is closed, for those who wait for it.
    pub(super) closed: watch::Sender<bool>,
    links: RwLock<Vec<Option<Arc<Link>>>>,
    next: AtomicUsize,
    reports: Mutex<()>,
    pub(super) stop: CancellationToken,
}

impl Node {
    pub(super) fn new(id: NodeId, target: Target, connections: usize, stop: CancellationToken) -> Self {
        Self {
            id,
            target,
            switch: Switch::new(),
            closed: watch::Sender::new(false),
            links: RwLock::new(vec![None; connections]),
            next: AtomicUsize::new(0),
            reports: Mutex::new(()),
            stop,
        }
    }

    /// Sends a command within `limit`. Ends at once while the server is known to be away.
    pub(super) async fn call(
        &self,
        tier: &Tier,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Value, RedisFailure> {
        let pass = self.switch.admit().ok_or(RemoteError::Away)?;
        let link = self.pick().ok_or(RemoteError::Away)?;
        // Callers that hang up before their deadlines pay for the breaker like all others.
        for _ in 0..link.unheard().min(SILENT_LIMIT) {
            self.unanswered(tier, &link, pass);
        }
        if !self.switch.is_closed() {
            return Err(RemoteError::Away.into());
        }
        let timed = tier.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIMED);
        let began = timed.then(Instant::now);
        let answer = match link.call(request, limit).await {
            Ok(value) => value.extract_error().map_err(RedisFailure::from),
            Err(Unanswered::TooLarge) => Err(RemoteError::TooLarge.into()),
            Err(Unanswered::Late) => {
                // In less time than a call has, silence proves nothing.
                if limit >= tier.command_timeout {
                    self.unanswered(tier, &link, pass);
                }
                return Err(RemoteError::Timeout.into());
            }
            // Nothing was sent, and nothing is known of the server by it.
            Err(Unanswered::Full) => return Err(RemoteError::Away.into()),
            Err(Unanswered::Gone(error)) => {
                // Cut from this side means that others had waited in vain.
                let failure = if link.is_cut() { RemoteError::Timeout } else { of_call(&error) };
                return Err(failure.into());
            }
        };
        self.switch.answered(pass);
        link.answered();
        if let Some(began) = began {
            tier.trips.record(began.elapsed());
        }
        answer
    }

    fn unanswered(&self, tier: &Tier, link: &Link, pass: Pass) {
        let in_a_row = link.unanswered();
        if self.switch.unanswered(pass) {
            self.lost(tier, Failure::new(Reason::Timeout, format!("{:?} does not answer", self.target)));
        } else if in_a_row >= SILENT_LIMIT {
            // Others are answered: this connection alone is frozen.
            link.cut();
        }
    }

    /// The breaker has opened: whoever waits for an answer is let go, and the connections are made anew.
    pub(super) fn lost(&self, tier: &Tier, failure: Failure) {
        tier.doubt.notify_one();
        self.report(tier, failure);
        for link in self.links().iter().flatten() {
            link.cut();
        }
    }

    /// What is known of the server does not hold any more: it is proved anew, over new connections.
    pub(super) fn distrust(&self, tier: &Tier, reason: Reason, why: &str) {
        if self.switch.trip() {
            self.lost(tier, Failure::new(reason, format!("{:?}: {why}", self.target)));
        }
    }

    /// A probe was answered and closed the breaker.
    pub(super) fn found(&self, tier: &Tier) {
        self.report(tier, Failure::new(Reason::Connecting, "lost again at once"));
    }

    /// Tells the breaker's state as it is now, with `failure` when it is not closed. Reports take turns, so that the
    /// last one is of the last state, whatever happened between a change and its report.
    pub(super) fn report(&self, tier: &Tier, failure: Failure) {
        let _turn = lock(&self.reports);
        let closed = self.switch.is_closed();
        self.closed.send_replace(closed);
        if closed {
            tier.board.up(self.id);
        } else {
            tier.board.down(self.id, failure);
        }
    }

    /// A connection in turn.
    pub(super) fn pick(&self) -> Option<Arc<Link>> {
        let links = self.links();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let in_turn = (0..links.len()).filter_map(|step| links[(first + step) % links.len()].as_ref());
        in_turn.into_iter().find(|link| !link.is_gone()).cloned()
    }

    pub(super) fn install(&self, at: usize, link: Option<Arc<Link>>) {
        self.links.write().unwrap_or_else(PoisonError::into_inner)[at] = link;
    }

    pub(super) fn has_link(&self) -> bool {
        self.links().iter().any(Option::is_some)
    }

    /// Cuts one connection, in turn: the name may lead elsewhere by now.
    pub(super) fn renew(&self) {
        if let Some(link) = self.pick() {
            link.cut();
        }
    }

    fn links(&self) -> std::sync::RwLockReadGuard<'_, Vec<Option<Arc<Link>>>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }
}
