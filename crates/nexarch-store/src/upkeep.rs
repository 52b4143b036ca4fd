//! Keeping a database small and quick as it ages: compaction, retention and purging, in bounded steps.

use std::time::Duration;

use nexarch_core::{ids::TenantId, window::Minutes};

use crate::Versions;

/// Lengths of rollup cells, in minutes, short to long: minutes for 2 hours, 5 minutes for 48 hours, then hours.
pub const GRAINS: [u32; 3] = [MINUTE, FIVE, HOUR];

pub(crate) const MINUTE: u32 = 1;
pub(crate) const FIVE: u32 = 5;
pub(crate) const HOUR: u32 = 60;

/// In the database only: minutes whose sums are in their cell of 5 already.
pub(crate) const KEPT: u32 = 2;

/// A cell is added up when it was closed for so long, in minutes: what comes later is added once more, and is little.
pub(crate) const CLOSED_FOR: u32 = 2;

/// Minutes are kept beside their cell of 5 until they are this old, in minutes.
pub(crate) const MINUTES_FOR: u32 = 2 * 60;

/// 5 minutes are kept beside their hour until they are this old, in minutes.
pub(crate) const FIVES_FOR: u32 = 48 * 60;

/// What one step of upkeep did, in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Step {
    /// Tenants whose reads may answer differently now, with their versions as committed.
    pub changed: Vec<(TenantId, Versions)>,
    /// Where to go on; `None` when nothing is left to do.
    pub next: Option<Place>,
    /// What could not be read and was left as it is.
    pub skipped: u64,
    /// The wall clock is more than an hour ahead of what can be believed, so less was dropped than it says.
    pub held_back: bool,
}

/// A place in the work of compaction; the default is its beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// Hours instead of 5 minutes.
    pub(crate) hours: bool,
    /// Behind this cell of this tenant.
    pub(crate) after: (i64, i64),
}

/// How long data are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Spans, by UTC days of their start: a day goes when all of it is older.
    pub spans: Duration,
    /// Rollups, by hours.
    pub rollups: Duration,
}

/// What a database says of how long it keeps spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// Spans that start before this (nanoseconds since the Unix epoch) are refused: days before it were dropped. 0 = none.
    pub from_ns: u64,
    /// For how long the server keeps spans, as it said last; `None` = it never did.
    pub spans: Option<Duration>,
}

/// Rollups of a range of time; see [`crate::Snapshot::cells`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// The minutes that the blobs are of: those asked for, or more where only longer cells are left.
    pub minutes: Minutes,
    /// Length of the longest cell that has no shorter ones left, in minutes; see [`GRAINS`].
    pub grain: u32,
    /// Begin of a cell (minutes since the Unix epoch) and blob, by begin. All that are of one cell add up.
    pub blobs: Vec<(u32, Vec<u8>)>,
}
