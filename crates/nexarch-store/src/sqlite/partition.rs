//! Tables by day: dropping old spans is dropping tables, and inserts stay fast as data grows.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::{errors::failed, versions::unsigned, writer::Tx};
use crate::Error;

/// Most days with tables: ten years. Every trace is looked for in each, and a sender of spans of all times must not
/// fill the schema.
pub(super) const MAX_DAYS: usize = 3_700;

/// Days whose tables one statement joins; `SQLite` allows 500 parts.
pub(super) const DAYS_PER_STATEMENT: usize = 100;

const TABLES: &str = include_str!("../../migrations/sqlite/partition.sql");

/// The days that have tables.
pub(super) async fn days(tx: &mut Tx<'_>) -> Result<BTreeSet<u64>, Error> {
    if let Some(days) = &tx.writer.days {
        return Ok(days.clone());
    }
    let (days, first_day) = read_kept(tx.on()?).await?;
    tx.writer.days = Some(days.clone());
    tx.writer.first_day = first_day;
    Ok(days)
}

/// Days before this one were dropped; 0 = none was.
pub(super) async fn first_day(tx: &mut Tx<'_>) -> Result<u64, Error> {
    if tx.writer.days.is_none() {
        days(tx).await?;
    }
    Ok(tx.writer.first_day)
}

/// Notes that a day and all before it are gone for good. It is remembered with the days, so they must be forgotten.
pub(super) async fn note_dropped(connection: &mut sqlx::SqliteConnection, day: u64) -> Result<(), Error> {
    let query = sqlx::query("UPDATE meta SET first_day = max(first_day, ?1)");
    query.bind((day + 1).cast_signed()).execute(connection).await.map_err(failed)?;
    Ok(())
}

/// The days that have tables, as this connection sees them.
pub(super) async fn read(connection: &mut sqlx::SqliteConnection) -> Result<BTreeSet<u64>, Error> {
    Ok(read_kept(connection).await?.0)
}

/// The same, and the first day that was not dropped.
async fn read_kept(connection: &mut sqlx::SqliteConnection) -> Result<(BTreeSet<u64>, u64), Error> {
    let query = sqlx::query("SELECT m.first_day, p.day FROM meta m LEFT JOIN partition p");
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    let (mut days, mut first_day) = (BTreeSet::new(), 0);
    for row in &rows {
        first_day = unsigned(row, 0)?;
        let day: Option<i64> = row.try_get(1).map_err(failed)?;
        days.extend(day.map(i64::cast_unsigned));
    }
    Ok((days, first_day))
}

/// Is there room for tables of these days?
pub(super) async fn check(tx: &mut Tx<'_>, wanted: impl Iterator<Item = u64>) -> Result<(), Error> {
    let mut days = days(tx).await?;
    let before = days.len();
    days.extend(wanted);
    if days.len() > MAX_DAYS.max(before) {
        return Err(Error::Internal(format!("spans of more than {MAX_DAYS} days would be stored")));
    }
    Ok(())
}

/// Makes the tables of a day unless they are there.
pub(super) async fn ensure(tx: &mut Tx<'_>, day: u64) -> Result<(), Error> {
    let mut days = days(tx).await?;
    if !days.insert(day) {
        return Ok(());
    }
    let sql = TABLES.replace("{day}", &day.to_string());
    raw_sql(AssertSqlSafe(sql)).execute(tx.on()?).await.map_err(failed)?;
    tx.writer.days = Some(days);
    Ok(())
}

/// One statement over the tables of several days; `part` writes the part of one day.
pub(super) fn union(days: &[u64], part: impl Fn(u64) -> String) -> AssertSqlSafe<String> {
    AssertSqlSafe(days.iter().map(|day| part(*day)).collect::<Vec<_>>().join(" UNION ALL "))
}
