//! Reading what is to be settled. A block that several traces share is decoded once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use nexarch_core::{
    facts::Facts,
    ids::{SpanId, TraceId},
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};

use super::{
    super::{
        errors::{compute, failed},
        versions::json_numbers,
    },
    Place,
    parts::Part,
};
use crate::{
    Error,
    chunk::{self, Seeded},
    plan::{Distinct, Linked, Unsettled},
};

/// Blocks read before they are decoded: about a megabyte.
const BLOCKS_AT_ONCE: usize = 64;

/// Parts while they are read.
struct Loading {
    parts: Vec<Loaded>,
    /// The part of each trace.
    at: HashMap<TraceId, usize, Seeded>,
    /// Blocks that are damaged.
    damaged: BTreeSet<Place>,
}

/// A part with what was read of it.
struct Loaded {
    part: Part,
    previews: BTreeMap<Place, Vec<Facts>>,
    /// Ids in `previews`, when only those are needed of what is settled.
    same: HashSet<SpanId, Seeded>,
    settled: Distinct,
}

/// Which of the chunks of parts are read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Now,
    Settled,
}

/// Reads parts of different traces. Also says how many of their chunks are damaged: these are left out.
pub(super) async fn load(
    read: &mut SqliteConnection,
    tenant: i64,
    parts: Vec<Part>,
) -> Result<(Vec<Unsettled>, u64), Error> {
    let at = parts.iter().enumerate().map(|(at, part)| (part.trace, at)).collect();
    let new = |part| Loaded {
        part,
        previews: BTreeMap::new(),
        same: HashSet::default(),
        settled: Distinct::default(),
    };
    let mut loading = Loading { parts: parts.into_iter().map(new).collect(), at, damaged: BTreeSet::new() };
    for which in [Which::Now, Which::Settled] {
        loading = read_all(read, tenant, loading, which).await?;
    }
    let damaged = loading.damaged.len() as u64;
    Ok((loading.parts.into_iter().map(Loaded::finish).collect(), damaged))
}

async fn read_all(
    read: &mut SqliteConnection,
    tenant: i64,
    mut loading: Loading,
    which: Which,
) -> Result<Loading, Error> {
    let places: BTreeSet<Place> =
        loading.parts.iter().flat_map(|loaded| loaded.places(which)).copied().collect();
    let places: Vec<Place> = places.into_iter().collect();
    for same_day in places.chunk_by(|a, b| a.0 == b.0) {
        for places in same_day.chunks(BLOCKS_AT_ONCE) {
            let Some((day, _)) = places.first().copied() else { continue };
            let sql = format!(
                "SELECT c.id, c.hot FROM json_each(?2) j CROSS JOIN chunk_{day} c ON c.id = j.value
                 WHERE c.tenant = ?1"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            let query = query.bind(json_numbers(places.iter().map(|(_, chunk)| *chunk)));
            let rows = query.fetch_all(&mut *read).await.map_err(failed)?;
            loading = compute(move || {
                for row in &rows {
                    let place = (day, row.try_get(0).map_err(failed)?);
                    loading.take(place, row.try_get(1).map_err(failed)?, which);
                }
                Ok(loading)
            })
            .await?;
        }
    }
    Ok(loading)
}

impl Loading {
    /// Gives the facts of a block to the parts that want them.
    fn take(&mut self, place: Place, hot: &[u8], which: Which) {
        let Self { parts, at, damaged } = self;
        let wanted = |trace: &TraceId| {
            let loaded = at.get(trace).and_then(|at| parts.get(*at));
            loaded.is_some_and(|loaded| loaded.places(which).binary_search(&place).is_ok())
        };
        let Ok(facts) = chunk::decode_facts(hot, &wanted) else {
            damaged.insert(place);
            return;
        };
        let mut facts = facts.into_iter().peekable();
        while let Some(trace) = facts.peek().map(|facts| facts.trace_id) {
            let run = std::iter::from_fn(|| facts.next_if(|facts| facts.trace_id == trace));
            match at.get(&trace).and_then(|at| parts.get_mut(*at)) {
                Some(loaded) => loaded.add(place, run, which),
                None => run.for_each(drop),
            }
        }
    }
}

impl Loaded {
    fn places(&self, which: Which) -> &[Place] {
        match which {
            Which::Now => &self.part.now,
            Which::Settled => &self.part.settled,
        }
    }

    fn add(&mut self, place: Place, facts: impl Iterator<Item = Facts>, which: Which) {
        let Self { part, previews, same, settled } = self;
        match which {
            Which::Now => {
                let preview = previews.entry(place).or_default();
                let from = preview.len();
                preview.extend(facts);
                if part.only_same {
                    same.extend(preview.iter().skip(from).map(|facts| facts.span_id));
                }
            }
            Which::Settled if part.only_same => {
                settled.extend(facts.filter(|facts| same.contains(&facts.span_id)));
            }
            Which::Settled => settled.extend(facts),
        }
    }

    fn finish(self) -> Unsettled {
        let Self { part, previews, settled, .. } = self;
        let linked = || Linked { trace: part.trace, before: Vec::new(), after: Vec::new() };
        Unsettled {
            linked: part.linked.then(linked),
            settled: settled.into_facts(),
            before: part.before,
            // By place, which is the order of storing.
            previews: previews.into_values().collect(),
            after: part.after,
        }
    }
}
