//! Rows about traces that are large or have to wait: which they are, what of them is only previewed, and the index of
//! identities of large ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nexarch_core::ids::TraceId;
use sqlx::{AssertSqlSafe, Row, SqliteConnection, raw_sql};

use super::{Sqlite, errors::failed, trace_key, versions::signed, writer::Tx};
use crate::{
    Error,
    chunk::Seeded,
    plan::{Key, Large, Stamp, Versions},
};

/// The index of one day; made when the first span of a large trace comes.
const TABLE: &str = include_str!("../../migrations/sqlite/identity.sql");

/// Entries of one statement, which names them in a text of about 100 bytes each.
pub(super) const ENTRIES_PER_STATEMENT: usize = 4_096;

/// A trace is settled when no span came for this long, microseconds.
pub(super) const QUIET_US: u64 = 30_000_000;

/// With each settling a trace waits twice as long for the next, but not more often than this: 32 min at last. So a trace
/// that never ends costs a logarithm of settlings.
pub(super) const DOUBLINGS: u32 = 6;

/// A trace that does not fall quiet is settled after this many times its wait.
pub(super) const PATIENCE: u64 = 4;

/// The days that have an index.
pub(super) async fn indexed_days(tx: &mut Tx<'_>) -> Result<BTreeSet<u64>, Error> {
    if let Some(days) = &tx.writer.indexed_days {
        return Ok(days.clone());
    }
    let days = index_days(tx.on()?).await?;
    tx.writer.indexed_days = Some(days.clone());
    Ok(days)
}

/// The days that have an index, as this connection sees them.
pub(super) async fn index_days(connection: &mut SqliteConnection) -> Result<BTreeSet<u64>, Error> {
    let sql = "SELECT CAST(substr(name, 10) AS INTEGER) FROM sqlite_schema
               WHERE type = 'table' AND name GLOB 'identity_[0-9]*'";
    let rows = sqlx::query(sql).fetch_all(connection).await.map_err(failed)?;
    rows.iter().map(|row| super::versions::unsigned(row, 0)).collect()
}

/// Makes the index of a day unless it is there.
async fn ensure_index(tx: &mut Tx<'_>, day: u64) -> Result<(), Error> {
    let mut days = indexed_days(tx).await?;
    if !days.insert(day) {
        return Ok(());
    }
    let sql = TABLE.replace("{day}", &day.to_string());
    raw_sql(AssertSqlSafe(sql)).execute(tx.on()?).await.map_err(failed)?;
    tx.writer.indexed_days = Some(days);
    Ok(())
}

/// What a row says of its trace.
#[derive(Clone, Copy)]
pub(super) struct State {
    /// Large; else it is small and has to wait.
    pub(super) indexed: bool,
    /// It has links into other traces, or is linked.
    pub(super) linked: bool,
}

/// The rows of the traces with these keys (a JSON list).
pub(super) async fn large_ones(
    tx: &mut Tx<'_>,
    tenant: i64,
    keys: &str,
) -> Result<HashMap<TraceId, State, Seeded>, Error> {
    let sql = "SELECT l.trace, l.indexed, l.wakes > 0 FROM json_each(?2) j
               CROSS JOIN large_trace l ON l.tenant = ?1 AND l.key = j.value";
    let query = sqlx::query(sql).bind(tenant).bind(keys);
    let rows = query.fetch_all(tx.on()?).await.map_err(failed)?;
    let large = |row: &sqlx::sqlite::SqliteRow| {
        let (indexed, linked) = (row.try_get(1).map_err(failed)?, row.try_get(2).map_err(failed)?);
        Ok((trace_of(row.try_get(0).map_err(failed)?)?, State { indexed, linked }))
    };
    rows.iter().map(large).collect()
}

/// A trace id as stored.
pub(super) fn trace_of(bytes: &[u8]) -> Result<TraceId, Error> {
    let id = bytes.try_into().ok().and_then(TraceId::from_bytes);
    id.ok_or_else(|| Error::Internal("a stored trace id is none".to_owned()))
}

/// The stored versions of identities, given by day with the key of their trace.
pub(super) async fn stored_versions(
    tx: &mut Tx<'_>,
    tenant: i64,
    wanted: BTreeMap<u64, Vec<(i64, Key)>>,
) -> Result<Versions, Error> {
    let mut found = Versions::default();
    let days = indexed_days(tx).await?;
    for (day, wanted) in wanted.iter().filter(|(day, _)| days.contains(day)) {
        let sql = format!(
            "SELECT i.key, i.version FROM json_each(?2) j CROSS JOIN identity_{day} i
             ON i.tenant = ?1 AND i.trace = j.value ->> 0 AND i.key = unhex(j.value ->> 1)"
        );
        for wanted in wanted.chunks(ENTRIES_PER_STATEMENT) {
            let list = json(wanted.iter().map(|(trace, key)| format!("[{trace},\"{}\"]", hex(key))));
            let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(tenant).bind(list);
            for row in query.fetch_all(tx.on()?).await.map_err(failed)? {
                let (key, stamp): (&[u8], &[u8]) =
                    (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
                let entry = key.try_into().ok().zip(Stamp::from_bytes(stamp));
                let wrong = || Error::Internal("an index entry has a wrong length".to_owned());
                let (key, stamp) = entry.ok_or_else(wrong)?;
                found.insert(key, stamp);
            }
        }
    }
    Ok(found)
}

impl Sqlite {
    /// Stores what an append says of large traces and of those that have to wait.
    pub(super) async fn store_large(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        large: Vec<Large>,
    ) -> Result<(), Error> {
        for large in large.chunks(ENTRIES_PER_STATEMENT) {
            self.store_traces(tx, tenant, large).await?;
        }
        let mut by_day: BTreeMap<u64, Vec<(i64, Key, Stamp)>> = BTreeMap::new();
        for trace in large {
            let key = trace_key(self.seed, trace.trace);
            for (day, identity, stamp) in trace.index {
                by_day.entry(day).or_default().push((key, identity, stamp));
            }
        }
        for (day, mut entries) in by_day {
            ensure_index(tx, day).await?;
            // In the order of the index.
            entries.sort_unstable_by_key(|(trace, key, _)| (*trace, *key));
            let sql = format!(
                "INSERT INTO identity_{day} (tenant, trace, key, version)
                 SELECT ?1, j.value ->> 0, unhex(j.value ->> 1), unhex(j.value ->> 2) FROM json_each(?2) j
                 WHERE true ON CONFLICT DO UPDATE SET version = excluded.version"
            );
            for entries in entries.chunks(ENTRIES_PER_STATEMENT) {
                let entry = |(trace, key, stamp): &(i64, Key, Stamp)| {
                    format!("[{trace},\"{}\",\"{}\"]", hex(key), hex(&stamp.to_bytes()))
                };
                let list = json(entries.iter().map(entry));
                let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(tenant).bind(list);
                query.execute(tx.on()?).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn store_traces(&self, tx: &mut Tx<'_>, tenant: i64, traces: &[Large]) -> Result<(), Error> {
        let entry = |large: &Large| {
            let Large { trace, newest, indexed, settled, waits, .. } = large;
            let key = trace_key(self.seed, *trace);
            let trace = hex(&trace.to_bytes());
            format!("[{key},\"{trace}\",{newest},{settled},{},{}]", u8::from(*indexed), u8::from(*waits))
        };
        // A new row waits as one that was never settled.
        sqlx::query(
            "INSERT INTO large_trace (tenant, key, trace, newest, settled, indexed, since_us, due_us)
             SELECT ?1, j.value ->> 0, unhex(j.value ->> 1), j.value ->> 2, j.value ->> 3, j.value ->> 4,
                    iif(j.value ->> 5, ?3, NULL), iif(j.value ->> 5, ?3 + ?4, NULL)
             FROM json_each(?2) j WHERE true
             ON CONFLICT DO UPDATE SET
                 newest = max(newest, excluded.newest),
                 indexed = max(indexed, excluded.indexed),
                 since_us = coalesce(since_us, excluded.since_us),
                 due_us = iif(excluded.since_us IS NULL, due_us,
                     min(?3 + (?4 << min(rounds, ?5)), coalesce(since_us, ?3) + ?6 * (?4 << min(rounds, ?5))))",
        )
        .bind(tenant)
        .bind(json(traces.iter().map(entry)))
        .bind(signed(self.options.now_us()))
        .bind(signed(QUIET_US))
        .bind(DOUBLINGS)
        .bind(signed(PATIENCE))
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

/// Notes that a chunk's spans of these traces contribute by a preview: trace, its spans, those that were not known.
pub(super) async fn store_previews(
    tx: &mut Tx<'_>,
    tenant: i64,
    (day, chunk): (u64, i64),
    previews: &[(TraceId, u64, u64)],
) -> Result<(), Error> {
    if previews.is_empty() {
        return Ok(());
    }
    let entry = |(trace, spans, fresh): &(TraceId, u64, u64)| {
        format!("[\"{}\",{spans},{fresh}]", hex(&trace.to_bytes()))
    };
    sqlx::query(
        "INSERT INTO preview (tenant, trace, day, chunk, spans, fresh)
         SELECT ?1, unhex(j.value ->> 0), ?3, ?4, j.value ->> 1, j.value ->> 2 FROM json_each(?2) j",
    )
    .bind(tenant)
    .bind(json(previews.iter().map(entry)))
    .bind(day.cast_signed())
    .bind(chunk)
    .execute(tx.on()?)
    .await
    .map_err(failed)?;
    Ok(())
}

/// What has to go with the tables of a day, in the transaction that drops them: without it a settling would look for
/// chunks that are gone, and traces would be remembered for ever.
pub(super) fn forget_day(day: u64) -> [String; 4] {
    [
        format!("DELETE FROM link WHERE day <= {day}"),
        format!("DROP TABLE IF EXISTS identity_{day}"),
        format!("DELETE FROM preview WHERE day = {day}"),
        format!("DELETE FROM large_trace WHERE newest <= {day}"),
    ]
}

pub(super) fn json(items: impl Iterator<Item = String>) -> String {
    let mut out = String::from("[");
    for item in items {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&item);
    }
    out.push(']');
    out
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
