//! What can go wrong, told apart by what the caller does about it.

use std::sync::Arc;

/// An error of the code that the cache calls: a computation or the authority.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The same, shared by all who waited for it; `downcast_ref` finds the original type.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name outside `[a-z0-9][a-z0-9_-]*` or longer than 63 bytes.
    #[error("not a valid {what} name: {name:?} (1 to 63 of a-z 0-9 _ -, first a letter or digit)")]
    InvalidName {
        /// `scope` or `operation`.
        what: &'static str,
        /// The beginning of what was given.
        name: String,
    },
    /// The cache cannot be built like this.
    #[error("cache configuration: {0}")]
    Configuration(String),
    /// No operation of this name.
    #[error("unknown operation {name:?}; known: {}", .known.join(", "))]
    UnknownOperation {
        /// The name asked for.
        name: String,
        /// Every name there is.
        known: Vec<String>,
    },
    /// A pattern longer than the limit.
    #[error("a pattern has at most {max} characters")]
    PatternTooLong {
        /// The limit, in characters.
        max: usize,
    },
    /// The minimum version asked for is newer than the authority knows.
    #[error("version {wanted} is newer than {known}, the newest there is")]
    VersionUnknown {
        /// The minimum asked for.
        wanted: u64,
        /// The newest version of the scope.
        known: u64,
    },
    /// The cache is switched off: nothing can be warmed.
    #[error("the cache is switched off")]
    Disabled,
    /// `only_if_cached`, and nothing suitable is.
    #[error("not in the cache")]
    NotCached,
    /// The authority did not say which versions are needed; it is the database that is away.
    #[error("versions could not be read: {0}")]
    Unverified(#[source] SharedError),
    /// The computation failed.
    #[error("{0}")]
    Compute(#[source] SharedError),
    /// The computation panicked; the panic itself was reported by the runtime.
    #[error("the computation panicked")]
    Panicked,
    /// The computation took longer than the operation allows ([`Operation::hard_timeout`](crate::Operation::hard_timeout))
    /// and was given up.
    #[error("the computation took longer than {limit:?} and was given up")]
    TimedOut {
        /// The operation's limit.
        limit: std::time::Duration,
    },
    /// A value of a type that does not survive its own encoding.
    #[error(
        "the value cannot be decoded ({0}); types with skipped, flattened or untagged fields cannot be stored"
    )]
    Decode(String),
    /// The computation read data older than what was committed before it began, as a lagging replica does.
    #[error("the computation saw data version {seen}, {needed} is needed")]
    Outdated {
        /// The data version it read.
        seen: u64,
        /// The data version it had to see.
        needed: u64,
    },
    /// The runtime dropped the computation: the process is shutting down.
    #[error("the computation was dropped")]
    Dropped,
}

/// What a computation answers that did not begin, for want of room, say: no failure of its operation, and not counted as one.
/// The caller gets it as any other error of the computation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotBegun(#[source] pub BoxError);

impl Error {
    /// Whether a computation began before there was this error.
    pub(crate) fn began(&self) -> bool {
        !matches!(self, Self::Compute(error) if error.is::<NotBegun>())
    }
}
