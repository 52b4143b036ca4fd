//! The database: versions of scopes, and each node's way to it, which may be slow or cut.

use async_trait::async_trait;
use nexarch_cache::testing::Rng;
use nexarch_cache::{Authority, BoxError, Epoch, Invalidation, Scope, ScopeVersions, TruthRead};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Longer than the cache waits for it.
const HANGS: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct Database {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clock: u64,
    scopes: HashMap<Scope, ScopeVersions>,
}

/// One node's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    database: Arc<Database>,
    rng: Mutex<Rng>,
    faults: Mutex<Trouble>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Trouble {
    #[default]
    None,
    Slow,
    Refuses,
    Hangs,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Database {
    /// What a snapshot sees now.
    pub(crate) fn snapshot(&self, scope: &Scope) -> ScopeVersions {
        lock(&self.state).scopes.get(scope).cloned().unwrap_or_default()
    }

    fn change(&self, scope: &Scope, set: impl FnOnce(&mut ScopeVersions, u64)) -> ScopeVersions {
        let mut state = lock(&self.state);
        state.clock += 1;
        let clock = state.clock;
        let versions = state.scopes.entry(scope.clone()).or_default();
        versions.clock = clock;
        set(versions, clock);
        versions.clone()
    }
}

impl Connection {
    pub(crate) fn new(database: Arc<Database>, rng: Rng) -> Arc<Self> {
        Arc::new(Self { database, rng: Mutex::new(rng), faults: Mutex::default() })
    }

    pub(crate) fn set_trouble(&self, trouble: Trouble) {
        *lock(&self.faults) = trouble;
    }

    /// A committed change of data, or nothing.
    pub(crate) async fn commit(&self, scope: &Scope) -> Result<ScopeVersions, BoxError> {
        self.pass().await?;
        let versions = self.database.change(scope, |versions, clock| versions.data = clock);
        self.pass().await?;
        Ok(versions)
    }

    /// One half of a round trip.
    async fn pass(&self) -> Result<(), BoxError> {
        let trouble = *lock(&self.faults);
        let ms = Duration::from_millis;
        let (from, to) = match trouble {
            Trouble::None => (Duration::ZERO, ms(3)),
            Trouble::Slow => (ms(10), ms(400)),
            Trouble::Refuses => return Err("the database refuses".into()),
            Trouble::Hangs => (HANGS, HANGS),
        };
        let wait = lock(&self.rng).between(from, to);
        tokio::time::sleep(wait).await;
        if trouble == Trouble::Hangs { Err("the connection was lost".into()) } else { Ok(()) }
    }
}

#[async_trait]
impl Authority for Connection {
    fn sole_owner(&self) -> bool {
        false
    }

    async fn read(&self, scopes: &[Scope]) -> Result<TruthRead, BoxError> {
        self.pass().await?;
        let scopes = {
            let state = lock(&self.database.state);
            scopes.iter().map(|scope| state.scopes.get(scope).cloned().unwrap_or_default()).collect()
        };
        self.pass().await?;
        Ok(TruthRead { epoch: Epoch::new(7), auth_version: 0, scopes })
    }

    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError> {
        self.pass().await?;
        let versions = self.database.change(scope, |versions, clock| match what {
            Invalidation::All => versions.all = clock,
            Invalidation::Operations(names) => {
                versions.operations.retain(|(name, _)| !names.contains(name));
                versions.operations.extend(names.iter().map(|name| (name.clone(), clock)));
            }
        });
        self.pass().await?;
        Ok(versions)
    }

    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError> {
        Err(format!("nobody set the database back, and it is not {seen:?}").into())
    }
}
