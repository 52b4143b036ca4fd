//! One trace by its id, whatever its size: figures of all its spans, and the first of them.
//!
//! Two passes. The first reads only hot blocks, some at a time, and keeps what comes first; how many spans there are is
//! known without holding them: a trace that is too large to be loaded has an index of identities. The second reads cold
//! blocks one by one, in the order of the first span that is wanted of each, until the spans are as many bytes as asked for.

use std::collections::{BTreeMap, btree_map::Entry};

use nexarch_core::{
    facts::{Facts, Identity},
    ids::TraceId,
    span::Span,
    trace::{Excerpt, Extent, size},
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    errors::{compute, failed},
    partition::{self, DAYS_PER_STATEMENT},
    versions::{json_numbers, unsigned},
};
use crate::{Error, chunk};

/// Hot blocks read before they are decoded: about a megabyte.
const BLOCKS_AT_ONCE: usize = 64;

/// Decoded spans may keep so many whole blocks of some megabytes in memory; of more, spans are copied out.
const BLOCKS_HELD: usize = 4;

/// A chunk: day and number.
type Place = (u64, i64);

/// The order of an answer: by start, then by identity.
type Order = (u64, Identity);

/// The best version of a span so far, and where it is stored.
struct Candidate {
    facts: Facts,
    place: Place,
    row: usize,
}

/// What the first pass found.
#[derive(Default)]
struct Outline {
    /// The first spans of the trace.
    first: BTreeMap<Order, Candidate>,
    /// More are not kept.
    most: usize,
    start_ns: Option<u64>,
    end_ns: u64,
    services: std::collections::BTreeSet<nexarch_core::Text>,
    most_services: usize,
}

/// What the second pass keeps.
struct Kept {
    spans: BTreeMap<Order, (Span, usize)>,
    bytes: usize,
    most: usize,
    /// From here on nothing has room.
    end: Option<Order>,
}

/// Reads a trace of a tenant; `key` is its key in the index.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    (tenant, key): (i64, i64),
    trace: TraceId,
    extent: Extent,
) -> Result<Excerpt, Error> {
    let places = places(connection, tenant, key).await?;
    let indexed = counts(connection, (tenant, key), trace).await?;
    // One without an index is small: all of it is kept until it is counted.
    let most = if indexed.is_some() { extent.spans } else { usize::MAX };
    let mut outline = Outline { most, most_services: extent.spans, ..Outline::default() };
    for same_day in places.chunk_by(|a, b| a.0 == b.0) {
        for places in same_day.chunks(BLOCKS_AT_ONCE) {
            outline = look(connection, tenant, trace, outline, places).await?;
        }
    }
    let (span_count, error_count) = indexed.unwrap_or_else(|| outline.counts());
    let Outline { mut first, start_ns, end_ns, services, .. } = outline;
    while first.len() > extent.spans {
        first.pop_last();
    }
    let spans = fetch(connection, tenant, trace, first, extent.bytes).await?;
    let start_ns = start_ns.unwrap_or(0);
    Ok(Excerpt { span_count, error_count, start_ns, end_ns, services, spans })
}

/// The chunks that hold spans of a trace, by day.
async fn places(connection: &mut SqliteConnection, tenant: i64, key: i64) -> Result<Vec<Place>, Error> {
    let days: Vec<u64> = partition::read(connection).await?.into_iter().collect();
    let mut places = Vec::new();
    for days in days.chunks(DAYS_PER_STATEMENT) {
        let sql = partition::union(days, |day| {
            format!("SELECT {day}, t.chunk FROM trace_{day} t WHERE t.tenant = ?1 AND t.trace = ?2")
        });
        let rows =
            sqlx::query(sql).bind(tenant).bind(key).fetch_all(&mut *connection).await.map_err(failed)?;
        for row in &rows {
            places.push((unsigned(row, 0)?, row.try_get(1).map_err(failed)?));
        }
    }
    places.sort_unstable();
    Ok(places)
}

/// How many spans a trace has, and how many of them failed, when all of them are in the index of identities. (Should two
/// such traces of one tenant have one key, once in 2^64 pairs, they are counted together.)
async fn counts(
    connection: &mut SqliteConnection,
    (tenant, key): (i64, i64),
    trace: TraceId,
) -> Result<Option<(u64, u64)>, Error> {
    let sql = "SELECT 1 FROM large_trace WHERE tenant = ?1 AND key = ?2 AND trace = ?3 AND indexed = 1";
    let query = sqlx::query(sql).bind(tenant).bind(key).bind(trace.to_bytes().to_vec());
    if query.fetch_optional(&mut *connection).await.map_err(failed)?.is_none() {
        return Ok(None);
    }
    let (mut spans, mut errors) = (0, 0);
    for day in super::large::index_days(connection).await? {
        // The byte behind the end of a version says whether the span failed.
        let sql = format!(
            "SELECT count(*), count(*) FILTER (WHERE substr(version, 9, 1) = x'01')
             FROM identity_{day} WHERE tenant = ?1 AND trace = ?2"
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant).bind(key);
        let row = query.fetch_one(&mut *connection).await.map_err(failed)?;
        spans += unsigned(&row, 0)?;
        errors += unsigned(&row, 1)?;
    }
    Ok(Some((spans, errors)))
}

/// Adds what some hot blocks say.
async fn look(
    connection: &mut SqliteConnection,
    tenant: i64,
    trace: TraceId,
    mut outline: Outline,
    places: &[Place],
) -> Result<Outline, Error> {
    let Some((day, _)) = places.first().copied() else { return Ok(outline) };
    let sql = format!(
        "SELECT c.id, c.hot FROM json_each(?2) j CROSS JOIN chunk_{day} c ON c.id = j.value WHERE c.tenant = ?1"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
    let query = query.bind(json_numbers(places.iter().map(|(_, chunk)| *chunk)));
    let rows = query.fetch_all(connection).await.map_err(failed)?;
    compute(move || {
        for row in &rows {
            let place = (day, row.try_get(0).map_err(failed)?);
            for (row, facts) in chunk::decode_rows(row.try_get(1).map_err(failed)?, &|other| *other == trace)?
            {
                outline.add(Candidate { facts, place, row });
            }
        }
        Ok(outline)
    })
    .await
}

impl Outline {
    fn add(&mut self, candidate: Candidate) {
        let Candidate { facts, .. } = &candidate;
        self.start_ns = Some(self.start_ns.map_or(facts.start_ns, |start| start.min(facts.start_ns)));
        // Of two versions the one that ends later wins, so none that lost ends last.
        self.end_ns = self.end_ns.max(facts.end_ns());
        if !self.services.contains(&facts.service) {
            self.services.insert(facts.service.clone());
            if self.services.len() > self.most_services {
                self.services.pop_last();
            }
        }
        match self.first.entry((facts.start_ns, facts.identity())) {
            Entry::Occupied(mut known) => {
                if candidate.facts.supersedes(&known.get().facts) {
                    known.insert(candidate);
                }
            }
            Entry::Vacant(free) => {
                free.insert(candidate);
                // What goes comes behind all that is kept, now and later: no version of it comes back.
                if self.first.len() > self.most {
                    self.first.pop_last();
                }
            }
        }
    }

    /// Spans and failed ones, when all of them were kept.
    fn counts(&self) -> (u64, u64) {
        let failed = self.first.values().filter(|candidate| candidate.facts.error).count();
        (self.first.len() as u64, failed as u64)
    }
}

/// Reads the spans of the candidates, the first ones of `most` bytes.
async fn fetch(
    connection: &mut SqliteConnection,
    tenant: i64,
    trace: TraceId,
    first: BTreeMap<Order, Candidate>,
    most: usize,
) -> Result<Vec<Span>, Error> {
    // In the order of what is wanted first of each.
    let mut places: Vec<(Place, Vec<(usize, Order)>)> = Vec::new();
    let mut at: BTreeMap<Place, usize> = BTreeMap::new();
    for (order, Candidate { place, row, .. }) in first {
        let index = *at.entry(place).or_insert_with(|| {
            places.push((place, Vec::new()));
            places.len() - 1
        });
        if let Some((_, rows)) = places.get_mut(index) {
            rows.push((row, order));
        }
    }
    let copied = places.len() > BLOCKS_HELD;
    let mut kept = Kept { spans: BTreeMap::new(), bytes: 0, most, end: None };
    for ((day, id), mut rows) in places {
        if rows.first().is_some_and(|(_, order)| kept.is_full_at(order)) {
            break;
        }
        rows.retain(|(_, order)| !kept.is_full_at(order));
        rows.sort_unstable_by_key(|(row, _)| *row);
        let sql = format!("SELECT hot, cold FROM chunk_{day} WHERE id = ?1 AND tenant = ?2");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(id).bind(tenant);
        let row = query.fetch_one(&mut *connection).await.map_err(failed)?;
        kept = compute(move || {
            let (hot, cold) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            let numbers: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
            let spans = chunk::decode_chosen(hot, cold, &|other| *other == trace, &numbers)?;
            for ((_, order), mut span) in rows.into_iter().zip(spans) {
                if copied {
                    chunk::detach(&mut span);
                }
                kept.add(order, span);
            }
            Ok(kept)
        })
        .await?;
    }
    Ok(kept.spans.into_values().map(|(span, _)| span).collect())
}

impl Kept {
    /// Is there no room for what stands at this place?
    fn is_full_at(&self, order: &Order) -> bool {
        self.end.as_ref().is_some_and(|end| order >= end)
    }

    /// Adds a span. When there is no room for all, the last one goes: it would have none either if all before it were here.
    fn add(&mut self, order: Order, span: Span) {
        if self.is_full_at(&order) {
            return;
        }
        let bytes = size(&span);
        self.bytes += bytes;
        self.spans.insert(order, (span, bytes));
        while self.bytes > self.most
            && let Some((order, (_, bytes))) = self.spans.pop_last()
        {
            self.bytes -= bytes;
            self.end = Some(order);
        }
    }
}
