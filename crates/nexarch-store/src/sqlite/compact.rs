//! Minutes become 5 minutes, 5 minutes become hours.
//!
//! | closed since | what happens to it |
//! |---|---|
//! | 2 minutes, 5 minutes | their minutes are judged (`minutes.rs`), and added to one cell of 5, and to the cell of their hour if it has one |
//! | 2 minutes, an hour | its cells of 5 are added to one of 60 |
//! | 2 h, 5 minutes | their minutes go |
//! | 48 h, an hour | its cells of 5 go |
//!
//! Until they go, shorter cells stay beside the longer ones: long windows read few cells, short ones detail. Minutes that
//! are in their cell of 5 have a grain of their own ([`KEPT`]), so those that are not yet can be told apart. Late minutes,
//! taken back or added, are minutes again and go the same way. A step is one transaction that puts one blob in the place
//! of many, so a crash leaves the one or the other; doing it twice does nothing. (Rejected: hours made only after 48 h: a
//! day's read would fold 5 minutes, ten times the cells. Minutes left alone for 2 h: a day's read would be mostly they.)

use std::{collections::BTreeMap, time::Duration};

use nexarch_core::{ids::TenantId, window::Minutes};
use sqlx::{Row, SqliteConnection};
use tokio::time::Instant;

use super::{
    Sqlite,
    cells::{cell, floor},
    errors::{compute, failed},
    minutes::{Judged, judge, note},
    rollup,
    versions::{self, Raise, unsigned},
    writer::Tx,
};
use crate::{
    Error, Place, Step,
    upkeep::{CLOSED_FOR, FIVE, FIVES_FOR, HOUR, KEPT, MINUTE, MINUTES_FOR},
};

/// Cells made in one transaction: enough to share a sync of the disk, few enough to find them again for each.
const MAX_CELLS: usize = 128;

/// Bytes of stored blobs read in one transaction, beyond which no further cell is begun.
const MAX_BYTES: usize = 4 << 20;

/// How long a transaction goes on beginning cells: the writer has batches waiting.
const MAX_TIME: Duration = Duration::from_millis(50);

const MINUTE_US: u64 = 60_000_000;

/// A cell to be made.
pub(super) struct Due {
    tenant: i64,
    id: TenantId,
    begin: u32,
}

/// Until when cells are old enough, minutes since the Unix epoch.
#[derive(Clone, Copy)]
pub(super) struct Horizon {
    /// To be added up.
    closed: u32,
    /// For their minutes to go.
    minutes: u32,
    /// For their cells of 5 to go.
    fives: u32,
}

impl Horizon {
    pub(super) fn at(now_us: u64) -> Self {
        let now = u32::try_from(now_us / MINUTE_US).unwrap_or(u32::MAX);
        let before = |age| now.saturating_sub(age);
        Self { closed: before(CLOSED_FOR), minutes: before(MINUTES_FOR), fives: before(FIVES_FOR) }
    }
}

impl Sqlite {
    /// See [`crate::Store::compact`].
    pub(super) async fn compact_step(&self, from: Place) -> Result<Step, Error> {
        self.only_owner("compacts")?;
        let horizon = Horizon::at(self.options.now_us());
        let due = self.cells_due(from, horizon).await?;
        self.make_cells(from, horizon, due).await
    }

    /// Makes cells that were due a moment ago.
    pub(super) async fn make_cells(
        &self,
        from: Place,
        horizon: Horizon,
        due: Vec<Due>,
    ) -> Result<Step, Error> {
        let all = due.len() < MAX_CELLS;
        let mut tx = self.begin().await?;
        let outcome = self.make(&mut tx, from, horizon, due).await;
        let (mut step, done) = tx.finish(outcome).await?;
        step.next = match done {
            Some(place) => Some(place),
            None if all && from.hours => None,
            None if all => Some(Place { hours: true, ..Place::default() }),
            None => step.next,
        };
        Ok(step)
    }

    /// What is due, by tenant and time. Read outside of the transaction that does it, which looks again.
    pub(super) async fn cells_due(&self, from: Place, horizon: Horizon) -> Result<Vec<Due>, Error> {
        let sql = if from.hours {
            "SELECT t.number, t.id, r.minute / 60 * 60 AS begin
             FROM tenant t CROSS JOIN rollup r ON r.tenant = t.number AND r.grain = 5 AND r.minute < ?3
             WHERE t.number >= ?1 AND (t.number > ?1 OR r.minute / 60 * 60 > ?2)
               AND (r.minute < ?4 OR NOT EXISTS (SELECT 1 FROM rollup h
                    WHERE h.tenant = t.number AND h.grain = 60 AND h.minute = r.minute / 60 * 60))
             GROUP BY t.number, begin ORDER BY t.number, begin LIMIT ?5"
        } else {
            "SELECT t.number, t.id, r.minute / 5 * 5 AS begin
             FROM tenant t CROSS JOIN rollup r ON r.tenant = t.number AND r.grain = 1 AND r.minute < ?3
             WHERE t.number >= ?1 AND (t.number > ?1 OR r.minute / 5 * 5 > ?2)
             UNION
             SELECT t.number, t.id, r.minute / 5 * 5
             FROM tenant t CROSS JOIN rollup r ON r.tenant = t.number AND r.grain = 2 AND r.minute < ?4
             WHERE t.number >= ?1 AND (t.number > ?1 OR r.minute / 5 * 5 > ?2)
             ORDER BY 1, 3 LIMIT ?5"
        };
        let grain = if from.hours { HOUR } else { FIVE };
        let rows = sqlx::query(sql)
            .bind(from.after.0)
            .bind(from.after.1)
            .bind(floor(horizon.closed, grain))
            .bind(floor(if from.hours { horizon.fives } else { horizon.minutes }, grain))
            .bind(i64::try_from(MAX_CELLS).unwrap_or(i64::MAX))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let id: &str = row.try_get(1).map_err(failed)?;
                Ok(Due {
                    tenant: row.try_get(0).map_err(failed)?,
                    id: id.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?,
                    begin: row.try_get(2).map_err(failed)?,
                })
            })
            .collect()
    }

    /// Makes cells until a limit is met, and says behind which it stopped when not all were made.
    async fn make(
        &self,
        tx: &mut Tx<'_>,
        from: Place,
        horizon: Horizon,
        due: Vec<Due>,
    ) -> Result<(Step, Option<Place>), Error> {
        let started = Instant::now();
        let (mut step, mut bytes, mut stopped) = (Step::default(), 0, None);
        let mut changed: Vec<TenantId> = Vec::new();
        let last = due.len().saturating_sub(1);
        for (index, Due { tenant, id, begin }) in due.into_iter().enumerate() {
            let made = if from.hours {
                make_hour(tx.on()?, tenant, begin, horizon).await
            } else {
                make_five(tx.on()?, tenant, begin, horizon, self.options.bad_above_us).await
            };
            match made? {
                Made::Nothing => {}
                Made::Skipped => step.skipped += 1,
                Made::Cell(read) => {
                    bytes += read;
                    if changed.last() != Some(&id) {
                        changed.push(id);
                    }
                }
            }
            let place = Place { after: (tenant, i64::from(begin)), ..from };
            if index == last {
                step.next = Some(place);
            } else if bytes >= MAX_BYTES || started.elapsed() >= MAX_TIME {
                stopped = Some(place);
                break;
            }
        }
        changed.sort_unstable();
        for id in changed {
            // Not one number differs, but where a window may begin and end does.
            versions::raise(tx.on()?, &id, Raise::Thinned, self.options.now_us()).await?;
            let versions = versions::read(tx.on()?, &id).await?;
            step.changed.push((id, versions));
        }
        Ok((step, stopped))
    }
}

/// What became of a cell that was due.
enum Made {
    /// Another transaction was faster.
    Nothing,
    /// It is made, from so many bytes.
    Cell(usize),
    /// A blob of it is damaged. Nothing was written: who reads it is told, and all others go on.
    Skipped,
}

/// What a computation made, or nothing when a blob is damaged. Only to be used before anything is written.
fn readable<T>(made: Result<T, Error>) -> Result<Option<T>, Error> {
    match made {
        Ok(made) => Ok(Some(made)),
        Err(Error::Internal(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Adds the minutes of 5 to their cells; they stay as long as they are young.
async fn make_five(
    connection: &mut SqliteConnection,
    tenant: i64,
    begin: u32,
    horizon: Horizon,
    bad_above_us: u64,
) -> Result<Made, Error> {
    let (five, hour) = (cell(begin, FIVE), cell(floor(begin, HOUR), HOUR));
    let young = five.to > horizon.minutes;
    let kept = rollup::cells(connection, tenant, KEPT, five).await?;
    let minutes = rollup::cells(connection, tenant, MINUTE, five).await?;
    if minutes.is_empty() {
        if young || kept.is_empty() {
            return Ok(Made::Nothing);
        }
        rollup::delete(connection, tenant, KEPT, five).await?;
        return Ok(Made::Cell(0));
    }
    let total = rollup::blobs(connection, tenant, HOUR, cell(hour.from, 1)).await?;
    // An hour without its 5 minutes has no place for them again: they would say less than the hour.
    let detailed = total.is_empty() || has_fives(connection, tenant, hour).await?;
    let known =
        if detailed { rollup::blobs(connection, tenant, FIVE, cell(begin, 1)).await? } else { Vec::new() };
    // All minutes of the 5, or none: some would say less than the 5.
    let keep = young && detailed && (known.is_empty() || !kept.is_empty());
    let all_there = detailed && (known.is_empty() || !kept.is_empty());
    let judged = if all_there { Judged::Whole } else { Judged::Late };
    let bytes = minutes.iter().map(|(_, blob)| blob.len()).sum::<usize>()
        + [&total, &known].into_iter().flatten().map(Vec::len).sum::<usize>();
    let made = compute(move || {
        let verdicts = judge(&[&kept, &minutes], bad_above_us)?;
        let kept = if keep { kept_with(kept, &minutes)? } else { Vec::new() };
        let minutes: Vec<Vec<u8>> = minutes.into_iter().map(|(_, blob)| blob).collect();
        // In one sum: what late minutes take back must meet what it was added as.
        let with = |known: &[Vec<u8>]| rollup::added(known.iter().chain(&minutes));
        let five = if detailed { rollup::packed(with(&known)?)? } else { None };
        // Kept even when it is empty: that it is there says that it holds all of its hour.
        let hour = if total.is_empty() { None } else { Some(rollup::pack(with(&total)?)?) };
        Ok((five, hour, kept, verdicts))
    });
    let Some((new_five, new_hour, kept, verdicts)) = readable(made.await)? else { return Ok(Made::Skipped) };
    note(connection, tenant, begin, judged, &verdicts).await?;
    rollup::delete(connection, tenant, MINUTE, five).await?;
    rollup::delete(connection, tenant, KEPT, five).await?;
    if detailed {
        rollup::replace(connection, tenant, FIVE, begin, new_five).await?;
    }
    if new_hour.is_some() {
        rollup::replace(connection, tenant, HOUR, hour.from, new_hour).await?;
    }
    for (minute, blob) in kept {
        rollup::replace(connection, tenant, KEPT, minute, blob).await?;
    }
    Ok(Made::Cell(bytes))
}

/// A minute that is kept: its begin and blob, or none when it cancels out.
type Kept = (u32, Option<Vec<u8>>);

/// The minutes that are kept, with what came since added.
fn kept_with(kept: Vec<(u32, Vec<u8>)>, minutes: &[(u32, Vec<u8>)]) -> Result<Vec<Kept>, Error> {
    let mut of_minutes: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    for (minute, blob) in kept.into_iter().chain(minutes.iter().cloned()) {
        of_minutes.entry(minute).or_default().push(blob);
    }
    let sum = |(minute, blobs): (u32, Vec<Vec<u8>>)| Ok((minute, rollup::packed(rollup::added(&blobs)?)?));
    of_minutes.into_iter().map(sum).collect()
}

/// Makes the cell of an hour out of those of 5 unless it is there, and drops these when they are old.
async fn make_hour(
    connection: &mut SqliteConnection,
    tenant: i64,
    begin: u32,
    horizon: Horizon,
) -> Result<Made, Error> {
    let hour = cell(begin, HOUR);
    let mut bytes = 0;
    if rollup::blobs(connection, tenant, HOUR, cell(begin, 1)).await?.is_empty() {
        let fives = rollup::blobs(connection, tenant, FIVE, hour).await?;
        if fives.is_empty() {
            // They went meanwhile, with their tenant or their age: an empty hour would say that there was nothing.
            return Ok(Made::Nothing);
        }
        bytes = fives.iter().map(Vec::len).sum();
        let total = readable(compute(move || rollup::pack(rollup::added(&fives)?)).await)?;
        let Some(total) = total else { return Ok(Made::Skipped) };
        rollup::replace(connection, tenant, HOUR, begin, Some(total)).await?;
    }
    if hour.to <= horizon.fives {
        rollup::delete(connection, tenant, FIVE, hour).await?;
    }
    Ok(Made::Cell(bytes))
}

async fn has_fives(connection: &mut SqliteConnection, tenant: i64, hour: Minutes) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM rollup WHERE tenant = ?1 AND grain = 5 AND minute >= ?2 AND minute < ?3)",
    )
    .bind(tenant)
    .bind(hour.from)
    .bind(hour.to)
    .fetch_one(connection)
    .await
    .map_err(failed)?;
    Ok(unsigned(&row, 0)? == 1)
}
