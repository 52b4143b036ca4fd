//! Counts by name, kept per tenant.

use nexarch_core::ids::TenantId;
use sqlx::{Row, SqliteConnection, SqlitePool};

use super::{Sqlite, errors::failed, versions::unsigned};
use crate::{Diagnostics, Error};

impl Sqlite {
    /// See [`crate::Store::note`].
    pub(super) async fn add_counts(
        &self,
        notes: Vec<(TenantId, Vec<(&'static str, u64)>)>,
    ) -> Result<(), Error> {
        if notes.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let outcome = async {
            for (tenant, counts) in notes {
                let query = sqlx::query("SELECT number FROM tenant WHERE id = ?1").bind(tenant.as_str());
                let Some(row) = query.fetch_optional(tx.on()?).await.map_err(failed)? else { continue };
                let number = row.try_get(0).map_err(failed)?;
                for (name, count) in counts {
                    add(tx.on()?, number, name, count).await?;
                }
            }
            Ok(())
        }
        .await;
        tx.finish(outcome).await
    }
}

/// Adds to one count.
pub(super) async fn add(
    connection: &mut SqliteConnection,
    tenant: i64,
    name: &str,
    count: u64,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO diagnostic (tenant, name, count) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )
    .bind(tenant)
    .bind(name)
    .bind(count.cast_signed())
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// Traces of all tenants that wait to be settled.
pub(super) async fn unsettled(readers: &SqlitePool) -> Result<u64, Error> {
    let sql = "SELECT count(*) FROM large_trace WHERE due_us IS NOT NULL";
    let row = sqlx::query(sql).fetch_one(readers).await.map_err(failed)?;
    unsigned(&row, 0)
}

/// All counts of a tenant.
pub(super) async fn read(connection: &mut SqliteConnection, tenant: i64) -> Result<Diagnostics, Error> {
    let rows = sqlx::query("SELECT name, count FROM diagnostic WHERE tenant = ?1 ORDER BY name")
        .bind(tenant)
        .fetch_all(&mut *connection)
        .await
        .map_err(failed)?;
    let counts = rows.iter().map(|row| Ok((row.try_get(0).map_err(failed)?, unsigned(row, 1)?)));
    let counts = counts.collect::<Result<_, Error>>()?;
    let row = sqlx::query("SELECT count(*) FROM large_trace WHERE tenant = ?1 AND due_us IS NOT NULL")
        .bind(tenant)
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    Ok(Diagnostics { counts, unsettled_traces: unsigned(&row, 0)? })
}
