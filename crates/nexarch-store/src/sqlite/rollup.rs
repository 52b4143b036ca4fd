//! Rollup rows: added to by every append, merged now and then.

use nexarch_core::{
    rollup::{merge, merge_late},
    window::Minutes,
};
use sqlx::{Row, SqliteConnection};

use super::{
    cells::cell,
    errors::{compute, failed},
};
use crate::{Error, chunk, upkeep::MINUTE};

/// A minute with more blobs than this is merged into one: reads stay bounded, and each blob is rewritten once for so
/// many appends.
const MAX_BLOBS: i64 = 8;

/// Smaller blobs do not get smaller by compression.
const COMPRESS_FROM: usize = 256;

/// First byte of a stored blob: as it is, or sealed like a block of a chunk.
const PLAIN: u8 = 0;
const SEALED: u8 = 1;

/// Adds blobs of different minutes.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    tenant: i64,
    blobs: Vec<(u32, Vec<u8>)>,
) -> Result<(), Error> {
    for (minute, blob) in blobs {
        // Numbers count up from 1 after each merge, so the number is how many there are. OR ROLLBACK, because the default
        // makes SQLite copy the pages first.
        let row = sqlx::query(
            "INSERT OR ROLLBACK INTO rollup (tenant, grain, minute, seq, blob)
             SELECT ?1, 1, ?2, coalesce(max(seq), 0) + 1, ?3 FROM rollup
             WHERE tenant = ?1 AND grain = 1 AND minute = ?2
             RETURNING seq",
        )
        .bind(tenant)
        .bind(minute)
        .bind(blob)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed)?;
        if row.try_get::<i64, _>(0).map_err(failed)? > MAX_BLOBS {
            fold(connection, tenant, minute).await?;
        }
    }
    Ok(())
}

/// Merges all blobs of a minute into one, or none when they cancel out. What cannot be merged stays as it is: a damaged
/// blob fails those who read its minute; spans, and other tenants, go on.
async fn fold(connection: &mut SqliteConnection, tenant: i64, minute: u32) -> Result<(), Error> {
    let stored = blobs(connection, tenant, MINUTE, cell(minute, MINUTE)).await?;
    // Only what was thrown before anything is deleted may be passed over.
    // Longer cells may hold the older ones of the minute.
    match compute(move || packed(merge_late(&parts(&unpacked(&stored)?))?)).await {
        Ok(merged) => replace(connection, tenant, MINUTE, minute, merged).await,
        Err(Error::Internal(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Adds up stored blobs, all that there are of their minutes or the oldest; the result is not yet packed.
pub(super) fn added<'a>(stored: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Vec<u8>, Error> {
    Ok(merge(&parts(&unpacked(stored)?))?)
}

fn unpacked<'a>(stored: impl IntoIterator<Item = &'a Vec<u8>>) -> Result<Vec<Vec<u8>>, Error> {
    stored.into_iter().map(|blob| unpack(blob)).collect()
}

fn parts(blobs: &[Vec<u8>]) -> Vec<&[u8]> {
    blobs.iter().map(Vec::as_slice).collect()
}

/// The stored blobs of the cells of a grain that begin in a range.
pub(super) async fn blobs(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    range: Minutes,
) -> Result<Vec<Vec<u8>>, Error> {
    let cells = cells(connection, tenant, grain, range).await?;
    Ok(cells.into_iter().map(|(_, blob)| blob).collect())
}

/// The same with the begin of each cell, in order.
pub(super) async fn cells(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    range: Minutes,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    let rows = sqlx::query(
        "SELECT minute, blob FROM rollup
         WHERE tenant = ?1 AND grain = ?2 AND minute >= ?3 AND minute < ?4 ORDER BY minute, seq",
    )
    .bind(tenant)
    .bind(grain)
    .bind(range.from)
    .bind(range.to)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
}

/// Removes the cells of a grain that begin in a range; how many blobs those were.
pub(super) async fn delete(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    range: Minutes,
) -> Result<u64, Error> {
    let done =
        sqlx::query("DELETE FROM rollup WHERE tenant = ?1 AND grain = ?2 AND minute >= ?3 AND minute < ?4")
            .bind(tenant)
            .bind(grain)
            .bind(range.from)
            .bind(range.to)
            .execute(connection)
            .await
            .map_err(failed)?;
    Ok(done.rows_affected())
}

/// Puts one packed blob, or none, in the place of all of a cell.
pub(super) async fn replace(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    minute: u32,
    packed: Option<Vec<u8>>,
) -> Result<(), Error> {
    delete(connection, tenant, grain, Minutes { from: minute, to: minute.saturating_add(1) }).await?;
    if let Some(blob) = packed {
        sqlx::query("INSERT INTO rollup (tenant, grain, minute, seq, blob) VALUES (?1, ?2, ?3, 1, ?4)")
            .bind(tenant)
            .bind(grain)
            .bind(minute)
            .bind(blob)
            .execute(connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// A blob as it is stored; one without cells is not.
pub(super) fn packed(blob: Vec<u8>) -> Result<Option<Vec<u8>>, Error> {
    if blob.is_empty() { Ok(None) } else { pack(blob).map(Some) }
}

/// A blob as it is stored.
pub(super) fn pack(blob: Vec<u8>) -> Result<Vec<u8>, Error> {
    let (tag, body) = if blob.len() < COMPRESS_FROM { (PLAIN, blob) } else { (SEALED, chunk::seal(&blob)?) };
    let mut out = Vec::with_capacity(body.len() + 1);
    out.push(tag);
    out.extend_from_slice(&body);
    Ok(out)
}

/// The opposite of [`pack`].
pub(super) fn unpack(stored: &[u8]) -> Result<Vec<u8>, Error> {
    match stored.split_first() {
        Some((&PLAIN, blob)) => Ok(blob.to_vec()),
        Some((&SEALED, sealed)) => Ok(chunk::open(sealed)?),
        _ => Err(Error::Internal("a rollup is stored in an unknown way".to_owned())),
    }
}
