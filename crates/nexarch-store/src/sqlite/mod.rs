//! The embedded backend: one `SQLite` file, written by one connection, read by several.
//!
//! Writers take the lock at once (`BEGIN IMMEDIATE`), so a transaction decides on what it will commit against. Every
//! commit is synced (`synchronous=FULL`). A command may write beside the server; the owner's lock beside the file only
//! keeps a second *server* away.

mod anew;
mod append;
mod backup;
mod believed;
mod cells;
mod compact;
mod connect;
mod diagnostics;
mod errors;
mod incidents;
mod index;
mod keys;
mod large;
mod leftover;
mod links;
mod load;
mod minutes;
mod partition;
mod retention;
mod rollup;
mod sample;
mod schema;
mod search;
mod secrets;
mod settle;
mod snapshot;
mod store;
mod tenants;
#[cfg(test)]
mod tests;
mod trace;
mod turns;
mod usage;
mod versions;
mod watch;
mod wipe;
mod witness;
mod writer;

pub use connect::PAGE_BYTES;
pub(crate) use connect::open;

use std::{
    fs::File,
    sync::{Arc, atomic::AtomicI64},
};

use nexarch_core::{facts::Patterns, ids::TraceId};
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};
use tokio::sync::Mutex;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::{Error, Options};
use believed::Believed;
use watch::Watch;
use writer::Writer;

/// A database in a file.
pub(crate) struct Sqlite {
    writer: Mutex<Writer>,
    readers: SqlitePool,
    /// Sees commits while the writer is busy.
    watch: Mutex<Watch>,
    /// For [`crate::Store::versions`] alone: it must not wait for a reader.
    truth: SqlitePool,
    /// For [`crate::Store::find_key`] alone: who reads much must not keep others from being let in.
    keys: SqlitePool,
    /// For a connection of its own, to copy from.
    plain: SqliteConnectOptions,
    options: Options,
    patterns: Arc<std::sync::Mutex<Patterns>>,
    /// Held until the store is closed or dropped.
    lock: std::sync::Mutex<Option<File>>,
    owner: bool,
    /// Its schema, or the rules of its figures, are of an older program.
    older: bool,
    /// Seed of the trace index, different in each database.
    seed: u64,
    /// The tenant that settling served last.
    turn: AtomicI64,
    /// How late it surely is.
    believed: std::sync::Mutex<Believed>,
}

impl Sqlite {
    fn only_owner(&self, does: &'static str) -> Result<(), Error> {
        if self.owner { Ok(()) } else { Err(Error::NotOwner(does)) }
    }
}

/// The key of a trace in the index. A collision costs time, not truth: chunks hold whole ids.
fn trace_key(seed: u64, trace: TraceId) -> i64 {
    xxh3_64_with_seed(&trace.to_bytes(), seed).cast_signed()
}
