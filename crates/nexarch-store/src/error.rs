//! What can go wrong, by what the caller can do about it.

use std::time::Duration;

use nexarch_core::ids::TenantId;

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The thing does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// The thing exists already.
    #[error("{0} exists already")]
    Exists(String),
    /// The thing is in a state that does not allow it, in words.
    #[error("{0}")]
    Conflict(String),
    /// The tenant is disabled.
    #[error("tenant {0} is disabled")]
    Disabled(TenantId),
    /// The database is away, busy or full: nothing was stored; try again after the pause.
    #[error("the database is unavailable: {reason}")]
    Unavailable {
        /// In words, without secrets.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The batch could exceed what the tenant may send on a UTC day: nothing of it was stored.
    #[error("the quota of {quota} spans a day would be exceeded")]
    Quota {
        /// Spans of a UTC day.
        quota: u64,
        /// What is left of it: less than the batch has.
        left: u64,
        /// Time until the next UTC day.
        retry_after: Duration,
    },
    /// The batch is larger than what the tenant may send on a whole UTC day: it would be refused for ever.
    #[error("{spans} spans in one request are more than the quota of {quota} a day; send smaller batches")]
    BeyondQuota {
        /// Spans of the batch.
        spans: u64,
        /// Spans of a UTC day.
        quota: u64,
    },
    /// Only the server of a database does this.
    #[error("only the server of a database {0}")]
    NotOwner(&'static str),
    /// Stored data cannot be read, or a bug.
    #[error("the database failed: {0}")]
    Internal(String),
}

/// Why a database could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The URL names no database of this build.
    #[error("{0}")]
    Url(String),
    /// Another server has the lock.
    #[error("another nexarch server uses the database {0}; one server per file, several commands beside it")]
    Owned(String),
    /// Written by a newer version of this program.
    #[error("the database has schema {found}, this program knows up to {known}: use a newer nexarch")]
    Newer {
        /// Schema of the file.
        found: i64,
        /// Newest schema of this program.
        known: usize,
    },
    /// Written by an older version. Only a server upgrades it, because there is no way back.
    #[error(
        "the database {0} has an older schema, and a command upgrades none: make a backup (nexarch backup FILE), stop the old server if one runs, and start the server of this version once"
    )]
    Older(String),
    /// The file has several names. Each would get a log of its own, and two servers by two names would destroy it.
    #[error(
        "the database {0} has several hard links; remove the other names (or copy the file), because SQLite keeps a log beside each"
    )]
    Linked(String),
    /// The figures were made by the rules of a newer program, which this one cannot go on with.
    #[error(
        "the figures in the database were made by rules {found}, this program knows rules up to {known}: use a newer nexarch"
    )]
    NewerRules {
        /// Rules that made the rollups.
        found: i64,
        /// Rules of this program.
        known: i64,
    },
    /// The figures were made by older rules; a server makes them anew when it starts, a command does not.
    #[error(
        "the figures in the database {0} were made by an older nexarch: start the server of this version once"
    )]
    OlderRules(String),
    /// A database of something else.
    #[error("{0} is not a Nexarch database")]
    Foreign(String),
    /// The database did not work.
    #[error(transparent)]
    Database(#[from] Error),
}
