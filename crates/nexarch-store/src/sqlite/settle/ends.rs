//! The other ends of links: which spans of other traces a trace is settled with.
//!
//! They are looked for anew in each settling of a trace with links. With which ones it contributes is kept beside it and
//! changes in the same transaction as the rollups, so that its contribution can be taken back exactly whatever becomes of
//! the other traces. What is not found any more stays: spans go only with their day, and then what they contributed stays.

use std::collections::{BTreeSet, HashMap, HashSet};

use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TraceId},
    infer::{self, Wants},
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    super::{
        Sqlite,
        errors::{compute, failed},
        links,
        partition::{self, DAYS_PER_STATEMENT},
        trace_key,
        versions::{json_numbers, unsigned},
        writer::Tx,
    },
    Place,
};
use crate::{
    Error,
    chunk::{self, Seeded},
    plan::Unsettled,
};

/// A span by its trace and id.
type Name = (TraceId, SpanId);

/// Traces that are told of their ends together: what bounds memory.
pub(super) const PAGE: usize = 64;

/// Blocks read before they are decoded: about a megabyte.
const BLOCKS_AT_ONCE: usize = 64;

/// Most chunks of one linked trace that are looked through, the first stored ones. An endless trace has thousands.
const MAX_CHUNKS: usize = 64;

/// What is to be kept as the ends of a trace.
pub(super) struct Ends {
    trace: TraceId,
    key: i64,
    /// Empty when there are none.
    facts: Vec<u8>,
}

/// Which spans of some traces link into those of a page.
struct Linkers {
    seed: u64,
    /// The traces to look through, by key.
    keys: BTreeSet<i64>,
    /// By trace of the page.
    found: HashMap<TraceId, BTreeSet<Name>, Seeded>,
}

/// Spans that are wanted, in all their versions.
struct Wanted {
    spans: HashMap<Name, Vec<Facts>, Seeded>,
    traces: HashSet<TraceId, Seeded>,
}

impl Sqlite {
    /// Tells traces with links of their ends, old and new; returns what has to be kept of each whose ends changed.
    pub(super) async fn tell(
        &self,
        read: &mut SqliteConnection,
        tenant: i64,
        page: &mut [Unsettled],
    ) -> Result<Vec<Ends>, Error> {
        let mut before = links::ends(read, self.seed, tenant, traces(page)).await?;
        let wants: Vec<Wants> = page.iter().map(Unsettled::wants).collect();
        let asking: Vec<TraceId> =
            traces(page).zip(&wants).filter(|(_, wants)| wants.linkers).map(|(trace, _)| trace).collect();
        let mut linkers = self.linkers(read, tenant, &asking).await?;
        let names: Vec<BTreeSet<Name>> = traces(page)
            .zip(wants)
            .map(|(trace, wants)| &wants.targets | &linkers.remove(&trace).unwrap_or_default())
            .collect();
        let wanted = self.wanted(read, tenant, &names).await?;
        let mut changed = Vec::new();
        for (part, names) in page.iter_mut().zip(names) {
            let facts: Vec<Facts> = part.versions().cloned().collect();
            let Some(linked) = &mut part.linked else { continue };
            linked.before = before.remove(&linked.trace).unwrap_or_default();
            linked.after = wanted.ends(&facts, &names, &linked.before);
            if linked.after != linked.before {
                let kept =
                    if linked.after.is_empty() { Vec::new() } else { chunk::encode_facts(&linked.after)? };
                let key = trace_key(self.seed, linked.trace);
                changed.push(Ends { trace: linked.trace, key, facts: kept });
            }
        }
        Ok(changed)
    }

    /// The spans that link into some traces.
    async fn linkers(
        &self,
        read: &mut SqliteConnection,
        tenant: i64,
        asking: &[TraceId],
    ) -> Result<HashMap<TraceId, BTreeSet<Name>, Seeded>, Error> {
        let targets = json_numbers(asking.iter().map(|trace| trace_key(self.seed, *trace)));
        let query = sqlx::query(
            "SELECT l.source FROM json_each(?2) j CROSS JOIN link l ON l.tenant = ?1 AND l.target = j.value",
        );
        let rows = query.bind(tenant).bind(targets).fetch_all(&mut *read).await.map_err(failed)?;
        let keys = rows.iter().map(|row| row.try_get(0).map_err(failed));
        let keys: BTreeSet<i64> = keys.collect::<Result<_, Error>>()?;
        let found = asking.iter().map(|trace| (*trace, BTreeSet::new())).collect();
        let state = Linkers { seed: self.seed, keys: keys.clone(), found };
        Ok(visit(read, tenant, &keys, state, Linkers::take).await?.found)
    }

    /// All stored versions of some spans.
    async fn wanted(
        &self,
        read: &mut SqliteConnection,
        tenant: i64,
        names: &[BTreeSet<Name>],
    ) -> Result<Wanted, Error> {
        let spans: HashMap<Name, Vec<Facts>, Seeded> =
            names.iter().flatten().map(|name| (*name, Vec::new())).collect();
        let traces: HashSet<TraceId, Seeded> = spans.keys().map(|(trace, _)| *trace).collect();
        let keys = traces.iter().map(|trace| trace_key(self.seed, *trace)).collect();
        visit(read, tenant, &keys, Wanted { spans, traces }, Wanted::take).await
    }
}

/// Keeps the ends with which traces contribute from now on.
pub(super) async fn store(tx: &mut Tx<'_>, tenant: i64, ends: Vec<Ends>) -> Result<(), Error> {
    for Ends { trace, key, facts } in ends {
        links::set_ends(tx, (tenant, key), trace, &facts).await?;
    }
    Ok(())
}

fn traces(page: &[Unsettled]) -> impl Iterator<Item = TraceId> + '_ {
    page.iter().filter_map(|part| part.linked.as_ref()).map(|linked| linked.trace)
}

/// Shows the hot blocks that hold spans of some traces, given by key, to `take`.
async fn visit<S: Send + 'static>(
    read: &mut SqliteConnection,
    tenant: i64,
    keys: &BTreeSet<i64>,
    mut state: S,
    take: fn(&mut S, &[u8]),
) -> Result<S, Error> {
    if keys.is_empty() {
        return Ok(state);
    }
    let places = places(read, tenant, keys).await?;
    for same_day in places.chunk_by(|a, b| a.0 == b.0) {
        for some in same_day.chunks(BLOCKS_AT_ONCE) {
            let Some((day, _)) = some.first().copied() else { continue };
            let sql = format!(
                "SELECT c.hot FROM json_each(?2) j CROSS JOIN chunk_{day} c ON c.id = j.value WHERE c.tenant = ?1"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            let query = query.bind(json_numbers(some.iter().map(|(_, chunk)| *chunk)));
            let rows = query.fetch_all(&mut *read).await.map_err(failed)?;
            state = compute(move || {
                for row in &rows {
                    take(&mut state, row.try_get(0).map_err(failed)?);
                }
                Ok(state)
            })
            .await?;
        }
    }
    Ok(state)
}

/// The chunks of some traces, given by key.
async fn places(read: &mut SqliteConnection, tenant: i64, keys: &BTreeSet<i64>) -> Result<Vec<Place>, Error> {
    let days: Vec<u64> = partition::read(read).await?.into_iter().collect();
    let keys = json_numbers(keys.iter().copied());
    let mut of_each = HashMap::<i64, Vec<Place>, Seeded>::default();
    for days in days.chunks(DAYS_PER_STATEMENT) {
        let sql = partition::union(days, |day| {
            format!(
                "SELECT {day}, t.trace, t.chunk FROM json_each(?2) j
                 CROSS JOIN trace_{day} t ON t.tenant = ?1 AND t.trace = j.value"
            )
        });
        let query = sqlx::query(sql).bind(tenant).bind(&keys);
        for row in &query.fetch_all(&mut *read).await.map_err(failed)? {
            let place = (unsigned(row, 0)?, row.try_get(2).map_err(failed)?);
            of_each.entry(row.try_get(1).map_err(failed)?).or_default().push(place);
        }
    }
    let mut all = BTreeSet::new();
    for mut places in of_each.into_values() {
        places.sort_unstable();
        all.extend(places.into_iter().take(MAX_CHUNKS));
    }
    Ok(all.into_iter().collect())
}

impl Linkers {
    /// Notes what links in a block; a damaged one says nothing.
    fn take(&mut self, hot: &[u8]) {
        let Self { seed, keys, found } = self;
        let wanted = |trace: &TraceId| keys.contains(&trace_key(*seed, *trace));
        for facts in chunk::decode_facts(hot, &wanted).unwrap_or_default() {
            let Some(extra) = &facts.extra else { continue };
            for (target, _) in &extra.far {
                if let Some(found) = found.get_mut(target) {
                    found.insert((facts.trace_id, facts.span_id));
                }
            }
        }
    }
}

impl Wanted {
    /// Takes what is wanted out of a block; a damaged one has nothing.
    fn take(&mut self, hot: &[u8]) {
        let Self { spans, traces } = self;
        for facts in chunk::decode_facts(hot, &|trace| traces.contains(trace)).unwrap_or_default() {
            if let Some(versions) = spans.get_mut(&(facts.trace_id, facts.span_id)) {
                versions.push(facts);
            }
        }
    }

    /// The ends of a trace, of which those `before` stay that are not found any more.
    fn ends(&self, facts: &[Facts], names: &BTreeSet<Name>, before: &[Facts]) -> Vec<Facts> {
        let found = names.iter().filter_map(|name| self.spans.get(name)).flatten();
        let mut found: Vec<Facts> = found.cloned().collect();
        let here: HashSet<_, Seeded> = found.iter().map(Facts::identity).collect();
        found.extend(before.iter().filter(|end| !here.contains(&end.identity())).cloned());
        infer::ends(facts, &found)
    }
}
