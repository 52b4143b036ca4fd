//! Which rollup cells answer a read.
//!
//! A cell of an hour stands for all shorter ones in it, except for minutes that came after it was made. Where a reader
//! can use hours it gets them; at the ends of its range, and where it wants detail, it gets what is left of that.

use std::collections::BTreeSet;

use nexarch_core::window::Minutes;
use sqlx::{Row, SqliteConnection};

use super::{
    errors::{compute, failed},
    rollup,
};
use crate::{
    Cells, Error,
    upkeep::{FIVE, HOUR, MINUTE},
};

/// Which longer cells there are around a range.
#[derive(Default)]
struct Stored {
    /// Begins of hours.
    hours: BTreeSet<u32>,
    /// Begins of 5 minutes.
    fives: BTreeSet<u32>,
    /// Hours with 5 minutes in them.
    detailed: BTreeSet<u32>,
}

impl Stored {
    fn new(hours: BTreeSet<u32>, fives: BTreeSet<u32>) -> Self {
        let detailed = fives.iter().map(|five| floor(*five, HOUR)).collect();
        Self { hours, fives, detailed }
    }

    /// Is the whole hour all that is left of it?
    fn is_hour_only(&self, hour: u32) -> bool {
        self.hours.contains(&hour) && !self.detailed.contains(&hour)
    }

    /// The cell that a boundary cuts, if it cuts one.
    fn cut(&self, minute: u32) -> Option<Minutes> {
        let (hour, five) = (floor(minute, HOUR), floor(minute, FIVE));
        if hour < minute && self.is_hour_only(hour) {
            Some(cell(hour, HOUR))
        } else if five < minute && self.fives.contains(&five) {
            Some(cell(five, FIVE))
        } else {
            None
        }
    }

    /// The range with cells that it cuts added whole.
    fn widen(&self, asked: Minutes) -> Minutes {
        Minutes {
            from: self.cut(asked.from).map_or(asked.from, |cell| cell.from),
            to: self.cut(asked.to).map_or(asked.to, |cell| cell.to),
        }
    }

    /// The hours that are read as hours.
    fn whole(&self, range: Minutes, longest: u32) -> BTreeSet<u32> {
        let inside = |hour: &u32| *hour >= range.from && cell(*hour, HOUR).to <= range.to;
        let wanted = |hour: &u32| longest >= HOUR || self.is_hour_only(*hour);
        self.hours.iter().copied().filter(|hour| inside(hour) && wanted(hour)).collect()
    }
}

/// Reads the cells of a tenant; see [`crate::Snapshot::cells`].
pub(super) async fn read(
    connection: &mut SqliteConnection,
    tenant: i64,
    asked: Minutes,
    longest: u32,
) -> Result<Cells, Error> {
    if asked.is_empty() {
        return Ok(Cells { minutes: asked, grain: MINUTE, blobs: Vec::new() });
    }
    let around = Minutes { from: floor(asked.from, HOUR), to: cell(floor(asked.to, HOUR), HOUR).to };
    let hours = begins(connection, tenant, HOUR, around).await?;
    let stored = Stored::new(hours, begins(connection, tenant, FIVE, around).await?);
    let minutes = stored.widen(asked);
    let whole = stored.whole(minutes, longest);

    let list = whole.iter().copied().collect::<serde_json::Value>().to_string();
    let hours = blobs(connection, tenant, HOUR, minutes, Some((&list, true))).await?;
    let fives = blobs(connection, tenant, FIVE, minutes, Some((&list, false))).await?;
    let singles = blobs(connection, tenant, MINUTE, minutes, None).await?;
    let hour_only = whole.iter().any(|hour| stored.is_hour_only(*hour));
    let grain = match (hour_only, fives.is_empty()) {
        (true, _) => HOUR,
        (_, false) => FIVE,
        _ => MINUTE,
    };
    compute(move || {
        let begin = |minute: u32| {
            let (hour, five) = (floor(minute, HOUR), floor(minute, FIVE));
            if whole.contains(&hour) {
                hour
            } else if stored.fives.contains(&five) {
                five
            } else {
                minute
            }
        };
        let mut out = Vec::with_capacity(hours.len() + fives.len() + singles.len());
        for (minute, blob) in hours.into_iter().chain(fives).chain(singles) {
            out.push((begin(minute), rollup::unpack(&blob)?));
        }
        out.sort_by_key(|(minute, _)| *minute);
        Ok(Cells { minutes, grain, blobs: out })
    })
    .await
}

/// Begins of the cells of a grain, in one row: a row for each costs more than finding it.
async fn begins(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    range: Minutes,
) -> Result<BTreeSet<u32>, Error> {
    let row = sqlx::query(
        "SELECT json_group_array(minute) FROM rollup
         WHERE tenant = ?1 AND grain = ?2 AND minute >= ?3 AND minute < ?4",
    )
    .bind(tenant)
    .bind(grain)
    .bind(range.from)
    .bind(range.to)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    let list: &str = row.try_get(0).map_err(failed)?;
    serde_json::from_str(list).map_err(|error| Error::Internal(format!("stored rollups: {error}")))
}

/// Stored blobs of a grain; with a list of hours only those in it, or only those that are not.
async fn blobs(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    range: Minutes,
    listed: Option<(&str, bool)>,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    let sql = match listed {
        None => {
            "SELECT minute, blob FROM rollup
             WHERE tenant = ?1 AND grain = ?2 AND minute >= ?3 AND minute < ?4 ORDER BY minute, seq"
        }
        Some((_, true)) => {
            "SELECT minute, blob FROM rollup
             WHERE tenant = ?1 AND grain = ?2 AND minute >= ?3 AND minute < ?4
               AND minute IN (SELECT value FROM json_each(?5)) ORDER BY minute, seq"
        }
        Some((_, false)) => {
            "SELECT minute, blob FROM rollup
             WHERE tenant = ?1 AND grain = ?2 AND minute >= ?3 AND minute < ?4
               AND minute / 60 * 60 NOT IN (SELECT value FROM json_each(?5)) ORDER BY minute, seq"
        }
    };
    let mut query = sqlx::query(sql).bind(tenant).bind(grain).bind(range.from).bind(range.to);
    if let Some((list, _)) = listed {
        query = query.bind(list);
    }
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?))).collect()
}

/// The begin of the cell of a grain that holds a minute.
pub(super) fn floor(minute: u32, grain: u32) -> u32 {
    minute / grain * grain
}

/// The minutes of a cell.
pub(super) fn cell(begin: u32, grain: u32) -> Minutes {
    Minutes { from: begin, to: begin.saturating_add(grain) }
}
