//! What a read gets: the value, where it came from, and what may be said of it.

use crate::clock::BootTime;
use crate::entry::Entry;
use crate::fence::Fence;
use bytes::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Where an answer came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Found in memory.
    HitMemory {
        /// Time left to live.
        ttl: Duration,
    },
    /// Found in the tier that nodes share.
    HitRedis {
        /// Time left to live.
        ttl: Duration,
    },
    /// Found in memory, expired; the computation that replaces it goes on behind.
    Expired {
        /// Time since it expired.
        expired: Duration,
    },
    /// Found in memory, overtaken by data; the request's `max_stale` allows it.
    Overtaken {
        /// Time since its computation began: it was overtaken at most this long ago.
        age: Duration,
    },
    /// Computed for this read.
    Miss {
        /// Time to live in memory; `None` when it was not stored.
        stored: Option<Duration>,
    },
    /// Answered by a computation that another reader began.
    Collapsed,
    /// Computed because the request asked for it (`no_cache`).
    Requested {
        /// Time to live in memory; `None` when it was not stored.
        stored: Option<Duration>,
        /// Whether several such requests shared the computation, and another one of them began it.
        collapsed: bool,
    },
    /// The computation failed; an expired value stands in, newer than every invalidation.
    StaleOnError {
        /// Time since it expired.
        expired: Duration,
    },
    /// The authority does not answer; what memory has is served as it is, for operations that
    /// [allow it](crate::Operation::with_unverified). Others may have made it old.
    Unverified {
        /// Time since its computation began.
        age: Duration,
    },
    /// The cache is switched off.
    Bypass,
}

impl Outcome {
    /// The member of a `Cache-Status` header (RFC 9211) that tells it, for the cache of this name.
    ///
    /// ```
    /// use nexarch_cache::Outcome;
    /// use std::time::Duration;
    ///
    /// let hit = Outcome::HitMemory { ttl: Duration::from_secs(117) };
    /// assert_eq!(hit.cache_status("nexarch").to_string(), "nexarch; hit; detail=memory; ttl=117");
    /// ```
    pub fn cache_status(self, cache: &str) -> impl fmt::Display {
        CacheStatus { outcome: self, cache }
    }
}

impl Outcome {
    /// What it was, in one word, for logs: `hit`, `stale`, `miss`, `collapsed`, `requested` or `bypass`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::HitMemory { .. } | Self::HitRedis { .. } => "hit",
            Self::Expired { .. }
            | Self::Overtaken { .. }
            | Self::StaleOnError { .. }
            | Self::Unverified { .. } => "stale",
            Self::Miss { .. } => "miss",
            Self::Collapsed => "collapsed",
            Self::Requested { .. } => "requested",
            Self::Bypass => "bypass",
        }
    }

    /// The tier that the value came from: `memory`, `redis`, or `none` where it was computed.
    pub const fn tier(self) -> &'static str {
        match self {
            Self::HitMemory { .. }
            | Self::Expired { .. }
            | Self::Overtaken { .. }
            | Self::StaleOnError { .. }
            | Self::Unverified { .. } => "memory",
            Self::HitRedis { .. } => "redis",
            Self::Miss { .. } | Self::Collapsed | Self::Requested { .. } | Self::Bypass => "none",
        }
    }
}

struct CacheStatus<'a> {
    outcome: Outcome,
    cache: &'a str,
}

impl fmt::Display for CacheStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cache)?;
        let stored = |f: &mut fmt::Formatter<'_>, ttl: Option<Duration>| match ttl {
            Some(ttl) => write!(f, "; stored; ttl={}", ttl.as_secs()),
            None => Ok(()),
        };
        match self.outcome {
            Outcome::HitMemory { ttl } => write!(f, "; hit; detail=memory; ttl={}", ttl.as_secs()),
            Outcome::HitRedis { ttl } => write!(f, "; hit; detail=redis; ttl={}", ttl.as_secs()),
            Outcome::Expired { expired } => {
                write!(f, "; hit; detail=memory; ttl=-{}", expired.as_secs().max(1))
            }
            Outcome::Overtaken { age } => write!(f, "; hit; detail=memory; ttl=-{}", age.as_secs().max(1)),
            Outcome::Miss { stored: ttl } => {
                f.write_str("; fwd=miss")?;
                stored(f, ttl)
            }
            Outcome::Collapsed => f.write_str("; fwd=miss; collapsed"),
            Outcome::Requested { collapsed: true, .. } => f.write_str("; fwd=request; collapsed"),
            Outcome::Requested { stored: ttl, .. } => {
                f.write_str("; fwd=request")?;
                stored(f, ttl)
            }
            Outcome::StaleOnError { expired } => write!(f, "; fwd=stale; ttl=-{}", expired.as_secs().max(1)),
            // A proxy would say so of what it serves because its origin is gone: however long it had left to live.
            Outcome::Unverified { age } => write!(f, "; fwd=stale; ttl=-{}", age.as_secs().max(1)),
            Outcome::Bypass => f.write_str("; fwd=bypass"),
        }
    }
}

/// An [`Outcome`] without its times, which the entry and the moment of the answer give: an answer is four words, and
/// copying more was a tenth of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Memory,
    Redis,
    Expired,
    Overtaken,
    StaleOnError,
    Unverified,
    Computed { stored: bool },
    Shared,
    Requested { stored: bool },
    RequestedShared,
    Bypass,
}

/// The answer to a read. Cheap to clone; the body is shared with the cache.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) entry: Arc<Entry>,
    pub(crate) source: Source,
    pub(crate) now: BootTime,
    /// What the authority's clock was known to be when the read asked what it needs; 0 when the answer does not
    /// contain all of that.
    pub(crate) current_to: u64,
}

impl Answer {
    /// The value.
    #[inline]
    pub fn body(&self) -> &Bytes {
        &self.entry.body
    }

    /// A weak validator of the body, `W/"…"`: equal bytes have equal validators on every node.
    pub fn etag(&self) -> &str {
        self.entry.etag.get(&self.entry.body)
    }

    /// Where it came from.
    pub fn outcome(&self) -> Outcome {
        let expired = || self.now.since(self.entry.expires);
        match self.source {
            Source::Memory => Outcome::HitMemory { ttl: self.ttl() },
            Source::Redis => Outcome::HitRedis { ttl: self.ttl() },
            Source::Expired => Outcome::Expired { expired: expired() },
            Source::Overtaken => Outcome::Overtaken { age: self.age() },
            Source::StaleOnError => Outcome::StaleOnError { expired: expired() },
            Source::Unverified => Outcome::Unverified { age: self.age() },
            Source::Computed { stored } => Outcome::Miss { stored: stored.then(|| self.ttl()) },
            Source::Shared => Outcome::Collapsed,
            Source::Requested { stored } => {
                Outcome::Requested { stored: stored.then(|| self.ttl()), collapsed: false }
            }
            Source::RequestedShared => Outcome::Requested { stored: None, collapsed: true },
            Source::Bypass => Outcome::Bypass,
        }
    }

    /// Time since its computation began.
    pub fn age(&self) -> Duration {
        self.entry.age(self.now)
    }

    /// Time left to live; zero when it is expired or lives nowhere.
    pub fn ttl(&self) -> Duration {
        self.entry.expires.since(self.now)
    }

    /// The newest version that the answer surely contains: every change of its scope up to this version is in it.
    pub fn version(&self) -> u64 {
        self.entry.contains.max(self.current_to)
    }

    /// The versions that its computation saw.
    pub fn label(&self) -> Fence {
        self.entry.label
    }

    /// Whether the value says "there is nothing"; see [`Computed::negative`](crate::Computed::negative).
    pub fn is_negative(&self) -> bool {
        self.entry.negative
    }

    /// What computing it took, whoever did so.
    pub fn compute_time(&self) -> Duration {
        self.entry.cost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cache_status_is_as_promised() {
        let s = Duration::from_secs;
        let cases = [
            (
                Outcome::HitMemory { ttl: Duration::from_millis(117_900) },
                "nexarch; hit; detail=memory; ttl=117",
            ),
            (Outcome::HitRedis { ttl: s(117) }, "nexarch; hit; detail=redis; ttl=117"),
            (Outcome::Expired { expired: s(12) }, "nexarch; hit; detail=memory; ttl=-12"),
            (Outcome::Overtaken { age: s(3) }, "nexarch; hit; detail=memory; ttl=-3"),
            (Outcome::Overtaken { age: s(0) }, "nexarch; hit; detail=memory; ttl=-1"),
            (Outcome::Miss { stored: Some(s(120)) }, "nexarch; fwd=miss; stored; ttl=120"),
            (Outcome::Miss { stored: None }, "nexarch; fwd=miss"),
            (Outcome::Collapsed, "nexarch; fwd=miss; collapsed"),
            (
                Outcome::Requested { stored: Some(s(9)), collapsed: false },
                "nexarch; fwd=request; stored; ttl=9",
            ),
            (Outcome::Requested { stored: None, collapsed: false }, "nexarch; fwd=request"),
            (Outcome::Requested { stored: Some(s(9)), collapsed: true }, "nexarch; fwd=request; collapsed"),
            (Outcome::StaleOnError { expired: s(12) }, "nexarch; fwd=stale; ttl=-12"),
            (Outcome::Unverified { age: s(7) }, "nexarch; fwd=stale; ttl=-7"),
            (Outcome::Bypass, "nexarch; fwd=bypass"),
        ];
        for (outcome, text) in cases {
            assert_eq!(outcome.cache_status("nexarch").to_string(), text);
            let from_memory = text.contains("detail=memory") || text.contains("fwd=stale");
            let tier = if from_memory { "memory" } else { "none" };
            assert_eq!(outcome.tier(), if text.contains("detail=redis") { "redis" } else { tier });
            assert_eq!(outcome.word() == "stale", text.contains("ttl=-"));
            assert_eq!(outcome.word() == "hit", text.contains("hit;") && !text.contains("ttl=-"));
        }
    }
}
