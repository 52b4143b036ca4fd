//! The store as the cache's authority: the truth about versions, and nothing of the cache's own protocol.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use nexarch_cache::{
    Authority, BootTime, BoxError, Cache, Cause, Changed, Commit, Epoch, Invalidation, RedisRemote, Scope,
    ScopeVersions, TruthRead,
};
use nexarch_core::ids::TenantId;
use nexarch_store::{Error as StoreError, Store, Versions};

use crate::{
    app::App,
    audit,
    config::Config,
    gone,
    lifecycle::Lifecycle,
    stream::{self, Hub},
};

/// How long a node believes what it read of a shared database, and so how long a command that writes beside a server
/// waits before it says that it is done.
pub(crate) const LEASE: Duration = Duration::from_secs(1);
/// How often the server looks whether another process wrote to its database file. A quarter of the lease, so that one
/// slow look still leaves room.
const BEAT: Duration = Duration::from_millis(250);

/// How long a look may take: one that begins with a beat, and ends here in doubt, ends before the lease of what was
/// committed since the last one.
const LOOK: Duration = Duration::from_millis(400);
/// How much of it reading what changed may take.
const REFRESH: Duration = Duration::from_millis(300);

/// How long a change that is made waits to be taken notice of, before it is written down and answered all the same.
const NOTICE: Duration = Duration::from_secs(5);

/// Waits until every server of this database has seen what was just committed.
pub(crate) async fn wait_one_lease() {
    tokio::time::sleep(LEASE).await;
}

/// Adapter from [`Store`] to [`Authority`].
pub(crate) struct StoreAuthority {
    store: Arc<dyn Store>,
}

impl StoreAuthority {
    /// The versions of this store.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }
}

impl fmt::Debug for StoreAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreAuthority")
    }
}

#[async_trait]
impl Authority for StoreAuthority {
    fn sole_owner(&self) -> bool {
        self.store.sole_owner()
    }

    /// Commands: an import, a change of tenants or keys.
    fn has_guests(&self) -> bool {
        true
    }

    async fn read(&self, scopes: &[Scope]) -> Result<TruthRead, BoxError> {
        let tenants = scopes.iter().map(tenant_of).collect::<Result<Vec<_>, _>>()?;
        let truth = self.store.versions(&tenants).await?;
        Ok(TruthRead {
            epoch: epoch_of(truth.epoch),
            auth_version: truth.auth_version,
            scopes: truth.versions.into_iter().map(scope_versions).collect(),
        })
    }

    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError> {
        let operations = match what {
            Invalidation::All => None,
            Invalidation::Operations(names) => Some(names.as_slice()),
        };
        Ok(scope_versions(self.store.invalidate(&tenant_of(scope)?, operations).await?))
    }

    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError> {
        let current = self.store.versions(&[]).await?.epoch;
        if epoch_of(current) != seen {
            return Ok(epoch_of(current));
        }
        Ok(epoch_of(self.store.replace_epoch(current).await?))
    }
}

/// The cache's number for a database: half of its 128 random bits; zero is reserved for "not read yet".
fn epoch_of(epoch: u128) -> Epoch {
    let low = u64::try_from(epoch & u128::from(u64::MAX)).unwrap_or(1);
    Epoch::new(low.max(1))
}

fn tenant_of(scope: &Scope) -> Result<TenantId, BoxError> {
    Ok(scope.as_str().parse()?)
}

fn scope_versions(versions: Versions) -> ScopeVersions {
    ScopeVersions {
        clock: versions.clock,
        data: versions.data,
        all: versions.all,
        operations: versions.operations,
    }
}

/// The cache of a server over this authority.
pub(crate) fn cache(
    config: &Config,
    authority: StoreAuthority,
    redis: Option<Arc<RedisRemote>>,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Cache> {
    let mut builder = Cache::builder(Arc::new(authority))
        .operations(config.cache.operations.clone())
        .namespace(&config.cache.namespace)
        .max_bytes(config.cache.max_memory_bytes)
        .tenant_max_percent(config.cache.tenant_max_percent)
        .scope_max_remote_bytes(config.cache.tenant_max_redis_bytes)
        .enabled(config.cache.enabled);
    if let Some(redis) = redis {
        builder = builder.remote(redis);
    }
    if let Some(key) = &config.cache.encryption_key {
        builder = builder.encryption_key(key.expose());
    }
    Ok(builder.build(lifecycle.tracker().clone())?)
}

/// Tells the cache, and then whoever listens, of a committed transaction, before it is answered; `asked` is when it was
/// asked for. A batch of duplicates raised nothing, and is announced to the cache all the same: it was acknowledged, and
/// that is what is counted.
pub(crate) fn announce(
    cache: &Cache,
    streams: &Hub,
    scope: &Scope,
    cause: Cause,
    versions: &Versions,
    asked: BootTime,
) {
    let commit = Commit::new(Changed::Data, cause, scope_versions(versions.clone())).read_at(asked);
    cache.announce(scope, &commit);
    streams.committed(scope, versions, cause);
}

/// What the beat has seen.
#[derive(Default)]
struct Seen {
    epoch: Option<u128>,
    auth_version: u64,
}

/// Looks on each beat whether another process wrote, until the server stops.
pub(crate) async fn beat(app: Arc<App>) {
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let stop = app.lifecycle.stop().clone();
    // After a failed look it is not known what was missed, so the next good one reads everything again.
    let mut missed = true;
    let mut seen = Seen::default();
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        missed |= app.unnoticed.swap(false, Ordering::AcqRel);
        let looked =
            stop.run_until_cancelled(tokio::time::timeout(LOOK, look(&app, missed, &mut seen))).await;
        let Some(outcome) = looked else { return };
        let outcome = outcome.unwrap_or_else(|_elapsed| Err(no_answer(LOOK)));
        // Of a read that came too late for its look, too.
        observe_rights(&app, &mut seen);
        if let Err(error) = &outcome {
            // What another process wrote meanwhile is not known: reads ask the database themselves until it is.
            app.cache.distrust();
            if !missed {
                tracing::warn!(%error, "the database does not say whether it changed");
            }
        }
        missed = outcome.is_err();
    }
}

fn no_answer(within: Duration) -> BoxError {
    format!("no answer within {within:?}").into()
}

async fn look(app: &App, missed: bool, seen: &mut Seen) -> Result<(), BoxError> {
    // Before the question is sent: what is committed while the answer is on its way is not in it.
    let asked = app.cache.now();
    let refreshed_by = tokio::time::Instant::now() + REFRESH;
    if app.store.changed_by_others().await? || missed {
        // First what reads rest on: whatever follows may fail, or take its time. Its first question brings the version of
        // rights as well, which counts even if a later one is not answered.
        let refreshed = tokio::time::timeout_at(refreshed_by, app.cache.refresh()).await;
        observe_rights(app, seen);
        refreshed.map_err(|_elapsed| no_answer(REFRESH))??;
        // Whatever this beat saw before: what this process changed itself it has not seen, and a database that was set back
        // since may be where it was then.
        app.auth.observe(seen.auth_version);
        gone::follow(app, seen.auth_version).await?;
        stream::observe(app, &mut seen.epoch).await?;
    }
    app.cache.vouch(asked);
    Ok(())
}

/// Forgets keys when the cache has read that rights changed, and writes it down where nobody here had changed them.
fn observe_rights(app: &App, seen: &mut Seen) {
    let before = std::mem::replace(&mut seen.auth_version, app.cache.auth_version());
    if before != seen.auth_version && app.auth.observe(seen.auth_version) && before != 0 {
        audit::changed_elsewhere();
    }
}

/// Takes notice of a change of tenants or keys that this process committed, before it is answered: whose rights ended
/// is refused from here on. The others learn of it as of any change of another process. Whether there are other tenants
/// than before is looked at only after a change `of_tenants`: they may be many.
pub(crate) async fn notice(
    app: &App,
    of_tenants: bool,
) -> Result<Vec<(TenantId, gone::Leaving)>, StoreError> {
    let noticed = async {
        let auth_version = app.store.versions(&[]).await?.auth_version;
        app.auth.observe(auth_version);
        if of_tenants { gone::follow(app, auth_version).await } else { Ok(Vec::new()) }
    };
    let outcome = tokio::time::timeout(NOTICE, noticed).await.unwrap_or_else(|_elapsed| {
        let (reason, retry_after) = (format!("no answer within {NOTICE:?}"), LEASE);
        Err(StoreError::Unavailable { reason, retry_after })
    });
    if outcome.is_err() {
        app.unnoticed.store(true, Ordering::Release);
    }
    outcome
}
