//! Rows about large traces: which they are, what of them is only previewed, and the index of their identities.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::{errors::failed, writer::Tx};
use crate::Error;

/// The index of one day; made when the first span of a large trace comes.
const TABLE: &str = include_str!("../../migrations/sqlite/identity.sql");

/// The days that have an index.
pub(super) async fn indexed_days(tx: &mut Tx<'_>) -> Result<BTreeSet<u64>, Error> {
    if let Some(days) = &tx.writer.indexed_days {
        return Ok(days.clone());
    }
    let sql = "SELECT CAST(substr(name, 10) AS INTEGER) FROM sqlite_schema
               WHERE type = 'table' AND name GLOB 'identity_[0-9]*'";
    let rows = sqlx::query(sql).fetch_all(tx.on()?).await.map_err(failed)?;
    let days: BTreeSet<u64> =
        rows.iter().map(|row| super::versions::unsigned(row, 0)).collect::<Result<_, _>>()?;
    tx.writer.indexed_days = Some(days.clone());
    Ok(days)
}

/// Makes the index of a day unless it is there.
pub(super) async fn ensure_index(tx: &mut Tx<'_>, day: u64) -> Result<(), Error> {
    let mut days = indexed_days(tx).await?;
    if !days.insert(day) {
        return Ok(());
    }
    let sql = TABLE.replace("{day}", &day.to_string());
    raw_sql(AssertSqlSafe(sql)).execute(tx.on()?).await.map_err(failed)?;
    tx.writer.indexed_days = Some(days);
    Ok(())
}

/// What has to go with the tables of a day, in the transaction that drops them: without it a settling would look for
/// chunks that are gone, and traces would be remembered for ever.
pub(super) fn forget_day(day: u64) -> [String; 3] {
    [
        format!("DROP TABLE IF EXISTS identity_{day}"),
        format!("DELETE FROM preview WHERE day = {day}"),
        format!("DELETE FROM large_trace WHERE newest <= {day}"),
    ]
}

/// Statements that remove a tenant (its number is `?1`) from what this file keeps.
pub(super) async fn forget_tenant(tx: &mut Tx<'_>) -> Result<Vec<String>, Error> {
    let tables = ["preview", "large_trace", "diagnostic"].into_iter().map(str::to_owned);
    let indexes = indexed_days(tx).await?.into_iter().map(|day| format!("identity_{day}"));
    Ok(tables.chain(indexes).map(|table| format!("DELETE FROM {table} WHERE tenant = ?1")).collect())
}
