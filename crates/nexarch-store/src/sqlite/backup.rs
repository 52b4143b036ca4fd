//! A copy of the database while it is in use.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sqlx::{
    ConnectOptions, Row, SqliteConnection, raw_sql,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Sqlite, errors::failed, versions::unsigned};
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
        part.publish(file, |part, file| std::fs::hard_link(part, file))
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
    let marks = "SELECT count(*) FROM pragma_table_info('meta') WHERE name = 'copied'";
    let row = sqlx::query(marks).fetch_one(&mut copy).await.map_err(failed)?;
    // The first schema knows no mark: its copy is another database once, and not each time it is put back.
    let mark = if unsigned(&row, 0)? > 0 {
        "UPDATE meta SET copied = 1"
    } else {
        "UPDATE meta SET epoch = randomblob(16)"
    };
    raw_sql(mark).execute(&mut copy).await.map_err(failed)?;
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

    /// Gives the copy its name, by `link` where the file system knows such a thing.
    fn publish(self, file: &Path, link: impl Fn(&Path, &Path) -> io::Result<()>) -> Result<(), Error> {
        let synced = File::open(&self.0).and_then(|part| part.sync_all());
        // A second name, not a new one: that would replace a file that came meanwhile.
        let named = synced.and_then(|()| match link(&self.0, file) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => self.rename(file),
            linked => linked,
        });
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => Error::Exists(format!("the file {}", file.display())),
            _ => cannot(file, &error),
        })?;
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| cannot(folder, &error))
    }
}

impl Part {
    /// Without hard links (shares of Windows, exFAT): the name is taken by an empty file, which nobody else can have made,
    /// and then only our own file is replaced.
    fn rename(&self, file: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        std::fs::rename(&self.0, file).inspect_err(|_| {
            std::fs::remove_file(file).ok();
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What a file system without hard links says.
    fn no_link(_: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::PermissionDenied.into())
    }

    fn part_with(file: &Path, content: &str) -> Part {
        let part = Part::create(file).expect("a part");
        std::fs::write(&part.0, content).expect("written");
        part
    }

    #[test]
    fn without_hard_links_a_backup_is_renamed_and_replaces_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("copy.db");
        part_with(&file, "one").publish(&file, no_link).expect("published");
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "one");
        let refused = part_with(&file, "two").publish(&file, no_link);
        assert!(matches!(refused, Err(Error::Exists(_))), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&file).expect("it is there"), "one");
        let names: Vec<_> = std::fs::read_dir(dir.path()).expect("listed").collect();
        assert_eq!(names.len(), 1, "no part is left: {names:?}");
    }

    #[test]
    fn a_rename_that_fails_leaves_no_empty_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("copy.db");
        let part = part_with(&file, "one");
        std::fs::remove_file(&part.0).expect("removed");
        assert!(part.rename(&file).is_err());
        assert!(!file.exists(), "it would be taken for a backup");
    }
}
