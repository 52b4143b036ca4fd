//! Looks for incidents, minute by minute, in the data of every tenant (see `nexarch_core::incident`).
//!
//! A look asks which tenants have new data, and of those which have a minute that is closed and not judged. Only then it
//! asks for the turn, so that of all servers of a database one judges; if two do it all the same, such as one whose lease
//! ran out while it slept, the store takes what the first of them found. What is remembered between two looks is in the
//! database, and here only what need not be looked at again.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use nexarch_cache::{BootTime, Cause, Scope};
use nexarch_core::{
    ids::TenantId,
    incident::{Change, Evidence, Watch, seasons},
    rollup::Corrupt,
    window::Minutes,
};
use nexarch_store::{Error as StoreError, Looked, Noted, Snapshot, Turn};

use crate::{app::App, lifecycle, stream::IncidentNews, turns::Busy};

/// How often: an incident is told so long after the minute that showed it is closed, at the latest.
const LOOK: Duration = Duration::from_secs(10);
/// The work, as the store knows it.
const WORK: &str = "incidents";
/// For how long a server that is never heard of again keeps the turn.
const LEASE: Duration = Duration::from_mins(1);
/// Length of the cells of a season, minutes.
const SEASON_CELL: u32 = 60;

/// Looks until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut looker = Looker::new(&app);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let looking = looker.look(&app, lifecycle::now_ns());
        let Some(outcome) = stop.run_until_cancelled(looking).await else { return };
        if let Err(error) = &outcome
            && !failing
        {
            tracing::warn!(%error, "nobody looks for incidents now; it is tried again");
        }
        failing = outcome.is_err();
    }
}

/// Why the minutes of a tenant could not be judged.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("the judgement stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Who looks.
pub(crate) struct Looker {
    /// A name that no other process has.
    owner: String,
    /// Data versions in which there was nothing more to judge.
    done: HashMap<TenantId, u64>,
    /// Tenants of which it was told that they cannot be judged.
    failing: HashSet<TenantId>,
}

impl Looker {
    /// One that has not looked yet.
    pub(crate) fn new(app: &App) -> Self {
        // Without chance two nodes of one name share a turn, and the store decides.
        let chance = getrandom::u64().unwrap_or_default();
        Self { owner: format!("{}/{chance:016x}", app.node), done: HashMap::new(), failing: HashSet::new() }
    }

    /// Judges what is closed at a time (nanoseconds since the Unix epoch), of every tenant.
    pub(crate) async fn look(&mut self, app: &App, now_ns: u64) -> Result<(), StoreError> {
        let tenants = app.store.tenants().await?;
        let ids: Vec<TenantId> =
            tenants.into_iter().filter(|tenant| tenant.enabled).map(|tenant| tenant.id).collect();
        let versions = app.store.versions(&ids).await?.versions;
        self.done.retain(|tenant, _| ids.binary_search(tenant).is_ok());
        let mut turn = None;
        for (tenant, versions) in ids.iter().zip(versions) {
            if versions.data == 0 || self.done.get(tenant) == Some(&versions.data) {
                continue;
            }
            match self.tenant(app, tenant, now_ns, &mut turn).await {
                Ok(true) => {
                    self.failing.remove(tenant);
                }
                // Another server judges.
                Ok(false) => return Ok(()),
                // It was deleted, or disabled, meanwhile.
                Err(Failure::Store(StoreError::NotFound(_) | StoreError::Disabled(_))) => {}
                // The next look comes soon.
                Err(Failure::Busy(_)) => break,
                Err(Failure::Store(error @ StoreError::Unavailable { .. })) => return Err(error),
                Err(error) if self.failing.insert(tenant.clone()) => {
                    tracing::error!(%tenant, %error, "its minutes cannot be judged");
                }
                Err(_) => {}
            }
        }
        if let Some(due_us) = turn {
            app.store.end_turn(&Turn { work: WORK, due_us, owner: &self.owner }).await?;
        }
        Ok(())
    }

    /// Judges one tenant; false when it is the turn of another server.
    async fn tenant(
        &mut self,
        app: &App,
        tenant: &TenantId,
        now_ns: u64,
        turn: &mut Option<u64>,
    ) -> Result<bool, Failure> {
        let mut snapshot = app.store.snapshot(tenant).await?;
        let version = snapshot.data_version();
        let Some(newest_ns) = snapshot.newest_ns() else { return Ok(true) };
        let (revision, watch) = snapshot.watch().await?;
        let due = watch.due(newest_ns, now_ns);
        if due.is_empty() {
            // A later time alone makes no more due, unless the data are ahead of it.
            if newest_ns <= now_ns {
                self.done.insert(tenant.clone(), version);
            }
            return Ok(true);
        }
        drop(snapshot);
        if !self.has_turn(app, now_ns, turn).await? {
            return Ok(false);
        }
        let _heavy = app.turn(Some(tenant)).await?;
        let mut snapshot = app.store.snapshot(tenant).await?;
        let minutes = snapshot.minutes(Watch::minutes(due)).await?;
        let seasons = hours(&mut *snapshot, due).await?;
        drop(snapshot);
        let objective = app.objectives.latency_ms();
        let (watch, changes) =
            tokio::task::spawn_blocking(move || judge(watch, due, &minutes, &seasons, objective)).await??;
        let asked = app.cache.now();
        let looked = Looked { revision, watch, changes: changes.clone() };
        if let Noted::Changed(versions) = app.store.note_incidents(tenant, looked).await? {
            tell(app, tenant, &versions, &changes, asked);
        }
        Ok(true)
    }

    /// Takes or keeps the turn of this look.
    async fn has_turn(&self, app: &App, now_ns: u64, turn: &mut Option<u64>) -> Result<bool, StoreError> {
        let due_us = *turn.get_or_insert(now_ns / 1_000);
        app.store.take_turn(&Turn { work: WORK, due_us, owner: &self.owner }, LEASE).await
    }
}

/// The cells of the same hours of earlier weeks.
async fn hours(snapshot: &mut dyn Snapshot, due: Minutes) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
    let mut wanted: Vec<Minutes> = (due.from..due.to).flat_map(seasons).collect();
    wanted.sort_unstable_by_key(|hour| hour.from);
    wanted.dedup();
    let mut blobs = Vec::new();
    for hour in wanted {
        blobs.extend(snapshot.cells(hour, SEASON_CELL).await?.blobs);
    }
    Ok(blobs)
}

fn judge(
    mut watch: Watch,
    due: Minutes,
    minutes: &[(u32, Vec<u8>)],
    seasons: &[(u32, Vec<u8>)],
    latency_objective_ms: f64,
) -> Result<(Watch, Vec<Change>), Corrupt> {
    let changes = watch.advance(due, Evidence { minutes, seasons, latency_objective_ms })?;
    Ok((watch, changes))
}

/// Tells the cache, and then whoever listens.
fn tell(
    app: &App,
    tenant: &TenantId,
    versions: &nexarch_store::Versions,
    changes: &[Change],
    asked: BootTime,
) {
    match Scope::new(tenant.as_str()) {
        Ok(scope) => app.announce(&scope, Cause::Settle, versions, asked),
        Err(error) => tracing::error!(%error, %tenant, "a tenant is no scope of the cache"),
    }
    for change in changes {
        tracing::info!(
            %tenant, incident = change.incident.id, happened = ?change.happened, "an incident changed"
        );
        app.streams.incident(tenant, IncidentNews::of(change, versions.data));
    }
}

#[cfg(test)]
mod tests;
