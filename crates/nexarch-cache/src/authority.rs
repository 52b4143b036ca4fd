//! Where versions are true: the trait that a database adapter implements.

use crate::error::BoxError;
use crate::fence::Epoch;
use crate::key::Scope;
use async_trait::async_trait;
use std::fmt;

/// The versions of one scope as one transaction or statement saw them. A part that was never raised is 0.
///
/// Every scope has one clock, `max(old + 1, microseconds since 1970)`, so no number comes twice; each change
/// takes its next value and stores it where it belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScopeVersions {
    /// The scope's clock: the newest version given out.
    pub clock: u64,
    /// The version of the latest change of data.
    pub data: u64,
    /// The version of the latest invalidation of the whole scope.
    pub all: u64,
    /// The version of the latest invalidation of single operations, by name. Names that this cache does not have
    /// are passed over.
    pub operations: Vec<(String, u64)>,
}

/// The answer to one read of the authority.
#[derive(Clone, Debug, Default)]
pub struct TruthRead {
    /// The random number of the database.
    pub epoch: Epoch,
    /// Grows when credentials are revoked; see [`Cache::auth_version`](crate::Cache::auth_version).
    pub auth_version: u64,
    /// One for each scope asked for, in that order.
    pub scopes: Vec<ScopeVersions>,
}

/// What an invalidation makes old. The time it takes does not depend on the number of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// Everything of the scope.
    All,
    /// These operations, by name.
    Operations(Vec<String>),
}

/// Who holds the versions, transactionally: a database, or [`LocalAuthority`](crate::LocalAuthority) for a
/// program of its own.
///
/// What the cache relies on: a version is committed before its change is acknowledged, [`read`](Self::read)
/// sees everything committed before it was called (no replica that lags, no snapshot opened earlier), and the
/// clock of a scope only grows unless the database is set back.
#[async_trait]
pub trait Authority: fmt::Debug + Send + Sync + 'static {
    /// Whether every change passes through this process, which tells the cache by
    /// [`announce`](crate::Cache::announce) before it acknowledges. If so, reads need no query, but for
    /// [guests](Self::has_guests). If not, what was read is believed for one second and read again every 250 ms.
    fn sole_owner(&self) -> bool;

    /// Whether another process may commit beside a sole owner now and then, as a command does beside a server. The owner
    /// then looks for that every 250 ms, and says so by [`Cache::vouch`](crate::Cache::vouch); where no look came
    /// to its end for one second, because the process stood still or the database does not answer, reads ask before
    /// they answer. A guest that waits for one second between its commit and its acknowledgement is then seen by every
    /// read that begins after that.
    fn has_guests(&self) -> bool {
        false
    }

    /// Whether [`read`](Self::read) knows the changes of every process that shares values. Only an authority without a
    /// database between them does not; what others tell of versions is then taken as said, and nothing but the TTL
    /// bounds how old a value may be.
    fn knows_all(&self) -> bool {
        true
    }

    /// Another process was seen to have raised the scope to `version`: what is given out from now on is newer. Called
    /// only where [`knows_all`](Self::knows_all) is false.
    fn observe(&self, _scope: &Scope, _version: u64) {}

    /// The versions of `scopes` in one statement; a scope without rows is all 0. Bounded by the cache to 500 ms; when
    /// the future is dropped the next call should take a new connection, or it waits behind the one that did not answer.
    async fn read(&self, scopes: &[Scope]) -> Result<TruthRead, BoxError>;

    /// Raises the versions of `what` in one transaction and returns, once it is durable, all versions of the
    /// scope as read under the lock of its row.
    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError>;

    /// The database was set back under the epoch `seen`: replaces it by a new random one unless another process
    /// did so already, and returns the one that is in place now.
    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError>;
}
