//! What happens to keys after they were made: secrets are replaced, and uses are noted.

use sqlx::SqliteConnection;

use super::{
    Sqlite,
    errors::failed,
    keys,
    versions::{raise_auth, signed, unsigned},
    writer::Tx,
};
use crate::{Error, Key, Rotation};

/// Replaced secrets of one key that are good at once. More than that is a script that runs wild.
const MOST_REPLACED: u64 = 8;

impl Sqlite {
    /// See [`crate::Store::rotate_key`].
    pub(super) async fn replace_secret(&self, rotation: Rotation) -> Result<Key, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.replace_secret_in(&mut tx, rotation).await;
        tx.finish(outcome).await
    }

    async fn replace_secret_in(&self, tx: &mut Tx<'_>, rotation: Rotation) -> Result<Key, Error> {
        let Rotation { key_id, hash, grace_us, expires_us } = rotation;
        let now = self.options.now_us();
        let connection = tx.on()?;
        let key = keys::read(connection, &key_id).await?;
        if key.revoked_us.is_some() {
            return Err(Error::Conflict(format!("key {key_id} is revoked")));
        }
        if key.expires_us.is_some_and(|end| end <= now) {
            return Err(Error::Conflict(format!("key {key_id} has expired")));
        }
        let end = now.saturating_add(grace_us);
        make_room(connection, &key_id, now, end).await?;
        if end > now {
            keep_secret(connection, &key_id, end).await?;
        }
        sqlx::query("UPDATE api_key SET hash = ?2, expires_us = coalesce(?3, expires_us) WHERE id = ?1")
            .bind(&key_id)
            .bind(hash.as_slice())
            .bind(expires_us.map(signed))
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        raise_auth(connection, self.options.now_us()).await?;
        keys::read(connection, &key_id).await
    }

    /// See [`crate::Store::note_uses`].
    pub(super) async fn remember_uses(&self, uses: &[(String, u64)]) -> Result<(), Error> {
        if uses.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let outcome = remember_in(&mut tx, uses).await;
        tx.finish(outcome).await
    }
}

/// Ends the replaced secrets of a key by `end`, and forgets those that have ended.
async fn make_room(connection: &mut SqliteConnection, key: &str, now: u64, end: u64) -> Result<(), Error> {
    let query = sqlx::query("UPDATE old_secret SET until_us = min(until_us, ?2) WHERE key = ?1");
    query.bind(key).bind(signed(end)).execute(&mut *connection).await.map_err(failed)?;
    let query = sqlx::query("DELETE FROM old_secret WHERE key = ?1 AND until_us <= ?2");
    query.bind(key).bind(signed(now)).execute(&mut *connection).await.map_err(failed)?;
    let query = sqlx::query("SELECT count(*) FROM old_secret WHERE key = ?1").bind(key);
    let good = unsigned(&query.fetch_one(connection).await.map_err(failed)?, 0)?;
    if good >= MOST_REPLACED {
        return Err(Error::Conflict(format!(
            "{good} replaced secrets of key {key} are still good; rotate without grace, or wait"
        )));
    }
    Ok(())
}

/// Keeps the present secret of a key as a replaced one.
async fn keep_secret(connection: &mut SqliteConnection, key: &str, end: u64) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO old_secret (hash, key, until_us) SELECT hash, id, ?2 FROM api_key WHERE id = ?1",
    )
    .bind(key)
    .bind(signed(end))
    .execute(connection)
    .await
    .map_err(failed)?;
    Ok(())
}

async fn remember_in(tx: &mut Tx<'_>, uses: &[(String, u64)]) -> Result<(), Error> {
    for (key, at) in uses {
        sqlx::query("UPDATE api_key SET last_used_us = max(coalesce(last_used_us, 0), ?2) WHERE id = ?1")
            .bind(key)
            .bind(signed(*at))
            .execute(tx.on()?)
            .await
            .map_err(failed)?;
    }
    Ok(())
}
