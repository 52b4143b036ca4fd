//! Who waits to be settled, found by the index: looking costs what is due, not what is stored.
//!
//! Nothing waits for longer than an hour. What seems to wait for a day (86,400,000,000 µs) or more, or to have begun to so
//! much later than now, was written by a clock that was ahead, and is due.

use std::sync::atomic::Ordering;

use nexarch_core::ids::{TenantId, TraceId};
use sqlx::{Row, SqliteConnection};

use super::{
    super::{
        Sqlite,
        errors::failed,
        large::trace_of,
        trace_key,
        versions::{signed, unsigned},
    },
    Due,
};
use crate::Error;

/// Tenants served in one round, a transaction each; the rest comes with the next.
const TENANTS_PER_ROUND: u32 = 16;

/// Before the first tenant.
const START: i64 = i64::MIN;

/// Tenants behind ?2, by number, that have something due by ?1. From tenant to tenant by a search each, past all their
/// traces.
pub(in super::super) const TENANTS_DUE: &str = "
    WITH RECURSIVE w (tenant) AS (
        SELECT (SELECT l.tenant FROM large_trace l INDEXED BY large_trace_due
                WHERE l.tenant > ?2 AND l.due_us IS NOT NULL ORDER BY l.tenant LIMIT 1)
        UNION ALL
        SELECT (SELECT l.tenant FROM large_trace l INDEXED BY large_trace_due
                WHERE l.tenant > w.tenant AND l.due_us IS NOT NULL ORDER BY l.tenant LIMIT 1)
        FROM w WHERE w.tenant IS NOT NULL)
    SELECT t.id, t.number FROM w CROSS JOIN tenant t ON t.number = w.tenant
    WHERE EXISTS (SELECT 1 FROM large_trace l INDEXED BY large_trace_due
                  WHERE l.tenant = w.tenant AND l.due_us <= ?1)
       OR EXISTS (SELECT 1 FROM large_trace l INDEXED BY large_trace_due
                  WHERE l.tenant = w.tenant AND l.due_us > ?1 + 86400000000)
    LIMIT ?3";

/// Does tenant ?2 (its id) have traces that began to wait by ?1? ?3 is not used.
const TENANT_SINCE: &str = "
    SELECT t.id, t.number FROM tenant t WHERE t.id = ?2
    AND EXISTS (SELECT 1 FROM large_trace l INDEXED BY large_trace_due
                WHERE l.tenant = t.number AND l.due_us IS NOT NULL 
                AND (l.since_us <= ?1 OR l.since_us > ?1 + 86400000000)) LIMIT ?3";

/// The traces of tenant ?1 that began to wait by ?2, the longest waiting first.
pub(in super::super) const TRACES_SINCE: &str = "
    SELECT l.trace, l.settled, l.indexed, l.wakes, l.turns FROM large_trace l INDEXED BY large_trace_due
    WHERE l.tenant = ?1 AND l.due_us IS NOT NULL AND (l.since_us <= ?2 OR l.since_us > ?2 + 86400000000) ORDER BY l.due_us LIMIT ?3";

/// The traces of tenant ?1 that are due by ?2, the longest waiting first, and then those of a clock that was ahead.
pub(in super::super) const TRACES_DUE: &str = "
    SELECT * FROM (
        SELECT * FROM (
            SELECT l.trace, l.settled, l.indexed, l.wakes, l.turns FROM large_trace l INDEXED BY large_trace_due
            WHERE l.tenant = ?1 AND l.due_us <= ?2 ORDER BY l.due_us LIMIT ?3)
        UNION ALL
        SELECT * FROM (
            SELECT l.trace, l.settled, l.indexed, l.wakes, l.turns FROM large_trace l INDEXED BY large_trace_due
            WHERE l.tenant = ?1 AND l.due_us > ?2 + 86400000000 ORDER BY l.due_us LIMIT ?3)
    ) LIMIT ?3";

/// A trace that is due.
pub(super) struct Waiting {
    pub(super) trace: TraceId,
    /// See `trace_key`.
    pub(super) key: i64,
    /// Spans that contribute as one trace.
    pub(super) settled: u64,
    /// Too large to be loaded by appends.
    pub(super) indexed: bool,
    /// Not 0: it has links, or is linked; grows when something comes for an other end.
    pub(super) wakes: u64,
    /// How often it was written by a settling.
    pub(super) turns: u64,
}

impl Sqlite {
    /// The tenants whose turn it is, if they have something due: those behind the one that was served last.
    pub(in super::super) async fn tenants_in_turn(
        &self,
        due_us: u64,
        only: Option<&TenantId>,
    ) -> Result<Vec<Due>, Error> {
        if only.is_some() {
            return self.tenants_due(due_us, only, START, 1).await;
        }
        let after = self.turn.load(Ordering::Relaxed);
        let mut due = self.tenants_due(due_us, None, after, TENANTS_PER_ROUND).await?;
        if due.is_empty() && after != START {
            due = self.tenants_due(due_us, None, START, TENANTS_PER_ROUND).await?;
        }
        self.turn.store(due.last().map_or(START, |due| due.tenant), Ordering::Relaxed);
        Ok(due)
    }

    /// Is anything due?
    pub(super) async fn is_due(&self, due_us: u64, only: Option<&TenantId>) -> Result<bool, Error> {
        Ok(!self.tenants_due(due_us, only, START, 1).await?.is_empty())
    }

    async fn tenants_due(
        &self,
        due_us: u64,
        only: Option<&TenantId>,
        after: i64,
        most: u32,
    ) -> Result<Vec<Due>, Error> {
        let sql = if only.is_some() { TENANT_SINCE } else { TENANTS_DUE };
        let query = sqlx::query(sql).bind(signed(due_us));
        let query = match only {
            Some(only) => query.bind(only.as_str()),
            None => query.bind(after),
        };
        let rows = query.bind(most).fetch_all(&self.readers).await.map_err(failed)?;
        let due = |row: &sqlx::sqlite::SqliteRow| {
            let id: &str = row.try_get(0).map_err(failed)?;
            Ok(Due {
                id: id.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?,
                tenant: row.try_get(1).map_err(failed)?,
                by_us: due_us,
                early: only.is_some(),
            })
        };
        rows.iter().map(due).collect()
    }

    /// The traces of a tenant that are due.
    pub(super) async fn waiting(
        &self,
        read: &mut SqliteConnection,
        due: &Due,
        most: usize,
    ) -> Result<Vec<Waiting>, Error> {
        let sql = if due.early { TRACES_SINCE } else { TRACES_DUE };
        let query = sqlx::query(sql).bind(due.tenant).bind(signed(due.by_us));
        let query = query.bind(i64::try_from(most).unwrap_or(i64::MAX));
        let rows = query.fetch_all(read).await.map_err(failed)?;
        let waiting = |row: &sqlx::sqlite::SqliteRow| {
            let trace = trace_of(row.try_get(0).map_err(failed)?)?;
            Ok(Waiting {
                trace,
                key: trace_key(self.seed, trace),
                settled: unsigned(row, 1)?,
                indexed: row.try_get(2).map_err(failed)?,
                wakes: unsigned(row, 3)?,
                turns: unsigned(row, 4)?,
            })
        };
        rows.iter().map(waiting).collect()
    }
}
