//! What is stored of the traces that an append touches.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use nexarch_core::ids::TraceId;
use sqlx::{AssertSqlSafe, Row};

use super::{
    Sqlite,
    append::Decided,
    errors::{compute, failed},
    large::{self, State},
    partition::{self, DAYS_PER_STATEMENT},
    trace_key,
    versions::{json_numbers, unsigned},
    writer::Tx,
};
use crate::{
    Error,
    chunk::{self, Seeded},
    plan::{self, Distinct, Gain, Incoming, Stored, Terms, Touched, Versions},
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
    known: Option<Distinct>,
    /// Present when it is large, and not loaded; has spans that contribute by a preview; or has links.
    state: Option<State>,
    /// Infer it inside the append?
    infer: bool,
}

/// Where a tenant's decision stands after a wave.
enum Step {
    More(Incoming, Gain),
    Done(Decided),
}

impl Sqlite {
    /// Decides on all spans of a tenant, wave by wave, and makes what is to be written.
    pub(super) async fn decide(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        mut incoming: Incoming,
    ) -> Result<Decided, Error> {
        let terms = Arc::new(Terms {
            limits: self.options.limits,
            seed: self.seed,
            now_ns: self.options.now_us().saturating_mul(1_000),
        });
        let (mut gain, mut unreadable) = (Gain::default(), 0);
        let mut wanted = self.look_up(tx, tenant, &mut incoming).await?;
        let is_linked = |wanted: &&Wanted| wanted.state.is_some_and(|state| state.linked);
        let linked = wanted.iter().filter(is_linked).map(|wanted| wanted.trace);
        let linked: HashSet<TraceId, Seeded> = linked.collect();
        share(&mut wanted, terms.limits.inline_append);
        let mut wanted = wanted.into_iter().peekable();
        loop {
            let (mut wave, mut size) = (Vec::new(), 0);
            while let Some(next) =
                wanted.next_if(|next| wave.is_empty() || size + next.size() <= terms.limits.wave)
            {
                size += next.size();
                wave.push(next);
            }
            let versions = self.versions_of(tx, tenant, &incoming, &wave).await?;
            let (touched, damaged) = load(tx, tenant, wave).await?;
            unreadable += damaged;
            let last = wanted.peek().is_none();
            let terms = Arc::clone(&terms);
            let work = move || {
                plan::decide(&mut incoming, touched, versions, &terms, &mut gain);
                // In the same breath: the rows are still warm.
                Ok(if last {
                    Step::Done(Decided::new(incoming, gain, unreadable)?)
                } else {
                    Step::More(incoming, gain)
                })
            };
            match compute(work).await? {
                Step::Done(mut decided) => {
                    decided.linked = linked;
                    return Ok(decided);
                }
                Step::More(now, so_far) => (incoming, gain) = (now, so_far),
            }
        }
    }

    /// The stored versions of what arrives for the large traces of a wave.
    async fn versions_of(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        incoming: &Incoming,
        wave: &[Wanted],
    ) -> Result<Versions, Error> {
        let mut keys: BTreeMap<u64, Vec<(i64, plan::Key)>> = BTreeMap::new();
        for wanted in wave.iter().filter(|wanted| wanted.is_large()) {
            let trace = trace_key(self.seed, wanted.trace);
            for (day, key) in incoming.keys(&wanted.members, self.seed) {
                keys.entry(day).or_default().push((trace, key));
            }
        }
        if keys.is_empty() { Ok(Versions::default()) } else { large::stored_versions(tx, tenant, keys).await }
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
            let count = known.as_ref().map_or(0, |facts: &Distinct| facts.len() as u64);
            wanted.push(Wanted {
                trace,
                members,
                count,
                places: Vec::new(),
                known,
                state: None,
                infer: true,
            });
        }
        if unknown.is_empty() {
            return Ok(wanted);
        }
        unknown.sort_unstable();
        let keys = json_numbers(unknown.iter().map(|(key, _)| *key));
        let large = large::large_ones(tx, tenant, &keys).await?;
        for wanted in &mut wanted {
            wanted.state = large.get(&wanted.trace).copied();
        }
        for days in days.chunks(DAYS_PER_STATEMENT) {
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

impl Wanted {
    fn is_large(&self) -> bool {
        self.state.is_some_and(|state| state.indexed)
    }

    /// Facts that deciding on it takes.
    fn size(&self) -> u64 {
        if self.is_large() { self.members.len() as u64 } else { self.count }
    }
}

/// Decides which traces are inferred inside the append, as long as there is room for their stored spans. What waits already
/// goes on to: its previews are a part of what it contributes.
fn share(wanted: &mut [Wanted], mut room: u64) {
    for wanted in wanted.iter_mut().filter(|wanted| !wanted.is_large()) {
        wanted.infer = wanted.state.is_none() && wanted.count <= room;
        if wanted.infer {
            room -= wanted.count;
        }
    }
}

/// Loads the facts of a wave, and counts damaged blocks, which are passed over: for the sake of spans that are lost
/// already, those that arrive must not be.
async fn load(tx: &mut Tx<'_>, tenant: i64, wave: Vec<Wanted>) -> Result<(Vec<Touched>, u64), Error> {
    let mut traces: HashSet<TraceId, Seeded> = HashSet::default();
    let mut chunks: BTreeMap<u64, BTreeSet<i64>> = BTreeMap::new();
    for wanted in wave.iter().filter(|wanted| !wanted.is_large() && !wanted.places.is_empty()) {
        traces.insert(wanted.trace);
        for (day, chunk) in &wanted.places {
            chunks.entry(*day).or_default().insert(*chunk);
        }
    }
    let (mut found, mut damaged) = (HashMap::<TraceId, Distinct, Seeded>::default(), 0);
    let traces = Arc::new(traces);
    for (day, ids) in chunks {
        let ids: Vec<i64> = ids.into_iter().collect();
        for ids in ids.chunks(BLOCKS_AT_ONCE) {
            let sql = format!(
                "SELECT c.hot FROM json_each(?2) j CROSS JOIN chunk_{day} c ON c.id = j.value WHERE c.tenant = ?1"
            );
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant).bind(json_numbers(ids.iter().copied()));
            let rows = query.fetch_all(tx.on()?).await.map_err(failed)?;
            let blocks =
                rows.iter().map(|row| row.try_get(0).map_err(failed)).collect::<Result<Vec<Vec<u8>>, _>>()?;
            let traces = Arc::clone(&traces);
            let (before, so_far) = (std::mem::take(&mut found), damaged);
            (found, damaged) = compute(move || Ok(decode(&blocks, &traces, before, so_far))).await?;
        }
    }
    let touched = wave.into_iter().map(|wanted| {
        let large = wanted.is_large();
        let Wanted { trace, members, known, infer, .. } = wanted;
        let facts = known.or_else(|| found.remove(&trace)).unwrap_or_default();
        Touched { trace, members, stored: if large { Stored::Index } else { Stored::All { facts, infer } } }
    });
    Ok((touched.collect(), damaged))
}

/// Adds the facts of blocks to those of their traces, and the damaged ones to their number.
fn decode(
    blocks: &[Vec<u8>],
    traces: &HashSet<TraceId, Seeded>,
    mut found: HashMap<TraceId, Distinct, Seeded>,
    mut damaged: u64,
) -> (HashMap<TraceId, Distinct, Seeded>, u64) {
    for block in blocks {
        let Ok(facts) = chunk::decode_facts(block, &|trace| traces.contains(trace)) else {
            damaged += 1;
            continue;
        };
        let mut facts = facts.into_iter().peekable();
        while let Some(trace) = facts.peek().map(|facts| facts.trace_id) {
            let run = std::iter::from_fn(|| facts.next_if(|facts| facts.trace_id == trace));
            found.entry(trace).or_default().extend(run);
        }
    }
    (found, damaged)
}
