//! Tenants.

use nexarch_core::ids::TenantId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Sqlite,
    errors::failed,
    versions::{Raise, raise, raise_auth, signed, unsigned},
    writer::Tx,
};
use crate::{Error, Tenant, TenantChange};

impl Sqlite {
    /// See [`crate::Store::create_tenant`].
    pub(super) async fn insert_tenant(&self, id: &TenantId, name: &str) -> Result<Tenant, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.insert_tenant_in(&mut tx, id, name).await;
        tx.finish(outcome).await
    }

    async fn insert_tenant_in(&self, tx: &mut Tx<'_>, id: &TenantId, name: &str) -> Result<Tenant, Error> {
        let created_us = self.options.now_us();
        let connection = tx.on()?;
        let done = sqlx::query(
            "INSERT INTO tenant (id, name, enabled, created_us) VALUES (?1, ?2, 1, ?3) ON CONFLICT DO NOTHING",
        )
        .bind(id.as_str())
        .bind(name)
        .bind(signed(created_us))
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::Exists(format!("tenant {id}")));
        }
        raise_auth(connection, self.options.now_us()).await?;
        let query =
            sqlx::query("INSERT INTO clock (tenant) VALUES (?1) ON CONFLICT DO NOTHING").bind(id.as_str());
        query.execute(&mut *connection).await.map_err(failed)?;
        raise(connection, id, Raise::Clock, created_us).await?;
        Ok(Tenant { id: id.clone(), name: name.to_owned(), enabled: true, created_us })
    }

    /// See [`crate::Store::tenants`].
    pub(super) async fn list_tenants(&self) -> Result<Vec<Tenant>, Error> {
        let rows = sqlx::query("SELECT id, name, enabled, created_us FROM tenant ORDER BY id")
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(|row| tenant_of(row, 0)).collect()
    }

    /// See [`crate::Store::tenants_after`].
    pub(super) async fn page_of_tenants(
        &self,
        after: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<Tenant>, Error> {
        // No id is empty.
        let after = after.map_or("", TenantId::as_str);
        let sql = "SELECT id, name, enabled, created_us FROM tenant WHERE id > ?1 ORDER BY id LIMIT ?2";
        let query = sqlx::query(sql).bind(after).bind(limit);
        let rows = query.fetch_all(&self.readers).await.map_err(failed)?;
        rows.iter().map(|row| tenant_of(row, 0)).collect()
    }

    /// See [`crate::Store::tenant`].
    pub(super) async fn one_tenant(&self, id: &TenantId) -> Result<Tenant, Error> {
        let query = sqlx::query("SELECT id, name, enabled, created_us FROM tenant WHERE id = ?1");
        let row = query.bind(id.as_str()).fetch_optional(&self.readers).await.map_err(failed)?;
        row.map_or_else(|| Err(missing(id)), |row| tenant_of(&row, 0))
    }

    /// See [`crate::Store::change_tenant`].
    pub(super) async fn alter_tenant(&self, id: &TenantId, change: TenantChange) -> Result<Tenant, Error> {
        let mut tx = self.begin().await?;
        let outcome = alter_in(&mut tx, id, change, self.options.now_us()).await;
        tx.finish(outcome).await
    }

    /// See [`crate::Store::delete_tenant`].
    pub(super) async fn remove_tenant(&self, id: &TenantId) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let outcome = self.remove_in(&mut tx, id).await;
        tx.finish(outcome).await
    }

    async fn remove_in(&self, tx: &mut Tx<'_>, id: &TenantId) -> Result<(), Error> {
        let number = number(tx.on()?, id).await?;
        let connection = tx.on()?;
        // Keys go with their tenant. The rest is out of sight, for nothing is found without this row and its number is
        // never given again; it goes step by step (`leftover.rs`), also after a crash.
        for sql in ["DELETE FROM tenant WHERE number = ?1", "INSERT INTO purge (number) VALUES (?1)"] {
            sqlx::query(sql).bind(number).execute(&mut *connection).await.map_err(failed)?;
        }
        raise_auth(connection, self.options.now_us()).await?;
        raise(connection, id, Raise::DataAndAll, self.options.now_us()).await
    }
}

async fn alter_in(
    tx: &mut Tx<'_>,
    id: &TenantId,
    change: TenantChange,
    now_us: u64,
) -> Result<Tenant, Error> {
    let connection = tx.on()?;
    let row = sqlx::query(
        "UPDATE tenant SET name = coalesce(?2, name), enabled = coalesce(?3, enabled) WHERE id = ?1
         RETURNING id, name, enabled, created_us",
    )
    .bind(id.as_str())
    .bind(change.name)
    .bind(change.enabled)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed)?;
    let tenant = tenant_of(&row.ok_or_else(|| missing(id))?, 0)?;
    raise_auth(connection, now_us).await?;
    Ok(tenant)
}

/// The number of a tenant, enabled or not.
pub(super) async fn number(connection: &mut SqliteConnection, id: &TenantId) -> Result<i64, Error> {
    let query = sqlx::query("SELECT number FROM tenant WHERE id = ?1").bind(id.as_str());
    match query.fetch_optional(connection).await.map_err(failed)? {
        Some(row) => row.try_get(0).map_err(failed),
        None => Err(missing(id)),
    }
}

/// The error for a tenant that is not there.
pub(super) fn missing(id: &TenantId) -> Error {
    Error::NotFound(format!("tenant {id}"))
}

/// A tenant from the columns id, name, enabled, `created_us` that begin at `first`.
pub(super) fn tenant_of(row: &SqliteRow, first: usize) -> Result<Tenant, Error> {
    let id: &str = row.try_get(first).map_err(failed)?;
    Ok(Tenant {
        id: id.parse().map_err(|error| Error::Internal(format!("stored tenant: {error}")))?,
        name: row.try_get(first + 1).map_err(failed)?,
        enabled: row.try_get(first + 2).map_err(failed)?,
        created_us: unsigned(row, first + 3)?,
    })
}
