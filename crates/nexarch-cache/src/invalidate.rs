//! Making values old: announcing what was committed elsewhere, and invalidating by hand.

use crate::authority::{Invalidation, ScopeVersions};
use crate::cache::{Cache, Inner};
use crate::clock::BootTime;
use crate::coherence::Reach;
use crate::error::{BoxError, Error, SharedError};
use crate::fence::Epoch;
use crate::key::Scope;
use crate::operation::OperationId;
use crate::stats::Cause;
use crate::tenants::Tenant;
use crate::truth::DEADLINE;
use std::time::Duration;

/// How long the authority may take to commit an invalidation. Long, because what it brings after that is announced to
/// nobody; who waits for it has less patience.
const COMMIT_LIMIT: Duration = Duration::from_mins(1);

/// What a committed transaction changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The data of the scope: every operation that depends on data.
    Data,
    /// Everything of the scope.
    All,
    /// These operations.
    Operations(Vec<OperationId>),
}

/// A committed transaction, to be announced before it is acknowledged.
#[derive(Clone, Debug)]
pub struct Commit {
    changed: Changed,
    cause: Cause,
    versions: ScopeVersions,
    read_at: Option<BootTime>,
}

impl Commit {
    /// A transaction that changed `changed` because of `cause`. Of `versions`, at least the clock and the part
    /// that it raised are filled in; a part left 0 lowers nothing.
    pub fn new(changed: Changed, cause: Cause, versions: ScopeVersions) -> Self {
        Self { changed, cause, versions, read_at: None }
    }

    /// The versions are **complete**: the transaction read all of the scope's under the lock of its row, and the
    /// statement that takes the lock was sent at or after `asked` ([`Cache::now`]). The announcement then counts
    /// as a read of the authority.
    #[must_use]
    pub fn read_at(mut self, asked: BootTime) -> Self {
        self.read_at = Some(asked);
        self
    }
}

/// An acknowledged invalidation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalidated {
    /// Every read that begins from now on contains this version.
    pub version: u64,
    /// The operations in scope, by name.
    pub operations: Vec<String>,
    /// Who was told of it by now.
    pub reach: Reach,
}

impl Cache {
    /// Tells the cache of a transaction of this process that is committed and not yet acknowledged. Whatever was
    /// computed before is not served from here on.
    ///
    /// Call it on a task that does not end with the request: a commit that is never announced is only noticed by
    /// the next read of the authority. Other nodes are told by a message, for which nobody waits.
    pub fn announce(&self, scope: &Scope, commit: &Commit) {
        self.raise_own(scope, commit);
        self.inner.tell(scope, &commit.versions);
    }

    /// This node serves nothing older from here on.
    fn raise_own(&self, scope: &Scope, commit: &Commit) {
        let inner = &self.inner;
        // Not known and no room: nothing is held of it, and its first read asks the authority.
        let Some(tenant) = inner.tenants.written(scope) else { return };
        let parts = inner.parts(&commit.versions);
        let behind = tenant.mirror.behind(&parts);
        tenant.mirror.raise(&parts);
        // Before the first read the epoch is not known, and so nothing is complete.
        if let Some(asked) = commit.read_at
            && tenant.mirror.epoch() != Epoch::default()
            && !behind
        {
            tenant.mirror.complete(commit.versions.clock, asked);
        }
        if let Some(checker) = &inner.checker {
            checker.acknowledged(scope, tenant.mirror.epoch(), &commit.versions);
        }
        for operation in inner.changed(&commit.changed) {
            inner.stamp(&tenant, operation, commit.cause);
        }
        inner.changes.tell();
    }

    /// Makes everything old that was computed before this call for `scope` and the operations of `what`, in a
    /// time that does not depend on how much there is. When it returns, no read of this node that begins later gets
    /// it; [`Reach`] says whether the others were told, for which it waits as long as a call to the shared tier may take,
    /// one for each 64 operations.
    ///
    /// An authority that does not answer within a minute is [`Error::Unverified`]: as after any other failure of it, the
    /// invalidation may have been committed, or be committed yet. Bring your own patience: who stops to wait
    /// (`tokio::time::timeout`) ends nothing. It is announced when it is committed, and until then nobody knows whether it
    /// was; [`Cache::distrust`] makes reads ask meanwhile.
    ///
    /// An unknown operation is an error; an empty list raises nothing and tells the newest version.
    pub async fn invalidate(
        &self,
        scope: &Scope,
        what: Invalidation,
        cause: Cause,
    ) -> Result<Invalidated, Error> {
        let operations = self.inner.resolve(&what)?;
        let name =
            |id: &OperationId| self.inner.operations.get(*id).map(|operation| operation.name.to_string());
        let names = operations.iter().map(name).collect::<Result<Vec<_>, _>>()?;
        if operations.is_empty() {
            let reach = Reach::Cluster;
            return Ok(Invalidated { version: self.version(scope).await?, operations: names, reach });
        }
        let changed = match &what {
            Invalidation::All => Changed::All,
            Invalidation::Operations(_) => Changed::Operations(operations),
        };
        // On a task of its own: committed and never announced would be worse than not done.
        let (cache, scope) = (self.clone(), scope.clone());
        let task = async move { cache.commit_invalidation(&scope, &what, changed, cause).await };
        let (version, reach) = self.inner.tracker.spawn(task).await.unwrap_or(Err(Error::Dropped))?;
        Ok(Invalidated { version, operations: names, reach })
    }

    /// The newest version of the scope that this node knows, read from the authority if need be.
    pub async fn version(&self, scope: &Scope) -> Result<u64, Error> {
        Ok(self.inner.current(scope, 0).await?.mirror.known())
    }

    async fn commit_invalidation(
        &self,
        scope: &Scope,
        what: &Invalidation,
        changed: Changed,
        cause: Cause,
    ) -> Result<(u64, Reach), Error> {
        let asked = self.now();
        let committed =
            tokio::time::timeout(COMMIT_LIMIT, self.inner.authority.invalidate(scope, what)).await;
        match committed.unwrap_or_else(|_elapsed| Err(no_answer(COMMIT_LIMIT))) {
            Ok(versions) => {
                let version = versions.clock;
                let commit = Commit::new(changed, cause, versions).read_at(asked);
                self.raise_own(scope, &commit);
                Ok((version, self.inner.publish(scope, &commit.versions).await))
            }
            Err(error) => Err(self.unconfirmed(error)),
        }
    }

    /// It may have been committed all the same: nothing is believed before it is read again.
    fn unconfirmed(&self, error: BoxError) -> Error {
        self.distrust();
        Error::Unverified(SharedError::from(error))
    }

    /// Reads the versions of every known scope again, now: another process has written to the database. Ends
    /// when they are raised; if that fails, reads ask the authority themselves until it answers.
    pub async fn refresh(&self) -> Result<(), Error> {
        let live_at = (!self.inner.sole_owner).then(|| self.now());
        let scopes = self.inner.tenants.scopes(live_at);
        if !self.inner.sole_owner {
            return self.inner.truth_read_of_many(&scopes).await.map_err(Error::Unverified);
        }
        // Its trust does not end by itself.
        let read = tokio::time::timeout(DEADLINE, self.inner.truth_read_of_many(&scopes)).await;
        let read = read.unwrap_or_else(|_elapsed| {
            Err(SharedError::from(BoxError::from(format!("not all scopes were read within {DEADLINE:?}"))))
        });
        if read.is_err() {
            self.distrust();
        }
        read.map_err(Error::Unverified)
    }

    /// A look that began at `asked` ([`Cache::now`], before the question was sent) found that no guest had committed what
    /// this cache does not know; or one had, and [`Cache::refresh`] has read it since. To be called after each such look of
    /// a sole owner that [has guests](crate::Authority::has_guests): what is known is believed for one second from `asked`.
    pub fn vouch(&self, asked: BootTime) {
        self.inner.truth.vouch(asked);
    }

    /// Nothing that was read of the authority until now is believed any more: each scope's next read asks first. For who
    /// learns, or cannot exclude, that another process has written.
    pub fn distrust(&self) {
        self.inner.truth.distrust(self.now());
    }

    /// Drops a deleted scope with its entries and counters. It may come back; it is then read anew.
    pub fn forget(&self, scope: &Scope) {
        self.inner.tenants.remove(scope);
    }
}

fn no_answer(within: Duration) -> BoxError {
    BoxError::from(format!("no answer within {within:?}"))
}

impl Inner {
    fn resolve(&self, what: &Invalidation) -> Result<Vec<OperationId>, Error> {
        match what {
            Invalidation::All => Ok(self.operations.iter().map(|(id, _)| id).collect()),
            Invalidation::Operations(names) => names.iter().map(|name| self.operations.named(name)).collect(),
        }
    }

    fn changed(&self, changed: &Changed) -> Vec<OperationId> {
        match changed {
            Changed::Operations(operations) => operations.clone(),
            Changed::All => self.operations.iter().map(|(id, _)| id).collect(),
            Changed::Data => self
                .operations
                .iter()
                .filter(|(_, operation)| operation.depends_on_data)
                .map(|(id, _)| id)
                .collect(),
        }
    }

    fn stamp(&self, tenant: &Tenant, operation: OperationId, cause: Cause) {
        if operation.index() < self.operations.len() {
            tenant.counters.invalidated(operation, self.clock.wall(), cause, cause.counts());
            self.node.invalidated(operation, cause);
        }
    }

    /// Stamps every operation of every scope.
    pub(crate) fn stamp_all(&self, cause: Cause) {
        for tenant in self.tenants.all() {
            self.operations.iter().for_each(|(operation, _)| self.stamp(&tenant, operation, cause));
        }
    }
}
