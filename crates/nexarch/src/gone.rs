//! What a cache holds of tenants that are gone: dropped from memory at once, from Redis without haste.

use std::{collections::HashMap, sync::Arc, time::Duration};

use nexarch_cache::{Cache, Remote, Scope};
use nexarch_core::ids::TenantId;
use nexarch_store::{Store, Tenant};

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
pub(crate) type Known = HashMap<TenantId, u64>;

/// Drops what is held of tenants that are gone, or were deleted and made anew, and remembers the rest.
pub(crate) fn forget_gone(app: &App, tenants: &[Tenant]) {
    let now: Known = tenants.iter().map(|tenant| (tenant.id.clone(), tenant.created_us)).collect();
    let before = app.swap_tenants(now.clone());
    let mut shared = Vec::new();
    for (tenant, created) in &before {
        if now.get(tenant) != Some(created) {
            app.forget_rejected(tenant);
            app.streams.forget(tenant);
            shared.extend(Scope::new(tenant.as_str()));
        }
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
    if !shared.is_empty() {
        let cache = app.cache.clone();
        // Nobody waits for it; one after the other, because each looks through all keys.
        app.lifecycle.tracker().spawn(app.lifecycle.stop().clone().run_until_cancelled_owned(async move {
            for scope in shared {
                if let Err(error) = cache.remove_remote(Some(&scope)).await {
                    tracing::warn!(%error, tenant = %scope, "values of a deleted tenant stay in Redis until they expire");
                }
            }
        }));
    }
}

/// Removes what Redis holds of a deleted tenant, for a command: there may be no server that does.
pub(crate) async fn clear_redis(
    config: &Config,
    store: &Arc<dyn Store>,
    tenant: &TenantId,
) -> anyhow::Result<()> {
    let lifecycle = Lifecycle::default();
    let Some(redis) = redis::start(&config.cache, &lifecycle)? else { return Ok(()) };
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
    removed.map(drop)
}
