//! Rows about large traces: which they are, what of them is only previewed, and the index of their identities.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use nexarch_core::ids::TraceId;
use sqlx::{AssertSqlSafe, Row, raw_sql};

use super::{Sqlite, errors::failed, trace_key, versions::signed, writer::Tx};
use crate::{
    Error,
    chunk::Seeded,
    plan::{Key, Large, Version, Versions},
};

/// The index of one day; made when the first span of a large trace comes.
const TABLE: &str = include_str!("../../migrations/sqlite/identity.sql");

/// Entries of one statement, which names them in a text of about 100 bytes each.
const ENTRIES_PER_STATEMENT: usize = 4_096;

/// A trace is settled when no span came for this long, microseconds.
const QUIET_US: u64 = 30_000_000;

/// With each settling a trace waits twice as long for the next, but not more often than this: 32 min at last. So a trace
/// that never ends costs a logarithm of settlings.
const DOUBLINGS: u32 = 6;

/// A trace that does not fall quiet is settled after this many times its wait.
const PATIENCE: u64 = 4;

/// The days that have an index.
pub(super) async fn indexed_days(tx: &mut Tx<'_>) -> Result<BTreeSet<u64>, Error> {
    if let Some(days) = &tx.writer.indexed_days {
        return Ok(days.clone());
    }
    let sql = "SELECT CAST(substr(name, 10) AS INTEGER) FROM sqlite_schema
               WHERE type = 'table' AND name GLOB 'identity_[0-9]*'";
    let rows = sqlx::query(sql).fetch_all(tx.on()?).await.map_err(failed)?;
    let days: BTreeSet<u64> =
        rows.iter().map(|row| super::versions::unsigned(row, 0)).collect::<Result<_, _>>()?;
    tx.writer.indexed_days = Some(days.clone());
    Ok(days)
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

/// Which of the traces with these keys (a JSON list) are large.
pub(super) async fn large_ones(
    tx: &mut Tx<'_>,
    tenant: i64,
    keys: &str,
) -> Result<HashSet<TraceId, Seeded>, Error> {
    let sql = "SELECT l.trace FROM json_each(?2) j
               CROSS JOIN large_trace l ON l.tenant = ?1 AND l.key = j.value";
    let query = sqlx::query(sql).bind(tenant).bind(keys);
    let rows = query.fetch_all(tx.on()?).await.map_err(failed)?;
    rows.iter().map(|row| trace_of(row.try_get(0).map_err(failed)?)).collect()
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
                found.insert(exactly(row.try_get(0))?, exactly(row.try_get(1))?);
            }
        }
    }
    Ok(found)
}

fn exactly<const N: usize>(bytes: Result<&[u8], sqlx::Error>) -> Result<[u8; N], Error> {
    let wrong = |_| Error::Internal("an index entry has a wrong length".to_owned());
    bytes.map_err(failed)?.try_into().map_err(wrong)
}

impl Sqlite {
    /// Stores what an append says of large traces.
    pub(super) async fn store_large(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        large: Vec<Large>,
    ) -> Result<(), Error> {
        let mut by_day: BTreeMap<u64, Vec<(i64, Key, Version)>> = BTreeMap::new();
        for trace in large {
            let key = trace_key(self.seed, trace.trace);
            let newest = trace.index.iter().map(|entry| entry.0).max().unwrap_or(0);
            for (day, identity, version) in &trace.index {
                by_day.entry(*day).or_default().push((key, *identity, *version));
            }
            self.store_trace(tx, tenant, key, newest, &trace).await?;
        }
        for (day, entries) in by_day {
            ensure_index(tx, day).await?;
            let sql = format!(
                "INSERT INTO identity_{day} (tenant, trace, key, version)
                 SELECT ?1, j.value ->> 0, unhex(j.value ->> 1), unhex(j.value ->> 2) FROM json_each(?2) j
                 WHERE true ON CONFLICT DO UPDATE SET version = excluded.version"
            );
            for entries in entries.chunks(ENTRIES_PER_STATEMENT) {
                let entry = |(trace, key, version): &(i64, Key, Version)| {
                    format!("[{trace},\"{}\",\"{}\"]", hex(key), hex(version))
                };
                let list = json(entries.iter().map(entry));
                let query = sqlx::query(AssertSqlSafe(sql.clone())).bind(tenant).bind(list);
                query.execute(tx.on()?).await.map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn store_trace(
        &self,
        tx: &mut Tx<'_>,
        tenant: i64,
        key: i64,
        newest: u64,
        trace: &Large,
    ) -> Result<(), Error> {
        sqlx::query(
            "INSERT INTO large_trace (tenant, key, trace, newest, settled) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET newest = max(newest, excluded.newest)",
        )
        .bind(tenant)
        .bind(key)
        .bind(trace.trace.to_bytes().as_slice())
        .bind(newest.cast_signed())
        .bind(trace.entered.unwrap_or(0).cast_signed())
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
        if !trace.waits {
            return Ok(());
        }
        sqlx::query(
            "UPDATE large_trace SET since_us = coalesce(since_us, ?4),
                 due_us = min(?4 + (?5 << min(rounds, ?6)), coalesce(since_us, ?4) + ?7 * (?5 << min(rounds, ?6)))
             WHERE tenant = ?1 AND key = ?2 AND trace = ?3",
        )
        .bind(tenant)
        .bind(key)
        .bind(trace.trace.to_bytes().as_slice())
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
    for (trace, spans, fresh) in previews {
        sqlx::query(
            "INSERT INTO preview (tenant, trace, day, chunk, spans, fresh) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )
        .bind(tenant)
        .bind(trace.to_bytes().as_slice())
        .bind(day.cast_signed())
        .bind(chunk)
        .bind(spans.cast_signed())
        .bind(fresh.cast_signed())
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// What has to go with the tables of a day, in the transaction that drops them: without it a settling would look for
/// chunks that are gone, and traces would be remembered for ever.
pub(super) fn forget_day(day: u64) -> [String; 3] {
    [
        format!("DROP TABLE IF EXISTS identity_{day}"),
        format!("DELETE FROM preview WHERE day = {day}"),
        format!("DELETE FROM large_trace WHERE newest <= {day}"),
    ]
}

fn json(items: impl Iterator<Item = String>) -> String {
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

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
