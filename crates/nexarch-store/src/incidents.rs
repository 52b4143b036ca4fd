//! Incidents of a tenant, and what is remembered from one look for them to the next.

use nexarch_core::{
    incident::{Change, Watch},
    uptime::Masks,
};

use crate::Versions;

/// What a look for incidents found.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The revision of the watch that it began with; see [`crate::Snapshot::watch`].
    pub revision: u64,
    /// The watch as it is now.
    pub watch: Watch,
    /// What happened, in order.
    pub changes: Vec<Change>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// Somebody else looked meanwhile, or the tenant is gone: nothing was stored.
    Overtaken,
    /// No incident changed.
    Quiet,
    /// Incidents changed; the versions as committed.
    Changed(Versions),
}

/// Verdicts on a range of minutes; see [`crate::Snapshot::verdicts`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptVerdicts {
    /// By begin of the hour, minutes since the Unix epoch.
    pub hours: Vec<(u32, Masks)>,
    /// Rollup blobs by minute, of the 5 minutes in which something came that is not judged yet: all of their minutes.
    pub minutes: Vec<(u32, Vec<u8>)>,
}
