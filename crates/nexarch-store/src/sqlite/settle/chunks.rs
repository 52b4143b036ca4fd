//! Where the spans of traces that are due are stored, and which of them are settled now.

use std::collections::{BTreeMap, HashMap};

use nexarch_core::ids::TraceId;
use sqlx::{Row, SqliteConnection};

use super::{
    super::{
        Sqlite,
        errors::failed,
        large::{hex, json, trace_of},
        partition::{self, DAYS_PER_STATEMENT},
        versions::{json_numbers, unsigned},
    },
    Place,
    due::Waiting,
};
use crate::{Error, chunk::Seeded, plan::Form};

/// Traces that are looked up together. Each may have as many chunks as a small trace has spans.
const PAGE: usize = 64;

/// The chunks of a trace.
pub(super) struct Chunks {
    pub(super) trace: TraceId,
    /// See `trace_key`.
    pub(super) key: i64,
    /// To be settled now, in the order of storing.
    pub(super) now: BTreeMap<Place, Now>,
    /// The others that are settled: hour, and how many spans each brought.
    pub(super) settled: BTreeMap<Place, (u64, u64)>,
    /// Previews whose chunk is gone.
    pub(super) gone: Vec<Place>,
    /// Spans that contribute as one trace; more than in `settled` when days were dropped.
    pub(super) count: u64,
    /// Too large to be loaded by appends.
    pub(super) indexed: bool,
    /// Some previews are left for the next round, for which this one had no room.
    pub(super) left: bool,
    /// See [`Waiting`].
    pub(super) wakes: u64,
    /// See [`Waiting`].
    pub(super) turns: u64,
}

/// A chunk that is to be settled.
#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) hour: u64,
    /// Rows of the trace: new spans, and new versions of known ones.
    pub(super) rows: u64,
    /// Spans that were not known.
    pub(super) fresh: u64,
}

/// What a preview says: its chunk, its rows, and those of them that were not known.
type Preview = (Place, u64, u64);

impl Sqlite {
    /// As many traces as one transaction may settle: the first one as far as there is room, others only as a whole.
    pub(super) async fn gather(
        &self,
        read: &mut SqliteConnection,
        tenant: i64,
        waiting: &[Waiting],
    ) -> Result<Vec<Chunks>, Error> {
        let limits = &self.options.limits;
        let (mut rows, mut spans) = (limits.settle_spans, limits.settle_trace);
        let days: Vec<u64> = partition::read(read).await?.into_iter().collect();
        let mut batch = Vec::new();
        let small = |a: &Waiting, b: &Waiting| !a.indexed && !b.indexed;
        for page in waiting.chunk_by(small).flat_map(|run| run.chunks(PAGE)) {
            let mut places = places(read, tenant, &days, page).await?;
            let mut previews = previews(read, tenant, page).await?;
            for waiting in page {
                let all = places.remove(&waiting.key).unwrap_or_default();
                let previews = previews.remove(&waiting.trace).unwrap_or_default();
                let room = if batch.is_empty() { rows } else { u64::MAX };
                let chunks = Chunks::new(waiting, all, previews, room);
                let (wanted, size) = (chunks.rows(), chunks.size(limits.settle_trace));
                if !batch.is_empty() && (wanted > rows || size > spans) {
                    return Ok(batch);
                }
                (rows, spans) = (rows.saturating_sub(wanted), spans.saturating_sub(size));
                batch.push(chunks);
            }
        }
        Ok(batch)
    }
}

impl Chunks {
    fn new(
        waiting: &Waiting,
        mut all: BTreeMap<Place, (u64, u64)>,
        mut previews: Vec<Preview>,
        mut room: u64,
    ) -> Self {
        // In the order of storing: a span that an earlier chunk holds is no part of a later one's preview.
        previews.sort_unstable();
        let (mut now, mut gone, mut left) = (BTreeMap::new(), Vec::new(), false);
        for (place, rows, fresh) in previews {
            let Some((hour, _)) = all.remove(&place) else {
                gone.push(place);
                continue;
            };
            if now.is_empty() || rows <= room {
                now.insert(place, Now { hour, rows, fresh });
                room = room.saturating_sub(rows);
            } else {
                room = 0;
                left = true;
            }
        }
        let Waiting { trace, key, settled: count, indexed, wakes, turns } = *waiting;
        Self { trace, key, now, settled: all, gone, count, indexed, left, wakes, turns }
    }

    /// Rows that are to be settled.
    fn rows(&self) -> u64 {
        self.now.values().map(|now| now.rows).sum()
    }

    /// New spans that are to be settled.
    pub(super) fn fresh(&self) -> u64 {
        self.now.values().map(|now| now.fresh).sum()
    }

    /// How many spans are held in memory to settle it; it is settled alone when it is not settled as a whole, so one without
    /// spans, which only others link to, counts, too.
    fn size(&self, most: u64) -> u64 {
        let settled = self.settled.values().map(|(_, spans)| spans).sum::<u64>();
        if Form::of_trace(self.count, most) == Form::Whole {
            (settled + self.rows()).max(1)
        } else {
            u64::MAX
        }
    }
}

/// All chunks of some traces, by the key of the trace: hour, and how many spans each brought.
async fn places(
    read: &mut SqliteConnection,
    tenant: i64,
    days: &[u64],
    page: &[Waiting],
) -> Result<HashMap<i64, BTreeMap<Place, (u64, u64)>, Seeded>, Error> {
    let mut found = HashMap::<i64, BTreeMap<_, _>, Seeded>::default();
    let keys = json_numbers(page.iter().map(|waiting| waiting.key));
    for days in days.chunks(DAYS_PER_STATEMENT) {
        let sql = partition::union(days, |day| {
            format!(
                "SELECT {day}, t.trace, t.chunk, c.hour, t.spans FROM json_each(?2) j
                 CROSS JOIN trace_{day} t ON t.tenant = ?1 AND t.trace = j.value
                 CROSS JOIN chunk_{day} c ON c.id = t.chunk AND c.tenant = ?1"
            )
        });
        let query = sqlx::query(sql).bind(tenant).bind(&keys);
        for row in &query.fetch_all(&mut *read).await.map_err(failed)? {
            let place = (unsigned(row, 0)?, row.try_get(2).map_err(failed)?);
            let chunks = found.entry(row.try_get(1).map_err(failed)?).or_default();
            chunks.insert(place, (unsigned(row, 3)?, unsigned(row, 4)?));
        }
    }
    Ok(found)
}

async fn previews(
    read: &mut SqliteConnection,
    tenant: i64,
    page: &[Waiting],
) -> Result<HashMap<TraceId, Vec<Preview>, Seeded>, Error> {
    let ids = json(page.iter().map(|waiting| format!("\"{}\"", hex(&waiting.trace.to_bytes()))));
    let rows = sqlx::query(
        "SELECT p.trace, p.day, p.chunk, p.spans, p.fresh FROM json_each(?2) j
         CROSS JOIN preview p ON p.tenant = ?1 AND p.trace = unhex(j.value)",
    )
    .bind(tenant)
    .bind(ids)
    .fetch_all(read)
    .await
    .map_err(failed)?;
    let mut found = HashMap::<TraceId, Vec<Preview>, Seeded>::default();
    for row in &rows {
        let place = (unsigned(row, 1)?, row.try_get(2).map_err(failed)?);
        let previews = found.entry(trace_of(row.try_get(0).map_err(failed)?)?).or_default();
        previews.push((place, unsigned(row, 3)?, unsigned(row, 4)?));
    }
    Ok(found)
}
