//! One consistent read of one tenant.

use async_trait::async_trait;
use nexarch_core::{
    ids::{TenantId, TraceId},
    incident::{Incident, Watch},
    trace::{Excerpt, Extent},
    window::Minutes,
};
use sqlx::{Row, Transaction};

use super::{Sqlite, cells, errors::failed, incidents, minutes, tenants::missing, usage, versions::unsigned};
use crate::{Budget, Cells, Diagnostics, Error, Found, KeptVerdicts, Sampled, Search, Snapshot, Totals};

/// A read transaction; dropping it ends it.
struct Read {
    tx: Transaction<'static, sqlx::Sqlite>,
    tenant: i64,
    data_version: u64,
    updated_us: u64,
    oldest: Option<u64>,
    newest: Option<u64>,
    now_us: u64,
    totals: Totals,
    seed: u64,
}

impl Sqlite {
    /// See [`crate::Store::snapshot`].
    pub(super) async fn read(&self, tenant: &TenantId) -> Result<Box<dyn Snapshot>, Error> {
        let mut tx = self.readers.begin().await.map_err(failed)?;
        // The first statement: from here on the transaction sees this state and no later one.
        let row = sqlx::query(
            "SELECT c.data, t.number, t.enabled, t.oldest_ns, t.newest_ns, t.spans, t.duplicates, t.traces, c.updated
             FROM tenant t JOIN clock c ON c.tenant = t.id WHERE t.id = ?1",
        )
        .bind(tenant.as_str())
        .fetch_optional(&mut *tx)
        .await
        .map_err(failed)?
        .ok_or_else(|| missing(tenant))?;
        if !row.try_get::<bool, _>(2).map_err(failed)? {
            return Err(Error::Disabled(tenant.clone()));
        }
        let oldest: Option<i64> = row.try_get(3).map_err(failed)?;
        let newest: Option<i64> = row.try_get(4).map_err(failed)?;
        Ok(Box::new(Read {
            tenant: row.try_get(1).map_err(failed)?,
            data_version: unsigned(&row, 0)?,
            updated_us: unsigned(&row, 8)?,
            oldest: oldest.map(i64::cast_unsigned),
            newest: newest.map(i64::cast_unsigned),
            now_us: self.options.now_us(),
            totals: Totals {
                spans: unsigned(&row, 5)?,
                duplicates: unsigned(&row, 6)?,
                traces: unsigned(&row, 7)?,
            },
            seed: self.seed,
            tx,
        }))
    }
}

#[async_trait]
impl Snapshot for Read {
    fn data_version(&self) -> u64 {
        self.data_version
    }

    fn updated_us(&self) -> u64 {
        self.updated_us
    }

    fn newest_ns(&self) -> Option<u64> {
        self.newest
    }

    fn oldest_ns(&self) -> Option<u64> {
        self.oldest
    }

    async fn cells(&mut self, range: Minutes, longest: u32) -> Result<Cells, Error> {
        cells::read(&mut self.tx, self.tenant, range, longest).await
    }

    async fn minutes(&mut self, range: Minutes) -> Result<Vec<(u32, Vec<u8>)>, Error> {
        minutes::read(&mut self.tx, self.tenant, range).await
    }

    async fn verdicts(&mut self, range: Minutes, environment: Option<&str>) -> Result<KeptVerdicts, Error> {
        minutes::verdicts(&mut self.tx, self.tenant, range, environment).await
    }

    async fn incidents(&mut self, range: Minutes) -> Result<Vec<Incident>, Error> {
        incidents::read(&mut self.tx, self.tenant, range).await
    }

    async fn watch(&mut self) -> Result<(u64, Watch), Error> {
        incidents::watch(&mut self.tx, self.tenant).await
    }

    async fn trace(&mut self, trace: TraceId, extent: Extent) -> Result<Excerpt, Error> {
        let key = super::trace_key(self.seed, trace);
        super::trace::read(&mut self.tx, (self.tenant, key), trace, extent).await
    }

    async fn search(&mut self, search: Search) -> Result<Found, Error> {
        super::search::read(&mut self.tx, (self.tenant, self.seed), search).await
    }

    async fn sample(&mut self, range: Minutes, budget: Budget) -> Result<Sampled, Error> {
        super::sample::read(&mut self.tx, self.tenant, range, budget).await
    }

    async fn diagnostics(&mut self) -> Result<Diagnostics, Error> {
        super::diagnostics::read(&mut self.tx, self.tenant).await
    }

    async fn totals(&mut self) -> Result<Totals, Error> {
        Ok(self.totals)
    }

    async fn used_today(&mut self) -> Result<u64, Error> {
        usage::used(&mut self.tx, self.tenant, self.now_us).await
    }
}
