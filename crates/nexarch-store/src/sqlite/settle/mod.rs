//! Settling: what traces contribute by previews is replaced by what their spans say together.
//!
//! A round reads and infers beside the writer, in a snapshot, and then changes the rollups in a short transaction per
//! tenant. What arrives between the two only adds previews, whose value does not depend on this round; another settling of
//! the same chunks (a command beside the server) is noticed, and the later one gives up.
//!
//! **Damage.** A chunk that cannot be read is passed over as if its day had been dropped: what it contributed stays, its
//! preview is forgotten, and the count tells of it. (Rejected: leaving the trace unsettled, which would try again for ever,
//! and make whatever else comes for it provisional for good.)

mod chunks;
mod due;
mod ends;
mod load;
mod parts;
mod write;

use nexarch_core::{ids::TenantId, rollup::Delta};

use super::{
    Sqlite,
    errors::{compute, failed},
    large::DOUBLINGS,
    rollup,
    versions::signed,
};
use crate::{Error, Settling, Versions, plan::Unsettled};
use chunks::Chunks;
use ends::Ends;

#[cfg(test)]
pub(super) use {
    due::{TENANTS_DUE, TRACES_DUE, TRACES_SINCE},
    write::{FORGET_PREVIEWS, FORGET_TRACES},
};

/// How long a trace that cannot be settled is left alone, microseconds: an hour.
const PAUSE_US: u64 = 3_600_000_000;

/// A chunk: day and number.
type Place = (u64, i64);

/// A tenant that has traces to be settled.
pub(super) struct Due {
    id: TenantId,
    tenant: i64,
    /// Those that were due by then (microseconds since the Unix epoch) …
    by_us: u64,
    /// … or, sooner, that began to wait by then.
    early: bool,
}

/// What is to be written of some traces.
pub(super) struct Read {
    batch: Vec<Chunks>,
    blobs: Vec<(u32, Vec<u8>)>,
    /// What becomes of the ends of traces with links.
    ends: Vec<Ends>,
    /// Chunks that could not be read.
    damaged: u64,
}

/// What became of the traces of a tenant.
pub(super) enum Written {
    /// Nothing: somebody else settled one of them, or the tenant is gone.
    Overtaken,
    /// No number changed.
    Same,
    /// Numbers changed.
    Changed(Versions),
}

impl Sqlite {
    /// See [`crate::Store::settle`].
    pub(super) async fn settle_round(&self, due_us: u64, only: Option<&TenantId>) -> Result<Settling, Error> {
        let mut outcome = Settling::default();
        match self.settle_tenants(due_us, only, &mut outcome).await {
            Ok(more) => outcome.more = more,
            // What has committed must be told: nobody else will. The next round meets the error again.
            Err(_) if !outcome.is_empty() => outcome.more = true,
            Err(error) => return Err(error),
        }
        Ok(outcome)
    }

    /// Serves tenants in turn; is more due?
    async fn settle_tenants(
        &self,
        due_us: u64,
        only: Option<&TenantId>,
        outcome: &mut Settling,
    ) -> Result<bool, Error> {
        let mut served = false;
        for due in self.tenants_in_turn(due_us, only).await? {
            let mut unreadable = 0;
            match self.settle_tenant(&due, &mut unreadable).await {
                Ok(Written::Changed(versions)) => outcome.changed.push((due.id.clone(), versions)),
                Ok(Written::Same | Written::Overtaken) => {}
                Err(error @ Error::Internal(_)) => {
                    // What is wrong with one trace must not keep the others waiting.
                    self.pause_first(&due).await?;
                    outcome.failed.push((due.id, error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            served = true;
            if unreadable > 0 {
                outcome.unreadable.push((due.id, unreadable));
            }
        }
        Ok(served && self.is_due(due_us, only).await?)
    }

    /// Settles as much of a tenant as one transaction may take; when that fails, only the trace that waits longest, so
    /// that the fault is found with the one that has it.
    async fn settle_tenant(&self, due: &Due, unreadable: &mut u64) -> Result<Written, Error> {
        match self.settle_traces(due, self.options.limits.settle_traces, unreadable).await {
            Err(Error::Internal(_)) => self.settle_traces(due, 1, unreadable).await,
            outcome => outcome,
        }
    }

    async fn settle_traces(&self, due: &Due, traces: usize, unreadable: &mut u64) -> Result<Written, Error> {
        let read = self.read_traces(due, traces).await?;
        let damaged = read.damaged;
        let outcome = self.write_traces(due, read).await;
        if matches!(outcome, Ok(Written::Same | Written::Changed(_))) {
            *unreadable += damaged;
        }
        outcome
    }

    /// Beside the writer: what some traces contribute that are due.
    pub(super) async fn read_traces(&self, due: &Due, traces: usize) -> Result<Read, Error> {
        let most = self.options.limits.settle_trace;
        let mut read = self.readers.begin().await.map_err(failed)?;
        let waiting = self.waiting(&mut read, due, traces).await?;
        let batch = self.gather(&mut read, due.tenant, &waiting).await?;
        let (mut delta, mut ends, mut damaged) = (Delta::default(), Vec::new(), 0);
        for parts in parts::loads(&batch, most) {
            let (unsettled, unreadable) = load::load(&mut read, due.tenant, parts).await?;
            damaged += unreadable;
            let (mut linked, alone): (Vec<_>, Vec<_>) =
                unsettled.into_iter().partition(|part| part.linked.is_some());
            delta = settled(delta, alone, most).await?;
            while !linked.is_empty() {
                let mut page = linked.split_off(linked.len().saturating_sub(ends::PAGE));
                ends.extend(self.tell(&mut read, due.tenant, &mut page).await?);
                delta = settled(delta, page, most).await?;
            }
        }
        drop(read);
        let encode = move || {
            delta.bound();
            let blobs = delta.encode().into_iter();
            blobs.map(|(minute, blob)| Ok((minute, rollup::pack(blob)?))).collect::<Result<Vec<_>, Error>>()
        };
        Ok(Read { batch, blobs: compute(encode).await?, ends, damaged })
    }

    /// Puts it in the place of their previews.
    pub(super) async fn write_traces(&self, due: &Due, read: Read) -> Result<Written, Error> {
        let Read { batch, blobs, ends, damaged } = read;
        let mut tx = self.begin().await?;
        let outcome = self.replace(&mut tx, due, &batch, (blobs, ends), damaged).await;
        if matches!(outcome, Ok(Written::Overtaken)) {
            // Dropped without an end: what was deleted in it comes back.
            return outcome;
        }
        tx.finish(outcome).await
    }

    /// Leaves the trace of a tenant that waits longest alone for a while. Its next spans do not call for it before: it
    /// waits like one that was settled often.
    async fn pause_first(&self, due: &Due) -> Result<(), Error> {
        let now = self.options.now_us();
        let mut tx = self.begin().await?;
        let outcome = sqlx::query(
            "UPDATE large_trace SET due_us = ?3, since_us = ?4, rounds = max(rounds, ?5)
             WHERE tenant = ?1 AND (key, trace) = (
                 SELECT l.key, l.trace FROM large_trace l INDEXED BY large_trace_due
                 WHERE l.tenant = ?1 AND l.due_us IS NOT NULL AND (iif(?6, l.since_us, l.due_us) <= ?2
                        OR iif(?6, l.since_us, l.due_us) > ?2 + 86400000000)
                 ORDER BY l.due_us LIMIT 1)",
        )
        .bind(due.tenant)
        .bind(signed(due.by_us))
        .bind(signed(now.saturating_add(PAUSE_US)))
        .bind(signed(now))
        .bind(DOUBLINGS)
        .bind(due.early)
        .execute(tx.on()?)
        .await
        .map_err(failed);
        tx.finish(outcome.map(drop)).await
    }
}

/// Adds what settling some parts changes.
async fn settled(mut delta: Delta, parts: Vec<Unsettled>, most: u64) -> Result<Delta, Error> {
    compute(move || {
        for part in parts {
            delta.add(&part.settle(most));
        }
        Ok(delta)
    })
    .await
}

impl Settling {
    /// Has nothing happened that must be told?
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.failed.is_empty() && self.unreadable.is_empty()
    }
}
