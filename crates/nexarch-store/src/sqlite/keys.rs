//! API keys: only their hashes.

use nexarch_core::ids::TenantId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Sqlite,
    errors::failed,
    tenants::{self, tenant_of},
    versions::{raise_auth, signed, unsigned},
    writer::Tx,
};
use crate::{Error, FoundKey, Key, NewKey, Scope};

/// The columns of [`key_of`], with `k` for the key and `t` for its tenant.
macro_rules! columns {
    () => {
        "k.id, t.id, k.name, k.scopes, k.created_us, k.expires_us, k.revoked_us, k.last_used_us,
         (SELECT max(o.until_us) FROM old_secret o WHERE o.key = k.id)"
    };
}

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
        raise_auth(connection, self.options.now_us()).await?;
        Ok(Key {
            id,
            tenant,
            name,
            scopes: scopes_of(bits),
            created_us,
            expires_us,
            revoked_us: None,
            last_used_us: None,
            grace_until_us: None,
        })
    }

    /// See [`crate::Store::keys`].
    pub(super) async fn list_keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        tenants::number(&mut connection, tenant).await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM api_key k JOIN tenant t ON t.number = k.tenant WHERE t.id = ?1 ORDER BY k.created_us, k.id",
        ))
        .bind(tenant.as_str())
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        rows.iter().map(key_of).collect()
    }

    /// See [`crate::Store::keys_after`].
    pub(super) async fn page_of_keys(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Key>, Error> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        tenants::number(&mut connection, tenant).await?;
        // Keys are never deleted alone, so the one before the page is there.
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM api_key k JOIN tenant t ON t.number = k.tenant
             WHERE t.id = ?1 AND (?2 IS NULL OR
                   (k.created_us, k.id) > (SELECT a.created_us, a.id FROM api_key a WHERE a.id = ?2))
             ORDER BY k.created_us, k.id LIMIT ?3",
        ))
        .bind(tenant.as_str())
        .bind(after)
        .bind(limit)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
        rows.iter().map(key_of).collect()
    }

    /// See [`crate::Store::key`].
    pub(super) async fn one_key(&self, tenant: &TenantId, id: &str) -> Result<Key, Error> {
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        tenants::number(&mut connection, tenant).await?;
        let key = read(&mut connection, id).await?;
        if key.tenant == *tenant { Ok(key) } else { Err(missing(id)) }
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
        sqlx::query("UPDATE api_key SET revoked_us = coalesce(revoked_us, ?2) WHERE id = ?1")
            .bind(id)
            .bind(signed(self.options.now_us()))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        let key = read(connection, id).await?;
        raise_auth(connection, self.options.now_us()).await?;
        Ok(key)
    }

    /// See [`crate::Store::find_key`].
    pub(super) async fn key_by_hash(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, Error> {
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            ", t.id, t.name, t.enabled, t.created_us, s.until_us
             FROM (SELECT id AS key, NULL AS until_us FROM api_key WHERE hash = ?1
                   UNION ALL SELECT key, until_us FROM old_secret WHERE hash = ?1) s
             JOIN api_key k ON k.id = s.key JOIN tenant t ON t.number = k.tenant",
        ))
        .bind(hash.as_slice())
        .fetch_optional(&self.keys)
        .await
        .map_err(failed)?;
        let found = |row: SqliteRow| {
            Ok(FoundKey {
                key: key_of(&row)?,
                tenant: tenant_of(&row, 9)?,
                replaced_until_us: time(&row, 13)?,
            })
        };
        row.map(found).transpose()
    }
}

/// One key by its id, inside a transaction or not.
pub(super) async fn read(connection: &mut SqliteConnection, id: &str) -> Result<Key, Error> {
    let row = sqlx::query(concat!(
        "SELECT ",
        columns!(),
        " FROM api_key k JOIN tenant t ON t.number = k.tenant WHERE k.id = ?1",
    ))
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(failed)?;
    row.as_ref().map_or_else(|| Err(missing(id)), key_of)
}

/// The error for a key that is not there.
fn missing(id: &str) -> Error {
    Error::NotFound(format!("key {id}"))
}

/// A time that may be absent, microseconds since the Unix epoch.
fn time(row: &SqliteRow, column: usize) -> Result<Option<u64>, Error> {
    let value: Option<i64> = row.try_get(column).map_err(failed)?;
    Ok(value.and_then(|value| u64::try_from(value).ok()))
}

fn key_of(row: &SqliteRow) -> Result<Key, Error> {
    let tenant: &str = row.try_get(1).map_err(failed)?;
    Ok(Key {
        id: row.try_get(0).map_err(failed)?,
        tenant: tenant.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?,
        name: row.try_get(2).map_err(failed)?,
        scopes: scopes_of(row.try_get(3).map_err(failed)?),
        created_us: unsigned(row, 4)?,
        expires_us: time(row, 5)?,
        revoked_us: time(row, 6)?,
        last_used_us: time(row, 7)?,
        grace_until_us: time(row, 8)?,
    })
}

fn scopes_of(bits: i64) -> Vec<Scope> {
    SCOPES.iter().filter(|(_, bit)| bits & bit != 0).map(|(scope, _)| *scope).collect()
}
