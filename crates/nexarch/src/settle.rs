//! The background half of ingest: settles large traces when they fall quiet (see `nexarch_store::Store::settle`), and
//! brings counts of refused spans to the store.

use std::{sync::Arc, time::Duration};

use nexarch_cache::{Cause, Scope};

use crate::{app::App, lifecycle};

/// How often the server looks for traces that are due: a fraction of the 30 s that a trace waits at least.
const LOOK: Duration = Duration::from_secs(5);

/// Settles until the server stops. Rounds are short transactions of the one writer; appends come in between.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(settled) = stop.run_until_cancelled(settle_due(&app, lifecycle::now_us())).await else {
            break;
        };
        if let Err(error) = &settled
            && !failing
        {
            tracing::warn!(%error, "large traces cannot be settled now");
        }
        failing = settled.is_err();
        if settled.is_ok() {
            app.metrics.note_settled(lifecycle::now_us(), app.store.unsettled().await.ok());
        }
        if let Err(error) = app.noted.flush(&*app.store).await {
            tracing::warn!(%error, "counts of refused spans wait for the database");
        }
    }
    if let Err(error) = app.noted.flush(&*app.store).await {
        tracing::warn!(%error, "counts of refused spans are lost");
    }
}

/// Settles everything that was due at `due_us`, and tells the cache what changed.
async fn settle_due(app: &App, due_us: u64) -> Result<(), nexarch_store::Error> {
    loop {
        let asked = app.cache.now();
        let round = app.store.settle(due_us, None).await?;
        for (tenant, versions) in &round.changed {
            match Scope::new(tenant.as_str()) {
                Ok(scope) => app.announce(&scope, Cause::Settle, versions, asked),
                Err(error) => tracing::error!(%error, %tenant, "a tenant is no scope of the cache"),
            }
        }
        for (tenant, chunks) in &round.unreadable {
            tracing::error!(%tenant, chunks, "stored spans are damaged; what they added to the figures stays");
        }
        for (tenant, error) in &round.failed {
            tracing::error!(%tenant, %error, "a trace cannot be settled; it is tried again in an hour");
        }
        if !round.more {
            return Ok(());
        }
    }
}
