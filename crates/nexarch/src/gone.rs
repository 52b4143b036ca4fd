//! What a cache holds of tenants that are gone: dropped from memory at once, from Redis without haste.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nexarch_cache::{Cache, Remote, Removal, Scope};
use nexarch_core::ids::TenantId;
use nexarch_store::{Error, Store};
use tokio::sync::watch;

use crate::{
    app::App,
    authority::{self, StoreAuthority},
    config::Config,
    lifecycle::Lifecycle,
    redis,
};

/// How long a command waits for Redis.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long its tasks may take to end.
const END: Duration = Duration::from_secs(1);

/// Tenants by name, with the time of their creation in microseconds since the Unix epoch.
type Known = HashMap<TenantId, u64>;

/// How far the values of a deleted tenant are gone from Redis.
pub(crate) type Leaving = watch::Receiver<Removal>;

/// The tenants that there were when somebody last looked, at what `auth_version`.
#[derive(Default)]
pub(crate) struct Followed(tokio::sync::Mutex<(u64, Known)>);

/// Looks which tenants there are, unless that was done at `auth_version`, and drops what is held of those that
/// are gone, or were deleted and made anew: from memory before it returns, from Redis behind. Tells of which.
pub(crate) async fn follow(app: &App, auth_version: u64) -> Result<Vec<(TenantId, Leaving)>, Error> {
    // One after the other: an older list must not come after a newer one.
    let mut followed = app.tenants.0.lock().await;
    if followed.0 == auth_version {
        return Ok(Vec::new());
    }
    let tenants = app.store.tenants().await?;
    let now = tenants.into_iter().map(|tenant| (tenant.id, tenant.created_us)).collect();
    let (_, before) = std::mem::replace(&mut *followed, (auth_version, now));
    Ok(forget_gone(app, &before, &followed.1))
}

fn forget_gone(app: &App, before: &Known, now: &Known) -> Vec<(TenantId, Leaving)> {
    let mut gone: Vec<&TenantId> = before
        .iter()
        .filter(|(tenant, created)| now.get(tenant) != Some(created))
        .map(|(tenant, _)| tenant)
        .collect();
    gone.sort_unstable();
    for tenant in &gone {
        app.forget_counts(tenant);
        app.streams.forget(tenant);
        app.open_views.forget(tenant);
    }
    for scope in app.cache.scopes() {
        let Ok(tenant) = scope.as_str().parse::<TenantId>() else { continue };
        // One that was never seen before is new here; what is held of it was asked for just now.
        let same = match (before.get(&tenant), now.get(&tenant)) {
            (Some(before), Some(created)) => before == created,
            (before, created) => before.is_none() && created.is_some(),
        };
        if !same {
            app.cache.forget(&scope);
        }
    }
    let leaving = gone.into_iter().filter_map(|tenant| Some((tenant.clone(), leave(app, tenant)?)));
    leaving.collect()
}

/// Begins to remove what Redis holds of a tenant that is gone; `None` without Redis.
pub(crate) fn leave(app: &App, tenant: &TenantId) -> Option<Leaving> {
    let scope = Scope::new(tenant.as_str()).ok()?;
    app.cache.remove_remote_behind(Some(scope), app.lifecycle.stop())
}

/// Removes what Redis holds of a deleted tenant, for a command: there may be no server that does. Tells `removed`, or
/// `none` where no Redis is configured.
pub(crate) async fn clear_redis(
    config: &Config,
    store: &Arc<dyn Store>,
    tenant: &TenantId,
) -> anyhow::Result<&'static str> {
    let lifecycle = Lifecycle::default();
    let Some(redis) = redis::start(&config.cache, &lifecycle)? else { return Ok("none") };
    let mut status = redis.status();
    // What it answers holds a lock on the status: it must not live on.
    let usable = tokio::time::timeout(PATIENCE, status.wait_for(|status| status.values))
        .await
        .is_ok_and(|status| status.is_ok());
    let removed = if usable {
        let authority = StoreAuthority::new(Arc::clone(store));
        let cache: Cache = authority::cache(config, authority, Some(redis), &lifecycle)?;
        cache.remove_remote(Some(&Scope::new(tenant.as_str())?)).await.map_err(anyhow::Error::from)
    } else {
        Err(anyhow::anyhow!("it does not answer"))
    };
    lifecycle.finish(tokio::time::Instant::now() + END).await;
    removed.map(|_| "removed")
}
