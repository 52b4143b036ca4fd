//! Emptying tables in small steps: those of dropped days, and what deleted tenants left in all others.
//!
//! Deleted bytes are overwritten (`PRAGMA secure_delete`), because a page that was merely freed keeps what stood in it; what
//! that misses goes with `wipe.rs`.

use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{Sqlite, errors::failed, versions::unsigned, wipe, writer::Tx};
use crate::{Error, Step};

/// Rows deleted in one transaction from a table with blobs: chunks of 50 KiB make about 3 MiB.
const LARGE_ROWS: u32 = 64;

/// Rows deleted in one transaction from other tables, of some 20 bytes each.
const SMALL_ROWS: u32 = 8_192;

/// A table as far as deleting from it goes.
struct Table {
    name: String,
    /// Columns of its key, as in a `SELECT`.
    key: String,
    rows: u32,
}

impl Sqlite {
    /// Empties leftovers of dropped days, a piece at a time.
    pub(super) async fn empty_leftover(&self) -> Result<Step, Error> {
        let mut tx = self.begin().await?;
        let outcome = leftover_in(&mut tx).await;
        Ok(next(tx.finish(outcome).await?))
    }

    /// See [`crate::Store::purge`].
    pub(super) async fn purge_step(&self) -> Result<Step, Error> {
        let mut tx = self.begin().await?;
        let outcome = purge_in(&mut tx).await;
        let number = match tx.finish(outcome).await? {
            Purged::Nothing => return self.wipe_step().await,
            Purged::Some => return Ok(next(true)),
            Purged::All(number) => number,
        };
        if !wipe::fold_log(self.writer.lock().await.connection().await?).await? {
            // Somebody reads an old state. Whoever purges next tries again.
            return Ok(next(false));
        }
        let mut tx = self.begin().await?;
        // What is left of it are bytes in unused parts of pages.
        let query = sqlx::query("UPDATE purge SET number = -number WHERE number = ?1").bind(number);
        let outcome = query.execute(tx.on()?).await.map_err(failed);
        tx.finish(outcome).await?;
        Ok(next(true))
    }
}

/// What a step of purging did.
enum Purged {
    /// There was nothing to do.
    Nothing,
    /// Something is gone, more may be left.
    Some,
    /// No row is left of this tenant.
    All(i64),
}

fn next(more: bool) -> Step {
    Step { next: more.then(Default::default), ..Step::default() }
}

async fn purge_in(tx: &mut Tx<'_>) -> Result<Purged, Error> {
    let query = sqlx::query("SELECT min(number) FROM purge WHERE number > 0");
    let row = query.fetch_one(tx.on()?).await.map_err(failed)?;
    let Some(number) = row.try_get::<Option<i64>, _>(0).map_err(failed)? else { return Ok(Purged::Nothing) };
    // Days that were dropped may hold spans of the tenant, without an index to find them by.
    if leftover_in(tx).await? {
        return Ok(Purged::Some);
    }
    for table in of_tenants(tx.on()?).await? {
        if table.delete_some(tx.on()?, Some(number)).await? > 0 {
            return Ok(Purged::Some);
        }
    }
    Ok(Purged::All(number))
}

async fn leftover_in(tx: &mut Tx<'_>) -> Result<bool, Error> {
    let query = sqlx::query("SELECT min(id) FROM leftover");
    let row = query.fetch_one(tx.on()?).await.map_err(failed)?;
    let Some(id) = row.try_get::<Option<i64>, _>(0).map_err(failed)? else { return Ok(false) };
    let name = format!("left_{id}");
    let table = Table::of(tx.on()?, name.clone()).await?;
    if table.delete_some(tx.on()?, None).await? == 0 {
        for sql in [format!("DROP TABLE {name}"), format!("DELETE FROM leftover WHERE id = {id}")] {
            let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
            query.execute(tx.on()?).await.map_err(failed)?;
        }
    }
    Ok(true)
}

/// All tables whose rows belong to tenants by number. Asked of the schema, so that none can be forgotten here.
async fn of_tenants(connection: &mut SqliteConnection) -> Result<Vec<Table>, Error> {
    let rows = sqlx::query(
        "SELECT m.name FROM sqlite_schema m JOIN pragma_table_info(m.name) c
         WHERE m.type = 'table' AND c.name = 'tenant' AND c.type = 'INTEGER' ORDER BY m.name",
    )
    .persistent(false)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let mut tables = Vec::with_capacity(rows.len());
    for row in &rows {
        tables.push(Table::of(connection, row.try_get(0).map_err(failed)?).await?);
    }
    Ok(tables)
}

impl Table {
    async fn of(connection: &mut SqliteConnection, name: String) -> Result<Self, Error> {
        let row = sqlx::query(
            "SELECT group_concat('[' || name || ']', ', ') FILTER (WHERE pk > 0), count(*) FILTER (WHERE type = 'BLOB')
             FROM pragma_table_info(?1)",
        )
        .bind(&name)
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
        let key: Option<String> = row.try_get(0).map_err(failed)?;
        let rows = if unsigned(&row, 1)? > 0 { LARGE_ROWS } else { SMALL_ROWS };
        Ok(Self { name, key: key.unwrap_or_else(|| "rowid".to_owned()), rows })
    }

    /// Deletes some rows, of one tenant or of all, and says how many.
    async fn delete_some(
        &self,
        connection: &mut SqliteConnection,
        tenant: Option<i64>,
    ) -> Result<u64, Error> {
        let Self { name, key, rows } = self;
        let whose = if tenant.is_some() { "WHERE tenant = ?1" } else { "" };
        let sql =
            format!("DELETE FROM {name} WHERE ({key}) IN (SELECT {key} FROM {name} {whose} LIMIT {rows})");
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        let query = match tenant {
            Some(number) => query.bind(number),
            None => query,
        };
        Ok(query.execute(connection).await.map_err(failed)?.rows_affected())
    }
}
