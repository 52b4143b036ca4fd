//! What is stored of the traces that an append touches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TraceId},
};
use sqlx::{AssertSqlSafe, Row};

use super::{
    Sqlite,
    append::Decided,
    errors::{compute, failed},
    partition::{self, DAYS_PER_STATEMENT},
    trace_key,
    versions::{json_numbers, unsigned},
    writer::Tx,
};
use crate::{
    Error,
    chunk::{self, Seeded},
    plan::{self, Gain, Incoming, Limits, Touched},
};

/// Blocks read before they are decoded: about a megabyte.
const BLOCKS_AT_ONCE: usize = 64;

/// Where spans of a trace are stored: day and chunk.
type Places = Vec<(u64, i64)>;

/// A touched trace before its facts are loaded.
struct Wanted {
    trace: TraceId,
    members: Vec<usize>,
    count: u64,
    places: Places,
    known: Option<Vec<Facts>>,
}

/// Where a tenant's decision stands after a wave.
enum Step {
    More(Incoming, Gain),
    Done(Decided),
}

/// Which facts of a trace are wanted: all, or those with certain span ids.
type Filter = HashMap<TraceId, Option<HashSet<SpanId>>, Seeded>;

impl Sqlite {
    /// Decides on all spans of a tenant, wave by wave, and makes what is to be written.
    pub(super) async fn decide(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        mut incoming: Incoming,
    ) -> Result<Decided, Error> {
        let limits = self.options.limits;
        let mut gain = Gain::default();
        let mut wanted = self.look_up(tx, tenant, &mut incoming).await?.into_iter().peekable();
        loop {
            let (mut wave, mut size) = (Vec::new(), 0);
            while let Some(next) = wanted.next_if(|next| wave.is_empty() || size + next.count <= limits.wave)
            {
                size += next.count;
                wave.push(next);
            }
            let touched = load(tx, tenant, &incoming, wave, limits).await?;
            let last = wanted.peek().is_none();
            let work = move || {
                plan::decide(&mut incoming, touched, limits, &mut gain);
                // In the same breath: the rows are still warm.
                Ok(if last { Step::Done(Decided::new(incoming, gain)?) } else { Step::More(incoming, gain) })
            };
            match compute(work).await? {
                Step::Done(decided) => return Ok(decided),
                Step::More(now, so_far) => (incoming, gain) = (now, so_far),
            }
        }
    }

    /// Finds where the touched traces are stored, unless they are remembered.
    async fn look_up(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        incoming: &mut Incoming,
    ) -> Result<Vec<Wanted>, Error> {
        let days: Vec<u64> = partition::days(tx).await?.into_iter().collect();
        let mut wanted = Vec::with_capacity(incoming.traces.len());
        let mut unknown: Vec<(i64, usize)> = Vec::new();
        for (trace, members) in std::mem::take(&mut incoming.traces) {
            let known = tx.writer.known.take(tenant, trace);
            if known.is_none() {
                unknown.push((trace_key(self.seed, trace), wanted.len()));
            }
            let count = known.as_ref().map_or(0, |facts| facts.len() as u64);
            wanted.push(Wanted { trace, members, count, places: Vec::new(), known });
        }
        unknown.sort_unstable();
        let keys = json_numbers(unknown.iter().map(|(key, _)| *key));
        for days in days.chunks(DAYS_PER_STATEMENT) {
            if unknown.is_empty() {
                break;
            }
            let sql = partition::union(days, |day| {
                // From the list outwards: one search in the index for each trace.
                format!(
                    "SELECT {day}, t.trace, t.chunk, t.spans FROM json_each(?2) j
                     CROSS JOIN trace_{day} t ON t.tenant = ?1 AND t.trace = j.value"
                )
            });
            let query = sqlx::query(sql).bind(tenant).bind(&keys);
            for row in query.fetch_all(tx.on()?).await.map_err(failed)? {
                let key: i64 = row.try_get(1).map_err(failed)?;
                let place = (unsigned(&row, 0)?, row.try_get(2).map_err(failed)?);
                let first = unknown.partition_point(|(other, _)| *other < key);
                for (_, index) in unknown.iter().skip(first).take_while(|(other, _)| *other == key) {
                    if let Some(wanted) = wanted.get_mut(*index) {
                        wanted.places.push(place);
                        wanted.count += unsigned(&row, 3)?;
                    }
                }
            }
        }
        Ok(wanted)
    }
}

/// Loads the facts of a wave.
async fn load(
    tx: &mut Tx<'_>,
    tenant: i64,
    incoming: &Incoming,
    wave: Vec<Wanted>,
    limits: Limits,
) -> Result<Vec<Touched>, Error> {
    let mut filter = Filter::default();
    let mut chunks: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
    for wanted in wave.iter().filter(|wanted| !wanted.places.is_empty()) {
        let ids = (wanted.count > limits.whole_trace)
            .then(|| incoming.span_ids(&wanted.members).into_iter().collect::<HashSet<_>>());
        filter.insert(wanted.trace, ids);
        for (day, chunk) in &wanted.places {
            chunks.entry(*day).or_default().insert(*chunk);
        }
    }
    let mut found: HashMap<TraceId, Vec<Facts>, Seeded> = HashMap::default();
    let filter = Arc::new(filter);
    for (day, ids) in chunks {
        let ids: Vec<i64> = ids.into_iter().collect();
        for ids in ids.chunks(BLOCKS_AT_ONCE) {
            let sql = format!(
                "SELECT c.hot FROM json_each(?2) j CROSS JOIN chunk_{day} c ON c.id = j.value WHERE c.tenant = ?1"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant).bind(json_numbers(ids.iter().copied()));
            let rows = query.fetch_all(tx.on()?).await.map_err(failed)?;
            let blocks =
                rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<Vec<_>, _>>()?;
            let filter = Arc::clone(&filter);
            for facts in compute(move || decode(&blocks, &filter)).await? {
                found.entry(facts.trace_id).or_default().push(facts);
            }
        }
    }
    let touched = wave.into_iter().map(|Wanted { trace, members, count, known, .. }| {
        let stored = known.or_else(|| found.remove(&trace)).unwrap_or_default();
        Touched { trace, members, count, stored }
    });
    Ok(touched.collect())
}

fn decode(blocks: &[Vec<u8>], filter: &Filter) -> Result<Vec<Facts>, Error> {
    let mut found = Vec::new();
    for block in blocks {
        let facts = chunk::decode_facts(block, &|trace| filter.contains_key(trace))?;
        found.extend(facts.into_iter().filter(|facts| match filter.get(&facts.trace_id) {
            Some(Some(ids)) => ids.contains(&facts.span_id),
            other => other.is_some(),
        }));
    }
    Ok(found)
}
