//! The way of a span batch from a request to the disk: a bounded queue and one writer that groups.
//!
//! The writer owns the receiving half; handlers hold [`Ingest`] and wait for their answer. An answer means: durable,
//! and visible to every read that begins after it.

pub mod body;
mod counters;
mod group;
pub mod inflight;
mod memory;
pub mod refused;

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use nexarch_cache::{Cache, Cause, Scope};
use nexarch_core::{ids::TenantId, span::Span};
use nexarch_store::{Appended, Batch, Error as StoreError, Store};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use self::counters::{Counters, Refusal, Taken, Transport};
use self::{
    group::Gathering,
    inflight::{Budget, Full, Held},
    refused::Refused,
};
use crate::{auth::Caller, authority, stream::Hub};

/// Requests that may wait for the writer, shared out among tenants. The byte budget is the real bound; this one keeps tiny
/// requests in check.
const QUEUE_LEN: usize = 1_024;
/// Pause asked of a client that met a full queue.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Takes batches to the writer.
#[derive(Clone)]
pub struct Ingest {
    queue: mpsc::Sender<Job>,
    budget: Budget,
    /// Figures for `ingest/stats`.
    pub counters: Arc<Counters>,
    /// Figures for `ingest/diagnostics`.
    pub refused: Arc<Refused>,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Queue or byte budget full.
    #[error("the ingest queue is full; try again")]
    Busy,
    /// It alone is more than all requests together may be: it would be refused for ever.
    #[error("{0} spans in one request are too many for this server; send smaller batches")]
    TooMany(usize),
    /// Decoded it alone is more than all requests together may be.
    #[error("decoded, the request takes more memory than this server has for all; send smaller batches")]
    TooLarge,
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

struct Job {
    batch: Batch,
    scope: Scope,
    reply: oneshot::Sender<Result<Appended, IngestError>>,
    /// The request's, so that in its trace it is seen to be stored.
    span: tracing::Span,
    /// Given back when the batch is answered.
    held: Held,
}

impl Ingest {
    /// A queue and its writer; the caller spawns the writer as an essential task.
    pub fn new(max_inflight_bytes: usize) -> (Self, Writer) {
        let (sender, receiver) = mpsc::channel(QUEUE_LEN);
        let counters = Arc::<Counters>::default();
        let this = Self {
            queue: sender,
            budget: Budget::new(max_inflight_bytes, QUEUE_LEN),
            counters: Arc::clone(&counters),
            refused: Arc::default(),
        };
        (this, Writer { queue: receiver, counters })
    }

    /// A hold on the byte budget for a request of a tenant that begins.
    pub fn hold(&self, tenant: &TenantId) -> Held {
        self.budget.hold(Some(tenant))
    }

    /// The same for a request of the operator.
    pub fn hold_for_operator(&self) -> Held {
        self.budget.hold(None)
    }

    /// Bytes of requests under way.
    pub fn inflight_bytes(&self) -> usize {
        self.budget.used()
    }

    /// Most bytes of requests under way.
    pub fn max_inflight_bytes(&self) -> usize {
        self.budget.limit()
    }

    /// Batches that wait for the writer.
    pub fn queued_batches(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    /// Most of them.
    pub fn queue_limit(&self) -> usize {
        self.queue.max_capacity()
    }

    /// Counts a request that was refused.
    pub fn note(&self, tenant: Option<&TenantId>, error: &IngestError) {
        self.counters.note_refused(error.into());
        if let Some(tenant) = tenant {
            self.refused.note_error(tenant, error);
        }
    }

    /// Stores spans; returns when they are durable and visible.
    pub async fn store(
        &self,
        caller: &Caller,
        spans: Vec<Span>,
        held: Held,
    ) -> Result<Appended, IngestError> {
        let outcome = self.queued(caller, spans, held).await;
        if let Err(error) = &outcome {
            self.note(Some(&caller.tenant), error);
        }
        outcome
    }

    async fn queued(
        &self,
        caller: &Caller,
        spans: Vec<Span>,
        mut held: Held,
    ) -> Result<Appended, IngestError> {
        let decoded = memory::of(&spans);
        held.settle(decoded).map_err(|Full| {
            // What was reserved for it is given back by then, so what is held are the bytes of the body.
            let alone = held.bytes().saturating_add(decoded);
            if alone > self.budget.limit() { IngestError::TooMany(spans.len()) } else { IngestError::Busy }
        })?;
        held.enqueue().map_err(|Full| IngestError::Busy)?;
        let (reply, answer) = oneshot::channel();
        let created_us = Some(caller.tenant_created_us);
        let batch = Batch { tenant: caller.tenant.clone(), created_us, spans };
        let span = tracing::Span::current();
        match self.queue.try_send(Job { batch, scope: caller.scope.clone(), reply, span, held }) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => return Err(IngestError::Busy),
            Err(mpsc::error::TrySendError::Closed(_)) => return Err(IngestError::Stopping),
        }
        answer.await.unwrap_or(Err(IngestError::Stopping))
    }
}

/// The one writer.
pub struct Writer {
    queue: mpsc::Receiver<Job>,
    counters: Arc<Counters>,
}

impl Writer {
    /// Writes until `stop`, then what is queued already: a connection that never ends must not hold it up.
    pub(crate) async fn run(
        mut self,
        store: Arc<dyn Store>,
        cache: Cache,
        streams: Arc<Hub>,
        stop: CancellationToken,
    ) {
        let mut gathering = Gathering::default();
        loop {
            let first = tokio::select! {
                biased;
                first = self.queue.recv() => first,
                () = stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            let Some(first) = first else { return };
            let jobs = gathering.group(first, &mut self.queue).await;
            let (requests, spans) = (jobs.len(), jobs.iter().map(|job| job.batch.spans.len()).sum::<usize>());
            self.counters.groups.fetch_add(1, Ordering::Relaxed);
            self.counters.group_spans.record(spans as u64);
            write_group(&*store, &cache, &streams, &self.counters, jobs).await;
            gathering.answered(requests, self.queue.len());
        }
    }
}

async fn write_group(store: &dyn Store, cache: &Cache, streams: &Hub, counters: &Counters, jobs: Vec<Job>) {
    let mut batches = Vec::with_capacity(jobs.len());
    let mut waiting = Vec::with_capacity(jobs.len());
    // A transaction has one parent: the first of the requests that share it.
    let span = jobs.first().map_or_else(tracing::Span::none, |job| job.span.clone());
    for mut job in jobs {
        job.held.dequeue();
        waiting.push((job.scope, job.reply, job.held));
        batches.push(job.batch);
    }
    let asked_at = cache.now();
    let stored = store.append(batches).instrument(span).await;
    counters.commit.record_time(cache.now().since(asked_at));
    match stored {
        Ok(outcomes) => {
            for ((scope, reply, held), outcome) in waiting.into_iter().zip(outcomes) {
                if let Ok(appended) = &outcome {
                    // Before the answer: a read that begins after it must not meet an older value.
                    authority::announce(cache, streams, &scope, Cause::Ingest, &appended.versions, asked_at);
                }
                drop(held);
                // A caller who hung up needs no answer; the spans stay.
                let _ = reply.send(outcome.map_err(IngestError::Store));
            }
        }
        Err(error) => {
            tracing::error!(%error, batches = waiting.len(), "a group of batches was not stored");
            let alone = waiting.len() == 1;
            for (_, reply, _held) in waiting {
                let _ = reply.send(Err(IngestError::Store(again(&error, alone))));
            }
        }
    }
}

/// The same failure once more, for each caller of the group. Where several shared it, the fault may lie with another
/// one's data: they are told to come back, because a client never repeats what met a 500.
fn again(error: &StoreError, alone: bool) -> StoreError {
    match error {
        StoreError::Unavailable { reason, retry_after } => {
            StoreError::Unavailable { reason: reason.clone(), retry_after: *retry_after }
        }
        StoreError::Quota { quota, left, retry_after } => {
            StoreError::Quota { quota: *quota, left: *left, retry_after: *retry_after }
        }
        other if alone => StoreError::Internal(other.to_string()),
        other => StoreError::Unavailable { reason: other.to_string(), retry_after: RETRY_AFTER },
    }
}
