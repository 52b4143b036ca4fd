//! A copy of the database while it is in use.

use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions, Row, SqliteConnection, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Sqlite, errors::failed};
use crate::Error;

impl Sqlite {
    /// See [`crate::Store::backup`].
    pub(super) async fn back_up(&self, file: &Path) -> Result<(), Error> {
        if file.exists() {
            return Err(Error::Exists(format!("the file {}", file.display())));
        }
        let part = Part::create(file)?;
        self.copy_to(&part.0).await?;
        seal(&part.0).await?;
        part.publish(file)
    }

    /// One read transaction: it sees one state, and holds up nobody.
    async fn copy_to(&self, part: &Path) -> Result<(), Error> {
        let mut source = self.plain.connect().await.map_err(failed)?;
        let target = part.to_str().ok_or_else(|| Error::Internal("the file name is not UTF-8".to_owned()))?;
        sqlx::query("VACUUM INTO ?1").bind(target).execute(&mut source).await.map_err(failed)?;
        sqlx::Connection::close(source).await.map_err(failed)
    }
}

/// Marks a copy as one, so that its first server draws a new epoch, and checks it.
async fn seal(part: &Path) -> Result<(), Error> {
    let options = SqliteConnectOptions::new()
        .filename(part)
        // No second file beside it.
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full);
    let mut copy = options.connect().await.map_err(failed)?;
    raw_sql("UPDATE meta SET copied = 1").execute(&mut copy).await.map_err(failed)?;
    check(&mut copy).await?;
    sqlx::Connection::close(copy).await.map_err(failed)
}

async fn check(copy: &mut SqliteConnection) -> Result<(), Error> {
    let row = sqlx::query("PRAGMA integrity_check(1)").fetch_one(copy).await.map_err(failed)?;
    match row.try_get(0).map_err(failed)? {
        "ok" => Ok(()),
        problem => Err(Error::Internal(format!("the copy is damaged: {problem}"))),
    }
}

/// The copy under another name, until it is whole: a file with the name asked for is a good backup. Removed when it does
/// not become one.
struct Part(PathBuf);

impl Part {
    /// For the owner alone: it holds hashes of keys, and everybody's spans.
    fn create(file: &Path) -> Result<Self, Error> {
        let mut name = file.as_os_str().to_owned();
        name.push(".part");
        let part = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
            Ok(_) => Ok(Self(part)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let busy = "another backup is being made there, or one was cut off: remove it, then repeat";
                Err(Error::Exists(format!("the file {} ({busy})", part.display())))
            }
            Err(error) => Err(cannot(&part, &error)),
        }
    }

    fn publish(self, file: &Path) -> Result<(), Error> {
        let synced = File::open(&self.0).and_then(|part| part.sync_all());
        // A second name, not a new one: that would replace a file that came meanwhile.
        synced.and_then(|()| std::fs::hard_link(&self.0, file)).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::Exists(format!("the file {}", file.display())),
            _ => cannot(file, &error),
        })?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| cannot(folder, &error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

fn cannot(file: &Path, error: &std::io::Error) -> Error {
    Error::unavailable(format!("cannot write {}: {error}", file.display()))
}
