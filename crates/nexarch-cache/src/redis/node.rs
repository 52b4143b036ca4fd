//! One server: its connections for values and its breaker.

use super::board::NodeId;
use super::failure::{Failure, of_call};
use super::link::Link;
use super::socket::Target;
use super::tier::Tier;
use crate::breaker::{Pass, SILENT_LIMIT, Switch};
use crate::remote::{Reason, RemoteError};
use redis::{Cmd, RedisError, Value};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
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
            stop,
        }
    }

    /// Sends a command within `limit`. Ends at once while the server is known to be away.
    pub(super) async fn call(
        &self,
        tier: &Tier,
        command: &Cmd,
        limit: Duration,
    ) -> Result<Value, RedisFailure> {
        let pass = self.switch.admit().ok_or(RemoteError::Away)?;
        let link = self.pick().ok_or(RemoteError::Away)?;
        let timed = tier.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIMED);
        let began = timed.then(Instant::now);
        let Ok(answer) = timeout(limit, link.ask(command)).await else {
            self.unanswered(tier, &link, pass);
            return Err(RemoteError::Timeout.into());
        };
        match answer {
            Err(error) if error.is_unrecoverable_error() && of_answer(&error) => {
                // Cut from this side means that others had waited in vain.
                let failure = if link.is_cut() { RemoteError::Timeout } else { of_call(&error) };
                Err(failure.into())
            }
            answer => {
                self.switch.answered(pass);
                link.answered();
                if let Some(began) = began {
                    tier.trips.record(began.elapsed());
                }
                answer.map_err(RedisFailure::from)
            }
        }
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
        self.closed.send_replace(false);
        tier.board.down(self.id, failure);
        for link in self.links().iter().flatten() {
            link.cut();
        }
    }

    /// A probe was answered and closed the breaker.
    pub(super) fn found(&self, tier: &Tier) {
        self.closed.send_replace(true);
        tier.board.up(self.id);
    }

    /// A connection in turn.
    pub(super) fn pick(&self) -> Option<Arc<Link>> {
        let links = self.links();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..links.len()).find_map(|step| links[(first + step) % links.len()].clone())
    }

    pub(super) fn install(&self, at: usize, link: Option<Arc<Link>>) {
        self.links.write().unwrap_or_else(PoisonError::into_inner)[at] = link;
    }

    pub(super) fn has_link(&self) -> bool {
        self.links().iter().any(Option::is_some)
    }

    pub(super) fn connections(&self) -> usize {
        self.links().len()
    }

    fn links(&self) -> std::sync::RwLockReadGuard<'_, Vec<Option<Arc<Link>>>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection failed, as opposed to a server that refused.
fn of_answer(error: &RedisError) -> bool {
    error.code().is_none()
}

/// An error of a call with what the server said, which routing may need.
#[derive(Debug)]
pub(super) struct RedisFailure {
    pub(super) error: RemoteError,
    pub(super) answer: Option<RedisError>,
}

impl From<RemoteError> for RedisFailure {
    fn from(error: RemoteError) -> Self {
        Self { error, answer: None }
    }
}

impl From<RedisError> for RedisFailure {
    fn from(answer: RedisError) -> Self {
        Self { error: of_call(&answer), answer: Some(answer) }
    }
}
