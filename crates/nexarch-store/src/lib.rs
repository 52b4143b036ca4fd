//! Truth at rest: spans, rollups, versions, tenants and keys, behind one trait.
//!
//! The only crate with SQL. Every data method takes the tenant first.

mod batch;
mod chunk;
mod error;
mod incidents;
mod options;
mod plan;
mod sampled;
mod search;
mod settling;
mod sqlite;
#[cfg(any(test, feature = "suite"))]
pub mod suite;
mod tenant;
mod turn;
mod upkeep;
mod versions;

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use nexarch_core::{
    ids::{TenantId, TraceId},
    incident::{Incident, Watch},
    trace::{Excerpt, Extent},
    window::Minutes,
};

pub use batch::{Appended, Batch, Totals};
pub use error::{Error, OpenError};
pub use incidents::{KeptVerdicts, Looked, Noted};
pub use nexarch_core::analysis::sample::Budget;
pub use options::{Options, Role};
pub use sampled::Sampled;
pub use search::{FactsFit, Found, FoundTrace, Place as SearchPlace, Search, SpanFits};
pub use settling::{DROPPED_UPDATES, Diagnostics, LATE, Settling, UNFOLLOWED_LINKS, UNREADABLE};
pub use sqlite::PAGE_BYTES;
pub use tenant::{FoundKey, Key, NewKey, Rotation, Scope, Tenant, TenantChange};
pub use turn::Turn;
pub use upkeep::{Cells, GRAINS, Kept, Place, Retention, Step};
pub use versions::{Truth, Versions};

/// Opens a database. As [`Role::Owner`] takes its lock and upgrades its schema; nobody else does, because there is no way
/// back.
///
/// `sqlite://PATH` and `sqlite:PATH` name a file, made when absent (but for [`Role::Observer`]).
pub async fn open(url: &str, options: Options) -> Result<Arc<dyn Store>, OpenError> {
    match url.split_once(':') {
        Some(("sqlite", rest)) => sqlite::open(rest, options).await,
        Some(("postgres" | "postgresql", _)) => {
            Err(OpenError::Url("postgres:// is not in this build; use sqlite://PATH".to_owned()))
        }
        // The url may hold a password: only its scheme is repeated.
        Some((scheme, _)) => {
            Err(OpenError::Url(format!("{scheme}: is no known database; use sqlite://PATH")))
        }
        None => Err(OpenError::Url("no scheme; use sqlite://PATH".to_owned())),
    }
}

/// A database of Nexarch.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Stores several batches in ONE transaction and says for each what became of it.
    ///
    /// In the transaction every touched trace is inferred again from all its stored spans and replaces its earlier
    /// contribution; of a large trace (and beyond a bound on all of them) the new spans get a preview instead, and the
    /// trace waits for [`Store::settle`]. A span known by R1 changes nothing, unless it is a better version; each tenant
    /// that gained a row gets a new data version. Of one span at most 16 versions are stored ([`DROPPED_UPDATES`]).
    /// Durable when it returns. A disabled or unknown tenant fails only its own batches. What stands in a damaged chunk is
    /// taken as if its day had been dropped ([`UNREADABLE`]): new spans of its traces are stored all the same.
    async fn append(&self, batches: Vec<Batch>) -> Result<Vec<Result<Appended, Error>>, Error>;

    /// One bounded round of settling: of some tenants in turn the traces that wait longest, if they were due by `due_us`
    /// (microseconds since the Unix epoch), as many of them, or as large a part of the first, as one transaction may take.
    /// Of `only` one tenant instead the traces that began to wait by `due_us`, due or not. A tenant gets a new data version
    /// only when a number changed. After rounds until there is no more, rollups are a function of the set of stored spans,
    /// however they arrived. Rounds with the same `due_us` end, also while spans come in: what is settled begins to wait
    /// anew.
    ///
    /// An error that comes after transactions that committed is put off: the round tells what changed and that there is
    /// more, and the next one meets the error again.
    async fn settle(&self, due_us: u64, only: Option<&TenantId>) -> Result<Settling, Error>;

    /// Traces of all tenants whose newest spans wait for [`Store::settle`], due or not.
    async fn unsettled(&self) -> Result<u64, Error>;

    /// Adds to counts of tenants, by name; a tenant that is gone is passed over. See [`Diagnostics`].
    async fn note(&self, counts: Vec<(TenantId, Vec<(&'static str, u64)>)>) -> Result<(), Error>;

    /// Opens one read transaction; its first statement has read the tenant's data version.
    async fn snapshot(&self, tenant: &TenantId) -> Result<Box<dyn Snapshot>, Error>;

    /// Epoch, `auth_version` and the versions of tenants in ONE statement, on a connection of its own.
    /// A tenant without a row has version 0 everywhere.
    async fn versions(&self, tenants: &[TenantId]) -> Result<Truth, Error>;

    /// Raises the scope versions of a tenant in one transaction and returns all its versions as committed.
    /// `None` raises the tenant-wide one.
    async fn invalidate(&self, tenant: &TenantId, operations: Option<&[String]>) -> Result<Versions, Error>;

    /// Replaces the epoch by a new random one if it still is `seen`, and returns the one in place: for a database that
    /// was set back (restored), whose old values must never be met again.
    async fn replace_epoch(&self, seen: u128) -> Result<u128, Error>;

    /// Did another process write since the last call? (`SQLite`: `PRAGMA data_version`; always true elsewhere.) Answers
    /// at once; while the writer is busy it may say yes of this process' own commits.
    async fn changed_by_others(&self) -> Result<bool, Error>;

    /// Is this process the only one that serves this database (`SQLite`)?
    fn sole_owner(&self) -> bool;

    /// Was it written by an older program, so that the next start of a server upgrades it? Only as [`Role::Observer`]
    /// such a database is open at all.
    fn is_older(&self) -> bool {
        false
    }

    /// Creates a tenant; re-creating a deleted one goes on from its clock.
    async fn create_tenant(&self, tenant: &TenantId, name: &str) -> Result<Tenant, Error>;
    /// All tenants, by id.
    async fn tenants(&self) -> Result<Vec<Tenant>, Error>;
    /// One tenant.
    async fn tenant(&self, tenant: &TenantId) -> Result<Tenant, Error>;
    /// At most `limit` tenants by id, those behind `after`.
    async fn tenants_after(&self, after: Option<&TenantId>, limit: u32) -> Result<Vec<Tenant>, Error>;
    /// Changes a tenant and returns it as it is then.
    async fn change_tenant(&self, tenant: &TenantId, change: TenantChange) -> Result<Tenant, Error>;
    /// Enables or disables a tenant.
    async fn set_tenant_enabled(&self, tenant: &TenantId, enabled: bool) -> Result<(), Error> {
        let change = TenantChange { enabled: Some(enabled), ..TenantChange::default() };
        self.change_tenant(tenant, change).await.map(drop)
    }
    /// Deletes a tenant with its keys: from here on nothing of it is found. Its clock row stays and is raised; spans and
    /// rollups go in the steps of [`Store::purge`].
    async fn delete_tenant(&self, tenant: &TenantId) -> Result<(), Error>;
    /// Removes a piece of what deleted tenants left. Repeat while [`Step::next`] says so; anybody may, at any time, also
    /// several at once. When it is done, no byte of them is left in the database (`SQLite`: nor in its log, unless
    /// somebody was reading an old state; a later call sees to that. A file of more than 32 MiB is rewritten by its next
    /// owner, up to 1 GiB: until then bytes that moved within the file may be left in unused parts of its pages).
    async fn purge(&self) -> Result<Step, Error>;

    /// Adds some rollup cells up to longer ones: minutes to 5 minutes and those to hours as soon as they are closed; the
    /// minutes go after 2 h, the 5 minutes after 48 h. No number changes, only where a range may begin and end. Begin with the default place and go on with [`Step::next`].
    /// Only the owner may.
    async fn compact(&self, from: Place) -> Result<Step, Error>;
    /// Drops a piece of what is older than `retention`. Repeat while [`Step::next`] says so. Only the owner may. Spans of a
    /// dropped day are refused from then on ([`Appended::expired`]). A wall clock that jumps ahead drops nothing
    /// ([`Step::held_back`]).
    async fn retain(&self, retention: Retention) -> Result<Step, Error>;
    /// Tells whoever opens the database how long data are kept. Only the owner may.
    async fn note_retention(&self, retention: Retention) -> Result<(), Error>;
    /// How long spans are kept, and which days are gone.
    async fn kept(&self) -> Result<Kept, Error>;
    /// Writes a consistent, checked copy of the database to a file that does not exist yet, while others read and write.
    /// A server that is started on the copy draws a new epoch.
    async fn backup(&self, file: &Path) -> Result<(), Error>;

    /// Stores a new key (only its hash).
    async fn create_key(&self, key: NewKey) -> Result<Key, Error>;
    /// The keys of a tenant, oldest first, revoked and expired ones too.
    async fn keys(&self, tenant: &TenantId) -> Result<Vec<Key>, Error>;
    /// At most `limit` of them, those behind the key `after`.
    async fn keys_after(&self, tenant: &TenantId, after: Option<&str>, limit: u32)
    -> Result<Vec<Key>, Error>;
    /// One key of a tenant; another tenant's = [`Error::NotFound`].
    async fn key(&self, tenant: &TenantId, key_id: &str) -> Result<Key, Error>;
    /// Revokes a key; unknown id = [`Error::NotFound`]. The first revocation counts.
    async fn revoke_key(&self, key_id: &str) -> Result<Key, Error>;
    /// Replaces the secret of a key. When the time of grace is over, no earlier secret of it is good any more, whatever an
    /// earlier rotation granted. [`Error::Conflict`] for a key that is revoked or expired, or of which too many replaced
    /// secrets are good still.
    async fn rotate_key(&self, rotation: Rotation) -> Result<Key, Error>;
    /// Notes when keys were last used, by id, microseconds since the Unix epoch. An earlier time than the known one, and a
    /// key that is gone, change nothing. Nobody's cache is told.
    async fn note_uses(&self, uses: &[(String, u64)]) -> Result<(), Error>;
    /// The key with this hash, of its secret or of a replaced one, and its tenant.
    async fn find_key(&self, hash: &[u8; 32]) -> Result<Option<FoundKey>, Error>;

    /// Asks for a turn, or renews its lease. It is given to one owner at a time, and for each due time until one ended
    /// it: an owner whose lease ran out before is taken for gone. False: somebody else has it, or it was done.
    async fn take_turn(&self, turn: &Turn<'_>, lease: Duration) -> Result<bool, Error>;
    /// The turn was done. Of an owner that lost it meanwhile it is none of its business any more.
    async fn end_turn(&self, turn: &Turn<'_>) -> Result<(), Error>;

    /// Keeps what a look for incidents found, in one transaction, unless somebody else looked since its watch was read. A
    /// tenant gets a new data version only when an incident changed; the time of its newest data stays.
    async fn note_incidents(&self, tenant: &TenantId, looked: Looked) -> Result<Noted, Error>;

    /// Can the database answer?
    async fn ping(&self) -> Result<(), Error>;
    /// Settings of the database that durability and disk depend on, as it reports them: name and value.
    async fn settings(&self) -> Result<Vec<(String, String)>, Error> {
        Ok(Vec::new())
    }
    /// Folds the log into the database and closes all connections.
    async fn close(&self);
}

/// One consistent read of one tenant.
#[async_trait]
pub trait Snapshot: Send {
    /// The data version that the first statement saw: microseconds since the Unix epoch, as a clock value.
    fn data_version(&self) -> u64;
    /// The data version of the newest data: [`Snapshot::data_version`], or an earlier one when since then data only were
    /// dropped or told in less detail; 0 without data.
    fn updated_us(&self) -> u64;
    /// The newest start time of an accepted span, nanoseconds since the Unix epoch; `None` without spans.
    fn newest_ns(&self) -> Option<u64>;
    /// The oldest start time of a stored span, nanoseconds since the Unix epoch; `None` when none is left.
    fn oldest_ns(&self) -> Option<u64>;
    /// Rollup blobs (see `nexarch_core::rollup`) that cover a range of minutes since the Unix epoch. No cell longer than
    /// `longest` minutes comes where shorter ones are left; where none are, and at the ends of the range, longer ones do,
    /// and [`Cells::minutes`] is wider than asked for.
    async fn cells(&mut self, range: Minutes, longest: u32) -> Result<Cells, Error>;
    /// Rollup blobs by single minutes, without those of which only longer cells are left.
    async fn minutes(&mut self, range: Minutes) -> Result<Vec<(u32, Vec<u8>)>, Error>;
    /// Verdicts on the minutes of a range, of one environment or of all together (`None`), and what is to be judged still.
    async fn verdicts(&mut self, range: Minutes, environment: Option<&str>) -> Result<KeptVerdicts, Error>;
    /// Incidents that touch a range, the newest first; at most 200.
    async fn incidents(&mut self, range: Minutes) -> Result<Vec<Incident>, Error>;
    /// What the last look for incidents left, and its revision; 0 and the default when there was none.
    async fn watch(&mut self) -> Result<(u64, Watch), Error>;
    /// A trace, each identity once: figures of all its spans, and as many of the first ones as `extent` has room for.
    /// Memory is bounded by that, not by the trace. No spans when it is unknown.
    async fn trace(&mut self, trace: TraceId, extent: Extent) -> Result<Excerpt, Error>;
    /// One page of the traces with a span that fits, newest first. Reads a bounded number of spans, so a page may be short
    /// of traces and not the last.
    async fn search(&mut self, search: Search) -> Result<Found, Error>;
    /// Whole traces whose entry starts in a range of minutes since the Unix epoch, as many as `budget` allows, each
    /// weighed by how many it stands for. Which ones does not depend on the order in which spans came, and nothing else
    /// is read. Of a window of more than a day hours in even distances are looked at.
    async fn sample(&mut self, range: Minutes, budget: Budget) -> Result<Sampled, Error>;
    /// Counts of what its senders should know.
    async fn diagnostics(&mut self) -> Result<Diagnostics, Error>;
    /// Totals since the tenant was created.
    async fn totals(&mut self) -> Result<Totals, Error>;
    /// Spans that the tenant had stored on this UTC day, better versions of known ones included.
    async fn used_today(&mut self) -> Result<u64, Error>;
}
