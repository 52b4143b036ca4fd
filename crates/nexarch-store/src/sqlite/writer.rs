//! The one writing connection of a process, and its transactions.

use std::collections::BTreeSet;

use sqlx::{ConnectOptions, Row, SqliteConnection, raw_sql, sqlite::SqliteConnectOptions};
use tokio::sync::MutexGuard;

use super::{Sqlite, errors::failed, sample::Draws, schema};
use crate::{Error, plan::Known};

/// The writing connection with what the process remembers of the database.
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// `None` after a transaction was given up: dropping the connection is a rollback that cannot fail.
    connection: Option<SqliteConnection>,
    /// `PRAGMA data_version` of this connection when it was last looked at; it moves when others commit.
    seen: Option<i64>,
    /// Others have committed since somebody last asked.
    others: bool,
    /// Recently touched traces.
    pub(super) known: Known,
    /// Days that have tables.
    pub(super) days: Option<BTreeSet<u64>>,
    /// The first day that was not dropped; goes with `days`.
    pub(super) first_day: u64,
    /// Days that have an index of identities.
    pub(super) indexed_days: Option<BTreeSet<u64>>,
    /// Days that have a sample of traces.
    pub(super) sampled_days: Option<BTreeSet<u64>>,
    /// Which traces are in it.
    pub(super) draws: Draws,
    /// Beside a server, which another one may take the place of.
    guest: bool,
    closed: bool,
}

impl Writer {
    pub(super) async fn new(
        options: SqliteConnectOptions,
        connection: SqliteConnection,
        guest: bool,
    ) -> Result<Self, Error> {
        let (connection, known) = (Some(connection), Known::default());
        let mut this = Self {
            options,
            connection,
            seen: None,
            others: false,
            known,
            days: None,
            first_day: 0,
            indexed_days: None,
            sampled_days: None,
            draws: Draws::default(),
            guest,
            closed: false,
        };
        this.look().await?;
        this.others = false;
        Ok(this)
    }

    /// The connection, made anew when a transaction was given up.
    pub(super) async fn connection(&mut self) -> Result<&mut SqliteConnection, Error> {
        if self.closed {
            return Err(Error::unavailable("the store is closed"));
        }
        let connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            self.seen = None;
            self.options.connect().await.map_err(failed)?
        };
        Ok(self.connection.insert(connection))
    }

    /// Forgets what is remembered when another process wrote. Inside a transaction the answer holds until its end.
    async fn look(&mut self) -> Result<(), Error> {
        let connection = self.connection().await?;
        let row = sqlx::query("PRAGMA data_version").fetch_one(connection).await.map_err(failed)?;
        let version = row.try_get(0).map_err(failed)?;
        if self.seen != Some(version) {
            if self.guest && !schema::is_ours(self.connection().await?).await? {
                let upgraded =
                    "a server of another version of nexarch changed the database; use that version";
                return Err(Error::Conflict(upgraded.to_owned()));
            }
            self.seen = Some(version);
            self.others = true;
            self.forget();
        }
        Ok(())
    }

    /// Forgets what is remembered of the data.
    pub(super) fn forget(&mut self) {
        self.known = Known::default();
        self.days = None;
        self.indexed_days = None;
        self.sampled_days = None;
        self.draws = Draws::default();
    }

    /// See [`crate::Store::changed_by_others`].
    pub(super) async fn changed_by_others(&mut self) -> Result<bool, Error> {
        self.look().await?;
        Ok(std::mem::take(&mut self.others))
    }

    /// Takes the connection out for good.
    pub(super) fn close(&mut self) -> Option<SqliteConnection> {
        self.closed = true;
        self.forget();
        self.connection.take()
    }
}

impl Sqlite {
    /// Begins a transaction that holds the write lock.
    pub(super) async fn begin(&self) -> Result<Tx<'_>, Error> {
        let mut tx = Tx { writer: self.writer.lock().await, done: false };
        let connection = tx.writer.connection().await?;
        raw_sql("BEGIN IMMEDIATE").execute(connection).await.map_err(failed)?;
        tx.writer.look().await?;
        Ok(tx)
    }
}

/// A running transaction. Dropped before [`Tx::finish`] ended (a caller hung up) it is rolled back.
pub(super) struct Tx<'a> {
    pub(super) writer: MutexGuard<'a, Writer>,
    done: bool,
}

impl Tx<'_> {
    /// The connection inside the transaction; never a new one.
    pub(super) fn on(&mut self) -> Result<&mut SqliteConnection, Error> {
        self.writer.connection.as_mut().ok_or_else(|| Error::unavailable("the connection was lost"))
    }

    /// Commits what went well, making it durable and visible; rolls back what did not.
    pub(super) async fn finish<T>(mut self, outcome: Result<T, Error>) -> Result<T, Error> {
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = raw_sql(end).execute(self.on()?).await.map_err(failed);
        // A failed end leaves the rest to the drop.
        self.done = ended.is_ok();
        if outcome.is_err() {
            // What was noted on the way, such as a day that was made or dropped, has come back or gone.
            self.writer.forget();
        }
        match outcome {
            Ok(value) => ended.map(|_| value),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.writer.connection = None;
            self.writer.forget();
        }
    }
}
