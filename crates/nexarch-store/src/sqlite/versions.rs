//! Versions: read in one statement, raised inside transactions.

use nexarch_core::ids::TenantId;
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};

use super::{
    Sqlite,
    errors::failed,
    schema::{self, epoch_of},
    writer::Tx,
};
use crate::{Error, Truth, Versions};

/// What a change of the clock is for.
#[derive(Clone, Copy)]
pub(super) enum Raise {
    /// Only the clock: nobody reads differently yet.
    Clock,
    /// What reads of data return, by newer data.
    Data,
    /// What reads of data return, without newer data: they were dropped, or told in less detail.
    Thinned,
    /// Everything that was computed for the tenant.
    All,
    /// Everything, and the data too: they are gone.
    DataAndAll,
}

impl Sqlite {
    /// See [`crate::Store::versions`].
    pub(super) async fn read_truth(&self, tenants: &[TenantId]) -> Result<Truth, Error> {
        // From `meta` outwards, so that epoch and auth_version come without any tenant.
        let rows = sqlx::query(
            "SELECT m.epoch, m.auth_version, a.key, c.clock, c.data, c.all_version, s.operation, s.version
             FROM meta m
             LEFT JOIN json_each(?1) a
             LEFT JOIN clock c ON c.tenant = a.value
             LEFT JOIN scope_version s ON s.tenant = a.value
             ORDER BY a.key, s.operation",
        )
        .bind(json_list(tenants.iter().map(TenantId::as_str)))
        .fetch_all(&self.truth)
        .await
        .map_err(failed)?;
        let first = rows.first().ok_or_else(|| Error::Internal("the database has no epoch".to_owned()))?;
        let epoch = epoch_of(first.try_get(0).map_err(failed)?)?;
        let mut truth = Truth {
            epoch,
            auth_version: unsigned(first, 1)?,
            versions: vec![Versions::default(); tenants.len()],
        };
        for row in &rows {
            let key: Option<i64> = row.try_get(2).map_err(failed)?;
            let place = key.and_then(|key| usize::try_from(key).ok());
            let Some(versions) = place.and_then(|place| truth.versions.get_mut(place)) else { continue };
            (versions.clock, versions.data, versions.all) =
                (unsigned(row, 3)?, unsigned(row, 4)?, unsigned(row, 5)?);
            if let Some(operation) = row.try_get(6).map_err(failed)? {
                versions.operations.push((operation, unsigned(row, 7)?));
            }
        }
        Ok(truth)
    }

    /// See [`crate::Store::replace_epoch`].
    pub(super) async fn replace_epoch_now(&self, seen: u128) -> Result<u128, Error> {
        let mut tx = self.begin().await?;
        let outcome = schema::replace_epoch(tx.on()?, seen).await;
        tx.finish(outcome).await
    }

    /// See [`crate::Store::invalidate`].
    pub(super) async fn raise_scopes(
        &self,
        tenant: &TenantId,
        operations: Option<&[String]>,
    ) -> Result<Versions, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.raise_scopes_in(&mut tx, tenant, operations).await;
        tx.finish(outcome).await
    }

    async fn raise_scopes_in(
        &self,
        tx: &mut Tx<'_>,
        tenant: &TenantId,
        operations: Option<&[String]>,
    ) -> Result<Versions, Error> {
        let connection = tx.on()?;
        super::tenants::number(connection, tenant).await?;
        match operations {
            None => raise(connection, tenant, Raise::All, self.options.now_us()).await?,
            Some([]) => {}
            Some(operations) => {
                raise(connection, tenant, Raise::Clock, self.options.now_us()).await?;
                sqlx::query(
                    "INSERT INTO scope_version (tenant, operation, version)
                     SELECT ?1, a.value, c.clock FROM json_each(?2) a, clock c WHERE c.tenant = ?1
                     ON CONFLICT DO UPDATE SET version = excluded.version",
                )
                .bind(tenant.as_str())
                .bind(json_list(operations.iter().map(String::as_str)))
                .execute(&mut *connection)
                .await
                .map_err(failed)?;
            }
        }
        read(connection, tenant).await
    }
}

/// Takes the next value of the tenant's clock, `max(old + 1, now)`, and stores it where it belongs.
pub(super) async fn raise(
    connection: &mut SqliteConnection,
    tenant: &TenantId,
    what: Raise,
    now_us: u64,
) -> Result<(), Error> {
    // All right-hand sides see the row as it was.
    let sql = match what {
        Raise::Clock => "UPDATE clock SET clock = max(clock + 1, ?2) WHERE tenant = ?1",
        Raise::Data => {
            "UPDATE clock SET clock = max(clock + 1, ?2), data = max(clock + 1, ?2),
                              updated = max(clock + 1, ?2) WHERE tenant = ?1"
        }
        Raise::Thinned => {
            "UPDATE clock SET clock = max(clock + 1, ?2), data = max(clock + 1, ?2) WHERE tenant = ?1"
        }
        Raise::All => {
            "UPDATE clock SET clock = max(clock + 1, ?2), all_version = max(clock + 1, ?2) WHERE tenant = ?1"
        }
        Raise::DataAndAll => {
            "UPDATE clock SET clock = max(clock + 1, ?2), data = max(clock + 1, ?2), updated = 0,
                              all_version = max(clock + 1, ?2) WHERE tenant = ?1"
        }
    };
    let query = sqlx::query(sql).bind(tenant.as_str()).bind(signed(now_us));
    query.execute(connection).await.map_err(failed)?;
    Ok(())
}

/// All versions of a tenant, inside a transaction.
pub(super) async fn read(connection: &mut SqliteConnection, tenant: &TenantId) -> Result<Versions, Error> {
    let rows = sqlx::query(
        "SELECT c.clock, c.data, c.all_version, s.operation, s.version
         FROM clock c LEFT JOIN scope_version s ON s.tenant = c.tenant
         WHERE c.tenant = ?1 ORDER BY s.operation",
    )
    .bind(tenant.as_str())
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    let mut versions = Versions::default();
    for row in &rows {
        (versions.clock, versions.data, versions.all) =
            (unsigned(row, 0)?, unsigned(row, 1)?, unsigned(row, 2)?);
        if let Some(operation) = row.try_get(3).map_err(failed)? {
            versions.operations.push((operation, unsigned(row, 4)?));
        }
    }
    Ok(versions)
}

/// Every change of tenants and keys is seen by it. A clock like the others: after the file was set back no number comes again.
pub(super) async fn raise_auth(connection: &mut SqliteConnection, now_us: u64) -> Result<(), Error> {
    let query = sqlx::query("UPDATE meta SET auth_version = max(auth_version + 1, ?1)").bind(signed(now_us));
    query.execute(connection).await.map_err(failed)?;
    Ok(())
}

/// A column that is never negative; NULL counts as 0.
pub(super) fn unsigned(row: &SqliteRow, column: usize) -> Result<u64, Error> {
    let value: Option<i64> = row.try_get(column).map_err(failed)?;
    u64::try_from(value.unwrap_or(0)).map_err(|_| Error::Internal("a negative number is stored".to_owned()))
}

/// For a column of 63 bits: a clock far in the future stands still instead of wrapping.
pub(super) fn signed(value: u64) -> i64 {
    // Half the range, so that `clock + 1` never overflows.
    i64::try_from(value).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// A JSON array of texts, the way to bind a list.
pub(super) fn json_list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.collect::<serde_json::Value>().to_string()
}

/// A JSON array of whole numbers.
pub(super) fn json_numbers(numbers: impl Iterator<Item = i64>) -> String {
    let mut out = String::from("[");
    for number in numbers {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(&number.to_string());
    }
    out.push(']');
    out
}
