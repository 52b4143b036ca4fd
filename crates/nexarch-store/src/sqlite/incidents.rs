//! Incidents, and the watch that finds them.

use nexarch_core::{
    ids::TenantId,
    incident::{Change, Happened, Incident, Watch},
    window::Minutes,
};
use sqlx::{Row, SqliteConnection};

use super::{
    Sqlite,
    errors::failed,
    versions::{self, Raise, signed, unsigned},
    writer::Tx,
};
use crate::{Error, Looked, Noted};

/// Incidents of a range that are read, the newest: more is no list that anybody reads.
const MAX_INCIDENTS: u32 = 200;

impl Sqlite {
    /// See [`crate::Store::note_incidents`].
    pub(super) async fn keep_incidents(&self, tenant: &TenantId, looked: Looked) -> Result<Noted, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.keep_in(&mut tx, tenant, &looked).await;
        tx.finish(outcome).await
    }

    async fn keep_in(&self, tx: &mut Tx<'_>, tenant: &TenantId, looked: &Looked) -> Result<Noted, Error> {
        let connection = tx.on()?;
        let number = match super::tenants::number(connection, tenant).await {
            Ok(number) => number,
            Err(Error::NotFound(_)) => return Ok(Noted::Overtaken),
            Err(error) => return Err(error),
        };
        let written = sqlx::query(
            "INSERT INTO watching (tenant, revision, state) SELECT ?1, ?2 + 1, ?3
             WHERE coalesce((SELECT revision FROM watching WHERE tenant = ?1), 0) = ?2
             ON CONFLICT DO UPDATE SET revision = excluded.revision, state = excluded.state",
        )
        .bind(number)
        .bind(signed(looked.revision))
        .bind(text(serde_json::to_string(&looked.watch))?)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
        if written.rows_affected() == 0 {
            return Ok(Noted::Overtaken);
        }
        for change in &looked.changes {
            apply(connection, number, change).await?;
        }
        if looked.changes.is_empty() {
            return Ok(Noted::Quiet);
        }
        // Answers differ, but the newest data are as old as before.
        versions::raise(connection, tenant, Raise::Thinned, self.options.now_us()).await?;
        Ok(Noted::Changed(versions::read(connection, tenant).await?))
    }
}

async fn apply(connection: &mut SqliteConnection, tenant: i64, change: &Change) -> Result<(), Error> {
    let incident = &change.incident;
    if change.happened == Happened::Merged {
        let query = sqlx::query("DELETE FROM incident WHERE tenant = ?1 AND id = ?2");
        query.bind(tenant).bind(&incident.id).execute(connection).await.map_err(failed)?;
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO incident (tenant, id, opened, closed, body) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT DO UPDATE SET opened = excluded.opened, closed = excluded.closed, body = excluded.body",
    )
    .bind(tenant)
    .bind(&incident.id)
    .bind(incident.from)
    .bind(incident.to)
    .bind(text(serde_json::to_string(incident))?)
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

/// See [`crate::Snapshot::watch`].
pub(super) async fn watch(connection: &mut SqliteConnection, tenant: i64) -> Result<(u64, Watch), Error> {
    let query = sqlx::query("SELECT revision, state FROM watching WHERE tenant = ?1").bind(tenant);
    let Some(row) = query.fetch_optional(connection).await.map_err(failed)? else {
        return Ok((0, Watch::default()));
    };
    // One that cannot be read, such as of a newer program, begins anew.
    let watch = serde_json::from_str(row.try_get(1).map_err(failed)?).unwrap_or_default();
    Ok((unsigned(&row, 0)?, watch))
}

/// See [`crate::Snapshot::incidents`].
pub(super) async fn read(
    connection: &mut SqliteConnection,
    tenant: i64,
    range: Minutes,
) -> Result<Vec<Incident>, Error> {
    let rows = sqlx::query(
        "SELECT body FROM incident WHERE tenant = ?1 AND opened < ?3 AND (closed IS NULL OR closed > ?2)
         ORDER BY opened DESC, id LIMIT ?4",
    )
    .bind(tenant)
    .bind(range.from)
    .bind(range.to)
    .bind(MAX_INCIDENTS)
    .fetch_all(connection)
    .await
    .map_err(failed)?;
    rows.iter()
        .map(|row| {
            let body: &str = row.try_get(0).map_err(failed)?;
            serde_json::from_str(body).map_err(|error| Error::Internal(format!("a stored incident: {error}")))
        })
        .collect()
}

fn text(json: Result<String, serde_json::Error>) -> Result<String, Error> {
    json.map_err(|error| Error::Internal(error.to_string()))
}
