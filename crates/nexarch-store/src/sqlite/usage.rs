//! Spans stored per tenant and UTC day, and the quota on them. What counts is what takes room: a better version of a known
//! span is a row like any other.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::{
    Sqlite,
    errors::failed,
    versions::{signed, unsigned},
};
use crate::{Error, plan::Incoming};

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;

/// The UTC day of a moment.
fn day(now_us: u64) -> i64 {
    signed(now_us / DAY_US)
}

/// Time until the next UTC day, in whole seconds, at least one.
fn until_midnight(now_us: u64) -> Duration {
    Duration::from_secs((DAY_US - now_us % DAY_US).div_ceil(SECOND_US))
}

impl Sqlite {
    /// Refuses the batches of a tenant that could exceed its quota, before anything is written. A batch counts with all
    /// its spans, because which of them are known already is found out later: near its end a quota may refuse what
    /// would have fitted, but never lets more through. One that a whole day has no room for is told so: it must not come
    /// back.
    pub(super) async fn admit(
        &self,
        connection: &mut SqliteConnection,
        tenant: i64,
        incoming: &mut Incoming,
    ) -> Result<(), Error> {
        let Some(quota) = self.options.quota else { return Ok(()) };
        let now = self.options.now_us();
        let used = used(connection, tenant, now).await?;
        let retry_after = until_midnight(now);
        let refusal = |spans, left| {
            if spans > quota {
                Error::BeyondQuota { spans, quota }
            } else {
                Error::Quota { quota, left, retry_after }
            }
        };
        incoming.admit(quota.saturating_sub(used), refusal);
        Ok(())
    }

    /// Adds to what a tenant used today.
    pub(super) async fn use_up(
        &self,
        connection: &mut SqliteConnection,
        tenant: i64,
        rows: u64,
    ) -> Result<(), Error> {
        if rows == 0 {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO usage (tenant, day, spans) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET spans = spans + excluded.spans",
        )
        .bind(tenant)
        .bind(day(self.options.now_us()))
        .bind(signed(rows))
        .execute(connection)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

/// Spans that a tenant had stored on the UTC day of a moment.
pub(super) async fn used(connection: &mut SqliteConnection, tenant: i64, now_us: u64) -> Result<u64, Error> {
    let row = sqlx::query("SELECT sum(spans) FROM usage WHERE tenant = ?1 AND day = ?2")
        .bind(tenant)
        .bind(day(now_us))
        .fetch_one(connection)
        .await
        .map_err(failed)?;
    unsigned(&row, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_is_never_now() {
        assert_eq!(until_midnight(0), Duration::from_hours(24));
        assert_eq!(until_midnight(DAY_US - 1), Duration::from_secs(1));
        assert_eq!(until_midnight(DAY_US + 1), Duration::from_hours(24));
        assert_eq!((day(DAY_US - 1), day(DAY_US)), (0, 1));
    }
}
