//! The authority of a program that has no database: versions in memory.

use crate::authority::{Authority, Invalidation, ScopeVersions, TruthRead};
use crate::clock::{Clock, SystemClock, micros};
use crate::error::BoxError;
use crate::fence::Epoch;
use crate::key::Scope;
use crate::sync::lock;
use async_trait::async_trait;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex};

/// Versions kept by this process alone.
///
/// ```
/// use nexarch_cache::{LocalAuthority, Scope};
///
/// let authority = LocalAuthority::new();
/// let acme = Scope::new("acme")?;
/// let first = authority.change_data(&acme);
/// assert!(authority.change_data(&acme).data > first.data);
/// # Ok::<(), nexarch_cache::Error>(())
/// ```
#[derive(Debug)]
pub struct LocalAuthority {
    clock: Arc<dyn Clock>,
    shared: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    epoch: Epoch,
    scopes: HashMap<Scope, ScopeVersions>,
    /// Every version of the scopes that were forgotten is at most this.
    floor: u64,
}

/// Scopes whose versions are known one by one, some 200 bytes each.
const MAX_SCOPES: usize = 100_000;

impl State {
    /// Of a scope that is not known: it may be one that was forgotten, with any version up to the floor.
    fn of(&self, scope: &Scope) -> ScopeVersions {
        let floor = self.floor;
        let unknown = || ScopeVersions { clock: floor, data: floor, all: floor, operations: Vec::new() };
        self.scopes.get(scope).cloned().unwrap_or_else(unknown)
    }

    /// The versions of a scope, to be raised. When there are too many all are forgotten: what was computed before is then
    /// old everywhere, and no version is given twice.
    fn entry(&mut self, scope: &Scope) -> &mut ScopeVersions {
        if self.scopes.len() >= MAX_SCOPES && !self.scopes.contains_key(scope) {
            self.floor =
                self.scopes.values().map(|versions| versions.clock).max().unwrap_or(0).max(self.floor);
            self.scopes.clear();
        }
        let versions = self.of(scope);
        // A copy that knows no cache: it would keep what that holds of it.
        self.scopes.entry(scope.homeless()).or_insert(versions)
    }
}

impl LocalAuthority {
    /// For one process: a new random epoch, and versions that begin at the time of the first change, so nothing
    /// that an earlier run left anywhere is ever met.
    pub fn new() -> Self {
        Self::with_clock(random_epoch(), Arc::new(SystemClock))
    }

    /// For several processes that share values under one `epoch` without sharing a database. What *another* process
    /// invalidated is usually learned from its message in milliseconds; but messages get lost, and then it may be
    /// served until its TTL ends: nothing bounds it more tightly. Values and versions of the shared tier are believed
    /// here, so whoever can write there can make reads compute. Use a database behind [`Authority`] when that is not
    /// enough.
    pub fn shared(epoch: Epoch) -> Self {
        Self { shared: true, ..Self::with_clock(epoch, Arc::new(SystemClock)) }
    }

    /// As [`LocalAuthority::shared`], with the clock that versions are taken from.
    pub fn shared_with_clock(epoch: Epoch, clock: Arc<dyn Clock>) -> Self {
        Self { shared: true, ..Self::with_clock(epoch, clock) }
    }

    /// As [`LocalAuthority::new`], with an epoch and the clock that versions are taken from.
    pub fn with_clock(epoch: Epoch, clock: Arc<dyn Clock>) -> Self {
        Self { clock, shared: false, state: Mutex::new(State { epoch, scopes: HashMap::new(), floor: 0 }) }
    }

    /// The data of `scope` have changed. Call it after the change is visible to readers, then
    /// [`announce`](crate::Cache::announce) what it returns, then acknowledge the change.
    pub fn change_data(&self, scope: &Scope) -> ScopeVersions {
        self.raise(scope, |versions, next| versions.data = next)
    }

    fn raise(&self, scope: &Scope, set: impl FnOnce(&mut ScopeVersions, u64)) -> ScopeVersions {
        let now = micros(self.clock.wall());
        let mut state = lock(&self.state);
        let versions = state.entry(scope);
        versions.clock = now.max(versions.clock.saturating_add(1));
        let next = versions.clock;
        set(versions, next);
        versions.clone()
    }
}

impl Default for LocalAuthority {
    fn default() -> Self {
        Self::new()
    }
}

/// Random enough to be of one run: the seed of the standard library's hash maps is drawn by the system.
fn random_epoch() -> Epoch {
    Epoch::new(RandomState::new().hash_one("epoch").max(1))
}

#[async_trait]
impl Authority for LocalAuthority {
    fn sole_owner(&self) -> bool {
        true
    }

    fn knows_all(&self) -> bool {
        !self.shared
    }

    fn observe(&self, scope: &Scope, version: u64) {
        let mut state = lock(&self.state);
        let versions = state.entry(scope);
        versions.clock = versions.clock.max(version);
    }

    async fn read(&self, scopes: &[Scope]) -> Result<TruthRead, BoxError> {
        let state = lock(&self.state);
        let versions = |scope| state.of(scope);
        Ok(TruthRead { epoch: state.epoch, auth_version: 0, scopes: scopes.iter().map(versions).collect() })
    }

    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError> {
        Ok(self.raise(scope, |versions, next| match what {
            Invalidation::All => versions.all = next,
            Invalidation::Operations(names) => {
                versions.operations.retain(|(name, _)| !names.contains(name));
                versions.operations.extend(names.iter().map(|name| (name.clone(), next)));
            }
        }))
    }

    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError> {
        let mut state = lock(&self.state);
        if state.epoch == seen {
            state.epoch = random_epoch();
        }
        Ok(state.epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_scopes_than_are_known_make_old_what_was_computed_and_no_version_comes_twice() {
        let authority =
            LocalAuthority::with_clock(Epoch::new(7), Arc::new(crate::clock::ManualClock::default()));
        let scope = |n: usize| Scope::new(&format!("t{n}")).unwrap();
        let first = authority.change_data(&scope(0));
        let newest = (0..5).map(|_| authority.change_data(&scope(1))).last().unwrap();
        for n in 2..MAX_SCOPES {
            authority.change_data(&scope(n));
        }
        assert_eq!(authority.read(&[scope(0)]).await.unwrap().scopes, std::slice::from_ref(&first));
        authority.change_data(&scope(MAX_SCOPES));
        assert_eq!(lock(&authority.state).scopes.len(), 1);
        let read = authority.read(&[scope(0)]).await.unwrap().scopes.remove(0);
        assert!(read.all >= newest.clock && read.data > first.data && read.clock >= read.all, "{read:?}");
        assert!(authority.change_data(&scope(0)).data > read.clock);
    }
}
