//! A tier shared by several processes, as the cache sees it: values, short leases, and messages. Any of it may fail
//! at any moment; nothing that the cache guarantees depends on it.

use crate::fence::Epoch;
use crate::key::Scope;
use async_trait::async_trait;
use bytes::Bytes;
use std::fmt;
use std::time::{Duration, SystemTime};
use tokio::sync::{broadcast, watch};

/// A shared tier: Redis, or the faulty double of the `testing` feature.
///
/// What the cache relies on is little: **every call ends within its deadline**, and while the tier is known to be away a
/// call ends at once with [`RemoteError::Away`]. Values may vanish, come back after a failover, or be somebody else's;
/// messages may be late, doubled, lost or forged.
#[async_trait]
pub trait Remote: fmt::Debug + Send + Sync + 'static {
    /// What is known of the tier now, and every later change of it. Cheap enough to be looked at on the way of a read.
    fn status(&self) -> watch::Receiver<RemoteStatus>;

    /// Messages as they arrive, those of this process too. A receiver that lags loses the oldest: they are hints.
    fn messages(&self) -> broadcast::Receiver<Bytes>;

    /// The value of a key. One of more than `max_bytes` is [`RemoteError::TooLarge`], and what is more of it is not even
    /// sent. No value is empty: an empty one is none.
    async fn get(&self, key: &str, max_bytes: usize) -> Result<Option<Bytes>, RemoteError>;

    /// The first `bytes` of the value of a key, at least one; all of it when it is shorter.
    async fn head(&self, key: &str, bytes: usize) -> Result<Option<Bytes>, RemoteError>;

    /// Stores a value for `ttl`, milliseconds precise and at least one.
    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), RemoteError>;

    /// As [`Remote::set`], unless the key is there already; says whether it stored.
    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, RemoteError>;

    /// Sends a message to every process of the namespace.
    async fn publish(&self, message: Bytes) -> Result<(), RemoteError>;

    /// Removes the values and leases of a scope (or of the whole namespace) in small batches, without haste; says how many,
    /// also when it did not come to its end. With an `epoch`, no values that say they are of another database: it may use
    /// the same namespace, and have a scope of the same name. What time may heal it tries again, for some seconds. For
    /// operators: no guarantee needs it.
    async fn remove(&self, scope: Option<&Scope>, epoch: Option<Epoch>) -> Removed;

    /// What the tier says of itself: memory, clients, evictions. Names as the server gives them.
    async fn server_info(&self) -> Result<Vec<(String, String)>, RemoteError>;

    /// Ends its connections. Later calls are [`RemoteError::Away`].
    async fn close(&self);
}

/// What a removal did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Values and leases that are gone by it.
    pub keys: u64,
    /// Why it ended before all were; `None` when it came to its end.
    pub error: Option<RemoteError>,
}

/// One that removes all or nothing.
impl From<Result<u64, RemoteError>> for Removed {
    fn from(outcome: Result<u64, RemoteError>) -> Self {
        match outcome {
            Ok(keys) => Self { keys, error: None },
            Err(error) => Self { keys: 0, error: Some(error) },
        }
    }
}

/// Why a call to the shared tier brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// Known to be unusable: nothing was sent.
    #[error("the shared tier is away")]
    Away,
    /// No answer within the deadline. It may have been carried out.
    #[error("no answer within the deadline")]
    Timeout,
    /// The value is larger than the caller takes.
    #[error("the value is too large")]
    TooLarge,
    /// What stands under the key is not a value, but a list, say.
    #[error("what stands there is no value")]
    Foreign,
    /// The tier answered, and refused.
    #[error("refused: {0}")]
    Refused(Reason),
    /// The connection broke on the way. It may have been carried out.
    #[error("the connection broke: {0}")]
    Broken(Reason),
}

/// Why the shared tier is not usable, in one word that says nothing of hosts, tenants or secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The connection is not there yet, or broke just now; or the server is not ready (it loads its data, its cluster
    /// is incomplete).
    Connecting,
    /// Nobody listens at the address.
    Refused,
    /// No answer in time.
    Timeout,
    /// The name does not resolve.
    Dns,
    /// The TLS handshake failed: wrong authority, wrong name, plain port.
    Tls,
    /// Wrong or missing credentials, or no permission for a command that is needed.
    Auth,
    /// A replica that takes no writes.
    Readonly,
    /// Full, and nothing may be evicted.
    Oom,
    /// Something that is not Redis, or an answer that makes no sense.
    Protocol,
    /// Values are usable, messages are not.
    Messages,
}

impl Reason {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 10] = [
        Self::Connecting,
        Self::Refused,
        Self::Timeout,
        Self::Dns,
        Self::Tls,
        Self::Auth,
        Self::Readonly,
        Self::Oom,
        Self::Protocol,
        Self::Messages,
    ];

    /// The word, as health answers give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Refused => "refused",
            Self::Timeout => "timeout",
            Self::Dns => "dns",
            Self::Tls => "tls",
            Self::Auth => "auth",
            Self::Readonly => "readonly",
            Self::Oom => "oom",
            Self::Protocol => "protocol",
            Self::Messages => "messages",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether calls reach the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breaker {
    /// Yes.
    Closed,
    /// No: they end at once.
    Open,
    /// A connection is being made, a probe is under way, or one call at a time is let through, to see.
    HalfOpen,
}

impl Breaker {
    /// The word, as statistics give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// How often a tier that was usable was lost, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; Reason::ALL.len()]);

impl Losses {
    /// One more.
    pub(crate) fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    /// Losses for this reason; [`Reason::Connecting`] where it was back before one was known.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }
}

/// The state of a shared tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteStatus {
    /// Whether values can be read; also written, unless `reason` says otherwise.
    pub values: bool,
    /// Whether messages come and go.
    pub messages: bool,
    /// Why not, when one of the two is false; else [`Reason::Oom`], [`Reason::Readonly`] or [`Reason::Auth`] while
    /// writes are refused although values can be read.
    pub reason: Option<Reason>,
    /// Since when `values` and `messages` are as they are.
    pub since: SystemTime,
    /// The breaker; of a cluster, the worst of its nodes.
    pub breaker: Breaker,
    /// Connections that were replaced or came back since the start.
    pub reconnects: u64,
    /// How often its values were lost since the start.
    pub losses: Losses,
    /// How often the connection for messages was ended since the start because a message was longer than 64 KiB.
    pub floods: u64,
    /// Answer times of the tier lately, median and 99th percentile.
    pub round_trip: (Duration, Duration),
}
