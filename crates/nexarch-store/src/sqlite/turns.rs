//! Turns, one row for each kind of work.

use std::time::Duration;

use super::{Sqlite, errors::failed, versions::signed, writer::Tx};
use crate::{Error, Turn};

/// A turn that is due this much later than now was taken by a clock that was wrong.
const FUTURE_US: u64 = 86_400 * 1_000_000;

impl Sqlite {
    /// See [`crate::Store::take_turn`].
    pub(super) async fn take(&self, turn: &Turn<'_>, lease: Duration) -> Result<bool, Error> {
        let mut tx = self.begin().await?;
        let outcome = self.take_in(&mut tx, turn, lease).await;
        tx.finish(outcome).await
    }

    async fn take_in(&self, tx: &mut Tx<'_>, turn: &Turn<'_>, lease: Duration) -> Result<bool, Error> {
        let now_us = self.options.now_us();
        let length_us = u64::try_from(lease.as_micros()).unwrap_or(u64::MAX);
        let done = sqlx::query(
            "INSERT INTO turn (work, due_us, owner, expires_us, length_us, done) VALUES (?1, ?2, ?3, ?4, ?5, 0)
             ON CONFLICT DO UPDATE SET due_us = excluded.due_us, owner = excluded.owner, expires_us = excluded.expires_us,
                                       length_us = excluded.length_us, done = 0
             WHERE (due_us < excluded.due_us OR (due_us = excluded.due_us AND NOT done) OR due_us > ?6)
               AND (done OR owner = excluded.owner OR expires_us <= ?7 OR expires_us > ?7 + length_us)",
        )
        .bind(turn.work)
        .bind(signed(turn.due_us))
        .bind(turn.owner)
        .bind(signed(now_us.saturating_add(length_us)))
        .bind(signed(length_us))
        .bind(signed(now_us.saturating_add(FUTURE_US)))
        .bind(signed(now_us))
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
        Ok(done.rows_affected() > 0)
    }

    /// See [`crate::Store::end_turn`].
    pub(super) async fn end(&self, turn: &Turn<'_>) -> Result<(), Error> {
        let mut tx = self.begin().await?;
        let outcome = end_in(&mut tx, turn).await;
        tx.finish(outcome).await
    }
}

async fn end_in(tx: &mut Tx<'_>, turn: &Turn<'_>) -> Result<(), Error> {
    sqlx::query("UPDATE turn SET done = 1 WHERE work = ?1 AND due_us = ?2 AND owner = ?3")
        .bind(turn.work)
        .bind(signed(turn.due_us))
        .bind(turn.owner)
        .execute(tx.on()?)
        .await
        .map_err(failed)?;
    Ok(())
}
