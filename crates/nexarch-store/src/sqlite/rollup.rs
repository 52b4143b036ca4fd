//! Rollup rows: added to by every append, merged now and then.

use nexarch_core::rollup::merge;
use sqlx::{Row, SqliteConnection};

use super::errors::{compute, failed};
use crate::{Error, chunk};

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
        // Numbers count up from 1 after each merge, so the number is how many there are.
        let row = sqlx::query(
            "INSERT INTO rollup (tenant, minute, seq, blob)
             SELECT ?1, ?2, coalesce(max(seq), 0) + 1, ?3 FROM rollup WHERE tenant = ?1 AND minute = ?2
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
    let rows = sqlx::query("SELECT blob FROM rollup WHERE tenant = ?1 AND minute = ?2")
        .bind(tenant)
        .bind(minute)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let blobs = rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<Vec<Vec<u8>>, _>>()?;
    let merged = compute(move || {
        let blobs = blobs.iter().map(|blob| unpack(blob)).collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<&[u8]> = blobs.iter().map(Vec::as_slice).collect();
        let merged = merge(&parts)?;
        if merged.is_empty() { Ok(None) } else { pack(merged).map(Some) }
    })
    .await;
    // Only what was thrown before anything is deleted may be passed over.
    let merged = match merged {
        Ok(merged) => merged,
        Err(Error::Internal(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    sqlx::query("DELETE FROM rollup WHERE tenant = ?1 AND minute = ?2")
        .bind(tenant)
        .bind(minute)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    if let Some(blob) = merged {
        sqlx::query("INSERT INTO rollup (tenant, minute, seq, blob) VALUES (?1, ?2, 1, ?3)")
            .bind(tenant)
            .bind(minute)
            .bind(blob)
            .execute(connection)
            .await
            .map_err(failed)?;
    }
    Ok(())
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
