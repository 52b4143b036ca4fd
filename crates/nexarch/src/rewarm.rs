//! Computing again, behind, what people have open and a change made old, so that they meet a hit.
//!
//! Never in the way of a request: one computation at a time, and only while there is room for others. What is read again
//! and again between changes is computed as soon as something changed, once: a reader would do so otherwise, and who comes
//! meanwhile joins. What is read now and then has a quiet moment to wait for, and rest after it. What is stored is under
//! the cache's own rules: no request is counted, and what is invalidated meanwhile is not served.

use std::{sync::Arc, time::Duration};

use nexarch_cache::{Changes, Held, Read};
use tokio::time::{Instant, Interval, sleep_until};

use crate::{
    app::App,
    open_views::Candidate,
    warm::{self, How},
};

/// How often it is looked for work, beside when something changes.
const LOOK: Duration = Duration::from_millis(500);
/// Rest after a computation that nobody may ask for, in its own time: all of those take a tenth of one core at most.
const REST: u32 = 9;

/// Computes views as they become due, until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let mut wakes = Wakes { changes: app.cache.changes(), ticks: tokio::time::interval(LOOK) };
    wakes.ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut rested = Instant::now();
    while stop.run_until_cancelled(wakes.next(&app, rested)).await.is_some() {
        if stop.run_until_cancelled(all_due(&app, &mut rested)).await.is_none() {
            return;
        }
    }
}

/// What there may be work after. Never at once after a look that did nothing: a server without room is not asked for it
/// again and again.
struct Wakes {
    changes: Changes,
    ticks: Interval,
}

impl Wakes {
    /// Waits for a change, the next look, or the end of a rest.
    async fn next(&mut self, app: &App, rested: Instant) {
        tokio::select! {
            () = self.changes.next() => {}
            _ = self.ticks.tick() => app.open_views.close(Instant::now()),
            () = sleep_until(rested), if rested > Instant::now() => {}
        }
    }
}

/// Computes what is due, one after the other; `rested` is when it may compute again what is not due at once.
async fn all_due(app: &Arc<App>, rested: &mut Instant) {
    loop {
        let now = Instant::now();
        let due = app.open_views.due(now, now < *rested, |scope| app.cache.known_version(scope));
        if due.is_empty() {
            return;
        }
        for of_tenant in due.chunk_by(|a, b| a.tenant == b.tenant) {
            // Many views behind one change share most of what they read and add up.
            let _parts = app.parts.hold(&of_tenant[0].tenant);
            for candidate in of_tenant {
                if !app.has_room() {
                    return;
                }
                let cost = again(app, candidate).await;
                if !candidate.at_once {
                    *rested = Instant::now() + cost.saturating_mul(REST);
                }
            }
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
