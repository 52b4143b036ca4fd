//! What is too old goes: days of spans, then rollups.
//!
//! A day disappears in one transaction, by a new name for its tables; emptying and dropping them afterwards takes many
//! small ones (`leftover.rs`). (Rejected: dropping a full table, which frees every page of it under the write lock.)

use std::time::Duration;

use nexarch_core::ids::TenantId;
use sqlx::{AssertSqlSafe, Row, SqliteConnection, raw_sql};

use super::{
    Sqlite,
    errors::{compute, failed},
    large, partition,
    versions::{self, Raise, unsigned},
    writer::Tx,
};
use crate::{
    Error, Kept, Retention, Step, chunk,
    plan::{DAY_NS, HOUR_NS},
    upkeep::HOUR,
};

/// Hours of rollups of one tenant that are deleted in one transaction: one cell each, unless they came late.
const HOURS_AT_ONCE: i64 = 24;

const DAY_US: u64 = 86_400_000_000;
const HOUR_US: u64 = 3_600_000_000;

impl Sqlite {
    /// See [`crate::Store::retain`].
    pub(super) async fn retain_step(&self, retention: Retention) -> Result<Step, Error> {
        self.only_owner("drops old data")?;
        let mut tx = self.begin().await?;
        let outcome = self.retain_by_age(&mut tx, retention).await;
        let mut step = tx.finish(outcome).await?;
        if step.next.is_none() {
            step = Step { held_back: step.held_back, ..self.empty_leftover().await? };
        }
        Ok(step)
    }

    async fn retain_by_age(&self, tx: &mut Tx<'_>, retention: Retention) -> Result<Step, Error> {
        let now = self.believed_us(tx.on()?).await?;
        let before = |kept: Duration| now.saturating_sub(u64::try_from(kept.as_micros()).unwrap_or(u64::MAX));
        let first_day = before(retention.spans) / DAY_US;
        let first_hour = before(retention.rollups) / HOUR_US;
        let step = self.retain_in(tx, first_day, first_hour).await?;
        Ok(Step { held_back: self.options.now_us().saturating_sub(now) > HOUR_US, ..step })
    }

    /// See [`crate::Store::note_retention`].
    pub(super) async fn remember_retention(&self, retention: Retention) -> Result<(), Error> {
        self.only_owner("says how long data are kept")?;
        let mut tx = self.begin().await?;
        let query = sqlx::query("UPDATE meta SET retention_s = ?1 WHERE retention_s IS NOT ?1");
        let query = query.bind(i64::try_from(retention.spans.as_secs()).unwrap_or(i64::MAX));
        let outcome = query.execute(tx.on()?).await.map_err(failed).map(drop);
        tx.finish(outcome).await
    }

    /// See [`crate::Store::kept`].
    pub(super) async fn read_kept(&self) -> Result<Kept, Error> {
        let query = sqlx::query("SELECT first_day, retention_s FROM meta");
        let row = query.fetch_one(&self.readers).await.map_err(failed)?;
        let retention: Option<i64> = row.try_get(1).map_err(failed)?;
        Ok(Kept {
            from_ns: unsigned(&row, 0)?.saturating_mul(DAY_NS),
            spans: retention.map(|seconds| Duration::from_secs(seconds.cast_unsigned())),
        })
    }

    async fn retain_in(&self, tx: &mut Tx<'_>, first_day: u64, first_hour: u64) -> Result<Step, Error> {
        let oldest = partition::days(tx).await?.first().copied();
        let changed = match oldest {
            Some(day) if day < first_day => Some(drop_day(tx, day).await?),
            _ => drop_rollups(tx.on()?, first_hour * u64::from(HOUR)).await?,
        };
        let mut step = Step { next: changed.is_some().then(Default::default), ..Step::default() };
        for id in changed.unwrap_or_default() {
            versions::raise(tx.on()?, &id, Raise::Thinned, self.options.now_us()).await?;
            let versions = versions::read(tx.on()?, &id).await?;
            step.changed.push((id, versions));
        }
        Ok(step)
    }
}

/// Takes a day out of sight and returns the tenants that had spans in it.
async fn drop_day(tx: &mut Tx<'_>, day: u64) -> Result<Vec<TenantId>, Error> {
    let concerned = format!(
        "SELECT t.id, t.number FROM tenant t WHERE EXISTS (SELECT 1 FROM chunk_{day} c WHERE c.tenant = t.number)
         ORDER BY t.id"
    );
    let query = sqlx::query(AssertSqlSafe(concerned)).persistent(false);
    let rows = query.fetch_all(tx.on()?).await.map_err(failed)?;
    let tenants = tenants(&rows)?;
    for table in tables(tx.on()?, day).await? {
        set_aside(tx.on()?, &table).await?;
    }
    let rest = large::forget_day(day).into_iter().chain([format!("DELETE FROM partition WHERE day = {day}")]);
    for sql in rest {
        raw_sql(AssertSqlSafe(sql)).execute(tx.on()?).await.map_err(failed)?;
    }
    partition::note_dropped(tx.on()?, day).await?;
    // Traces that lost spans are remembered with them.
    tx.writer.forget();
    let days: Vec<u64> = partition::days(tx).await?.into_iter().collect();
    let mut changed = Vec::with_capacity(tenants.len());
    for (id, number) in tenants {
        let oldest = oldest_ns(tx.on()?, number, &days).await?;
        let query = sqlx::query("UPDATE tenant SET oldest_ns = ?2 WHERE number = ?1");
        let query = query.bind(number).bind(oldest.map(u64::cast_signed));
        query.execute(tx.on()?).await.map_err(failed)?;
        changed.push(id);
    }
    Ok(changed)
}

fn tenants(rows: &[sqlx::sqlite::SqliteRow]) -> Result<Vec<(TenantId, i64)>, Error> {
    rows.iter()
        .map(|row| {
            let id: &str = row.try_get(0).map_err(failed)?;
            let id = id.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?;
            Ok((id, row.try_get(1).map_err(failed)?))
        })
        .collect()
}

/// The tables of a day, whatever there are.
async fn tables(connection: &mut SqliteConnection, day: u64) -> Result<Vec<String>, Error> {
    let query =
        sqlx::query("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB '*[a-z]_' || ?1");
    let rows = query.bind(day.to_string()).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| row.try_get(0).map_err(failed)).collect()
}

/// Gives a table the name of a leftover; its name, and those of its indexes, are free again.
async fn set_aside(connection: &mut SqliteConnection, table: &str) -> Result<(), Error> {
    let row = sqlx::query("INSERT INTO leftover DEFAULT VALUES RETURNING id")
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
    let id = unsigned(&row, 0)?;
    let rows = sqlx::query(
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = ?1 AND sql IS NOT NULL",
    )
    .bind(table)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let drops =
        rows.iter().map(|row| Ok(format!("DROP INDEX {}", row.try_get::<&str, _>(0).map_err(failed)?)));
    let mut statements = drops.collect::<Result<Vec<_>, Error>>()?;
    statements.push(format!("ALTER TABLE {table} RENAME TO left_{id}"));
    let sql = statements.join("; ");
    raw_sql(AssertSqlSafe(sql)).execute(connection).await.map_err(failed)?;
    Ok(())
}

/// The start of the oldest stored span of a tenant: all spans of a chunk start in its hour, so it is in one of the first.
async fn oldest_ns(
    connection: &mut SqliteConnection,
    tenant: i64,
    days: &[u64],
) -> Result<Option<u64>, Error> {
    for day in days {
        let sql = format!(
            "SELECT hot, hour FROM chunk_{day} WHERE tenant = ?1
               AND hour = (SELECT min(hour) FROM chunk_{day} WHERE tenant = ?1)"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant).persistent(false);
        let rows = query.fetch_all(&mut *connection).await.map_err(failed)?;
        let Some(first) = rows.first() else { continue };
        let hour = unsigned(first, 1)?;
        let blocks =
            rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<Vec<Vec<u8>>, _>>()?;
        let oldest = compute(move || {
            let mut oldest = None;
            for block in blocks {
                let facts = chunk::decode_facts(&block, &|_| true)?;
                oldest = facts.iter().map(|facts| facts.start_ns).chain(oldest).min();
            }
            Ok(oldest)
        });
        return match oldest.await {
            Ok(oldest) => Ok(oldest),
            // A damaged chunk does not keep a day: its hour is as near as can be said.
            Err(Error::Internal(_)) => Ok(Some(hour.saturating_mul(HOUR_NS))),
            Err(error) => Err(error),
        };
    }
    Ok(None)
}

/// Deletes the oldest rollup cells of one tenant that lie before a minute (on the hour); `None` when there are none.
async fn drop_rollups(
    connection: &mut SqliteConnection,
    before: u64,
) -> Result<Option<Vec<TenantId>>, Error> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let row = sqlx::query(
        "SELECT t.id, t.number, (SELECT min(r.minute) FROM rollup r WHERE r.tenant = t.number) AS first
         FROM tenant t WHERE EXISTS (SELECT 1 FROM rollup r
           WHERE r.tenant = t.number AND r.grain IN (1, 2, 5, 60) AND r.minute < ?1)
         LIMIT 1",
    )
    .bind(before)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let first: i64 = row.try_get(2).map_err(failed)?;
    // Whole hours: half of one would be a wrong number instead of none.
    let until = before.min(first / i64::from(HOUR) * i64::from(HOUR) + HOURS_AT_ONCE * i64::from(HOUR));
    sqlx::query("DELETE FROM rollup WHERE tenant = ?1 AND grain IN (1, 2, 5, 60) AND minute < ?2")
        .bind(row.try_get::<i64, _>(1).map_err(failed)?)
        .bind(until)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    // What was told of that time goes with its figures.
    for sql in [
        "DELETE FROM uptime WHERE tenant = ?1 AND hour < ?2",
        "DELETE FROM incident WHERE tenant = ?1 AND closed <= ?2",
    ] {
        let query = sqlx::query(sql).bind(row.try_get::<i64, _>(1).map_err(failed)?).bind(until);
        query.execute(&mut *connection).await.map_err(failed)?;
    }
    Ok(Some(tenants(&[row])?.into_iter().map(|(id, _)| id).collect()))
}
