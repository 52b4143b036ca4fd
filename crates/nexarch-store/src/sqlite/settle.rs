//! Settling: what large traces contribute by previews is replaced by what their spans say together.
//!
//! A round reads and infers beside the writer, in a snapshot, and then changes the rollups in a short transaction. What
//! arrives between the two only adds previews, whose value does not depend on this round; another settling of the same
//! chunks (a command beside the server) is noticed, and the later one gives up.

use std::collections::{BTreeMap, HashMap, HashSet};

use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TenantId, TraceId},
    rollup::Delta,
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    Sqlite,
    errors::{compute, failed},
    large::trace_of,
    partition::{self, DAYS_PER_STATEMENT},
    rollup, trace_key,
    versions::{self, Raise, json_numbers, signed, unsigned},
    writer::Tx,
};
use crate::{
    Error, Settling, Versions,
    chunk::{self, Seeded},
    plan::{Form, Unsettled},
};

/// Tenants served in one round, a transaction each; the rest comes with the next.
const TENANTS_PER_ROUND: i64 = 16;

/// Blocks read before they are decoded: about a megabyte.
const BLOCKS_AT_ONCE: usize = 64;

/// How long a trace that cannot be read is left alone, microseconds: an hour.
const PAUSE_US: u64 = 3_600_000_000;

/// A chunk: day and number.
type Place = (u64, i64);

/// A trace that is due.
struct Due {
    id: TenantId,
    tenant: i64,
    trace: TraceId,
}

/// The chunks of a trace, with their hour and how many spans each brought.
struct Chunks {
    /// To be settled now, in the order of storing.
    now: BTreeMap<Place, (u64, u64)>,
    settled: BTreeMap<Place, (u64, u64)>,
    /// Spans that contribute as one trace; more than in `settled` when days were dropped.
    count: u64,
}

/// A part of a trace that is settled by itself: which chunks to read, and how they contribute.
struct Part {
    settled: Vec<Place>,
    /// Of `settled` only versions of identities that `now` holds are needed.
    only_same: bool,
    before: Form,
    now: Vec<Place>,
    after: Form,
}

/// What became of a settling.
enum Written {
    /// Nothing: somebody else settled it, or it is gone.
    Overtaken,
    /// No number changed.
    Same,
    /// Numbers changed.
    Changed(Versions),
}

impl Sqlite {
    /// See [`crate::Store::settle`].
    pub(super) async fn settle_round(&self, due_us: u64, only: Option<&TenantId>) -> Result<Settling, Error> {
        let mut outcome = Settling::default();
        let mut served = false;
        for due in self.due(due_us, only).await? {
            match self.settle_trace(&due).await {
                Ok(Written::Changed(versions)) => outcome.changed.push((due.id.clone(), versions)),
                Ok(Written::Same | Written::Overtaken) => {}
                Err(error @ Error::Internal(_)) => {
                    // Damaged data of one trace must not keep the others waiting.
                    self.pause(&due).await?;
                    outcome.failed.push((due.id, error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            served = true;
        }
        outcome.more = served && !self.due(due_us, only).await?.is_empty();
        Ok(outcome)
    }

    /// For each tenant, the longest waiting first, the trace of it that waits longest.
    async fn due(&self, due_us: u64, only: Option<&TenantId>) -> Result<Vec<Due>, Error> {
        // A bare column beside min() is of the row that has the minimum.
        let rows = sqlx::query(
            "SELECT t.id, l.tenant, l.trace, min(l.due_us)
             FROM large_trace l JOIN tenant t ON t.number = l.tenant
             WHERE l.due_us <= ?1 AND (?2 IS NULL OR t.id = ?2) GROUP BY l.tenant ORDER BY 4 LIMIT ?3",
        )
        .bind(signed(due_us))
        .bind(only.map(TenantId::as_str))
        .bind(TENANTS_PER_ROUND)
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let due = |row: &sqlx::sqlite::SqliteRow| {
            let id: &str = row.try_get(0).map_err(failed)?;
            Ok(Due {
                id: id.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?,
                tenant: row.try_get(1).map_err(failed)?,
                trace: trace_of(row.try_get(2).map_err(failed)?)?,
            })
        };
        rows.iter().map(due).collect()
    }

    async fn settle_trace(&self, due: &Due) -> Result<Written, Error> {
        let most = self.options.limits.settle_trace;
        let mut read = self.readers.begin().await.map_err(failed)?;
        let chunks = self.chunks(&mut read, due).await?;
        let mut delta = Delta::default();
        for part in chunks.parts(most) {
            let part = load(&mut read, due, part).await?;
            delta = compute(move || {
                delta.add(&part.settle(most));
                Ok(delta)
            })
            .await?;
        }
        drop(read);
        let encode = move || {
            delta.bound();
            let blobs = delta.encode().into_iter();
            blobs.map(|(minute, blob)| Ok((minute, rollup::pack(blob)?))).collect::<Result<Vec<_>, Error>>()
        };
        let blobs = compute(encode).await?;
        let mut tx = self.begin().await?;
        let outcome = self.replace(&mut tx, due, &chunks, blobs).await;
        if matches!(outcome, Ok(Written::Overtaken)) {
            // Dropped without an end: what was deleted in it comes back.
            return outcome;
        }
        tx.finish(outcome).await
    }

    /// What is to be settled now, and what is settled.
    async fn chunks(&self, read: &mut SqliteConnection, due: &Due) -> Result<Chunks, Error> {
        let mut all: BTreeMap<Place, (u64, u64)> = BTreeMap::new();
        let days: Vec<u64> = partition::read(read).await?.into_iter().collect();
        for days in days.chunks(DAYS_PER_STATEMENT) {
            let sql = partition::union(days, |day| {
                format!(
                    "SELECT {day}, t.chunk, c.hour, t.spans FROM trace_{day} t JOIN chunk_{day} c ON c.id = t.chunk
                     WHERE t.tenant = ?1 AND t.trace = ?2 AND c.tenant = ?1"
                )
            });
            let query = sqlx::query(sql).bind(due.tenant).bind(trace_key(self.seed, due.trace));
            for row in query.fetch_all(&mut *read).await.map_err(failed)? {
                let place = (unsigned(&row, 0)?, row.try_get(1).map_err(failed)?);
                all.insert(place, (unsigned(&row, 2)?, unsigned(&row, 3)?));
            }
        }
        let rows = sqlx::query(
            "SELECT day, chunk, spans, fresh FROM preview WHERE tenant = ?1 AND trace = ?2 ORDER BY day, chunk",
        )
        .bind(due.tenant)
        .bind(due.trace.to_bytes().as_slice())
        .fetch_all(&mut *read)
        .await
        .map_err(failed)?;
        let (mut now, mut room) = (BTreeMap::new(), self.options.limits.settle_spans);
        for row in &rows {
            let place = (unsigned(row, 0)?, row.try_get(1).map_err(failed)?);
            let (spans, fresh) = (unsigned(row, 2)?, unsigned(row, 3)?);
            let Some((hour, _)) = all.remove(&place) else {
                return Err(Error::Internal("a chunk to be settled is gone".to_owned()));
            };
            // In the order of storing: a span that an earlier chunk holds is no part of a later one's preview.
            if now.is_empty() || spans <= room {
                now.insert(place, (hour, fresh));
                room = room.saturating_sub(spans);
            } else {
                room = 0;
            }
        }
        let row =
            sqlx::query("SELECT settled FROM large_trace WHERE tenant = ?1 AND key = ?2 AND trace = ?3")
                .bind(due.tenant)
                .bind(trace_key(self.seed, due.trace))
                .bind(due.trace.to_bytes().as_slice())
                .fetch_optional(&mut *read)
                .await
                .map_err(failed)?;
        let count = row.as_ref().map_or(Ok(0), |row| unsigned(row, 0))?;
        Ok(Chunks { now, settled: all, count })
    }

    /// Puts the settled contribution in the place of the previews.
    async fn replace(
        &self,
        tx: &mut Tx<'_>,
        due: &Due,
        chunks: &Chunks,
        blobs: Vec<(u32, Vec<u8>)>,
    ) -> Result<Written, Error> {
        let exists = sqlx::query("SELECT 1 FROM tenant WHERE number = ?1").bind(due.tenant);
        if exists.fetch_optional(tx.on()?).await.map_err(failed)?.is_none() {
            return Ok(Written::Overtaken);
        }
        let trace = due.trace.to_bytes();
        for (day, chunk) in chunks.now.keys() {
            let sql = "DELETE FROM preview WHERE tenant = ?1 AND trace = ?2 AND day = ?3 AND chunk = ?4";
            let query = sqlx::query(sql).bind(due.tenant).bind(trace.as_slice());
            let query = query.bind(day.cast_signed()).bind(*chunk);
            if query.execute(tx.on()?).await.map_err(failed)?.rows_affected() == 0 {
                return Ok(Written::Overtaken);
            }
        }
        let changed = !blobs.is_empty();
        rollup::add(tx.on()?, due.tenant, blobs).await?;
        // What is left stays due, and so comes next.
        sqlx::query(
            "UPDATE large_trace SET settled = settled + ?4, rounds = rounds + NOT w.waits,
                 since_us = iif(w.waits, since_us, NULL), due_us = iif(w.waits, due_us, NULL)
             FROM (SELECT EXISTS (SELECT 1 FROM preview WHERE tenant = ?1 AND trace = ?3) AS waits) w
             WHERE tenant = ?1 AND key = ?2 AND trace = ?3",
        )
        .bind(due.tenant)
        .bind(trace_key(self.seed, due.trace))
        .bind(trace.as_slice())
        .bind(chunks.fresh().cast_signed())
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
        if !changed {
            return Ok(Written::Same);
        }
        versions::raise(tx.on()?, &due.id, Raise::Data, self.options.now_us()).await?;
        Ok(Written::Changed(versions::read(tx.on()?, &due.id).await?))
    }

    async fn pause(&self, due: &Due) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE large_trace SET due_us = ?3 WHERE tenant = ?1 AND trace = ?2";
        let query = sqlx::query(sql).bind(due.tenant).bind(due.trace.to_bytes().to_vec());
        let query = query.bind(signed(self.options.now_us().saturating_add(PAUSE_US)));
        let outcome = query.execute(tx.on()?).await.map_err(failed);
        tx.finish(outcome.map(drop)).await
    }
}

impl Chunks {
    /// New spans that are to be settled.
    fn fresh(&self) -> u64 {
        self.now.values().map(|(_, fresh)| fresh).sum()
    }

    /// The whole trace is one part as long as it contributes as a whole; then each hour is.
    fn parts(&self, most: u64) -> Vec<Part> {
        if self.now.is_empty() {
            return Vec::new();
        }
        if Form::of_trace(self.count, most) == Form::Whole {
            return vec![Part {
                settled: self.settled.keys().copied().collect(),
                only_same: false,
                before: Form::Whole,
                now: self.now.keys().copied().collect(),
                after: Form::of_trace(self.count + self.fresh(), most),
            }];
        }
        let mut hours: HashMap<u64, (Vec<Place>, u64)> = HashMap::new();
        for (place, (hour, fresh)) in &self.now {
            let (places, count) = hours.entry(*hour).or_default();
            places.push(*place);
            *count += fresh;
        }
        hours.into_iter().map(|(hour, (now, fresh))| self.hour(hour, now, fresh, most)).collect()
    }

    fn hour(&self, hour: u64, now: Vec<Place>, fresh: u64, most: u64) -> Part {
        let settled = self.settled.iter().filter(|(_, (other, _))| *other == hour);
        let before: u64 = settled.clone().map(|(_, (_, spans))| spans).sum();
        let form = Form::of_hour(before, most);
        Part {
            settled: settled.map(|(place, _)| *place).collect(),
            only_same: form == Form::Alone,
            before: form,
            now,
            after: Form::of_hour(before + fresh, most),
        }
    }
}

/// Reads a part.
async fn load(read: &mut SqliteConnection, due: &Due, part: Part) -> Result<Unsettled, Error> {
    let mut previews = Vec::with_capacity(part.now.len());
    let mut same = HashSet::default();
    for place in &part.now {
        let facts = facts(read, due, std::slice::from_ref(place), None).await?;
        if part.only_same {
            same.extend(facts.iter().map(|facts| facts.span_id));
        }
        previews.push(facts);
    }
    let settled = facts(read, due, &part.settled, part.only_same.then_some(same)).await?;
    Ok(Unsettled { settled, before: part.before, previews, after: part.after })
}

/// The spans of the trace in these chunks; only those with certain ids, when ids are given.
async fn facts(
    read: &mut SqliteConnection,
    due: &Due,
    places: &[Place],
    ids: Option<HashSet<SpanId, Seeded>>,
) -> Result<Vec<Facts>, Error> {
    let (trace, ids) = (due.trace, std::sync::Arc::new(ids));
    let mut found = Vec::new();
    for same_day in places.chunk_by(|a, b| a.0 == b.0) {
        for places in same_day.chunks(BLOCKS_AT_ONCE) {
            let Some((day, _)) = places.first() else { continue };
            let sql = format!(
                "SELECT c.hot FROM json_each(?2) j CROSS JOIN chunk_{day} c ON c.id = j.value WHERE c.tenant = ?1"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(due.tenant);
            let query = query.bind(json_numbers(places.iter().map(|(_, chunk)| *chunk)));
            let rows = query.fetch_all(&mut *read).await.map_err(failed)?;
            let ids = std::sync::Arc::clone(&ids);
            let decoded = compute(move || {
                let mut decoded = Vec::new();
                for row in &rows {
                    let hot = row.try_get(0).map_err(failed)?;
                    let facts = chunk::decode_facts(hot, &|other| *other == trace)?;
                    let wanted =
                        |facts: &Facts| ids.as_ref().as_ref().is_none_or(|ids| ids.contains(&facts.span_id));
                    decoded.extend(facts.into_iter().filter(wanted));
                }
                Ok(decoded)
            });
            found.extend(decoded.await?);
        }
    }
    Ok(found)
}
