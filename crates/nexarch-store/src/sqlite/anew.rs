//! Rollups made anew from the stored spans, when the rules of inference are newer than those that made them.
//!
//! The owner does it while it opens the database, before anybody reads or writes. A tenant's new rollups are written
//! under the negative of its number, piece by piece, and take the place of the old ones in one transaction; only when
//! every tenant has its own is the number of the rules raised. So whatever ends it on the way, the next start begins
//! again, and nobody sees half of it. What dropped days left in the rollups stays as it was: there are no spans to make
//! it of. (Rejected: taking back by old rules, which would mean keeping every version of the inference for ever.)

use std::collections::HashMap;

use nexarch_core::{
    facts::Facts,
    ids::{TenantId, TraceId},
    rollup::Delta,
};
use sqlx::{AssertSqlSafe, Row};

use super::{
    Sqlite,
    errors::{compute, failed},
    links, partition, rollup, schema, trace_key,
    versions::{self, Raise, json_numbers, unsigned},
};
use crate::{
    Error,
    chunk::{self, Seeded},
    plan::{Form, add_worth, distinct},
};

/// Blocks read before they are decoded: a few megabytes.
const BLOCKS_AT_ONCE: usize = 256;

/// Traces inferred before what they say is written: bounds the cells in memory.
const TRACES_AT_ONCE: usize = 10_000;

/// Minutes written in one transaction.
const MINUTES_AT_ONCE: usize = 2_000;

type Traces = HashMap<TraceId, Vec<Facts>, Seeded>;

impl Sqlite {
    /// Makes the rollups of all tenants anew, and notes the rules that made them.
    pub(super) async fn make_anew(&self) -> Result<(), Error> {
        self.drop_drafts().await?;
        let rows = sqlx::query("SELECT number, id FROM tenant ORDER BY number");
        for row in rows.fetch_all(&self.readers).await.map_err(failed)? {
            let id: &str = row.try_get(1).map_err(failed)?;
            let id = id.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?;
            self.tenant_anew(row.try_get(0).map_err(failed)?, &id).await?;
        }
        let mut tx = self.begin().await?;
        let outcome = schema::note_rules(tx.on()?).await;
        tx.finish(outcome).await
    }

    /// Removes what an attempt that was cut off left.
    async fn drop_drafts(&self) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let query = sqlx::query("DELETE FROM rollup WHERE tenant < 0");
        let outcome = query.execute(tx.on()?).await.map_err(failed);
        tx.finish(outcome.map(drop)).await
    }

    async fn tenant_anew(&self, tenant: i64, id: &TenantId) -> Result<(), Error> {
        let mut read = self.readers.acquire().await.map_err(failed)?;
        let all: Vec<u64> = partition::read(&mut read).await?.into_iter().collect();
        drop(read);
        // Only days with spans of this tenant: of others, such as those that were dropped and came again with spans of
        // somebody else, there is nothing to make its figures of.
        let (mut spans, mut days) = (0, Vec::new());
        for day in all {
            let sql = format!("SELECT coalesce(sum(spans), 0) FROM chunk_{day} WHERE tenant = ?1");
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            let of_day = unsigned(&query.fetch_one(&self.readers).await.map_err(failed)?, 0)?;
            if of_day > 0 {
                spans += of_day;
                days.push(day);
            }
        }
        if spans == 0 {
            return Ok(());
        }
        let passes = spans.div_ceil(self.options.limits.anew_spans.max(1));
        let mut large = Vec::new();
        for pass in 0..passes {
            let traces = self.traces_of(tenant, &days, (pass, passes)).await?;
            large.extend(self.draft(tenant, traces).await?);
        }
        self.publish(tenant, id, &days, large).await
    }

    /// The stored facts of the traces whose turn it is.
    async fn traces_of(
        &self,
        tenant: i64,
        days: &[u64],
        (pass, passes): (u64, u64),
    ) -> Result<Traces, Error> {
        let seed = self.seed;
        let mut traces = Traces::default();
        for day in days {
            let sql = format!("SELECT id FROM chunk_{day} WHERE tenant = ?1 ORDER BY id");
            let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
            let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
            let ids = rows.iter().map(|row| row.try_get(0).map_err(failed));
            let ids: Vec<i64> = ids.collect::<Result<_, Error>>()?;
            for ids in ids.chunks(BLOCKS_AT_ONCE) {
                let sql = format!(
                    "SELECT c.hot FROM json_each(?1) j CROSS JOIN chunk_{day} c ON c.id = j.value ORDER BY c.id"
                );
                let query = sqlx::query(AssertSqlSafe(sql)).bind(json_numbers(ids.iter().copied()));
                let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
                traces = compute(move || {
                    let wanted = |trace: &TraceId| trace_key(seed, *trace).cast_unsigned() % passes == pass;
                    for row in &rows {
                        // A damaged block fails those who read its spans; the figures of all others are still made.
                        let hot = row.try_get(0).map_err(failed)?;
                        for facts in chunk::decode_facts(hot, &wanted).unwrap_or_default() {
                            traces.entry(facts.trace_id).or_default().push(facts);
                        }
                    }
                    Ok(traces)
                })
                .await?;
            }
        }
        Ok(traces)
    }

    /// Writes what traces contribute as a draft; returns how many spans those have that may be large.
    async fn draft(&self, tenant: i64, traces: Traces) -> Result<Vec<(TraceId, u64)>, Error> {
        let limits = self.options.limits;
        let mut large = Vec::new();
        let mut left = traces.into_iter();
        loop {
            let some: Vec<(TraceId, Vec<Facts>)> = left.by_ref().take(TRACES_AT_ONCE).collect();
            let mut read = self.readers.acquire().await.map_err(failed)?;
            let mut ends = links::ends(&mut read, self.seed, tenant, some.iter().map(|(id, _)| *id)).await?;
            drop(read);
            let (found, blobs) = compute(move || {
                let (mut delta, mut found) = (Delta::default(), Vec::new());
                for (trace, versions) in some {
                    let facts = distinct(versions);
                    let count = facts.len() as u64;
                    let most = limits.settle_trace;
                    let ends = ends.remove(&trace).unwrap_or_default();
                    add_worth(&mut delta, &facts, &ends, Form::of_trace(count, most), most);
                    found.push((trace, count));
                }
                delta.bound();
                let blobs = delta.encode().into_iter();
                let blobs = blobs.map(|(minute, blob)| Ok((minute, rollup::pack(blob)?)));
                Ok((found, blobs.collect::<Result<Vec<_>, Error>>()?))
            })
            .await?;
            if found.is_empty() {
                return Ok(large);
            }
            large.extend(found.into_iter().filter(|(_, count)| *count > 1));
            for blobs in blobs.chunks(MINUTES_AT_ONCE) {
                let mut tx = self.begin().await?;
                let outcome = rollup::add(tx.on()?, -tenant, blobs.to_vec()).await;
                tx.finish(outcome).await?;
            }
        }
    }

    /// Puts the draft in the place of the rollups of all days that have spans of the tenant.
    async fn publish(
        &self,
        tenant: i64,
        id: &TenantId,
        days: &[u64],
        counts: Vec<(TraceId, u64)>,
    ) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let outcome = async {
            let connection = tx.on()?;
            for day in days {
                let (from, to) = (day * 1_440, (day + 1) * 1_440);
                sqlx::query(
                    "DELETE FROM rollup WHERE tenant = ?1 AND grain IN (1, 2, 5, 60) AND minute >= ?2 AND minute < ?3",
                )
                .bind(tenant)
                .bind(from.cast_signed())
                .bind(to.cast_signed())
                .execute(&mut *connection)
                .await
                .map_err(failed)?;
            }
            // Late rollups of days without spans are left, and the draft has none of those.
            for sql in [
                "INSERT INTO rollup SELECT ?1, grain, minute, seq, blob FROM rollup WHERE tenant = -?1",
                "DELETE FROM rollup WHERE tenant = -?1",
                // Every trace now contributes as a whole: there is nothing to be settled.
                "DELETE FROM preview WHERE tenant = ?1",
                "DELETE FROM large_trace WHERE tenant = ?1 AND NOT indexed AND wakes = 0",
                // What waited because of its links goes on to.
                "UPDATE large_trace SET since_us = iif(wakes, 0, NULL), due_us = iif(wakes, 0, NULL), settled = 0
                 WHERE tenant = ?1",
            ] {
                sqlx::query(sql).bind(tenant).execute(&mut *connection).await.map_err(failed)?;
            }
            let rows = sqlx::query("SELECT trace FROM large_trace WHERE tenant = ?1").bind(tenant);
            let rows = rows.fetch_all(&mut *connection).await.map_err(failed)?;
            let counts: HashMap<Vec<u8>, u64, Seeded> =
                counts.into_iter().map(|(trace, count)| (trace.to_bytes().to_vec(), count)).collect();
            for row in rows {
                let trace: Vec<u8> = row.try_get(0).map_err(failed)?;
                let count = counts.get(&trace).copied().unwrap_or(0);
                sqlx::query("UPDATE large_trace SET settled = ?3 WHERE tenant = ?1 AND trace = ?2")
                    .bind(tenant)
                    .bind(trace)
                    .bind(count.cast_signed())
                    .execute(&mut *connection)
                    .await
                    .map_err(failed)?;
            }
            versions::raise(&mut *connection, id, Raise::Thinned, self.options.now_us()).await
        };
        let outcome = outcome.await;
        tx.finish(outcome.map(drop)).await
    }
}
