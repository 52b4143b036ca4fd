//! How the cache is: which tiers work, why not, and how old a value may be.

use crate::cache::Cache;
use crate::mirror::LEASE;
use crate::remote::Reason;
use serde::{Serialize, Serializer};
use std::time::{Duration, SystemTime};

/// The state of a cache. Degraded is a state like any other: reads are answered in all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Where values are kept beside the memory of this process.
    pub backend: Backend,
    /// Whether that is what was asked for.
    pub status: Condition,
    /// How this node learns what others change.
    pub mode: Mode,
    /// How old a value may be; see [`Cache::staleness_bound`].
    #[serde(rename = "staleness_bound_ms", serialize_with = "millis")]
    pub staleness_bound: Duration,
    /// Since when it is so.
    #[serde(serialize_with = "crate::stats::rfc3339")]
    pub since: SystemTime,
    /// Why it is degraded, if it is; or why the shared tier takes no writes although it is read.
    #[serde(serialize_with = "word")]
    pub reason: Option<Reason>,
}

/// Where values are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// In memory alone.
    Memory,
    /// In memory and in a tier shared by several nodes.
    Redis,
    /// Nowhere: the cache is switched off.
    Disabled,
}

/// Whether everything that was asked for works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// There is no shared tier, and none was asked for.
    Memory,
    /// Values and messages of the shared tier are usable.
    Connected,
    /// The shared tier is not usable, or only its values are.
    Degraded,
    /// The cache is switched off.
    Disabled,
}

/// How changes made on other nodes are learned of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Mode {
    /// By messages of the shared tier, in milliseconds; without one, by the next read of the authority.
    Pubsub,
    /// By reading the authority. Values are shared.
    Polling,
    /// By reading the authority, if there are others at all. Nothing is shared.
    Local,
}

impl Backend {
    /// The word, as health answers give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Disabled => "disabled",
        }
    }
}

impl Condition {
    /// The word, as health answers give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Connected => "connected",
            Self::Degraded => "degraded",
            Self::Disabled => "disabled",
        }
    }
}

impl Mode {
    /// The word, as health answers give it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pubsub => "pubsub",
            Self::Polling => "polling",
            Self::Local => "local",
        }
    }
}

impl Cache {
    /// How the cache is now. Cheap enough for every health check.
    pub fn status(&self) -> Status {
        let staleness_bound = self.staleness_bound();
        let of = |backend, status, mode, since, reason| Status {
            backend,
            status,
            mode,
            staleness_bound,
            since,
            reason,
        };
        let switched = *crate::sync::lock(&self.inner.switched);
        if !self.is_enabled() {
            return of(Backend::Disabled, Condition::Disabled, Mode::Local, switched, None);
        }
        let Some(tier) = &self.inner.tier else {
            return of(Backend::Memory, Condition::Memory, Mode::Local, switched, None);
        };
        let remote = tier.status();
        let since = remote.since.max(switched);
        match (remote.values, remote.messages) {
            (true, true) => of(Backend::Redis, Condition::Connected, Mode::Pubsub, since, remote.reason),
            (true, false) => {
                let reason = remote.reason.or(Some(Reason::Messages));
                of(Backend::Redis, Condition::Degraded, Mode::Polling, since, reason)
            }
            (false, _) => of(Backend::Memory, Condition::Degraded, Mode::Local, since, remote.reason),
        }
    }

    /// How old a value may be that a read gets which asks for no minimum version and no staleness, counted from the
    /// acknowledgement of what it misses, on any node: zero when this process is the sole owner, the lease of one second
    /// when others write to the same authority, and the longest TTL with its grace where processes share values without
    /// sharing an authority ([`LocalAuthority::shared`](crate::LocalAuthority::shared)), if their wall clocks agree: a wrong one
    /// adds up to one more TTL.
    pub fn staleness_bound(&self) -> Duration {
        if !self.inner.knows_all {
            let ttls = self
                .inner
                .operations
                .iter()
                .map(|(_, operation)| operation.ttl.saturating_add(operation.grace));
            return ttls.max().unwrap_or_default();
        }
        if self.inner.sole_owner { Duration::ZERO } else { LEASE }
    }
}

fn millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "the signature that serde calls")]
fn word<S: Serializer>(reason: &Option<Reason>, serializer: S) -> Result<S::Ok, S::Error> {
    reason.map(Reason::as_str).serialize(serializer)
}
