//! The store as an authority: every node opens the file itself, and reads the versions through its own connection.

use async_trait::async_trait;
use nexarch_cache::{Authority, BoxError, Epoch, Invalidation, Scope, ScopeVersions, TruthRead};
use nexarch_core::ids::TenantId;
use nexarch_store::{Options, Role, Store, Versions, open};
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

pub(crate) struct Shared {
    store: Arc<dyn Store>,
    pub(crate) way: Arc<Way>,
}

/// A node's way to the database. A file has no network that a proxy could break, so it is broken here, before every
/// statement of the node.
#[derive(Debug)]
pub(crate) struct Way(watch::Sender<Trouble>);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Trouble {
    None,
    /// Every statement fails at once.
    Refuses,
    /// No statement is answered until the trouble ends.
    Hangs,
}

impl Way {
    pub(crate) fn set(&self, trouble: Trouble) {
        self.0.send_replace(trouble);
    }

    pub(crate) fn is_free(&self) -> bool {
        *self.0.borrow() == Trouble::None
    }

    pub(crate) async fn pass(&self) -> Result<(), BoxError> {
        let mut trouble = self.0.subscribe();
        let answered = *trouble.wait_for(|trouble| *trouble != Trouble::Hangs).await?;
        if answered == Trouble::Refuses { Err("cut off from the database".into()) } else { Ok(()) }
    }
}

impl Shared {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, way: Arc::new(Way(watch::Sender::new(Trouble::None))) }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// Opens the file as one of several.
pub(crate) async fn guest(url: &str) -> Arc<dyn Store> {
    // The clock of a tenant grows by one with each change, whatever the time.
    let now_us = || 1;
    open(url, Options::new(Role::Guest, now_us)).await.expect("a database file")
}

pub(crate) fn versions(versions: Versions) -> ScopeVersions {
    ScopeVersions {
        clock: versions.clock,
        data: versions.data,
        all: versions.all,
        operations: versions.operations,
    }
}

fn tenant(scope: &Scope) -> Result<TenantId, BoxError> {
    Ok(scope.as_str().parse()?)
}

fn epoch(number: u128) -> Epoch {
    Epoch::new(u64::try_from(number & u128::from(u64::MAX)).unwrap_or(1).max(1))
}

#[async_trait]
impl Authority for Shared {
    fn sole_owner(&self) -> bool {
        false
    }

    async fn read(&self, scopes: &[Scope]) -> Result<TruthRead, BoxError> {
        self.way.pass().await?;
        let tenants = scopes.iter().map(tenant).collect::<Result<Vec<_>, _>>()?;
        let truth = self.store.versions(&tenants).await?;
        Ok(TruthRead {
            epoch: epoch(truth.epoch),
            auth_version: truth.auth_version,
            scopes: truth.versions.into_iter().map(versions).collect(),
        })
    }

    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError> {
        self.way.pass().await?;
        let operations = match what {
            Invalidation::All => None,
            Invalidation::Operations(names) => Some(names.as_slice()),
        };
        Ok(versions(self.store.invalidate(&tenant(scope)?, operations).await?))
    }

    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError> {
        self.way.pass().await?;
        let current = self.store.versions(&[]).await?.epoch;
        if epoch(current) != seen {
            return Ok(epoch(current));
        }
        Ok(epoch(self.store.replace_epoch(current).await?))
    }
}
