//! The database as it ages: rollups into longer cells, old data dropped, deleted tenants purged.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nexarch_cache::{BootTime, Cause, Scope};
use nexarch_store::{Error, Place, Step};

use crate::app::App;

/// Between two rounds: what is not merged yet makes dashboards slower, and looking for it costs little.
const EVERY: Duration = Duration::from_mins(1);
/// Before the first round: a start has better things to do.
const FIRST: Duration = Duration::from_secs(15);

/// Before anybody sends anything: tells commands beside this server how long it keeps data, and looks what is gone.
pub(crate) async fn begin(app: &App) {
    let begun = async {
        app.store.note_retention(app.retention).await?;
        look_at_kept(app).await
    };
    if let Err(error) = begun.await {
        tracing::warn!(%error, "how long data are kept cannot be noted for commands beside this server");
    }
}

/// Keeps the database small and quick until the server stops. Each step is one short transaction of the one writer;
/// appends come in between. One that is cut off is as if it had not begun.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    // What an earlier process began to delete is finished at once.
    let mut failing = stop.run_until_cancelled(purge(&app)).await.is_some_and(|outcome| outcome.is_err());
    let mut told = Told::default();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + FIRST, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let Some(outcome) = stop.run_until_cancelled(round(&app, &mut told)).await else { return };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(%error, "old data cannot be merged or dropped now; it is tried again");
        }
        failing = outcome.is_err();
    }
}

/// What was said already: it stays so for long, and a log is no clock.
#[derive(Default)]
struct Told {
    damaged: u64,
    held_back: bool,
}

impl Told {
    fn damaged(&mut self, cells: u64) {
        if cells > self.damaged {
            tracing::error!(cells, "damaged rollups were left as they are");
        }
        self.damaged = cells;
    }

    fn held_back(&mut self, is: bool) {
        if is && !self.held_back {
            tracing::warn!(
                "the clock is more than a day ahead of the newest span: old data are kept until newer spans come, or time has passed"
            );
        }
        self.held_back = is;
    }
}

async fn round(app: &App, told: &mut Told) -> Result<(), Error> {
    let (mut place, mut damaged) = (Some(Place::default()), 0);
    while let Some(from) = place {
        let asked = app.cache.now();
        let step = app.store.compact(from).await?;
        damaged += step.skipped;
        place = announce(app, asked, &step);
    }
    told.damaged(damaged);
    loop {
        let asked = app.cache.now();
        let step = app.store.retain(app.retention).await?;
        told.held_back(step.held_back);
        if announce(app, asked, &step).is_none() {
            break;
        }
    }
    look_at_kept(app).await?;
    purge(app).await
}

/// What was dropped is refused at the door.
async fn look_at_kept(app: &App) -> Result<(), Error> {
    let kept = app.store.kept().await?;
    app.kept_from_ns.store(kept.from_ns, Ordering::Relaxed);
    Ok(())
}

async fn purge(app: &App) -> Result<(), Error> {
    while app.store.purge().await?.next.is_some() {}
    Ok(())
}

/// Tells the cache what a step changed, and returns where to go on.
fn announce(app: &App, asked: BootTime, step: &Step) -> Option<Place> {
    for (tenant, versions) in &step.changed {
        match Scope::new(tenant.as_str()) {
            Ok(scope) => app.announce(&scope, Cause::Retention, versions, asked),
            Err(error) => tracing::error!(%error, %tenant, "a tenant is no scope of the cache"),
        }
    }
    step.next
}
