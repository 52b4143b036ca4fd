//! API keys: only their hashes.

use nexarch_core::ids::TenantId;
use sqlx::{Row, sqlite::SqliteRow};

use super::{
    Sqlite,
    errors::failed,
    tenants::{self, tenant_of},
    versions::{raise_auth, signed, unsigned},
    writer::Tx,
};
use crate::{Error, Key, NewKey, Scope, Tenant};

/// Each scope is a bit.
const SCOPES: [(Scope, i64); 3] = [(Scope::Ingest, 1), (Scope::Read, 2), (Scope::Admin, 4)];

impl Sqlite {
    /// See [`crate::Store::create_key`].
    pub(super) async fn insert_key(&self, key: NewKey) -> Result<Key, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.insert_key_in(&mut tx, key).await;
        tx.finish(outcome).await
    }

    async fn insert_key_in(&self, tx: &mut Tx<'_>, new: NewKey) -> Result<Key, Error> {
        let NewKey { tenant, hash, id, name, scopes, expires_us } = new;
        let created_us = self.options.now_us();
        let bits =
            SCOPES.iter().filter(|(scope, _)| scopes.contains(scope)).fold(0, |all, (_, bit)| all | bit);
        let connection = tx.on()?;
        let number = tenants::number(connection, &tenant).await?;
        let done = sqlx::query(
            "INSERT INTO api_key (id, tenant, hash, name, scopes, created_us, expires_us)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )
        .bind(&id)
        .bind(number)
        .bind(hash.as_slice())
        .bind(&name)
        .bind(bits)
        .bind(signed(created_us))
        .bind(expires_us.map(signed))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::Exists(format!("key {id}")));
        }
        raise_auth(connection).await?;
        Ok(Key { id, tenant, name, scopes: scopes_of(bits), created_us, expires_us, revoked_us: None })
    }

    /// See [`crate::Store::keys`].
    pub(super) async fn list_keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        tenants::number(&mut connection, tenant).await?;
        let rows = sqlx::query(
            "SELECT k.id, t.id, k.name, k.scopes, k.created_us, k.expires_us, k.revoked_us
             FROM api_key k JOIN tenant t ON t.number = k.tenant
             WHERE t.id = ?1 ORDER BY k.created_us, k.id",
        )
        .bind(tenant.as_str())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        rows.iter().map(key_of).collect()
    }

    /// See [`crate::Store::revoke_key`].
    pub(super) async fn end_key(&self, id: &str) -> Result<Key, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.end_key_in(&mut tx, id).await;
        tx.finish(outcome).await
    }

    async fn end_key_in(&self, tx: &mut Tx<'_>, id: &str) -> Result<Key, Error> {
        let connection = tx.on()?;
        // Of two revocations the first stays.
        let row = sqlx::query(
            "UPDATE api_key SET revoked_us = coalesce(revoked_us, ?2) WHERE id = ?1
             RETURNING id, (SELECT t.id FROM tenant t WHERE t.number = api_key.tenant), name, scopes,
                       created_us, expires_us, revoked_us",
        )
        .bind(id)
        .bind(signed(self.options.now_us()))
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
        let key =
            row.as_ref().map(key_of).transpose()?.ok_or_else(|| Error::NotFound(format!("key {id}")))?;
        raise_auth(connection).await?;
        Ok(key)
    }

    /// See [`crate::Store::find_key`].
    pub(super) async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<(Key, Tenant)>, Error> {
        let row = sqlx::query(
            "SELECT k.id, t.id, k.name, k.scopes, k.created_us, k.expires_us, k.revoked_us,
                    t.id, t.name, t.enabled, t.created_us
             FROM api_key k JOIN tenant t ON t.number = k.tenant WHERE k.hash = ?1",
        )
        .bind(hash.as_slice())
        .fetch_optional(&self.readers)
        .await
        .map_err(failed)?;
        row.map(|row| Ok((key_of(&row)?, tenant_of(&row, 7)?))).transpose()
    }
}

fn key_of(row: &SqliteRow) -> Result<Key, Error> {
    let tenant: &str = row.try_get(1).map_err(failed)?;
    let time = |column| -> Result<Option<u64>, Error> {
        let value: Option<i64> = row.try_get(column).map_err(failed)?;
        Ok(value.and_then(|value| u64::try_from(value).ok()))
    };
    Ok(Key {
        id: row.try_get(0).map_err(failed)?,
        tenant: tenant.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?,
        name: row.try_get(2).map_err(failed)?,
        scopes: scopes_of(row.try_get(3).map_err(failed)?),
        created_us: unsigned(row, 4)?,
        expires_us: time(5)?,
        revoked_us: time(6)?,
    })
}

fn scopes_of(bits: i64) -> Vec<Scope> {
    SCOPES.iter().filter(|(_, bit)| bits & bit != 0).map(|(scope, _)| *scope).collect()
}
