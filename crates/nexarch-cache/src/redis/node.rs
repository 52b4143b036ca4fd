//! One server: its connections for values and its breaker.

use super::board::NodeId;
use super::failure::{Failure, RedisFailure, of_call};
use super::link::Link;
use super::socket::Target;
use super::tier::Tier;
use super::wire::{Request, Unanswered};
use crate::breaker::{Pass, SILENT_LIMIT, STEADY, Switch};
use crate::clock::{BootTime, Clock, SystemClock};
use crate::remote::{Reason, RemoteError};
use crate::sync::lock;
use redis::Value;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Every so many calls are timed for the round trips.
const TIMED: u64 = 8;

/// Beats after which a replica's connections are always renewed.
const RENEWED: u32 = 64;

/// A call's place; on trial the next one gets it, however this one ends.
struct Turn<'a> {
    switch: &'a Switch,
    pass: Pass,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.switch.release(self.pass);
    }
}

/// How long the one call of a trial may take until its turn is another's: much longer than its deadline, for who asks for
/// it may be polled late, and no longer than those who wait for the turn's sake have to do without the server.
fn turn_life(tier: &Tier) -> Duration {
    tier.command_timeout * 2 + Duration::from_millis(500)
}

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
    /// A key that was asked for in vain when calls became silent: a probe that is answered for others proves little.
    suspect: Mutex<Option<String>>,
    /// When a connection alone was last found frozen.
    frozen: Mutex<Option<BootTime>>,
    /// Beats in a row in which it said that it takes no writes because it is a replica.
    demoted: AtomicU32,
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
            suspect: Mutex::default(),
            frozen: Mutex::default(),
            demoted: AtomicU32::new(0),
            stop,
        }
    }

    /// Sends a command for a key within `limit`. Ends at once while the server is known to be away, and while another
    /// call tries out whether it is.
    pub(super) async fn call(
        &self,
        tier: &Tier,
        key: &str,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Value, RedisFailure> {
        let pass = self.switch.admit(|| SystemClock.boot(), turn_life(tier)).ok_or(RemoteError::Away)?;
        let _turn = Turn { switch: &self.switch, pass };
        let link = self.pick().ok_or(RemoteError::Away)?;
        // Callers that hang up before their deadlines pay for the breaker like all others. Which keys they asked for is not
        // known any more; that of this call may be innocent.
        for _ in 0..link.unheard().min(SILENT_LIMIT) {
            self.unanswered(tier, &link, pass, None);
        }
        if !self.switch.is_closed() {
            return Err(RemoteError::Away.into());
        }
        self.send(tier, &link, pass, Some(key), request, limit).await
    }

    /// Sends a command that is of no value, within `limit`. Ends at once while the server is known to be away.
    pub(super) async fn tell(
        &self,
        tier: &Tier,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Value, RedisFailure> {
        let link = self.pick().ok_or(RemoteError::Away)?;
        self.tell_over(tier, &link, request, limit).await
    }

    /// As [`Node::tell`], over a connection of this server.
    pub(super) async fn tell_over(
        &self,
        tier: &Tier,
        link: &Link,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Value, RedisFailure> {
        let pass = self.switch.admit_beside().ok_or(RemoteError::Away)?;
        self.send(tier, link, pass, None, request, limit).await
    }

    async fn send(
        &self,
        tier: &Tier,
        link: &Link,
        pass: Pass,
        key: Option<&str>,
        request: Request<'_>,
        limit: Duration,
    ) -> Result<Value, RedisFailure> {
        let proves = !request.is_bulky();
        let timed = tier.calls.fetch_add(1, Ordering::Relaxed).is_multiple_of(TIMED);
        let began = timed.then(Instant::now);
        let answer = match link.call(request, limit).await {
            Ok(value) => value.extract_error().map_err(RedisFailure::from),
            Err(Unanswered::TooLarge) => Err(RemoteError::TooLarge.into()),
            Err(Unanswered::Late) => {
                // In less time than a call has, and of what takes longer, silence proves nothing.
                if limit >= tier.command_timeout && proves {
                    self.unanswered(tier, link, pass, key);
                }
                return Err(RemoteError::Timeout.into());
            }
            // Nothing was sent, and nothing is known of the server by it.
            Err(Unanswered::Full) => return Err(RemoteError::Away.into()),
            Err(Unanswered::Gone(error)) => {
                // Cut from this side means that others had waited in vain.
                let failure = if link.is_given_up() { RemoteError::Timeout } else { of_call(&error) };
                return Err(failure.into());
            }
        };
        if self.switch.answered(pass) {
            // Its trial is over.
            self.report(tier, Failure::new(Reason::Connecting, "lost again at once"));
        }
        link.answered();
        if let Some(began) = began {
            tier.trips.record(began.elapsed());
        }
        answer
    }

    fn unanswered(&self, tier: &Tier, link: &Link, pass: Pass, key: Option<&str>) {
        let (in_a_row, now) = (link.unanswered(key), SystemClock.boot());
        // Others are answered: this connection alone is frozen. A second one soon is no accident of a connection.
        let again = in_a_row == SILENT_LIMIT && self.froze(now);
        if self.switch.unanswered(pass, now) || again && self.switch.condemn(now) {
            *lock(&self.suspect) = link.suspect();
            self.lost(tier, Failure::new(Reason::Timeout, format!("{:?} does not answer", self.target)));
        } else if in_a_row >= SILENT_LIMIT {
            link.cut();
        }
    }

    /// Notes that a connection is frozen; whether another one was a short time ago.
    fn froze(&self, now: BootTime) -> bool {
        let before = lock(&self.frozen).replace(now);
        before.is_some_and(|before| now.since(before) < STEADY)
    }

    /// What a probe is to ask for beside the canary.
    pub(super) fn suspect(&self) -> Option<String> {
        lock(&self.suspect).clone()
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
        *lock(&self.suspect) = None;
        self.report(tier, Failure::new(Reason::Connecting, "lost again at once"));
    }

    /// Tells the breaker's state as it is now, with `failure` when it is not closed. Reports take turns, so that the
    /// last one is of the last state, whatever happened between a change and its report.
    pub(super) fn report(&self, tier: &Tier, failure: Failure) {
        let _turn = lock(&self.reports);
        let closed = self.switch.is_closed();
        self.closed.send_replace(closed);
        if self.switch.is_on_trial() {
            tier.board.on_trial(self.id);
        } else if closed {
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

    /// Lets go of the connection at a place, which is made anew, when another one is there to take its calls; says whether.
    pub(super) fn retire(&self, at: usize) -> bool {
        let links = self.links();
        let living = links.iter().flatten().filter(|link| !link.is_gone() && !link.is_cut()).count();
        let link = links[at].as_ref().filter(|_| living > 1);
        link.inspect(|link| link.retire()).is_some()
    }

    /// The server said whether it is a replica. If so, one connection is cut, in turn, because the name may lead to the
    /// primary by now; and when that does not help, less and less often.
    pub(super) fn demoted(&self, demoted: bool) {
        if !demoted {
            self.demoted.store(0, Ordering::Relaxed);
            return;
        }
        let beats = self.demoted.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if (beats.is_power_of_two() || beats.is_multiple_of(RENEWED))
            && let Some(link) = self.pick()
        {
            link.renew();
        }
    }

    fn links(&self) -> std::sync::RwLockReadGuard<'_, Vec<Option<Arc<Link>>>> {
        self.links.read().unwrap_or_else(PoisonError::into_inner)
    }
}
