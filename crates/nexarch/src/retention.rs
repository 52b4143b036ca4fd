//! The database as it ages: rollups into longer cells, old data dropped, deleted tenants purged.

use std::{sync::Arc, time::Duration};

use nexarch_cache::{BootTime, Cause, Scope};
use nexarch_store::{Error, Place, Step};

use crate::app::App;

/// Between two rounds: what is not merged yet makes dashboards slower, and looking for it costs little.
const EVERY: Duration = Duration::from_mins(1);
/// Before the first round: a start has better things to do.
const FIRST: Duration = Duration::from_secs(15);

/// Keeps the database small and quick until the server stops. Each step is one short transaction of the one writer;
/// appends come in between. One that is cut off is as if it had not begun.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    // What an earlier process began to delete is finished at once.
    let mut failing = stop.run_until_cancelled(purge(&app)).await.is_some_and(|outcome| outcome.is_err());
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(outcome) = stop.run_until_cancelled(round(&app)).await else { return };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(%error, "old data cannot be merged or dropped now; it is tried again");
        }
        failing = outcome.is_err();
    }
}

async fn round(app: &App) -> Result<(), Error> {
    let mut place = Some(Place::default());
    while let Some(from) = place {
        let asked = app.cache.now();
        place = announce(app, asked, &app.store.compact(from).await?);
    }
    let mut more = true;
    while more {
        let asked = app.cache.now();
        more = announce(app, asked, &app.store.retain(app.retention).await?).is_some();
    }
    purge(app).await
}

async fn purge(app: &App) -> Result<(), Error> {
    while app.store.purge().await?.next.is_some() {}
    Ok(())
}

/// Tells the cache what a step changed, and returns where to go on.
fn announce(app: &App, asked: BootTime, step: &Step) -> Option<Place> {
    if step.skipped > 0 {
        tracing::error!(cells = step.skipped, "damaged rollups were left as they are");
    }
    for (tenant, versions) in &step.changed {
        match Scope::new(tenant.as_str()) {
            Ok(scope) => app.announce(&scope, Cause::Retention, versions, asked),
            Err(error) => tracing::error!(%error, %tenant, "a tenant is no scope of the cache"),
        }
    }
    step.next
}
