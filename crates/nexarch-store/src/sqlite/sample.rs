//! Traces that analyses look at, whole.
//!
//! A trace lies in as many chunks as batches brought it, so looking at hundreds of traces would unpack thousands of chunks.
//! Therefore the facts of the traces that are drawn (`nexarch_core::analysis::sample`) are kept once more, each trace by
//! itself. Drawing is a comparison with what was drawn before, in memory; of many traces very few are written, and the more
//! there are the fewer. A trace that is too large to be inferred inside an append is not drawn. (Rejected: reading the traces
//! with the smallest keys in the index of traces. It costs nothing when spans are stored, but reads nearly every chunk of the
//! window for a few hundred traces, and meets neither rare operations nor failures.)

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nexarch_core::{
    analysis::sample::{Candidate, Draw, Place, choose, weigh},
    facts::Facts,
    ids::TraceId,
    window::Minutes,
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection, raw_sql};

use super::{
    errors::{compute, failed},
    versions::{json_numbers, unsigned},
    writer::Tx,
};
use crate::{
    Budget, Error, Sampled,
    chunk::{self, Seeded},
    plan::{DAY_HOURS, Distinct},
};

const TABLE: &str = include_str!("../../migrations/sqlite/sample.sql");

/// Strata remembered of all tenants: about 8 MB. Then all are forgotten, which costs some needless writes.
const REMEMBERED: usize = 4_096;

/// Hours of a window that are looked at, spread evenly: a month has more than its trends need.
const HOURS: u64 = 24;

/// Candidates of a day: far more than one of some dozen entry operations has. Of what is beyond, whole hours are left out.
const CANDIDATES: u32 = 40_000;

/// Minutes of an hour.
const HOUR: u64 = 60;

/// What was drawn lately, by number of the tenant.
#[derive(Default)]
pub(super) struct Draws {
    by_tenant: HashMap<i64, Draw, Seeded>,
    strata: usize,
}

/// What changes in the sample of a tenant.
#[derive(Default)]
pub(super) struct Changes {
    /// Places that have to be empty, also to be filled anew.
    gone: Vec<Place>,
    /// By hash.
    drawn: BTreeMap<u64, (Place, Vec<Facts>)>,
}

/// The same, ready to be written.
pub(super) struct Packed {
    gone: Vec<Place>,
    /// With number of spans and facts.
    drawn: Vec<(Place, usize, Vec<u8>)>,
}

impl Draws {
    /// Offers a trace as it is stored now.
    pub(super) fn offer(&mut self, tenant: i64, trace: &Distinct, changes: &mut Changes) {
        let Some(place) = Place::of(trace.facts()) else { return };
        if self.strata > REMEMBERED {
            *self = Self::default();
        }
        let draw = self.by_tenant.entry(tenant).or_default();
        let before = draw.strata();
        let drawn = draw.offer(place);
        self.strata += draw.strata() - before;
        for gone in drawn.gone.into_iter().flatten() {
            // It may have been drawn a moment ago.
            changes.drawn.remove(&gone.hash);
            changes.gone.push(gone);
        }
        if let Some(kept) = drawn.kept {
            changes.gone.push(kept);
            changes.drawn.insert(kept.hash, (kept, trace.facts().to_vec()));
        }
    }
}

impl Changes {
    /// Encodes what was drawn.
    pub(super) async fn pack(self) -> Result<Packed, Error> {
        let Self { gone, drawn } = self;
        if drawn.is_empty() {
            return Ok(Packed { gone, drawn: Vec::new() });
        }
        let pack = |(place, mut facts): (Place, Vec<Facts>)| {
            facts.sort_unstable_by_key(|facts| (facts.start_ns, facts.span_id));
            Ok((place, facts.len(), chunk::encode_facts(&facts)?))
        };
        compute(move || {
            Ok(Packed { gone, drawn: drawn.into_values().map(pack).collect::<Result<_, Error>>()? })
        })
        .await
    }
}

/// Writes what changed.
pub(super) async fn store(tx: &mut Tx<'_>, tenant: i64, packed: Packed) -> Result<(), Error> {
    let Packed { gone, drawn } = packed;
    let mut by_day: BTreeMap<u64, Vec<Place>> = BTreeMap::new();
    for place in gone {
        by_day.entry(place.hour / DAY_HOURS).or_default().push(place);
    }
    for (day, places) in by_day {
        ensure(tx, day).await?;
        let sql = format!(
            "DELETE FROM sample_{day} WHERE id IN (
                 SELECT s.id FROM json_each(?2) j CROSS JOIN sample_{day} s
                 ON s.tenant = ?1 AND s.hour = j.value ->> 0 AND s.hash = j.value ->> 1)"
        );
        let places: Vec<[u64; 2]> = places.iter().map(|place| [place.hour, place.hash]).collect();
        let places = serde_json::json!(places).to_string();
        let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant).bind(places);
        query.execute(tx.on()?).await.map_err(failed)?;
    }
    for (Place { hour, stratum, hash }, spans, facts) in drawn {
        let day = hour / DAY_HOURS;
        let sql = format!(
            "INSERT INTO sample_{day} (tenant, hour, hash, stratum, spans, facts) VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        );
        sqlx::query(AssertSqlSafe(sql))
            .bind(tenant)
            .bind(hour.cast_signed())
            .bind(hash.cast_signed())
            .bind(stratum.cast_signed())
            .bind(i64::try_from(spans).unwrap_or(i64::MAX))
            .bind(facts)
            .execute(tx.on()?)
            .await
            .map_err(failed)?;
    }
    Ok(())
}

/// Makes the table of a day unless it is there.
async fn ensure(tx: &mut Tx<'_>, day: u64) -> Result<(), Error> {
    let mut days = match tx.writer.sampled_days.take() {
        Some(days) => days,
        None => days(tx.on()?).await?,
    };
    if days.insert(day) {
        let sql = TABLE.replace("{day}", &day.to_string());
        raw_sql(AssertSqlSafe(sql)).execute(tx.on()?).await.map_err(failed)?;
    }
    tx.writer.sampled_days = Some(days);
    Ok(())
}

/// The days that have a sample, as this connection sees them.
async fn days(connection: &mut SqliteConnection) -> Result<BTreeSet<u64>, Error> {
    let sql = "SELECT CAST(substr(name, 8) AS INTEGER) FROM sqlite_schema
               WHERE type = 'table' AND name GLOB 'sample_[0-9]*'";
    let rows = sqlx::query(sql).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| unsigned(row, 0)).collect()
}

/// A candidate with the day and the number of its row.
type Stored = (Candidate, u64, i64);

/// See [`crate::Snapshot::sample`].
pub(super) async fn read(
    connection: &mut SqliteConnection,
    tenant: i64,
    range: Minutes,
    budget: Budget,
) -> Result<Sampled, Error> {
    let mut sampled = Sampled::default();
    if range.is_empty() {
        return Ok(sampled);
    }
    let (first, last) = (u64::from(range.from) / HOUR, u64::from(range.to - 1) / HOUR);
    // A window may be centuries long; only what is stored is walked.
    let days = days(connection).await?;
    let of_days = days.range(first / DAY_HOURS..=last / DAY_HOURS);
    let of_days = of_days.flat_map(|day| day * DAY_HOURS..(day + 1) * DAY_HOURS);
    let mut hours: Vec<u64> = of_days.filter(|hour| (first..=last).contains(hour)).collect();
    // By multiples, so that the same hours are looked at while a window moves on.
    let stride = (hours.len() as u64).div_ceil(HOURS).max(1);
    hours.retain(|hour| hour.is_multiple_of(stride));
    let mut candidates: Vec<Stored> = Vec::new();
    for hours in hours.chunk_by(|a, b| a / DAY_HOURS == b / DAY_HOURS) {
        candidates.extend(of_day(connection, tenant, hours).await?);
    }
    sampled.hours = candidates.chunk_by(|a, b| a.0.place.hour == b.0.place.hour).count() as u64;
    let all: Vec<Candidate> = candidates.iter().map(|stored| stored.0).collect();
    let chosen = choose(&all, budget);
    sampled.estimated = chosen.estimated;
    let mut by_day: BTreeMap<u64, BTreeMap<i64, f64>> = BTreeMap::new();
    for (at, times) in chosen.traces {
        if let Some((_, day, id)) = candidates.get(at) {
            by_day.entry(*day).or_default().insert(*id, times);
        }
    }
    let mut seen: BTreeSet<TraceId> = BTreeSet::new();
    for (day, wanted) in by_day {
        for trace in fetch(connection, day, wanted, range).await? {
            // One that changed its hour while its place was forgotten stands in both.
            if trace.first().is_some_and(|span| seen.insert(span.trace_id)) {
                sampled.traces.push(trace);
            }
        }
    }
    Ok(sampled)
}

/// The candidates of some hours of a day, by hour, in one row: a row for each costs more than finding it.
async fn of_day(connection: &mut SqliteConnection, tenant: i64, hours: &[u64]) -> Result<Vec<Stored>, Error> {
    let Some(day) = hours.first().map(|hour| hour / DAY_HOURS) else { return Ok(Vec::new()) };
    let sql = format!(
        "SELECT json_group_array(json_array(hour, hash, stratum, spans, id))
         FROM (SELECT s.hour, s.hash, s.stratum, s.spans, s.id
               FROM json_each(?2) j CROSS JOIN sample_{day} s ON s.tenant = ?1 AND s.hour = j.value LIMIT ?3)"
    );
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(tenant)
        .bind(json_numbers(hours.iter().map(|hour| hour.cast_signed())))
        .bind(CANDIDATES)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    let list: &str = row.try_get(0).map_err(failed)?;
    let list: Vec<[i64; 5]> =
        serde_json::from_str(list).map_err(|error| Error::Internal(format!("stored sample: {error}")))?;
    let is_cut = list.len() == CANDIDATES as usize;
    let stored = |[hour, hash, stratum, spans, id]: [i64; 5]| {
        let [hour, hash, stratum] = [hour, hash, stratum].map(i64::cast_unsigned);
        (Candidate { place: Place { hour, stratum, hash }, spans: spans.cast_unsigned() }, day, id)
    };
    let mut found: Vec<Stored> = list.into_iter().map(stored).collect();
    if is_cut {
        // Half an hour would be taken for a whole one.
        let newest = found.last().map(|stored| stored.0.place.hour);
        found.retain(|stored| Some(stored.0.place.hour) != newest);
    }
    Ok(found)
}

/// The traces of some rows of a day whose entry starts in a range, weighed.
async fn fetch(
    connection: &mut SqliteConnection,
    day: u64,
    wanted: BTreeMap<i64, f64>,
    range: Minutes,
) -> Result<Vec<Vec<Facts>>, Error> {
    let sql = format!(
        "SELECT s.id, s.facts FROM json_each(?1) j CROSS JOIN sample_{day} s ON s.id = j.value ORDER BY s.id"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(json_numbers(wanted.keys().copied()));
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    compute(move || {
        let mut traces = Vec::with_capacity(rows.len());
        for row in &rows {
            let id: i64 = row.try_get(0).map_err(failed)?;
            // A damaged copy is passed over: it is a sample, and whoever asks for the trace itself is told.
            let Ok(mut trace) = chunk::decode_facts(row.try_get(1).map_err(failed)?, &|_| true) else {
                continue;
            };
            if starts_in(&trace, range) {
                weigh(&mut trace, wanted.get(&id).copied().unwrap_or(1.0));
                traces.push(trace);
            }
        }
        Ok(traces)
    })
    .await
}

/// Does the entry of a trace start in a range?
fn starts_in(trace: &[Facts], range: Minutes) -> bool {
    const MINUTE_NS: u64 = 60_000_000_000;
    let entry = trace.iter().min_by_key(|span| (span.parent_span_id.is_some(), span.start_ns));
    entry.is_some_and(|span| {
        (u64::from(range.from)..u64::from(range.to)).contains(&(span.start_ns / MINUTE_NS))
    })
}
