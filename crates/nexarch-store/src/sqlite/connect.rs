//! Opening: the lock, the connections and their settings.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicI64},
    time::Duration,
};

use sqlx::{
    ConnectOptions, SqliteConnection, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

use super::{
    Sqlite, believed::Believed, errors::failed, schema, watch::Watch, wipe, witness, writer::Writer,
};
use crate::{Error, OpenError, Options, Role, Store};

/// Bytes of a database page. A chunk fills many pages and wastes half of the last; an index insert rewrites one.
pub const PAGE_BYTES: u32 = 4096;

/// Read connections: as many snapshots at once; more callers wait.
const READERS: u32 = 4;

/// How long a caller waits for a read connection, or a statement for another process' lock.
const BUSY: Duration = Duration::from_secs(5);

/// How long a command waits for the lock of a busy server: its transactions come one after the other.
const GUEST_BUSY: Duration = Duration::from_secs(30);

/// Page cache of the writer, KiB: holds the part of the trace index that inserts touch.
const WRITER_CACHE_KIB: u32 = 32 << 10;

/// Page cache of a reader, KiB.
const READER_CACHE_KIB: u32 = 4 << 10;

/// Pages of the log that a commit folds into the database: 16 MiB. Less often would make reads search a longer log.
const CHECKPOINT_PAGES: u32 = 4096;

/// The log is cut to this after a burst, bytes.
const LOG_LIMIT_BYTES: u32 = 64 << 20;

/// See [`crate::open`]; `rest` is the URL behind `sqlite:`.
pub(crate) async fn open(rest: &str, options: Options) -> Result<Arc<dyn Store>, OpenError> {
    Ok(Arc::new(connect(rest, options).await?))
}

/// The backend itself.
pub(super) async fn connect(rest: &str, options: Options) -> Result<Sqlite, OpenError> {
    let path = one_name(&path_of(rest)?, options.role)?;
    let lock = match options.role {
        Role::Owner => Some(take_lock(&path)?),
        Role::Guest | Role::Observer => None,
    };
    let to_write = writer_options(&path, &options);
    let mut connection = to_write.connect().await.map_err(failed)?;
    let schema::Prepared { seed, outdated } = schema::prepare(&mut connection, &path, options.role).await?;
    if outdated && options.role == Role::Guest {
        return Err(OpenError::OlderRules(path.display().to_string()));
    }
    if let Some(lock) = &lock {
        schema::begin_anew_if_restored(&mut connection, witness::recall(lock)).await?;
        witness::note(lock, witness::State::of(&mut connection).await?);
        wipe::at_start(&mut connection).await;
    }
    let believed = Believed::at_start(&mut connection, &options).await?;
    let writer = Writer::new(to_write, connection, options.role == Role::Guest).await?;
    let reader = reader_options(&path);
    let pool = |size| {
        SqlitePoolOptions::new()
            .max_connections(size)
            .acquire_timeout(BUSY)
            .idle_timeout(None)
            .max_lifetime(None)
            // Local connections do not go away by themselves.
            .test_before_acquire(false)
            .connect_lazy_with(reader.clone())
    };
    let store = Sqlite {
        writer: Mutex::new(writer),
        readers: pool(READERS),
        truth: pool(1),
        keys: pool(1),
        watch: Mutex::new(Watch::new(reader)),
        plain: common(&path),
        owner: options.role == Role::Owner,
        older: outdated && options.role == Role::Observer,
        options,
        patterns: Arc::default(),
        lock: std::sync::Mutex::new(lock),
        seed,
        turn: AtomicI64::new(i64::MIN),
        believed: std::sync::Mutex::new(believed),
    };
    if outdated && store.owner {
        store.make_anew().await?;
    }
    Ok(store)
}

fn path_of(rest: &str) -> Result<PathBuf, OpenError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.starts_with(':') || path.contains('?') {
        return Err(OpenError::Url("a SQLite URL is sqlite://PATH: a file, without parameters".to_owned()));
    }
    Ok(path.into())
}

/// The one name of the file, whatever links lead to it: its lock and its log lie beside it. The file is made when it is not
/// there, for what is not there has no such name.
fn one_name(path: &Path, role: Role) -> Result<PathBuf, OpenError> {
    let unavailable = |error: std::io::Error| Error::unavailable(format!("{}: {error}", path.display()));
    // One that is there must not be opened here: closing it would give up the locks that this process has on it.
    if role != Role::Observer && !path.exists() {
        OpenOptions::new().append(true).create(true).mode(0o600).open(path).map_err(unavailable)?;
    }
    let file = path.canonicalize().map_err(unavailable)?;
    let found = file.metadata().map_err(unavailable)?;
    match role {
        Role::Owner if found.nlink() > 1 => return Err(OpenError::Linked(path.display().to_string())),
        // `SQLite` would write its header.
        Role::Observer if found.len() == 0 => return Err(OpenError::Foreign(path.display().to_string())),
        _ => {}
    }
    Ok(file)
}

/// The lock is of the operating system and ends with the process, however it ends.
fn take_lock(path: &Path) -> Result<File, OpenError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let unavailable = |error: std::io::Error| Error::unavailable(format!("{}: {error}", name.display()));
    // Not truncated, not removed: either would let two processes lock two files of one name.
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&name)
        .map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Owned(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(unavailable(error).into()),
    }
}

fn common(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY)
        // Statements hold names of tenants, and nobody reads a million of them.
        .disable_statement_logging()
}

fn writer_options(path: &Path, options: &Options) -> SqliteConnectOptions {
    let patience = if options.role == Role::Owner { BUSY } else { GUEST_BUSY };
    let connection = common(path)
        .busy_timeout(patience)
        .create_if_missing(options.role != Role::Observer)
        .page_size(PAGE_BYTES)
        .pragma("cache_size", format!("-{WRITER_CACHE_KIB}"))
        .pragma("wal_autocheckpoint", CHECKPOINT_PAGES.to_string())
        // What is deleted is gone, and not merely unreachable: the promise of deleting a tenant. Retention writes as
        // much once more as ingest did.
        .pragma("secure_delete", "ON")
        .pragma("journal_size_limit", LOG_LIMIT_BYTES.to_string());
    let connection =
        if options.role == Role::Observer { connection.pragma("query_only", "ON") } else { connection };
    match options.max_pages {
        Some(pages) => connection.pragma("max_page_count", pages.to_string()),
        None => connection,
    }
}

// No memory mapping: an IO error on a mapped page would kill the process instead of failing one read.
fn reader_options(path: &Path) -> SqliteConnectOptions {
    common(path).pragma("query_only", "ON").pragma("cache_size", format!("-{READER_CACHE_KIB}"))
}

impl Sqlite {
    /// Tells the lock file how far the database has come.
    pub(super) async fn note_state(&self, connection: &mut SqliteConnection) {
        let Ok(state) = witness::State::of(connection).await else { return };
        if let Ok(lock) = self.lock.lock()
            && let Some(lock) = &*lock
        {
            witness::note(lock, state);
        }
    }
}

/// Closes pools; a snapshot that is still open is waited for, but not for ever.
pub(super) async fn close(pools: [&SqlitePool; 3]) {
    let all = async {
        for pool in pools {
            pool.close().await;
        }
    };
    // Late readers cost nothing but a log that is folded in by whoever opens the file next.
    tokio::time::timeout(BUSY, all).await.ok();
}
