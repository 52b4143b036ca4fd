//! One transaction for a group of batches.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, PoisonError},
};

use nexarch_core::{
    ids::{TenantId, TraceId},
    span::Span,
};
use sqlx::{AssertSqlSafe, Row};

use super::{
    Sqlite, diagnostics,
    errors::{compute, failed},
    index, large, partition, rollup, sample,
    tenants::missing,
    versions::{self, Raise},
    writer::Tx,
};
use crate::{
    Appended, Batch, DROPPED_UPDATES, Error, LATE, UNREADABLE,
    chunk::Seeded,
    plan::{self, Chunk, Distinct, Gain, Incoming, Large, Links, Tally},
};

/// A tenant as the transaction found it.
struct Found {
    number: i64,
    created_us: u64,
    oldest: Option<u64>,
    newest: Option<u64>,
}

/// A tenant as its sender knows it: [`Batch::created_us`].
type Addressed = (TenantId, Option<u64>);

/// What became of batches, by their place in the group.
type Tallies = Vec<(usize, Result<Tally, Error>)>;

/// What became of a tenant's batches, and whether anything was stored.
struct Outcome {
    tenant: TenantId,
    batches: Tallies,
    stored: bool,
}

/// What a tenant gains, ready to be written.
pub(super) struct Decided {
    batches: Tallies,
    known: Vec<(TraceId, Distinct)>,
    chunks: Vec<Chunk>,
    blobs: Vec<(u32, Vec<u8>)>,
    new_traces: u64,
    range: Option<(u64, u64)>,
    large: Vec<Large>,
    /// Traces that link into others.
    links: Vec<Links>,
    /// Touched traces that already have links, or are linked.
    pub(super) linked: HashSet<TraceId, Seeded>,
    /// What changes in the sample of traces.
    sampled: Option<sample::Packed>,
    /// What its sender should know, by name.
    counts: [(&'static str, u64); 3],
}

impl Decided {
    /// Encodes all that is to be written; `unreadable` stored chunks had to be left out.
    pub(super) fn new(incoming: Incoming, gain: Gain, unreadable: u64) -> Result<Self, Error> {
        let Gain { rows, mut delta, new_traces, range, known, large, links, late, dropped, .. } = gain;
        let chunks = plan::pack(&rows, &incoming, &mut delta)?;
        delta.bound();
        let blobs = delta.encode().into_iter();
        let blobs = blobs.map(|(minute, blob)| Ok((minute, rollup::pack(blob)?)));
        Ok(Self {
            batches: incoming.batches,
            known,
            chunks,
            blobs: blobs.collect::<Result<_, Error>>()?,
            new_traces,
            range,
            large,
            links,
            linked: HashSet::default(),
            sampled: None,
            counts: [(LATE, late), (DROPPED_UPDATES, dropped), (UNREADABLE, unreadable)],
        })
    }
}

impl Sqlite {
    /// See [`crate::Store::append`].
    pub(super) async fn append_group(
        &self,
        batches: Vec<Batch>,
    ) -> Result<Vec<Result<Appended, Error>>, Error> {
        let mut groups: BTreeMap<Addressed, Vec<(usize, Vec<Span>)>> = BTreeMap::new();
        for (place, Batch { tenant, created_us, spans }) in batches.into_iter().enumerate() {
            groups.entry((tenant, created_us)).or_default().push((place, spans));
        }
        let patterns = Arc::clone(&self.patterns);
        let prepared = compute(move || {
            // It holds nothing that a panic could leave half done.
            let mut patterns = patterns.lock().unwrap_or_else(PoisonError::into_inner);
            let prepare = |(tenant, batches)| (tenant, Incoming::prepare(batches, &mut patterns));
            Ok(groups.into_iter().map(prepare).collect::<Vec<_>>())
        })
        .await?;

        let mut tx = self.begin().await?;
        let outcome = self.append_in(&mut tx, prepared).await;
        tx.finish(outcome).await
    }

    async fn append_in(
        &self,
        tx: &mut Tx<'_>,
        prepared: Vec<(Addressed, Incoming)>,
    ) -> Result<Vec<Result<Appended, Error>>, Error> {
        let mut outcomes = Vec::with_capacity(prepared.len());
        for (tenant, incoming) in prepared {
            outcomes.push(self.append_tenant(tx, tenant, incoming).await?);
        }
        // The clocks last, by tenant id: on a backend with row locks they are held for an instant, in one order.
        let mut answers = Vec::new();
        for Outcome { tenant, batches, stored } in outcomes {
            if stored {
                versions::raise(tx.on()?, &tenant, Raise::Data, self.options.now_us()).await?;
            }
            let versions = versions::read(tx.on()?, &tenant).await?;
            answers.extend(batches.into_iter().map(|(place, tally)| {
                let answer = tally.map(|Tally { accepted, duplicates, expired }| Appended {
                    accepted,
                    duplicates,
                    expired,
                    versions: versions.clone(),
                });
                (place, answer)
            }));
        }
        answers.sort_unstable_by_key(|(place, _)| *place);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Stores what one tenant gains. What its own data forbid is found before the first write, and fails only it.
    async fn append_tenant(
        &self,
        tx: &mut Tx<'_>,
        (tenant, created_us): Addressed,
        incoming: Incoming,
    ) -> Result<Outcome, Error> {
        let places: Vec<usize> = incoming.batches.iter().map(|(place, _)| *place).collect();
        let fail = |tenant: TenantId, cause: &dyn Fn() -> Error| {
            let batches = places.iter().map(|place| (*place, Err(cause()))).collect();
            Outcome { tenant, batches, stored: false }
        };
        let found = match find(tx, &tenant).await? {
            Some((found, _)) if created_us.is_some_and(|created_us| created_us != found.created_us) => {
                return Ok(fail(tenant.clone(), &|| missing(&tenant)));
            }
            Some((found, true)) => found,
            Some((_, false)) => return Ok(fail(tenant.clone(), &|| Error::Disabled(tenant.clone()))),
            None => return Ok(fail(tenant.clone(), &|| missing(&tenant))),
        };
        let mut incoming = incoming;
        incoming.expire(partition::first_day(tx).await?);
        self.admit(tx.on()?, found.number, &mut incoming).await?;
        let decided = match self.decided(tx, &found, incoming).await {
            Ok(decided) => decided,
            Err(Error::Internal(cause)) => {
                // What was taken out of it is not stored.
                tx.writer.forget();
                return Ok(fail(tenant, &|| Error::Internal(cause.clone())));
            }
            Err(error) => return Err(error),
        };
        let stored = !decided.chunks.is_empty();
        let batches = self.store(tx, &found, decided).await?;
        Ok(Outcome { tenant, batches, stored })
    }

    async fn decided(&self, tx: &mut Tx<'_>, found: &Found, incoming: Incoming) -> Result<Decided, Error> {
        let mut decided = self.decide(tx, found.number, incoming).await?;
        partition::check(tx, decided.chunks.iter().map(Chunk::day)).await?;
        let mut changes = sample::Changes::default();
        for (trace, facts) in std::mem::take(&mut decided.known) {
            tx.writer.draws.offer(found.number, &facts, &mut changes);
            tx.writer.known.put(found.number, trace, facts);
        }
        decided.sampled = Some(changes.pack().await?);
        Ok(decided)
    }

    async fn store(&self, tx: &mut Tx<'_>, found: &Found, decided: Decided) -> Result<Tallies, Error> {
        let Decided {
            batches, chunks, blobs, new_traces, range, large, links, linked, sampled, counts, ..
        } = decided;
        let rows = chunks.iter().map(|chunk| chunk.spans as u64).sum();
        for chunk in chunks {
            self.insert_chunk(tx, found.number, chunk).await?;
        }
        let touched: Vec<TraceId> =
            large.iter().map(|large| large.trace).filter(|trace| linked.contains(trace)).collect();
        self.store_large(tx, found.number, large).await?;
        self.wake(tx, found.number, &touched).await?;
        self.store_links(tx, found.number, links).await?;
        if let Some(sampled) = sampled {
            sample::store(tx, found.number, sampled).await?;
        }
        rollup::add(tx.on()?, found.number, blobs).await?;
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            diagnostics::add(tx.on()?, found.number, name, count).await?;
        }
        let tallies = batches.iter().filter_map(|(_, tally)| tally.as_ref().ok());
        let (accepted, duplicates) = tallies.fold((0, 0), |(accepted, duplicates), tally| {
            (accepted + tally.accepted, duplicates + tally.duplicates)
        });
        if accepted + duplicates > 0 {
            self.use_up(tx.on()?, found.number, rows).await?;
            count(tx, found, (accepted, duplicates, new_traces), range).await?;
        }
        Ok(batches)
    }

    async fn insert_chunk(&self, tx: &mut Tx<'_>, tenant: i64, chunk: Chunk) -> Result<(), Error> {
        let day = chunk.day();
        partition::ensure(tx, day).await?;
        let insert =
            format!("INSERT INTO chunk_{day} (tenant, hour, spans, hot, cold) VALUES (?1, ?2, ?3, ?4, ?5)");
        let id = sqlx::query(AssertSqlSafe(insert))
            .bind(tenant)
            .bind(chunk.hour.cast_signed())
            .bind(i64::try_from(chunk.spans).unwrap_or(i64::MAX))
            .bind(chunk.hot)
            .bind(chunk.cold)
            .execute(tx.on()?)
            .await
            .map_err(failed)?
            .last_insert_rowid();
        index::add(tx.on()?, tenant, (day, id), index::entries(self.seed, &chunk.traces)).await?;
        large::store_previews(tx, tenant, (day, id), &chunk.previews).await
    }
}

/// The tenant's row, and whether it is enabled.
async fn find(tx: &mut Tx<'_>, tenant: &TenantId) -> Result<Option<(Found, bool)>, Error> {
    let row =
        sqlx::query("SELECT number, enabled, oldest_ns, newest_ns, created_us FROM tenant WHERE id = ?1")
            .bind(tenant.as_str())
            .fetch_optional(tx.on()?)
            .await
            .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let oldest: Option<i64> = row.try_get(2).map_err(failed)?;
    let newest: Option<i64> = row.try_get(3).map_err(failed)?;
    let (oldest, newest) = (oldest.map(i64::cast_unsigned), newest.map(i64::cast_unsigned));
    let created_us = versions::unsigned(&row, 4)?;
    let found = Found { number: row.try_get(0).map_err(failed)?, created_us, oldest, newest };
    Ok(Some((found, row.try_get(1).map_err(failed)?)))
}

/// Adds to the totals of a tenant.
async fn count(
    tx: &mut Tx<'_>,
    found: &Found,
    (accepted, duplicates, traces): (u64, u64, u64),
    range: Option<(u64, u64)>,
) -> Result<(), Error> {
    let oldest = found.oldest.into_iter().chain(range.map(|(oldest, _)| oldest)).min();
    let newest = found.newest.into_iter().chain(range.map(|(_, newest)| newest)).max();
    sqlx::query(
        "UPDATE tenant SET spans = spans + ?2, duplicates = duplicates + ?3, traces = traces + ?4,
                           oldest_ns = ?5, newest_ns = ?6 WHERE number = ?1",
    )
    .bind(found.number)
    .bind(accepted.cast_signed())
    .bind(duplicates.cast_signed())
    .bind(traces.cast_signed())
    .bind(oldest.map(u64::cast_signed))
    .bind(newest.map(u64::cast_signed))
    .execute(tx.on()?)
    .await
    .map_err(failed)?;
    Ok(())
}
