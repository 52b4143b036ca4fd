//! A connection that only looks whether somebody committed.

use sqlx::{ConnectOptions, Row, SqliteConnection, sqlite::SqliteConnectOptions};

use super::errors::failed;
use crate::Error;

/// Opened when first needed.
pub(super) struct Watch {
    options: SqliteConnectOptions,
    connection: Option<SqliteConnection>,
    /// `PRAGMA data_version` when it was last looked at; it moves when any other connection commits.
    seen: Option<i64>,
}

impl Watch {
    pub(super) fn new(options: SqliteConnectOptions) -> Self {
        Self { options, connection: None, seen: None }
    }

    /// Did anybody commit since the last call, our own writer included? The first answer is yes.
    pub(super) async fn moved(&mut self) -> Result<bool, Error> {
        let mut connection = if let Some(connection) = self.connection.take() {
            connection
        } else {
            self.seen = None;
            self.options.connect().await.map_err(failed)?
        };
        let row = sqlx::query("PRAGMA data_version").fetch_one(&mut connection).await.map_err(failed)?;
        let version = Some(row.try_get(0).map_err(failed)?);
        self.connection = Some(connection);
        Ok(std::mem::replace(&mut self.seen, version) != version)
    }

    /// Takes the connection out for good.
    pub(super) fn close(&mut self) -> Option<SqliteConnection> {
        self.connection.take()
    }
}
