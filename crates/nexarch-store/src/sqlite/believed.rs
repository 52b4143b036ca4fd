//! How late it surely is: the wall clock, unless it may have jumped ahead.
//!
//! Old data are dropped by the clock, and what is dropped is gone. A machine that wakes up, or starts, with a clock that is
//! months ahead would lose everything in the minute until the clock is set right. So time goes on from where it was known
//! only as far as the monotonic clock did, or the newest stored span says so.

use std::sync::PoisonError;

use sqlx::{Row, SqliteConnection};

use super::{Sqlite, errors::failed};
use crate::{Error, Options};

/// How far ahead of the newest span the clock is believed: nobody may have sent anything meanwhile.
const IDLE_US: u64 = 86_400_000_000;

/// A time that was known, and the monotonic clock then; microseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Believed {
    us: u64,
    steady_us: u64,
}

impl Believed {
    /// A database without spans has nothing to lose.
    pub(super) async fn at_start(
        connection: &mut SqliteConnection,
        options: &Options,
    ) -> Result<Self, Error> {
        let now_us = options.now_us();
        let us =
            newest_us(connection).await?.map_or(now_us, |newest| now_us.min(newest.saturating_add(IDLE_US)));
        Ok(Self { us, steady_us: (options.steady_us)() })
    }
}

impl Sqlite {
    /// The time by which data are old, never later than the wall clock says.
    pub(super) async fn believed_us(&self, connection: &mut SqliteConnection) -> Result<u64, Error> {
        let newest = newest_us(connection).await?.unwrap_or(0).saturating_add(IDLE_US);
        let (now_us, steady_us) = (self.options.now_us(), (self.options.steady_us)());
        let mut believed = self.believed.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = steady_us.saturating_sub(believed.steady_us);
        let us = now_us.min(believed.us.saturating_add(passed).max(newest));
        *believed = Believed { us, steady_us };
        Ok(us)
    }
}

/// The start of the newest span of any tenant.
async fn newest_us(connection: &mut SqliteConnection) -> Result<Option<u64>, Error> {
    let query = sqlx::query("SELECT max(newest_ns) FROM tenant");
    let row = query.fetch_one(connection).await.map_err(failed)?;
    let newest: Option<i64> = row.try_get(0).map_err(failed)?;
    Ok(newest.map(|newest| newest.cast_unsigned() / 1_000))
}
