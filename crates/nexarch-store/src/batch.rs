//! What goes in, and what became of it.

use nexarch_core::{ids::TenantId, span::Span};

use crate::Versions;

/// Spans of one tenant to be stored together.
#[derive(Debug)]
pub struct Batch {
    /// Whose spans.
    pub tenant: TenantId,
    /// When that tenant was created, microseconds since the Unix epoch, for who knew it before: one of the same id that was
    /// made anew is another one, and does not get its spans. `None` = whoever has the id.
    pub created_us: Option<u64>,
    /// Valid spans.
    pub spans: Vec<Span>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appended {
    /// New spans.
    pub accepted: u64,
    /// Spans that were known by R1.
    pub duplicates: u64,
    /// Spans of days that were dropped, which were not stored: nobody knows any more whether they are new, and what they
    /// said may stand in the rollups.
    pub expired: u64,
    /// All versions of the tenant as the transaction leaves them.
    pub versions: Versions,
}

/// Totals of one tenant since its creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Spans accepted.
    pub spans: u64,
    /// Spans that were known by R1.
    pub duplicates: u64,
    /// Stored traces.
    pub traces: u64,
}
