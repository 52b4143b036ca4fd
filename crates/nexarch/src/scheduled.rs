//! Warming by the clock (`CACHE_WARM_SCHEDULE`): every operation of every active tenant, once per database.
//!
//! All servers of a database know when it is due; the first that asks has the turn (`Store::take_turn`), under a lease that
//! it renews while it works. What comes due while a server works, or while none runs, is passed over.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use nexarch_cache::Scope;
use nexarch_core::ids::TenantId;
use nexarch_store::{Error as StoreError, Turn};

use crate::{
    app::App,
    audit::By,
    cron::Schedule,
    lifecycle,
    operation::Op,
    view::Range,
    warm::{self, How, Report},
};

/// The work, as the store knows it.
const WORK: &str = "cache-warm";
/// For how long a server that is never heard of again keeps the turn.
const LEASE: Duration = Duration::from_mins(1);
/// How often it is renewed: two renewals may be lost.
const RENEW: Duration = Duration::from_secs(20);
/// Most that a turn is put off, so that servers and databases do not all begin with the minute.
const MAX_JITTER: Duration = Duration::from_secs(30);
/// And no more than this part of the time until it is due again.
const JITTER_PARTS: u64 = 10;
/// The wall clock is looked at this often: it may be set.
const LOOK: Duration = Duration::from_secs(10);
/// A tenant is active when its newest data came, or a key of it was used, within this time.
const ACTIVE: Duration = Duration::from_hours(24);

/// Warms when it is due, until the server stops.
pub(crate) async fn run(app: Arc<App>, schedule: Schedule) {
    let stop = app.lifecycle.stop().clone();
    // Two servers of one name, as containers may be, are two.
    let owner = format!("{}/{:016x}", app.node, chance());
    let due = move |due_us| {
        let (app, owner) = (Arc::clone(&app), owner.clone());
        async move { turn(&app, &owner, due_us).await }
    };
    let following = async move { follow(&schedule, lifecycle::now_us, chance, due).await };
    stop.run_until_cancelled_owned(following).await;
}

fn chance() -> u64 {
    // Without chance everybody begins at once, which is no harm that anybody should stop for.
    getrandom::u64().unwrap_or_default()
}

/// Calls `work` whenever it is due, and a little later.
async fn follow<F: Future<Output = ()>>(
    schedule: &Schedule,
    now_us: impl Fn() -> u64,
    chance: impl Fn() -> u64,
    work: impl Fn(u64) -> F,
) {
    let mut after_us = now_us();
    while let Some(due_us) = next(schedule, after_us) {
        let again_us = next(schedule, due_us).unwrap_or(u64::MAX);
        if wait_until(due_us + jitter_us(again_us - due_us, chance()), &now_us).await {
            work(due_us).await;
            after_us = now_us().max(due_us);
        } else {
            after_us = now_us();
        }
    }
}

/// Microseconds since the Unix epoch, as all here.
fn next(schedule: &Schedule, after_us: u64) -> Option<u64> {
    let after = Timestamp::from_microsecond(i64::try_from(after_us).ok()?).ok()?;
    u64::try_from(schedule.after(after)?.as_microsecond()).ok()
}

fn jitter_us(until_again_us: u64, chance: u64) -> u64 {
    let most = u64::try_from(MAX_JITTER.as_micros()).unwrap_or(u64::MAX).min(until_again_us / JITTER_PARTS);
    chance % (most + 1)
}

/// Waits, unless the clock is set back meanwhile: then it is `false`, and what is due may be something else.
async fn wait_until(at_us: u64, now_us: &impl Fn() -> u64) -> bool {
    let mut seen_us = 0;
    loop {
        let now_us = now_us();
        if now_us < seen_us {
            return false;
        }
        seen_us = now_us;
        let Some(left) = at_us.checked_sub(now_us).filter(|left| *left > 0) else { return true };
        tokio::time::sleep(Duration::from_micros(left).min(LOOK)).await;
    }
}

/// What is due, unless another server does it or has done it.
async fn turn(app: &Arc<App>, owner: &str, due_us: u64) {
    let turn = Turn { work: WORK, due_us, owner };
    match app.store.take_turn(&turn, LEASE).await {
        Ok(true) => {}
        Ok(false) => return tracing::debug!(due_us, "another server warms the cache"),
        Err(error) => return tracing::warn!(%error, "the cache is not warmed: nobody knows whose turn it is"),
    }
    let outcome = tokio::select! {
        outcome = every_tenant(app) => outcome,
        () = until_lost(app, &turn) => return tracing::warn!(due_us, "the turn to warm the cache was lost"),
    };
    if let Err(error) = outcome {
        tracing::warn!(%error, "the cache was not warmed as a whole");
    }
    if let Err(error) = app.store.end_turn(&turn).await {
        tracing::warn!(%error, "the turn to warm the cache ends with its lease");
    }
}

/// Renews the lease, and ends when it is another one's, or may be: a database that does not answer may answer others.
async fn until_lost(app: &App, turn: &Turn<'_>) {
    let mut asked = tokio::time::Instant::now();
    while asked.elapsed() < LEASE {
        tokio::time::sleep(RENEW).await;
        let now = tokio::time::Instant::now();
        match tokio::time::timeout(RENEW, app.store.take_turn(turn, LEASE)).await {
            Ok(Ok(true)) => asked = now,
            Ok(Ok(false)) => return,
            Ok(Err(error)) => tracing::debug!(%error, "the lease of warming is not renewed"),
            Err(_elapsed) => tracing::debug!("the lease of warming is not renewed in time"),
        }
    }
}

/// One tenant after the other; within one, as many computations at once as any warming has.
async fn every_tenant(app: &Arc<App>) -> Result<(), StoreError> {
    let mut outcome = Ok(());
    for tenant in app.store.tenants().await? {
        if !tenant.enabled {
            continue;
        }
        // One whose turn fails must not cost the others theirs.
        let active = is_active(app, &tenant.id, lifecycle::now_us()).await.unwrap_or_else(|error| {
            outcome = Err(error);
            false
        });
        if !active {
            continue;
        }
        let Ok(scope) = Scope::new(tenant.id.as_str()) else { continue };
        let reports = every_operation(app, &tenant.id, &scope).await;
        if reports.iter().any(|report| report.entries > 0) {
            warm::note(app, &tenant.id, By::Schedule, &reports);
        }
    }
    outcome
}

async fn every_operation(app: &Arc<App>, tenant: &TenantId, scope: &Scope) -> Vec<Report> {
    let mut reports = Vec::with_capacity(Op::ALL.len());
    for operation in Op::ALL {
        let range = Range::default();
        match warm::operation(app, tenant, scope, operation, &range, How::UnlessFresh).await {
            Ok(report) => reports.push(report),
            // A tenant may be deleted meanwhile, an operation may fail: the others are not concerned.
            Err(error) => {
                tracing::warn!(%tenant, operation = operation.name(), %error, "not warmed by schedule");
            }
        }
    }
    reports
}

/// Did it get data lately, or was a key of it used?
async fn is_active(app: &App, tenant: &TenantId, now_us: u64) -> Result<bool, StoreError> {
    let since_us = now_us.saturating_sub(u64::try_from(ACTIVE.as_micros()).unwrap_or(u64::MAX));
    let look = async {
        if app.store.snapshot(tenant).await?.updated_us() > since_us {
            return Ok(true);
        }
        let keys = app.store.keys(tenant).await?;
        Ok(keys.iter().any(|key| key.last_used_us > Some(since_us)))
    };
    match look.await {
        // It was deleted, or disabled, meanwhile.
        Err(StoreError::NotFound(_) | StoreError::Disabled(_)) => Ok(false),
        other => other,
    }
}

#[cfg(test)]
mod tests;
