//! Computing again, behind, what people have open and a change made old, so that they meet a hit.
//!
//! Never in the way of a request: one computation at a time, and only while there is room for others. What is read again
//! and again between changes is computed as soon as something changed, once: a reader would do so otherwise, and who comes
//! meanwhile joins. What is read now and then has a quiet moment to wait for, and rest after it. What is stored is under
//! the cache's own rules: no request is counted, and what is invalidated meanwhile is not served.

use std::{sync::Arc, time::Duration};

use nexarch_cache::{Held, Read};
use tokio::time::{Instant, MissedTickBehavior, sleep_until};

use crate::{
    app::App,
    open_views::Candidate,
    warm::{self, How},
};

/// How often it is looked for work, beside when something changes.
const LOOK: Duration = Duration::from_millis(500);
/// Rest after a computation that nobody may ask for, in its own time: all of those take a tenth of one core at most.
const REST: u32 = 9;
/// How long the first wait for room is.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// Computes views as they become due, until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let (mut changes, mut ticks) = (app.cache.changes(), tokio::time::interval(LOOK));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pace = Pace { rested: Instant::now(), retry: None, in_vain: 0 };
    loop {
        let wake = pace.wake(Instant::now());
        let woken = async {
            tokio::select! {
                () = changes.next() => {}
                _ = ticks.tick() => app.open_views.close(Instant::now()),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        };
        if stop.run_until_cancelled(woken).await.is_none()
            || stop.run_until_cancelled(all_due(&app, &mut pace)).await.is_none()
        {
            return;
        }
    }
}

/// When there may be something to do without a change.
struct Pace {
    /// From then on it may compute again what is not due at once.
    rested: Instant,
    /// There was no room; there may be by then.
    retry: Option<Instant>,
    /// So often in a row.
    in_vain: u32,
}

impl Pace {
    /// There was no room. Twice as long as the last time until it is looked for again, so that a server without room is
    /// not asked for it all the time.
    fn wait(&mut self, now: Instant) {
        let wait = FIRST_WAIT.saturating_mul(1 << self.in_vain.min(16)).min(LOOK);
        (self.retry, self.in_vain) = (Some(now + wait), self.in_vain.saturating_add(1));
    }

    /// Something was computed, in that time.
    fn computed(&mut self, now: Instant, cost: Duration, at_once: bool) {
        self.in_vain = 0;
        if !at_once {
            self.rested = now + cost.saturating_mul(REST);
        }
    }

    fn wake(&self, now: Instant) -> Option<Instant> {
        let rested = Some(self.rested).filter(|rested| *rested > now);
        rested.into_iter().chain(self.retry).min()
    }
}

/// Computes what is due, one after the other.
async fn all_due(app: &Arc<App>, pace: &mut Pace) {
    pace.retry = None;
    loop {
        let now = Instant::now();
        let due = app.open_views.due(now, now < pace.rested, |scope| app.cache.known_version(scope));
        if due.is_empty() {
            return;
        }
        let mut is_full = false;
        for of_tenant in due.chunk_by(|a, b| a.tenant == b.tenant) {
            // Many views behind one change share most of what they read and add up.
            let _parts = app.parts.hold(&of_tenant[0].tenant);
            for candidate in of_tenant {
                // What a reader would compute anyway may take the last turn; nobody waits who came before.
                let has_room = if candidate.at_once { app.has_turn() } else { app.has_room() };
                if !has_room {
                    // Another tenant's may ask for less.
                    is_full = true;
                    break;
                }
                let cost = again(app, candidate).await;
                pace.computed(Instant::now(), cost, candidate.at_once);
            }
        }
        if is_full {
            return pace.wait(Instant::now());
        }
    }
}

/// Computes a view if its value was overtaken; returns what that took.
async fn again(app: &Arc<App>, candidate: &Candidate) -> Duration {
    let Candidate { tenant, scope, key, view, at_once, .. } = candidate;
    let read = Read::new(app.operations.get(view.operation()), key).max_ttl(view.max_ttl());
    // What expired was not asked for while it lived, and who read it since computed it.
    if app.cache.held(scope, read) != Held::Overtaken {
        app.open_views.done(candidate, None);
        return Duration::ZERO;
    }
    let warmed = warm::one(app, tenant, scope, view.clone(), How::UnlessFresh).await;
    app.open_views.done(candidate, Some(Instant::now()));
    match warmed {
        Ok(Some(warmed)) => {
            let micros = warmed.compute_time.as_micros();
            tracing::debug!(
                operation = view.operation().name(),
                micros,
                at_once,
                "computed again what is open"
            );
            warmed.compute_time
        }
        Ok(None) => Duration::ZERO,
        Err(error) => {
            tracing::debug!(operation = view.operation().name(), %error, "what is open was not computed again");
            Duration::ZERO
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_room_is_not_asked_for_it_all_the_time() {
        let start = Instant::now();
        let mut pace = Pace { rested: start, retry: None, in_vain: 0 };
        assert_eq!(pace.wake(start), None, "no reason to look");
        let (mut now, mut looks) = (start, 0);
        while now < start + Duration::from_mins(1) {
            pace.wait(now);
            now = pace.wake(now).unwrap();
            looks += 1;
        }
        assert!((120..140).contains(&looks), "{looks} looks in a minute");
        pace.computed(now, Duration::from_millis(10), true);
        pace.wait(now);
        assert_eq!(pace.wake(now), Some(now + FIRST_WAIT), "there was room meanwhile");
    }

    #[test]
    fn only_what_nobody_may_ask_for_is_followed_by_rest() {
        let start = Instant::now();
        let mut pace = Pace { rested: start, retry: None, in_vain: 0 };
        let cost = Duration::from_millis(10);
        pace.computed(start, cost, true);
        assert_eq!(pace.wake(start), None);
        pace.computed(start, cost, false);
        assert_eq!(pace.wake(start), Some(start + cost * REST));
    }
}
