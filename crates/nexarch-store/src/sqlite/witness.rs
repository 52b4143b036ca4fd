//! What the lock file remembers of the database, so that a file that was set back is noticed.
//!
//! A copy that `backup` made says so itself. One that was made otherwise, while the server stood still, looks just like
//! the file whose place it takes, only earlier; but the lock file beside it knows the newest clock that was given.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
};

use sqlx::{Row, SqliteConnection};

use super::{errors::failed, schema::epoch_of, versions::unsigned};
use crate::Error;

/// More is nothing of ours.
const MAX_BYTES: u64 = 128;

/// A state of a database: its epoch, and the newest clock of any tenant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct State {
    epoch: u128,
    clock: u64,
}

impl State {
    /// As the database is now.
    pub(super) async fn of(connection: &mut SqliteConnection) -> Result<Self, Error> {
        let query = sqlx::query("SELECT m.epoch, (SELECT max(clock) FROM clock) FROM meta m");
        let row = query.fetch_one(connection).await.map_err(failed)?;
        Ok(Self { epoch: epoch_of(row.try_get(0).map_err(failed)?)?, clock: unsigned(&row, 1)? })
    }

    /// Was the database set back since `earlier` was noted?
    pub(super) fn is_before(self, earlier: Self) -> bool {
        self.epoch == earlier.epoch && self.clock < earlier.clock
    }
}

/// What was noted last. Nothing, or nothing readable, is no witness.
pub(super) fn recall(mut lock: &File) -> Option<State> {
    let mut text = String::new();
    lock.seek(SeekFrom::Start(0)).ok()?;
    lock.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let (epoch, clock) = text.trim_end().split_once(' ')?;
    Some(State { epoch: u128::from_str_radix(epoch, 16).ok()?, clock: clock.parse().ok()? })
}

/// Notes a state. A failure only makes the witness older.
pub(super) fn note(mut lock: &File, State { epoch, clock }: State) {
    // Of fixed length, so that no moment leaves half a number of another one.
    let text = format!("{epoch:032x} {clock:020}\n");
    if lock.seek(SeekFrom::Start(0)).is_ok() {
        lock.write_all(text.as_bytes()).ok();
    }
}
