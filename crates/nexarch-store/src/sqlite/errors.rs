//! Which failures pass by themselves.

use std::time::Duration;

use crate::{Error, chunk::Corrupt};

/// When to try again: long enough for a lock to pass, short enough for a sender to keep its batch.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Primary result codes of `SQLite` for a database that is busy, locked, out of memory, read-only, failing, full or
/// not to be opened now; and for one that is damaged or none.
const PASSING: [i32; 8] = [5, 6, 7, 8, 10, 13, 14, 15];

/// The lowest byte of a result code says what happened, the others how.
const PRIMARY: i32 = 0xff;

impl Error {
    pub(crate) fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: RETRY_AFTER }
    }
}

/// A failure of the driver in our words.
#[expect(clippy::needless_pass_by_value, reason = "it is passed to map_err")]
pub(crate) fn failed(error: sqlx::Error) -> Error {
    use sqlx::Error as E;
    let words = error.to_string();
    match &error {
        E::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok());
            match code {
                Some(code) if PASSING.contains(&(code & PRIMARY)) => Error::unavailable(words),
                _ => Error::Internal(words),
            }
        }
        E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Error::unavailable(words),
        _ => Error::Internal(words),
    }
}

impl From<Corrupt> for Error {
    fn from(corrupt: Corrupt) -> Self {
        Self::Internal(corrupt.to_string())
    }
}

impl From<nexarch_core::rollup::Corrupt> for Error {
    fn from(corrupt: nexarch_core::rollup::Corrupt) -> Self {
        Self::Internal(corrupt.to_string())
    }
}

/// Runs work that takes long off the async workers.
pub(crate) async fn compute<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(Error::Internal(format!("a computation stopped: {stopped}"))),
    }
}
