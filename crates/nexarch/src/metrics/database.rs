//! The database by what is asked of it: a [`Store`] around another one that counts, times and traces each call.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use nexarch_core::{
    ids::{TenantId, TraceId},
    incident::{Incident, Watch},
    trace::{Excerpt, Extent},
    window::Minutes,
};
use nexarch_store::{
    Appended, Batch, Budget, Cells, Diagnostics, Error, Found, FoundKey, Kept, KeptVerdicts, Key, Looked,
    NewKey, Noted, Place, Retention, Rotation, Sampled, Search, Settling, Snapshot, Step, Store, Tenant,
    TenantChange, Totals, Truth, Turn, Versions,
};
use tokio::time::Instant;
use tracing::Instrument;

use super::{
    family::{DATABASE_DURATION, DATABASE_ERRORS, DATABASE_SIZE, DISK_FREE},
    histogram::Histogram,
    page::Page,
};

macro_rules! operations {
    ($($name:ident),* $(,)?) => {
        /// What is asked of a database, by the names of [`Store`] and [`Snapshot`].
        #[expect(non_camel_case_types, reason = "they are the names of methods")]
        #[derive(Clone, Copy)]
        enum Ask { $($name),* }

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

operations! {
    take_turn, end_turn, note_incidents, minutes, verdicts, incidents, watch, append, settle, unsettled, note, snapshot, versions, invalidate, replace_epoch, changed_by_others, create_tenant,
    tenants, tenant, tenants_after, change_tenant, delete_tenant, purge, compact, retain, note_retention, kept, backup, create_key, keys,
    keys_after, key, revoke_key, rotate_key, note_uses, find_key, ping, settings, cells, trace, sample, search, diagnostics, totals, used_today,
}

/// What was counted.
pub(crate) struct Figures {
    /// The name of semantic conventions: `sqlite` or `postgresql`.
    system: &'static str,
    file: Option<PathBuf>,
    operations: Box<[Operation]>,
}

struct Operation {
    times: Histogram,
    errors: AtomicU64,
}

/// A store whose calls are counted.
struct Measured {
    store: Arc<dyn Store>,
    figures: Arc<Figures>,
}

struct MeasuredSnapshot {
    snapshot: Box<dyn Snapshot>,
    figures: Arc<Figures>,
}

/// Counts what is asked of `store` from now on. `file` is where it lies, for one that is a file.
pub(crate) fn measured(store: Arc<dyn Store>, file: Option<PathBuf>) -> (Arc<dyn Store>, Arc<Figures>) {
    let operation = |_| Operation { times: Histogram::of_times(), errors: AtomicU64::new(0) };
    let figures = Arc::new(Figures {
        system: if file.is_some() { "sqlite" } else { "postgresql" },
        file,
        operations: NAMES.iter().map(operation).collect(),
    });
    (Arc::new(Measured { store, figures: Arc::clone(&figures) }), figures)
}

impl Figures {
    async fn timed<T>(&self, ask: Ask, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let name = NAMES[ask as usize];
        let span = tracing::debug_span!(
            "database",
            otel.kind = "client",
            db.system.name = self.system,
            db.operation.name = name,
            "error.type" = tracing::field::Empty
        );
        let began = Instant::now();
        let answer = call.instrument(span.clone()).await;
        let operation = &self.operations[ask as usize];
        operation.times.record_time(began.elapsed());
        if let Err(error @ (Error::Unavailable { .. } | Error::Internal(_))) = &answer {
            operation.errors.fetch_add(1, Ordering::Relaxed);
            let kind = if matches!(error, Error::Internal(_)) { "internal" } else { "unavailable" };
            span.record("error.type", kind);
        }
        answer
    }

    pub(super) fn write(&self, page: &mut Page) {
        let used = || NAMES.iter().zip(&self.operations).filter(|(_, operation)| !operation.times.is_empty());
        let mut times = page.family(&DATABASE_DURATION);
        for (name, operation) in used() {
            times.histogram(&[name], &operation.times.distribution());
        }
        let mut errors = page.family(&DATABASE_ERRORS);
        for (name, operation) in used() {
            errors.add(&[name], operation.errors.load(Ordering::Relaxed));
        }
        let Some(file) = &self.file else { return };
        let mut log = file.clone().into_os_string();
        log.push("-wal");
        let mut sizes = page.family(&DATABASE_SIZE);
        for (name, path) in [("main", file.as_path()), ("wal", Path::new(&log))] {
            // No log is an empty one.
            sizes.add(&[name], std::fs::metadata(path).map_or(0, |found| found.len()));
        }
        if let Ok(disk) = rustix::fs::statvfs(file) {
            page.family(&DISK_FREE).add(&[], disk.f_bavail.saturating_mul(disk.f_frsize));
        }
    }
}

impl Measured {
    async fn timed<T>(&self, ask: Ask, call: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.figures.timed(ask, call).await
    }
}

#[async_trait]
impl Store for Measured {
    async fn append(&self, batches: Vec<Batch>) -> Result<Vec<Result<Appended, Error>>, Error> {
        self.timed(Ask::append, self.store.append(batches)).await
    }

    async fn settle(&self, due_us: u64, only: Option<&TenantId>) -> Result<Settling, Error> {
        self.timed(Ask::settle, self.store.settle(due_us, only)).await
    }

    async fn unsettled(&self) -> Result<u64, Error> {
        self.timed(Ask::unsettled, self.store.unsettled()).await
    }

    async fn note(&self, counts: Vec<(TenantId, Vec<(&'static str, u64)>)>) -> Result<(), Error> {
        self.timed(Ask::note, self.store.note(counts)).await
    }

    async fn snapshot(&self, tenant: &TenantId) -> Result<Box<dyn Snapshot>, Error> {
        let snapshot = self.timed(Ask::snapshot, self.store.snapshot(tenant)).await?;
        Ok(Box::new(MeasuredSnapshot { snapshot, figures: Arc::clone(&self.figures) }))
    }

    async fn versions(&self, tenants: &[TenantId]) -> Result<Truth, Error> {
        self.timed(Ask::versions, self.store.versions(tenants)).await
    }

    async fn invalidate(&self, tenant: &TenantId, operations: Option<&[String]>) -> Result<Versions, Error> {
        self.timed(Ask::invalidate, self.store.invalidate(tenant, operations)).await
    }

    async fn replace_epoch(&self, seen: u128) -> Result<u128, Error> {
        self.timed(Ask::replace_epoch, self.store.replace_epoch(seen)).await
    }

    async fn changed_by_others(&self) -> Result<bool, Error> {
        self.timed(Ask::changed_by_others, self.store.changed_by_others()).await
    }

    fn sole_owner(&self) -> bool {
        self.store.sole_owner()
    }

    fn is_older(&self) -> bool {
        self.store.is_older()
    }

    async fn create_tenant(&self, tenant: &TenantId, name: &str) -> Result<Tenant, Error> {
        self.timed(Ask::create_tenant, self.store.create_tenant(tenant, name)).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.timed(Ask::tenants, self.store.tenants()).await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Tenant, Error> {
        self.timed(Ask::tenant, self.store.tenant(tenant)).await
    }

    async fn tenants_after(&self, after: Option<&TenantId>, limit: u32) -> Result<Vec<Tenant>, Error> {
        self.timed(Ask::tenants_after, self.store.tenants_after(after, limit)).await
    }

    async fn change_tenant(&self, tenant: &TenantId, change: TenantChange) -> Result<Tenant, Error> {
        self.timed(Ask::change_tenant, self.store.change_tenant(tenant, change)).await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        self.timed(Ask::delete_tenant, self.store.delete_tenant(tenant)).await
    }

    async fn purge(&self) -> Result<Step, Error> {
        self.timed(Ask::purge, self.store.purge()).await
    }

    async fn compact(&self, from: Place) -> Result<Step, Error> {
        self.timed(Ask::compact, self.store.compact(from)).await
    }

    async fn retain(&self, retention: Retention) -> Result<Step, Error> {
        self.timed(Ask::retain, self.store.retain(retention)).await
    }

    async fn note_retention(&self, retention: Retention) -> Result<(), Error> {
        self.timed(Ask::note_retention, self.store.note_retention(retention)).await
    }

    async fn kept(&self) -> Result<Kept, Error> {
        self.timed(Ask::kept, self.store.kept()).await
    }

    async fn backup(&self, file: &Path) -> Result<(), Error> {
        self.timed(Ask::backup, self.store.backup(file)).await
    }

    async fn create_key(&self, key: NewKey) -> Result<Key, Error> {
        self.timed(Ask::create_key, self.store.create_key(key)).await
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error> {
        self.timed(Ask::keys, self.store.keys(tenant)).await
    }

    async fn keys_after(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Key>, Error> {
        self.timed(Ask::keys_after, self.store.keys_after(tenant, after, limit)).await
    }

    async fn key(&self, tenant: &TenantId, key_id: &str) -> Result<Key, Error> {
        self.timed(Ask::key, self.store.key(tenant, key_id)).await
    }

    async fn rotate_key(&self, rotation: Rotation) -> Result<Key, Error> {
        self.timed(Ask::rotate_key, self.store.rotate_key(rotation)).await
    }

    async fn note_uses(&self, uses: &[(String, u64)]) -> Result<(), Error> {
        self.timed(Ask::note_uses, self.store.note_uses(uses)).await
    }

    async fn revoke_key(&self, key_id: &str) -> Result<Key, Error> {
        self.timed(Ask::revoke_key, self.store.revoke_key(key_id)).await
    }

    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, Error> {
        self.timed(Ask::find_key, self.store.find_key(hash)).await
    }

    async fn take_turn(&self, turn: &Turn<'_>, lease: Duration) -> Result<bool, Error> {
        self.timed(Ask::take_turn, self.store.take_turn(turn, lease)).await
    }

    async fn end_turn(&self, turn: &Turn<'_>) -> Result<(), Error> {
        self.timed(Ask::end_turn, self.store.end_turn(turn)).await
    }

    async fn note_incidents(&self, tenant: &TenantId, looked: Looked) -> Result<Noted, Error> {
        self.timed(Ask::note_incidents, self.store.note_incidents(tenant, looked)).await
    }

    async fn ping(&self) -> Result<(), Error> {
        self.timed(Ask::ping, self.store.ping()).await
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, Error> {
        self.timed(Ask::settings, self.store.settings()).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

#[async_trait]
impl Snapshot for MeasuredSnapshot {
    fn data_version(&self) -> u64 {
        self.snapshot.data_version()
    }

    fn updated_us(&self) -> u64 {
        self.snapshot.updated_us()
    }

    fn newest_ns(&self) -> Option<u64> {
        self.snapshot.newest_ns()
    }

    fn oldest_ns(&self) -> Option<u64> {
        self.snapshot.oldest_ns()
    }

    async fn cells(&mut self, range: Minutes, longest: u32) -> Result<Cells, Error> {
        self.figures.timed(Ask::cells, self.snapshot.cells(range, longest)).await
    }

    async fn minutes(&mut self, range: Minutes) -> Result<Vec<(u32, Vec<u8>)>, Error> {
        self.figures.timed(Ask::minutes, self.snapshot.minutes(range)).await
    }

    async fn verdicts(&mut self, range: Minutes, environment: Option<&str>) -> Result<KeptVerdicts, Error> {
        self.figures.timed(Ask::verdicts, self.snapshot.verdicts(range, environment)).await
    }

    async fn incidents(&mut self, range: Minutes) -> Result<Vec<Incident>, Error> {
        self.figures.timed(Ask::incidents, self.snapshot.incidents(range)).await
    }

    async fn watch(&mut self) -> Result<(u64, Watch), Error> {
        self.figures.timed(Ask::watch, self.snapshot.watch()).await
    }

    async fn trace(&mut self, trace: TraceId, extent: Extent) -> Result<Excerpt, Error> {
        self.figures.timed(Ask::trace, self.snapshot.trace(trace, extent)).await
    }

    async fn search(&mut self, search: Search) -> Result<Found, Error> {
        self.figures.timed(Ask::search, self.snapshot.search(search)).await
    }

    async fn sample(&mut self, range: Minutes, budget: Budget) -> Result<Sampled, Error> {
        self.figures.timed(Ask::sample, self.snapshot.sample(range, budget)).await
    }

    async fn diagnostics(&mut self) -> Result<Diagnostics, Error> {
        self.figures.timed(Ask::diagnostics, self.snapshot.diagnostics()).await
    }

    async fn totals(&mut self) -> Result<Totals, Error> {
        self.figures.timed(Ask::totals, self.snapshot.totals()).await
    }

    async fn used_today(&mut self) -> Result<u64, Error> {
        self.figures.timed(Ask::used_today, self.snapshot.used_today()).await
    }
}
