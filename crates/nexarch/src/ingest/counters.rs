//! What came in, and what became of it, since the start of this process and of all tenants.

use std::sync::atomic::{AtomicU64, Ordering};

use nexarch_store::Error as StoreError;

use super::IngestError;
use crate::metrics::Histogram;

/// The way that spans took in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `POST /v1/traces`.
    OtlpHttp,
    /// `TraceService/Export`.
    OtlpGrpc,
    /// `POST /api/v1/ingest` and `/api/v1/ingest/batch`.
    Native,
}

impl Transport {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 3] = [Self::OtlpHttp, Self::OtlpGrpc, Self::Native];

    /// The word in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OtlpHttp => "otlp_http",
            Self::OtlpGrpc => "otlp_grpc",
            Self::Native => "native",
        }
    }
}

/// Why a batch was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Queue or byte budget full.
    QueueFull,
    /// More than all requests together may be.
    TooLarge,
    /// Over the quota of the day.
    Quota,
    /// The database failed, or is away.
    Database,
    /// The tenant is disabled or gone.
    Disabled,
    /// The server is stopping.
    Stopping,
}

impl Refusal {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 6] =
        [Self::QueueFull, Self::TooLarge, Self::Quota, Self::Database, Self::Disabled, Self::Stopping];

    /// The word in figures.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Quota => "quota",
            Self::Database => "database",
            Self::Disabled => "disabled",
            Self::Stopping => "stopping",
        }
    }
}

impl From<&IngestError> for Refusal {
    fn from(error: &IngestError) -> Self {
        match error {
            IngestError::Busy => Self::QueueFull,
            IngestError::TooMany(_) | IngestError::TooLarge => Self::TooLarge,
            IngestError::Stopping => Self::Stopping,
            IngestError::Store(StoreError::Quota { .. } | StoreError::BeyondQuota { .. }) => Self::Quota,
            IngestError::Store(StoreError::Disabled(_) | StoreError::NotFound(_)) => Self::Disabled,
            IngestError::Store(_) => Self::Database,
        }
    }
}

/// What became of the spans of one transport.
#[derive(Debug, Default)]
pub struct Taken {
    /// New spans.
    pub accepted: AtomicU64,
    /// Spans that were known.
    pub duplicate: AtomicU64,
    /// What is no valid span.
    pub failed: AtomicU64,
    /// Bytes of bodies after decompression.
    pub bytes: AtomicU64,
}

/// Everything that is counted at the door.
#[derive(Debug)]
pub struct Counters {
    taken: [Taken; Transport::ALL.len()],
    refused: [AtomicU64; Refusal::ALL.len()],
    /// Transactions of the writer.
    pub groups: AtomicU64,
    pub(crate) group_spans: Histogram,
    pub(crate) commit: Histogram,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            taken: Default::default(),
            refused: Default::default(),
            groups: AtomicU64::new(0),
            group_spans: Histogram::of_spans(),
            commit: Histogram::of_times(),
        }
    }
}

impl Counters {
    /// What came by a transport.
    pub fn of(&self, transport: Transport) -> &Taken {
        &self.taken[transport as usize]
    }

    /// Batches that were refused for this reason.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refused[refusal as usize].load(Ordering::Relaxed)
    }

    pub(super) fn note_refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a body that was read.
    pub fn received(&self, transport: Transport, bytes: usize) {
        self.of(transport).bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts spans that were answered for good.
    pub fn answered(&self, transport: Transport, accepted: u64, duplicate: u64, failed: u64) {
        let taken = self.of(transport);
        for (counter, spans) in
            [(&taken.accepted, accepted), (&taken.duplicate, duplicate), (&taken.failed, failed)]
        {
            counter.fetch_add(spans, Ordering::Relaxed);
        }
    }
}
