//! The store as an authority: every node opens the file itself, and reads the versions through its own connection.

use async_trait::async_trait;
use nexarch_cache::{Authority, BoxError, Epoch, Invalidation, Scope, ScopeVersions, TruthRead};
use nexarch_core::ids::TenantId;
use nexarch_store::{Options, Role, Store, Versions, open};
use std::fmt;
use std::sync::Arc;

pub(crate) struct Shared(pub(crate) Arc<dyn Store>);

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
        let tenants = scopes.iter().map(tenant).collect::<Result<Vec<_>, _>>()?;
        let truth = self.0.versions(&tenants).await?;
        Ok(TruthRead {
            epoch: epoch(truth.epoch),
            auth_version: truth.auth_version,
            scopes: truth.versions.into_iter().map(versions).collect(),
        })
    }

    async fn invalidate(&self, scope: &Scope, what: &Invalidation) -> Result<ScopeVersions, BoxError> {
        let operations = match what {
            Invalidation::All => None,
            Invalidation::Operations(names) => Some(names.as_slice()),
        };
        Ok(versions(self.0.invalidate(&tenant(scope)?, operations).await?))
    }

    async fn replace_epoch(&self, seen: Epoch) -> Result<Epoch, BoxError> {
        let current = self.0.versions(&[]).await?.epoch;
        if epoch(current) != seen {
            return Ok(epoch(current));
        }
        Ok(epoch(self.0.replace_epoch(current).await?))
    }
}
