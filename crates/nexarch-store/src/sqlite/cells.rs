//! Which rollup cells answer a read.
//!
//! A cell of an hour stands for all shorter ones in it, one of 5 minutes for the minutes that are kept beside it, except
//! for minutes that came after it was made. Where a reader can use the longer ones it gets them; at the ends of its
//! range, and where it wants detail, it gets the shorter ones, as far as there still are some.

use std::collections::BTreeSet;

use nexarch_core::window::Minutes;
use sqlx::{Row, SqliteConnection};

use super::{
    errors::{compute, failed},
    rollup,
};
use crate::{
    Cells, Error,
    upkeep::{FIVE, HOUR, KEPT, MINUTE},
};

/// Which longer cells there are around a range.
#[derive(Default)]
pub(super) struct Stored {
    /// Begins of hours.
    hours: BTreeSet<u32>,
    /// Begins of 5 minutes.
    fives: BTreeSet<u32>,
    /// Hours with 5 minutes in them.
    detailed: BTreeSet<u32>,
    /// Begins of the 5 minutes whose minutes are kept.
    pub(super) kept: BTreeSet<u32>,
}

impl Stored {
    /// Those around a range.
    pub(super) async fn around(
        connection: &mut SqliteConnection,
        tenant: i64,
        range: Minutes,
    ) -> Result<Self, Error> {
        let around = Minutes { from: floor(range.from, HOUR), to: cell(floor(range.to, HOUR), HOUR).to };
        let hours = begins(connection, tenant, HOUR, around).await?;
        let fives = begins(connection, tenant, FIVE, around).await?;
        Ok(Self::new(hours, fives, &begins(connection, tenant, KEPT, around).await?))
    }

    /// Are all cells there that there ever were of the 5 minutes around this one, by the minute?
    pub(super) fn has_minutes(&self, minute: u32) -> bool {
        !self.is_hour_only(floor(minute, HOUR)) && !self.is_five_only(floor(minute, FIVE))
    }

    fn new(hours: BTreeSet<u32>, fives: BTreeSet<u32>, kept: &BTreeSet<u32>) -> Self {
        let detailed = fives.iter().map(|five| floor(*five, HOUR)).collect();
        Self { hours, fives, detailed, kept: kept.iter().map(|minute| floor(*minute, FIVE)).collect() }
    }

    /// Is the whole hour all that is left of it?
    fn is_hour_only(&self, hour: u32) -> bool {
        self.hours.contains(&hour) && !self.detailed.contains(&hour)
    }

    /// Are the whole 5 minutes all that is left of them?
    fn is_five_only(&self, five: u32) -> bool {
        self.fives.contains(&five) && !self.kept.contains(&five)
    }

    /// The cell that a boundary cuts, if it cuts one.
    fn cut(&self, minute: u32) -> Option<Minutes> {
        let (hour, five) = (floor(minute, HOUR), floor(minute, FIVE));
        if hour < minute && self.is_hour_only(hour) {
            Some(cell(hour, HOUR))
        } else if five < minute && self.is_five_only(five) {
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
    fn whole_hours(&self, range: Minutes, longest: u32) -> BTreeSet<u32> {
        let inside = |hour: &u32| *hour >= range.from && cell(*hour, HOUR).to <= range.to;
        let wanted = |hour: &u32| longest >= HOUR || self.is_hour_only(*hour);
        self.hours.iter().copied().filter(|hour| inside(hour) && wanted(hour)).collect()
    }

    /// The 5 minutes, outside of those hours, that are read as such.
    fn whole_fives(&self, range: Minutes, longest: u32, hours: &BTreeSet<u32>) -> BTreeSet<u32> {
        let inside = |five: &u32| *five >= range.from && cell(*five, FIVE).to <= range.to;
        let wanted = |five: &u32| longest >= FIVE || self.is_five_only(*five);
        let is_part = |five: &u32| hours.contains(&floor(*five, HOUR));
        self.fives.iter().copied().filter(|five| inside(five) && wanted(five) && !is_part(five)).collect()
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
    let fives = begins(connection, tenant, FIVE, around).await?;
    let mut kept = begins(connection, tenant, KEPT, around).await?;
    let stored = Stored::new(hours, fives, &kept);
    let minutes = stored.widen(asked);
    let whole_hours = stored.whole_hours(minutes, longest);
    let whole_fives = stored.whole_fives(minutes, longest, &whole_hours);

    kept.retain(|minute| {
        (minutes.from..minutes.to).contains(minute)
            && !whole_hours.contains(&floor(*minute, HOUR))
            && !whole_fives.contains(&floor(*minute, FIVE))
    });
    let mut blobs = Vec::new();
    for (grain, begins) in [(HOUR, &whole_hours), (FIVE, &whole_fives), (KEPT, &kept)] {
        blobs.extend(listed(connection, tenant, grain, begins).await?);
    }
    blobs.extend(rollup::cells(connection, tenant, MINUTE, minutes).await?);
    let only = |only: bool, grain| only.then_some(grain);
    let grain = only(whole_hours.iter().any(|hour| stored.is_hour_only(*hour)), HOUR)
        .or(only(whole_fives.iter().any(|five| stored.is_five_only(*five)), FIVE))
        .unwrap_or(MINUTE);
    compute(move || {
        // What came after a cell was made is part of it: what it takes back must meet what it added.
        let begin = |minute: u32| {
            let (hour, five) = (floor(minute, HOUR), floor(minute, FIVE));
            if whole_hours.contains(&hour) {
                hour
            } else if whole_fives.contains(&five) {
                five
            } else {
                minute
            }
        };
        let mut out = Vec::with_capacity(blobs.len());
        for (minute, blob) in blobs {
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

/// Stored blobs of cells of a grain.
async fn listed(
    connection: &mut SqliteConnection,
    tenant: i64,
    grain: u32,
    begins: &BTreeSet<u32>,
) -> Result<Vec<(u32, Vec<u8>)>, Error> {
    if begins.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(
        "SELECT r.minute, r.blob FROM json_each(?3) j
         CROSS JOIN rollup r ON r.tenant = ?1 AND r.grain = ?2 AND r.minute = j.value ORDER BY r.minute, r.seq",
    )
    .bind(tenant)
    .bind(grain)
    .bind(begins.iter().copied().collect::<serde_json::Value>().to_string())
    .fetch_all(connection)
    .await
    .map_err(failed)?;
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
