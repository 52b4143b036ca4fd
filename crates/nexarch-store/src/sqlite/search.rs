//! Looking for traces without an index of what is in them: the hot blocks of the range are read, newest first, as many as
//! one page may cost. A hot block of a thousand spans takes well under a millisecond, and most pages need few.

use std::collections::{BTreeMap, HashMap};

use nexarch_core::{
    facts::{Facts, Identity},
    ids::TraceId,
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    errors::{compute, failed},
    partition::{self, DAYS_PER_STATEMENT},
    trace_key,
    versions::unsigned,
};
use crate::{
    Error, Found, FoundTrace, Search,
    chunk::{self, Seeded},
    search::Place,
};

const HOUR_NS: u64 = 3_600_000_000_000;
const DAY_HOURS: u64 = 24;

/// Most chunks that one page looks through: 200,000 spans.
const MAX_SCANNED: usize = 200;
/// Chunks read before they are looked at.
const AT_ONCE: usize = 8;
/// Most chunks of one trace that are read to describe it: beyond, the description is partial.
const MAX_PARTS: usize = 32;
/// Most chunks that one page reads to describe traces; then it ends.
const MAX_DESCRIBED: usize = 400;

/// A chunk of the range, and its hot block.
struct Chunk {
    place: Place,
    hot: Vec<u8>,
}

/// Hour and chunk, and its blocks, of which the cold one may be missing.
type Part = ((u64, i64), Vec<u8>, Vec<u8>);

/// Which tenant, and the seed of the trace index.
type Whose = (i64, u64);

/// See [`crate::Snapshot::search`].
pub(super) async fn read(
    connection: &mut SqliteConnection,
    whose: Whose,
    search: Search,
) -> Result<Found, Error> {
    let days: Vec<u64> = partition::read(connection).await?.into_iter().collect();
    let mut page = Page { search, whose, days, found: Found::default(), scanned: 0, described: 0 };
    page.fill(connection).await?;
    Ok(page.found)
}

struct Page {
    search: Search,
    whose: Whose,
    /// That have tables, in order.
    days: Vec<u64>,
    found: Found,
    scanned: usize,
    described: usize,
}

impl Page {
    async fn fill(&mut self, connection: &mut SqliteConnection) -> Result<(), Error> {
        if self.search.from_ns >= self.search.to_ns || self.search.limit == 0 {
            return Ok(());
        }
        let (first, last) = (self.search.from_ns / HOUR_NS, (self.search.to_ns - 1) / HOUR_NS);
        // Where an earlier page ended, its last chunk comes once more.
        let mut begin = self.search.after.filter(|after| after.hour <= last).unwrap_or(Place {
            hour: last,
            chunk: i64::MAX,
            passed: 0,
        });
        let wanted = first / DAY_HOURS..=begin.hour / DAY_HOURS;
        let days: Vec<u64> = self.days.iter().copied().rev().filter(|day| wanted.contains(day)).collect();
        for day in days {
            loop {
                let chunks = self.chunks(connection, day, first, begin).await?;
                let Some(last) = chunks.last().map(|chunk| chunk.place) else { break };
                for chunk in chunks {
                    let passed = if (chunk.place.hour, chunk.place.chunk) == (begin.hour, begin.chunk) {
                        begin.passed
                    } else {
                        0
                    };
                    if self.look_through(connection, chunk, passed).await? {
                        return Ok(());
                    }
                }
                begin = Place { passed: u32::MAX, ..last };
            }
        }
        Ok(())
    }

    /// The next chunks of a day, from a place on.
    async fn chunks(
        &self,
        connection: &mut SqliteConnection,
        day: u64,
        first: u64,
        begin: Place,
    ) -> Result<Vec<Chunk>, Error> {
        // A chunk that was passed whole does not come again.
        let chunk = if begin.passed == u32::MAX { begin.chunk.saturating_sub(1) } else { begin.chunk };
        let sql = format!(
            "SELECT id, hour, hot FROM chunk_{day} WHERE tenant = ?1 AND hour BETWEEN ?2 AND ?3
             AND (hour < ?3 OR id <= ?4) ORDER BY hour DESC, id DESC LIMIT ?5"
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(self.whose.0)
            .bind(first.cast_signed())
            .bind(begin.hour.cast_signed())
            .bind(chunk)
            .bind(i64::try_from(AT_ONCE).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let chunk = row.try_get(0).map_err(failed)?;
                let place = Place { hour: unsigned(row, 1)?, chunk, passed: 0 };
                Ok(Chunk { place, hot: row.try_get(2).map_err(failed)? })
            })
            .collect()
    }

    /// Looks for fitting spans in a chunk; true when the page is full or its work used up.
    async fn look_through(
        &mut self,
        connection: &mut SqliteConnection,
        chunk: Chunk,
        passed: u32,
    ) -> Result<bool, Error> {
        if self.scanned == MAX_SCANNED {
            self.found.next = Some(Place { passed, ..chunk.place });
            return Ok(true);
        }
        self.scanned += 1;
        let search = self.search.clone();
        let (scanned, traces) = compute(move || {
            let all = chunk::decode_facts(&chunk.hot, &|_| true)?;
            // In the order of their newest fitting spans, so that the order does not depend on how they were sent.
            let mut newest: BTreeMap<TraceId, u64> = BTreeMap::new();
            for facts in all.iter().filter(|facts| search.holds(facts)) {
                let start = newest.entry(facts.trace_id).or_default();
                *start = facts.start_ns.max(*start);
            }
            let mut traces: Vec<(TraceId, u64)> = newest.into_iter().collect();
            traces.sort_by_key(|&(trace, start)| (std::cmp::Reverse(start), trace));
            Ok((all.len() as u64, traces))
        })
        .await?;
        self.found.scanned += scanned;
        for (number, (trace, _)) in (0..).zip(traces).skip(passed as usize) {
            let full = self.found.traces.len() == self.search.limit || self.described >= MAX_DESCRIBED;
            if full {
                self.found.next = Some(Place { passed: number, ..chunk.place });
                return Ok(true);
            }
            let described = self.describe(connection, trace, chunk.place).await?;
            self.found.traces.extend(described);
        }
        Ok(false)
    }

    /// A trace with a span in a chunk that seems to fit; `None` when it does not after all, or is listed elsewhere.
    async fn describe(
        &mut self,
        connection: &mut SqliteConnection,
        trace: TraceId,
        here: Place,
    ) -> Result<Option<FoundTrace>, Error> {
        let mut places = self.places(connection, trace).await?;
        // Newest first: those decide where the trace is listed.
        places.sort_unstable_by(|a, b| b.cmp(a));
        let partial = places.len() > MAX_PARTS;
        places.truncate(MAX_PARTS);
        if partial && !places.contains(&(here.hour, here.chunk)) {
            places.push((here.hour, here.chunk));
        }
        self.described += places.len();
        let mut parts: Vec<Part> = Vec::with_capacity(places.len());
        for (hour, chunk) in places {
            let sql =
                format!("SELECT hot, cold FROM chunk_{} WHERE id = ?1 AND tenant = ?2", hour / DAY_HOURS);
            let query = sqlx::query(AssertSqlSafe(sql)).bind(chunk).bind(self.whose.0);
            let Some(row) = query.fetch_optional(&mut *connection).await.map_err(failed)? else { continue };
            let hot: Vec<u8> = row.try_get(0).map_err(failed)?;
            let cold: Vec<u8> =
                if self.search.whole.is_some() { row.try_get(1).map_err(failed)? } else { Vec::new() };
            parts.push(((hour, chunk), hot, cold));
        }
        let search = self.search.clone();
        compute(move || judge(&search, trace, (here.hour, here.chunk), &parts, partial)).await
    }

    /// Where the spans of a trace are: hours and chunks.
    async fn places(
        &self,
        connection: &mut SqliteConnection,
        trace: TraceId,
    ) -> Result<Vec<(u64, i64)>, Error> {
        let key = trace_key(self.whose.1, trace);
        let mut places = Vec::new();
        for days in self.days.chunks(DAYS_PER_STATEMENT) {
            let sql = partition::union(days, |day| {
                format!(
                    "SELECT c.hour, c.id FROM trace_{day} t JOIN chunk_{day} c ON c.id = t.chunk
                     WHERE t.tenant = ?1 AND t.trace = ?2 AND c.tenant = ?1"
                )
            });
            let query = sqlx::query(sql).bind(self.whose.0).bind(key);
            for row in query.fetch_all(&mut *connection).await.map_err(failed)? {
                places.push((unsigned(&row, 0)?, row.try_get(1).map_err(failed)?));
            }
        }
        Ok(places)
    }
}

impl Search {
    /// Is a span in the range, and does its hot part fit?
    fn holds(&self, facts: &Facts) -> bool {
        (self.from_ns..self.to_ns).contains(&facts.start_ns) && (self.fits)(facts)
    }
}

/// A copy of a span: its facts, the chunk that it lies in, and whether it fits.
struct Copied {
    facts: Facts,
    place: (u64, i64),
    fits: bool,
}

/// Of several copies of one span (R1) only the one that counts is asked; the trace is listed where the newest of the
/// fitting ones lies, so that each trace is listed once.
fn judge(
    search: &Search,
    trace: TraceId,
    here: (u64, i64),
    parts: &[Part],
    partial: bool,
) -> Result<Option<FoundTrace>, Error> {
    let mut best: HashMap<Identity, Copied, Seeded> = HashMap::default();
    for (place, hot, cold) in parts {
        let copies: Vec<(Facts, bool)> = match &search.whole {
            None => chunk::decode_facts(hot, &|other| *other == trace)?
                .into_iter()
                .map(|facts| {
                    let fits = search.holds(&facts);
                    (facts, fits)
                })
                .collect(),
            Some(whole) => chunk::decode_spans(hot, cold, &|other| *other == trace)?
                .into_iter()
                .map(|(span, facts)| {
                    let fits = search.holds(&facts) && whole(&span);
                    (facts, fits)
                })
                .collect(),
        };
        for (facts, fits) in copies {
            let identity = facts.identity();
            match best.get(&identity) {
                Some(other) if !facts.supersedes(&other.facts) => {}
                _ => {
                    best.insert(identity, Copied { facts, place: *place, fits });
                }
            }
        }
    }
    let listed_at = best.values().filter(|copy| copy.fits).map(|copy| copy.place).max();
    if listed_at != Some(here) {
        return Ok(None);
    }
    let fitting = best.values().filter(|copy| copy.fits).count();
    let mut spans: Vec<(Identity, Facts)> =
        best.into_iter().map(|(identity, copy)| (identity, copy.facts)).collect();
    spans.sort_unstable_by(|(a, x), (b, y)| (x.start_ns, a).cmp(&(y.start_ns, b)));
    let spans = spans.into_iter().map(|(_, facts)| facts).collect();
    Ok(Some(FoundTrace { trace, spans, fitting, partial }))
}
