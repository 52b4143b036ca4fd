//! What happens to streams without a request: keys end, the cache changes, versions wait, other processes commit.

use std::{sync::Arc, time::Duration};

use nexarch_store::{Error as StoreError, Scope};
use tokio::time::{Instant, MissedTickBehavior};

use super::{event::CacheState, subscription::DELETED};
use crate::{
    app::App,
    auth::{Caller, Refused},
    lifecycle,
};

/// How often. With the beat, after which a change of keys is known, it stays well under the promised second.
const EVERY: Duration = Duration::from_millis(250);
/// How long keys may be looked at: what was not reached comes next time.
const PATIENCE: Duration = Duration::from_millis(500);

/// Serves the streams until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut state = CacheState::of(&app.cache.status());
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = CacheState::of(&app.cache.status());
        if now != state {
            app.streams.cache_changed(&now);
            state = now;
        }
        app.streams.sweep(Instant::now());
        // An overrun is no news: the rest is looked at in a moment.
        let looked = tokio::time::timeout(PATIENCE, look_at_keys(&app));
        if stop.run_until_cancelled(looked).await.is_none() {
            return;
        }
    }
}

/// Ends the streams of keys that are not taken any more.
async fn look_at_keys(app: &App) {
    for caller in app.streams.callers() {
        if let Some(words) = refusal(app, &caller).await {
            app.streams.end(&caller, words);
        }
    }
}

async fn refusal(app: &App, caller: &Caller) -> Option<&'static str> {
    match app.auth.renew(caller, lifecycle::now_us()).await {
        Ok(now) if now.tenant_created_us != caller.tenant_created_us => Some(DELETED),
        Ok(now) => (!now.may(Scope::Read)).then_some("the API key may not read any more"),
        // Nobody can say. Without the database nothing is committed either, so there is nothing to be told.
        Err(Refused::Store(_)) => None,
        Err(Refused::Unknown) => Some("the API key is gone"),
        Err(Refused::Expired) => Some("the API key has expired"),
        Err(Refused::Replaced) => Some("the API key was replaced by a rotation"),
        Err(Refused::Revoked) => Some("the API key was revoked"),
        Err(Refused::Disabled(_)) => Some("the tenant is disabled"),
    }
}

/// Another process may have committed: reads the versions of the tenants that have a room. Keeps in `epoch`
/// which database that was.
pub(crate) async fn observe(app: &App, epoch: &mut Option<u128>) -> Result<(), StoreError> {
    let rooms = app.streams.all();
    let tenants: Vec<_> = rooms.iter().map(|(tenant, _)| tenant.clone()).collect();
    let truth = app.store.versions(&tenants).await?;
    let restored = epoch.replace(truth.epoch).is_some_and(|before| before != truth.epoch);
    for ((_, room), versions) in rooms.into_iter().zip(truth.versions) {
        if restored {
            room.restored(versions.clock, Instant::now());
        } else {
            room.seen(versions, Instant::now());
        }
    }
    Ok(())
}
