//! Computing again, behind, what people have open and an invalidation made old, so that they meet a hit.
//!
//! Never in the way of a request: one computation at a time, only while there is room for others, and then rest. What it
//! stores is under the cache's own rules: no request is counted, and what is invalidated meanwhile is not served.

use std::{sync::Arc, time::Duration};

use nexarch_cache::{Held, Read};
use tokio::time::Instant;

use crate::{
    app::App,
    open_views::Candidate,
    warm::{self, How},
};

/// How often it is looked for work.
const LOOK: Duration = Duration::from_millis(500);
/// Rest after a computation, in its own time: it takes a tenth of one core at most.
const REST: u32 = 9;

/// Looks for views to compute until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if stop.run_until_cancelled(all_due(&app)).await.is_none() {
            return;
        }
    }
}

async fn all_due(app: &Arc<App>) {
    loop {
        let due = app.open_views.due(Instant::now(), |scope| app.cache.known_version(scope));
        if due.is_empty() {
            return;
        }
        for candidate in due {
            if !app.has_room() {
                return;
            }
            let cost = again(app, &candidate).await;
            tokio::time::sleep(cost.saturating_mul(REST)).await;
        }
    }
}

/// Computes a view if its value was overtaken; returns what that took.
async fn again(app: &Arc<App>, candidate: &Candidate) -> Duration {
    let Candidate { tenant, scope, key, view, .. } = candidate;
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
            tracing::debug!(operation = view.operation().name(), micros, "computed again what is open");
            warmed.compute_time
        }
        Ok(None) => Duration::ZERO,
        Err(error) => {
            tracing::debug!(operation = view.operation().name(), %error, "what is open was not computed again");
            Duration::ZERO
        }
    }
}
