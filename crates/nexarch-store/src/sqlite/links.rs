//! Links between traces: who is settled again when something comes for the other end.
//!
//! A trace that links into others, and each trace that is linked, keeps a row in `large_trace`, so that appends leave what
//! comes for it to be settled (`settle/ends.rs`), which knows the other ends. An append only writes down who links to whom,
//! and wakes those at the other ends of what it stores.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use nexarch_core::{facts::Facts, ids::TraceId};
use sqlx::{Row, SqliteConnection};

use super::{
    Sqlite, diagnostics,
    errors::failed,
    large::{DOUBLINGS, ENTRIES_PER_STATEMENT, PATIENCE, QUIET_US, hex, json, trace_of},
    partition::{self, DAYS_PER_STATEMENT},
    trace_key,
    versions::{json_numbers, signed, unsigned},
    writer::Tx,
};
use crate::{
    Error, UNFOLLOWED_LINKS,
    chunk::{self, Seeded},
    plan::Links,
};

/// Most traces that are written down as linking into one, and most into which one links. One span may be linked by all of
/// a tenant's traces, and each that comes for it would wake them all.
const MAX_FOLLOWED: u64 = 1_024;

/// Pairs of traces by key, target first: the newest day of the linking spans.
type Pairs = BTreeMap<(i64, i64), u64>;

/// Wakes the traces at the other ends of those with keys ?2 (a JSON list). The wait is that of new spans.
pub(super) const WAKE: &str = "
    UPDATE large_trace SET wakes = wakes + 1, since_us = coalesce(since_us, ?3),
        due_us = min(?3 + (?4 << min(rounds, ?5)), coalesce(since_us, ?3) + ?6 * (?4 << min(rounds, ?5)))
    WHERE tenant = ?1 AND wakes > 0 AND key IN (
        SELECT l.source FROM json_each(?2) j CROSS JOIN link l ON l.tenant = ?1 AND l.target = j.value
        UNION SELECT l.target FROM json_each(?2) j
        CROSS JOIN link l INDEXED BY link_by_source ON l.tenant = ?1 AND l.source = j.value)";

/// Makes traces wait that now have links: key, id, newest day, and how many spans contribute as a whole of one that did not
/// wait before.
const MARK: &str = "
    INSERT INTO large_trace (tenant, key, trace, newest, settled, indexed, wakes, since_us, due_us)
    SELECT ?1, j.value ->> 0, unhex(j.value ->> 1), j.value ->> 2, j.value ->> 3, 0, 1, ?3, ?3 + ?4
    FROM json_each(?2) j WHERE true
    ON CONFLICT DO UPDATE SET newest = max(newest, excluded.newest), wakes = wakes + 1,
        since_us = coalesce(since_us, ?3),
        due_us = min(?3 + (?4 << min(rounds, ?5)), coalesce(since_us, ?3) + ?6 * (?4 << min(rounds, ?5)))";

impl Sqlite {
    /// Spans were stored for these traces, which have links: whoever is at the other end looks again.
    pub(super) async fn wake(&self, tx: &mut Tx<'_>, tenant: i64, traces: &[TraceId]) -> Result<(), Error> {
        for some in traces.chunks(ENTRIES_PER_STATEMENT) {
            let keys = json_numbers(some.iter().map(|trace| trace_key(self.seed, *trace)));
            self.wait(tx, tenant, WAKE, keys).await?;
        }
        Ok(())
    }

    /// Writes down what stored spans link to, and makes both ends wait.
    pub(super) async fn store_links(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        links: Vec<Links>,
    ) -> Result<(), Error> {
        if links.is_empty() {
            return Ok(());
        }
        let (mut pairs, mut days) = (Pairs::new(), BTreeMap::<TraceId, u64>::new());
        for Links { trace, day, targets } in &links {
            let source = trace_key(self.seed, *trace);
            for one in targets.iter().chain([trace]) {
                let newest = days.entry(*one).or_default();
                *newest = (*newest).max(*day);
            }
            pairs.extend(targets.iter().map(|target| ((trace_key(self.seed, *target), source), *day)));
        }
        let followed = follow(tx, tenant, pairs).await?;
        let sources: BTreeSet<TraceId> = links.iter().map(|links| links.trace).collect();
        days.retain(|trace, _| sources.contains(trace) || followed.contains(&trace_key(self.seed, *trace)));
        let mut stored = stored(tx, self.seed, tenant, days.keys()).await?;
        let mut entries = Vec::with_capacity(days.len());
        for (trace, day) in days {
            // Whatever is remembered of it must not be inferred without its ends.
            tx.writer.known.take(tenant, trace);
            let key = trace_key(self.seed, trace);
            let (newest, spans) = stored.remove(&key).unwrap_or_default();
            entries.push(format!("[{key},\"{}\",{},{spans}]", hex(&trace.to_bytes()), newest.max(day)));
        }
        for some in entries.chunks(ENTRIES_PER_STATEMENT) {
            self.wait(tx, tenant, MARK, json(some.iter().cloned())).await?;
        }
        Ok(())
    }

    async fn wait(&self, tx: &mut Tx<'_>, tenant: i64, sql: &'static str, list: String) -> Result<(), Error> {
        let query = sqlx::query(sql).bind(tenant).bind(list).bind(signed(self.options.now_us()));
        let query = query.bind(signed(QUIET_US)).bind(DOUBLINGS).bind(signed(PATIENCE));
        query.execute(tx.on()?).await.map_err(failed)?;
        Ok(())
    }
}

/// Adds pairs to the index, as long as there is room for them at both ends, and counts those for which there is none.
/// Returns the targets of those that were added.
async fn follow(tx: &mut Tx<'_>, tenant: i64, pairs: Pairs) -> Result<HashSet<i64, Seeded>, Error> {
    let mut at_target = room(tx, tenant, "target", pairs.keys().map(|(target, _)| *target)).await?;
    let mut at_source = room(tx, tenant, "source", pairs.keys().map(|(_, source)| *source)).await?;
    let (mut entries, mut followed, mut refused) = (Vec::new(), HashSet::default(), 0);
    for ((target, source), day) in pairs {
        let (Some(to), Some(from)) = (at_target.get_mut(&target), at_source.get_mut(&source)) else {
            continue;
        };
        if *to == 0 || *from == 0 {
            refused += 1;
            continue;
        }
        (*to, *from) = (*to - 1, *from - 1);
        followed.insert(target);
        entries.push(format!("[{target},{source},{day}]"));
    }
    for some in entries.chunks(ENTRIES_PER_STATEMENT) {
        sqlx::query(
            "INSERT INTO link (tenant, target, source, day)
             SELECT ?1, j.value ->> 0, j.value ->> 1, j.value ->> 2 FROM json_each(?2) j WHERE true
             ON CONFLICT DO UPDATE SET day = max(day, excluded.day)",
        )
        .bind(tenant)
        .bind(json(some.iter().cloned()))
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
    }
    if refused > 0 {
        diagnostics::add(tx.on()?, tenant, UNFOLLOWED_LINKS, refused).await?;
    }
    Ok(followed)
}

/// How many more pairs may be written down for each of some keys at one end.
async fn room(
    tx: &mut Tx<'_>,
    tenant: i64,
    end: &str,
    keys: impl Iterator<Item = i64>,
) -> Result<HashMap<i64, u64, Seeded>, Error> {
    let sql = if end == "target" {
        "SELECT j.value, (SELECT count(*) FROM (SELECT 1 FROM link l
             WHERE l.tenant = ?1 AND l.target = j.value LIMIT ?3)) FROM json_each(?2) j"
    } else {
        "SELECT j.value, (SELECT count(*) FROM (SELECT 1 FROM link l INDEXED BY link_by_source
             WHERE l.tenant = ?1 AND l.source = j.value LIMIT ?3)) FROM json_each(?2) j"
    };
    let mut keys: Vec<i64> = keys.collect();
    keys.sort_unstable();
    keys.dedup();
    let mut room = HashMap::default();
    for some in keys.chunks(ENTRIES_PER_STATEMENT) {
        let query = sqlx::query(sql).bind(tenant).bind(json_numbers(some.iter().copied()));
        let rows = query.bind(signed(MAX_FOLLOWED)).fetch_all(tx.on()?).await.map_err(failed)?;
        for row in &rows {
            room.insert(row.try_get(0).map_err(failed)?, MAX_FOLLOWED - unsigned(row, 1)?.min(MAX_FOLLOWED));
        }
    }
    Ok(room)
}

/// What is stored of some traces, by key: their newest day, and how many spans.
async fn stored(
    tx: &mut Tx<'_>,
    seed: u64,
    tenant: i64,
    traces: impl Iterator<Item = &TraceId>,
) -> Result<HashMap<i64, (u64, u64), Seeded>, Error> {
    let days: Vec<u64> = partition::days(tx).await?.into_iter().collect();
    let keys: Vec<i64> = traces.map(|trace| trace_key(seed, *trace)).collect();
    let mut found = HashMap::<i64, (u64, u64), Seeded>::default();
    for keys in keys.chunks(ENTRIES_PER_STATEMENT) {
        let keys = json_numbers(keys.iter().copied());
        for days in days.chunks(DAYS_PER_STATEMENT) {
            let sql = partition::union(days, |day| {
                format!(
                    "SELECT {day}, t.trace, sum(t.spans) FROM json_each(?2) j
                     CROSS JOIN trace_{day} t ON t.tenant = ?1 AND t.trace = j.value GROUP BY t.trace"
                )
            });
            let query = sqlx::query(sql).bind(tenant).bind(&keys);
            for row in &query.fetch_all(tx.on()?).await.map_err(failed)? {
                let (newest, spans) = found.entry(row.try_get(1).map_err(failed)?).or_default();
                *newest = unsigned(row, 0)?.max(*newest);
                *spans += unsigned(row, 2)?;
            }
        }
    }
    Ok(found)
}

/// The ends with which some traces contribute, where there are any.
pub(super) async fn ends(
    read: &mut SqliteConnection,
    seed: u64,
    tenant: i64,
    traces: impl Iterator<Item = TraceId>,
) -> Result<HashMap<TraceId, Vec<Facts>, Seeded>, Error> {
    let keys: Vec<i64> = traces.map(|trace| trace_key(seed, trace)).collect();
    let mut found = HashMap::default();
    for keys in keys.chunks(ENTRIES_PER_STATEMENT) {
        let query = sqlx::query(
            "SELECT l.trace, l.ends FROM json_each(?2) j CROSS JOIN large_trace l
             ON l.tenant = ?1 AND l.key = j.value WHERE l.ends IS NOT NULL",
        );
        let query = query.bind(tenant).bind(json_numbers(keys.iter().copied()));
        for row in &query.fetch_all(&mut *read).await.map_err(failed)? {
            let facts = chunk::decode_facts(row.try_get(1).map_err(failed)?, &|_| true)?;
            found.insert(trace_of(row.try_get(0).map_err(failed)?)?, facts);
        }
    }
    Ok(found)
}

/// Writes down the ends with which a trace contributes now.
pub(super) async fn set_ends(
    tx: &mut Tx<'_>,
    (tenant, key): (i64, i64),
    trace: TraceId,
    ends: &[u8],
) -> Result<(), Error> {
    sqlx::query("UPDATE large_trace SET ends = ?4 WHERE tenant = ?1 AND key = ?2 AND trace = ?3")
        .bind(tenant)
        .bind(key)
        .bind(trace.to_bytes().as_slice())
        .bind((!ends.is_empty()).then_some(ends))
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
    Ok(())
}
