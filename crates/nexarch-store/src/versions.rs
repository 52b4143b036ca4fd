//! Versions: which state of the data an answer shows.

/// All versions of one tenant; each is a value of the tenant's clock (microseconds, only growing), 0 = never.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Versions {
    /// The newest value of the clock.
    pub clock: u64,
    /// Raised by every change of what reads return.
    pub data: u64,
    /// Raised by a manual invalidation of everything.
    pub all: u64,
    /// Raised by manual invalidations of one operation.
    pub operations: Vec<(String, u64)>,
}

/// What the database says of versions at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// Random, one per database.
    pub epoch: u128,
    /// Grows with every change of tenants and keys.
    pub auth_version: u64,
    /// The versions, in the order asked for.
    pub versions: Vec<Versions>,
}
