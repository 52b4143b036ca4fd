//! What settling and diagnostics hand out.

use nexarch_core::ids::TenantId;

use crate::{Error, Versions};

/// What a round of settling did.
#[derive(Debug, Default)]
pub struct Settling {
    /// Tenants of which a number changed, with their versions as the transaction left them.
    pub changed: Vec<(TenantId, Versions)>,
    /// Traces that could not be settled, by tenant; they are left alone for an hour.
    pub failed: Vec<(TenantId, Error)>,
    /// Damaged chunks that could not be read, by tenant. They are passed over for good: what they contributed stays.
    pub unreadable: Vec<(TenantId, u64)>,
    /// More is due now.
    pub more: bool,
}

/// Counts of a tenant that are kept since its creation.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    /// Counts by name, sorted: what [`crate::Store::note`] was told, [`LATE`], [`DROPPED_UPDATES`] and
    /// [`UNREADABLE`].
    pub counts: Vec<(String, u64)>,
    /// Traces whose newest spans contribute by a preview for now.
    pub unsettled_traces: u64,
}

impl Diagnostics {
    /// A count by name; 0 when it was never noted.
    pub fn count(&self, name: &str) -> u64 {
        self.counts.iter().find(|(other, _)| other == name).map_or(0, |(_, count)| *count)
    }
}

/// New spans that started more than two hours before they were stored.
pub const LATE: &str = "late";

/// Better versions of spans that were not stored, because so many versions of the span are. They count as duplicates.
pub const DROPPED_UPDATES: &str = "dropped_updates";

/// Pairs of linked traces that are not followed, because one of the two has as many as are: what comes for one end later
/// is not looked for at the other.
pub const UNFOLLOWED_LINKS: &str = "unfollowed_links";

/// How often a damaged chunk of stored spans was met and passed over.
pub const UNREADABLE: &str = "unreadable";
