//! The backend behind the trait.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use nexarch_core::ids::TenantId;
use sqlx::{AssertSqlSafe, Connection, Row, raw_sql};

use super::{Sqlite, connect, diagnostics, errors::failed};
use crate::{
    Appended, Batch, Error, FoundKey, Kept, Key, Looked, NewKey, Noted, Place, Retention, Rotation, Settling,
    Snapshot, Step, Store, Tenant, TenantChange, Truth, Turn, Versions,
};

/// Settings of the writing connection that durability and disk depend on.
const SETTINGS: [&str; 6] =
    ["journal_mode", "synchronous", "foreign_keys", "page_size", "wal_autocheckpoint", "max_page_count"];

#[async_trait]
impl Store for Sqlite {
    async fn append(&self, batches: Vec<Batch>) -> Result<Vec<Result<Appended, Error>>, Error> {
        self.append_group(batches).await
    }

    async fn settle(&self, due_us: u64, only: Option<&TenantId>) -> Result<Settling, Error> {
        self.settle_round(due_us, only).await
    }

    async fn unsettled(&self) -> Result<u64, Error> {
        diagnostics::unsettled(&self.readers).await
    }

    async fn note(&self, counts: Vec<(TenantId, Vec<(&'static str, u64)>)>) -> Result<(), Error> {
        self.add_counts(counts).await
    }

    async fn snapshot(&self, tenant: &TenantId) -> Result<Box<dyn Snapshot>, Error> {
        self.read(tenant).await
    }

    async fn versions(&self, tenants: &[TenantId]) -> Result<Truth, Error> {
        self.read_truth(tenants).await
    }

    async fn invalidate(&self, tenant: &TenantId, operations: Option<&[String]>) -> Result<Versions, Error> {
        self.raise_scopes(tenant, operations).await
    }

    async fn replace_epoch(&self, seen: u128) -> Result<u128, Error> {
        self.replace_epoch_now(seen).await
    }

    async fn changed_by_others(&self) -> Result<bool, Error> {
        // Never behind a long transaction: the answer bounds how stale a server may be.
        match self.writer.try_lock() {
            Ok(mut writer) => writer.changed_by_others().await,
            Err(_) => self.watch.lock().await.moved().await,
        }
    }

    fn sole_owner(&self) -> bool {
        self.owner
    }

    fn is_older(&self) -> bool {
        self.older
    }

    async fn create_tenant(&self, tenant: &TenantId, name: &str) -> Result<Tenant, Error> {
        self.insert_tenant(tenant, name).await
    }

    async fn tenants(&self) -> Result<Vec<Tenant>, Error> {
        self.list_tenants().await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Tenant, Error> {
        self.one_tenant(tenant).await
    }

    async fn tenants_after(&self, after: Option<&TenantId>, limit: u32) -> Result<Vec<Tenant>, Error> {
        self.page_of_tenants(after, limit).await
    }

    async fn change_tenant(&self, tenant: &TenantId, change: TenantChange) -> Result<Tenant, Error> {
        self.alter_tenant(tenant, change).await
    }

    async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error> {
        self.remove_tenant(tenant).await
    }

    async fn purge(&self) -> Result<Step, Error> {
        self.purge_step().await
    }

    async fn compact(&self, from: Place) -> Result<Step, Error> {
        self.compact_step(from).await
    }

    async fn retain(&self, retention: Retention) -> Result<Step, Error> {
        self.retain_step(retention).await
    }

    async fn note_retention(&self, retention: Retention) -> Result<(), Error> {
        self.remember_retention(retention).await
    }

    async fn kept(&self) -> Result<Kept, Error> {
        self.read_kept().await
    }

    async fn backup(&self, file: &Path) -> Result<(), Error> {
        self.back_up(file).await
    }

    async fn create_key(&self, key: NewKey) -> Result<Key, Error> {
        self.insert_key(key).await
    }

    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error> {
        self.list_keys(tenant).await
    }

    async fn keys_after(
        &self,
        tenant: &TenantId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<Key>, Error> {
        self.page_of_keys(tenant, after, limit).await
    }

    async fn key(&self, tenant: &TenantId, key_id: &str) -> Result<Key, Error> {
        self.one_key(tenant, key_id).await
    }

    async fn revoke_key(&self, key_id: &str) -> Result<Key, Error> {
        self.end_key(key_id).await
    }

    async fn rotate_key(&self, rotation: Rotation) -> Result<Key, Error> {
        self.replace_secret(rotation).await
    }

    async fn note_uses(&self, uses: &[(String, u64)]) -> Result<(), Error> {
        self.remember_uses(uses).await
    }

    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, Error> {
        self.key_by_hash(hash).await
    }

    async fn take_turn(&self, turn: &Turn<'_>, lease: Duration) -> Result<bool, Error> {
        self.take(turn, lease).await
    }

    async fn end_turn(&self, turn: &Turn<'_>) -> Result<(), Error> {
        self.end(turn).await
    }

    async fn note_incidents(&self, tenant: &TenantId, looked: Looked) -> Result<Noted, Error> {
        self.keep_incidents(tenant, looked).await
    }

    async fn ping(&self) -> Result<(), Error> {
        sqlx::query("SELECT 1 FROM meta").fetch_one(&self.readers).await.map_err(failed)?;
        Ok(())
    }

    async fn settings(&self) -> Result<Vec<(String, String)>, Error> {
        let mut writer = self.writer.lock().await;
        let connection = writer.connection().await?;
        let mut settings = Vec::new();
        for name in SETTINGS {
            let query = sqlx::query(AssertSqlSafe(format!("PRAGMA {name}")));
            let row = query.fetch_one(&mut *connection).await.map_err(failed)?;
            let value: String = match row.try_get::<i64, _>(0) {
                Ok(number) => number.to_string(),
                Err(_) => row.try_get(0).map_err(failed)?,
            };
            settings.push((name.to_owned(), value));
        }
        Ok(settings)
    }

    async fn close(&self) {
        // Readers first: a snapshot that is still open would keep the log from being folded in.
        connect::close([&self.readers, &self.truth, &self.keys]).await;
        if let Some(connection) = self.watch.lock().await.close() {
            connection.close().await.ok();
        }
        if let Some(mut connection) = self.writer.lock().await.close() {
            if self.owner {
                self.note_state(&mut connection).await;
                // A failure costs nothing: whoever opens the file next reads the log. A guest leaves it to the server,
                // for whose transaction it would have to wait.
                raw_sql("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await.ok();
            }
            connection.close().await.ok();
        }
        if let Ok(mut lock) = self.lock.lock() {
            *lock = None;
        }
    }
}
