//! Single minutes, and verdicts on them that outlive their cells.
//!
//! Verdicts are written by compaction, when the minutes of 5 are added to longer cells (`compact.rs`), by the limit of
//! then. As long as minutes are kept beside (2 h), what comes late has all of the 5 judged again, so that verdicts are a
//! function of the set of spans. What comes later than that finds no minutes beside which it could be judged: minutes about
//! which nothing was known are judged by what came, verdicts that were given stand. (Rejected: judging the 5 as one then. An
//! outage of one minute would become one of five, and be visible to whoever looks twice.) Rollups that are made anew are
//! minutes again, and judged as a whole.

use nexarch_core::{
    uptime::{self, Masks, Verdicts},
    window::Minutes,
};
use sqlx::{Row, SqliteConnection};

use super::{
    cells::{Stored, cell, floor},
    errors::{compute, failed},
    rollup,
    versions::unsigned,
};
use crate::{
    Error, KeptVerdicts,
    upkeep::{FIVE, HOUR, KEPT, MINUTE},
};

/// What is stored for all environments together.
const ALL: &str = "";

/// How verdicts meet those that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judged {
    /// All minutes were there: they take the place of what was known.
    Whole,
    /// Only what came late was: they say something where nothing was known.
    Late,
}

/// The minutes of 5 as they are judged: stored blobs with their minute.
pub(super) fn judge(stored: &[&[(u32, Vec<u8>)]], limit_us: u64) -> Result<Vec<Verdicts>, Error> {
    let blobs = stored.iter().copied().flatten();
    let blobs: Vec<(u32, Vec<u8>)> =
        blobs.map(|(minute, blob)| Ok((*minute, rollup::unpack(blob)?))).collect::<Result<_, Error>>()?;
    Ok(uptime::judge(blobs.iter().map(|(minute, blob)| (*minute, blob.as_slice())), limit_us)?)
}

/// Stores verdicts on the 5 minutes that begin at `begin`.
pub(super) async fn note(
    connection: &mut SqliteConnection,
    tenant: i64,
    begin: u32,
    judged: Judged,
    verdicts: &[Verdicts],
) -> Result<(), Error> {
    let (hour, block) = (floor(begin, HOUR), Masks::block(begin));
    if judged == Judged::Whole {
        sqlx::query("UPDATE uptime SET seen = seen & ~?3, down = down & ~?3 WHERE tenant = ?1 AND hour = ?2")
            .bind(tenant)
            .bind(hour)
            .bind(block.cast_signed())
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
    }
    for Verdicts { environment, masks, .. } in verdicts.iter().filter(|verdicts| verdicts.hour == hour) {
        sqlx::query(
            "INSERT INTO uptime (tenant, scope, hour, seen, down) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET seen = seen | excluded.seen, down = down | (excluded.down & ~seen)",
        )
        .bind(tenant)
        .bind(scope(environment.as_deref()))
        .bind(hour)
        .bind((masks.seen & block).cast_signed())
        .bind((masks.down & block).cast_signed())
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// No environment has a name without the sign.
fn scope(environment: Option<&str>) -> String {
    environment.map_or_else(|| ALL.to_owned(), |name| format!("={name}"))
}

/// See [`crate::Snapshot::verdicts`].
pub(super) async fn verdicts(
    connection: &mut SqliteConnection,
    tenant: i64,
    range: Minutes,
    environment: Option<&str>,
) -> Result<KeptVerdicts, Error> {
    let rows = sqlx::query(
        "SELECT hour, seen, down FROM uptime
         WHERE tenant = ?1 AND scope = ?2 AND hour >= ?3 AND hour < ?4 ORDER BY hour",
    )
    .bind(tenant)
    .bind(scope(environment))
    .bind(floor(range.from, HOUR))
    .bind(range.to)
    .fetch_all(&mut *connection)
    .await
    .map_err(failed)?;
    let hours = rows.iter().map(|row| {
        Ok((row.try_get(0).map_err(failed)?, Masks { seen: unsigned(row, 1)?, down: unsigned(row, 2)? }))
    });
    let hours = hours.collect::<Result<_, Error>>()?;
    let new = rollup::cells(connection, tenant, MINUTE, range.outward(FIVE)).await?;
    Ok(KeptVerdicts { hours, minutes: beside(connection, tenant, new).await? })
}

/// See [`crate::Snapshot::minutes`].
pub(super) async fn read(
    connection: &mut SqliteConnection,
    tenant: i64,
    range: Minutes,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    let mut stored = rollup::cells(connection, tenant, KEPT, range).await?;
    stored.extend(rollup::cells(connection, tenant, MINUTE, range).await?);
    let around = Stored::around(connection, tenant, range).await?;
    stored.retain(|(minute, _)| around.has_minutes(*minute));
    unpacked(stored).await
}

/// New minutes with those that are kept of the same 5; without those that are late, beside which none is kept.
async fn beside(
    connection: &mut SqliteConnection,
    tenant: i64,
    mut new: Vec<(u32, Vec<u8>)>,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    let Some(range) = new.first().zip(new.last()).map(|(a, z)| Minutes { from: a.0, to: z.0 + 1 }) else {
        return Ok(new);
    };
    let around = Stored::around(connection, tenant, range.outward(FIVE)).await?;
    new.retain(|(minute, _)| around.has_minutes(*minute));
    let mut blocks: Vec<u32> = new.iter().map(|(minute, _)| floor(*minute, FIVE)).collect();
    blocks.dedup();
    for block in blocks.into_iter().filter(|block| around.kept.contains(block)) {
        new.extend(rollup::cells(connection, tenant, KEPT, cell(block, FIVE)).await?);
    }
    unpacked(new).await
}

async fn unpacked(mut stored: Vec<(u32, Vec<u8>)>) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    compute(move || {
        stored.sort_by_key(|(minute, _)| *minute);
        stored.into_iter().map(|(minute, blob)| Ok((minute, rollup::unpack(&blob)?))).collect()
    })
    .await
}
