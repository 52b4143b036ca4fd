//! Who changed what: one line for each change that somebody asked for, under the target `audit`.
//!
//! The one place that such changes pass: whoever wants to be told of them is told here.

use nexarch_core::ids::TenantId;
use nexarch_store::Key;

use crate::{
    accounts,
    stream::{Hub, Invalidation, Warm},
};

/// The target of the lines; they are kept at level `info`, whatever `RUST_LOG` says of the rest, unless it names them.
pub(crate) const TARGET: &str = "audit";

/// Made, and not taken notice of by this server yet, which may act by what was before.
pub(crate) const PENDING: &str = "pending";

/// Who asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    /// Who holds the API key with this public id.
    Key(&'a str),
    /// Nobody: it was due (`CACHE_WARM_SCHEDULE`).
    Schedule,
}

/// A change that was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mutation<'a> {
    /// Who asked for it.
    pub(crate) by: By<'a>,
    /// Whose cache.
    pub(crate) tenant: &'a TenantId,
    /// What was done.
    pub(crate) what: What,
    /// The operations that it was done to, by name.
    pub(crate) operations: &'a [String],
    /// How far it is known by now: `cluster` or `node`.
    pub(crate) reach: &'static str,
    /// The version that it made, or that was computed.
    pub(crate) version: u64,
}

/// What was done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    /// Values were made old: of the `tenant`, of an `operation`, or of a `pattern`.
    Invalidated {
        /// Which of these.
        scope: &'static str,
    },
    /// Values were computed before anybody asked.
    Warmed {
        /// How many.
        entries: usize,
        /// Their bytes, together.
        bytes: usize,
    },
}

impl By<'_> {
    /// The public id of the key.
    pub(crate) fn as_str(&self) -> &str {
        match self {
            Self::Key(id) => id,
            Self::Schedule => "schedule",
        }
    }
}

/// Writes down a change that was made, and tells it to those who listen. After it, never before: what failed changed
/// nothing.
pub(crate) fn record(streams: &Hub, mutation: &Mutation<'_>) {
    let Mutation { by, tenant, what, operations, reach, version } = mutation;
    let (by, operations) = (by.as_str(), operations.join(","));
    match what {
        What::Invalidated { scope } => {
            tracing::info!(target: TARGET, %tenant, by, scope, operations, reach, version, "audit: cache invalidated");
            // Where nothing matched, nothing was made old.
            if !mutation.operations.is_empty() {
                streams.invalidated(mutation.tenant, Invalidation::of(scope, mutation));
            }
        }
        What::Warmed { entries, bytes } => {
            tracing::info!(target: TARGET, %tenant, by, operations, entries, bytes, reach, version, "audit: cache warmed");
            streams.warmed(mutation.tenant, Warm::of(*entries, *bytes, mutation));
        }
    }
}

/// Writes down an invalidation of which nobody knows whether it was made: the database did not answer.
pub(crate) fn unconfirmed(by: By<'_>, tenant: &TenantId, scope: &'static str) {
    let by = by.as_str();
    tracing::info!(target: TARGET, %tenant, by, scope, outcome = "unknown", "audit: cache invalidation not confirmed");
}

/// Writes down that another process changed tenants or keys: a command, which says itself what it did, or another server.
pub(crate) fn changed_elsewhere() {
    tracing::info!(target: TARGET, by = "another process", "audit: tenants or keys changed");
}

/// A change of a tenant or of its keys, by who holds the secret of the admin API.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Administered<'a> {
    /// Whose.
    pub(crate) tenant: &'a TenantId,
    /// What was done, such as `tenant created`.
    pub(crate) what: &'static str,
    /// What is different now.
    pub(crate) changed: Changed<'a>,
    /// How far it is known by now: `cluster`, `node` or [`PENDING`].
    pub(crate) reach: &'static str,
}

/// What is different, and how it is now.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Changed<'a> {
    /// A tenant, with its name when that is new.
    Tenant(Option<&'a str>),
    /// A key.
    Key(&'a Key),
}

/// Writes down a change of tenants or keys that was made over HTTP; commands say themselves what they did.
pub(crate) fn administered(change: &Administered<'_>) {
    let Administered { tenant, what, changed, reach } = *change;
    match changed {
        Changed::Tenant(name) => {
            tracing::info!(target: TARGET, %tenant, by = "admin", name, reach, "audit: {what}");
        }
        Changed::Key(key) => {
            let scopes = accounts::words(&key.scopes).join(",");
            let [expires, grace_until] =
                [key.expires_us, key.grace_until_us].map(|us| us.map(accounts::moment));
            let key = key.id.as_str();
            tracing::info!(target: TARGET, %tenant, by = "admin", key, scopes, expires, grace_until, reach, "audit: {what}");
        }
    }
}
