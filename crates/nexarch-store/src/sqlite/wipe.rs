//! The file written anew after tenants were purged.
//!
//! `secure_delete` overwrites a cell that is deleted and a page that is freed. But when `SQLite` balances the pages of a
//! table, it copies cells to other pages and merely forgets them in the old one: their bytes stay in the unused middle of a
//! page that is in use, and nothing overwrites them when the row is deleted later. `VACUUM` builds every page anew. A number
//! in `purge` with its sign turned says that the rows of that tenant are gone, and this is still to be done.
//!
//! It takes the writer as long as writing the whole file, and as much disk once more. So a small file is rewritten at once, a
//! larger one by the next start, and a very large one not at all: a backup of it, put in its place, is as clean.

use sqlx::{AssertSqlSafe, Row, SqliteConnection, raw_sql};

use super::{
    Sqlite,
    errors::failed,
    versions::{json_numbers, unsigned},
};
use crate::{Error, Step};

/// Largest file that is rewritten while it serves, in pages (32 MiB): the writer stands still for half a second.
const NOW_PAGES: u64 = 8_192;

/// Largest file that is rewritten by a start, in pages (1 GiB): some ten seconds.
const START_PAGES: u64 = 262_144;

impl Sqlite {
    /// The last part of a purge; there is never more to do.
    pub(super) async fn wipe_step(&self) -> Result<Step, Error> {
        let mut writer = self.writer.lock().await;
        match rewrite(writer.connection().await?, NOW_PAGES).await {
            // Somebody else writes. Whoever purges next tries again.
            Ok(()) | Err(Error::Unavailable { .. }) => Ok(Step::default()),
            Err(error) => Err(error),
        }
    }
}

/// Before anybody reads or writes. Where it fails, such as for want of disk, the next start tries again: no reason not to
/// serve.
pub(super) async fn at_start(connection: &mut SqliteConnection) {
    rewrite(connection, START_PAGES).await.ok();
}

/// Rewrites the file if a purge asks for it and it has at most so many pages.
async fn rewrite(connection: &mut SqliteConnection, most_pages: u64) -> Result<(), Error> {
    let rows = sqlx::query("SELECT number FROM purge WHERE number < 0");
    let rows = rows.fetch_all(&mut *connection).await.map_err(failed)?;
    let numbers: Vec<i64> =
        rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<_, Error>>()?;
    if numbers.is_empty() {
        return Ok(());
    }
    let pages = raw_sql("PRAGMA page_count").fetch_one(&mut *connection).await.map_err(failed)?;
    if unsigned(&pages, 0)? > most_pages {
        return Ok(());
    }
    raw_sql("VACUUM").execute(&mut *connection).await.map_err(failed)?;
    if fold_log(connection).await? {
        // Only those that were there before it.
        let query = sqlx::query("DELETE FROM purge WHERE number IN (SELECT value FROM json_each(?1))");
        query.bind(json_numbers(numbers.into_iter())).execute(connection).await.map_err(failed)?;
    }
    Ok(())
}

/// Folds the log into the database and empties it: what was deleted stands in its frames. False while a reader of an older
/// state needs them; nobody is waited for, because the writer would wait too.
pub(super) async fn fold_log(connection: &mut SqliteConnection) -> Result<bool, Error> {
    let row = raw_sql("PRAGMA busy_timeout").fetch_one(&mut *connection).await.map_err(failed)?;
    let patience: i64 = row.try_get(0).map_err(failed)?;
    raw_sql("PRAGMA busy_timeout = 0").execute(&mut *connection).await.map_err(failed)?;
    let folded = raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *connection).await;
    let again = AssertSqlSafe(format!("PRAGMA busy_timeout = {patience}"));
    raw_sql(again).execute(&mut *connection).await.map_err(failed)?;
    match folded.map_err(failed) {
        Ok(row) => Ok(unsigned(&row, 0)? == 0),
        Err(Error::Unavailable { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}
