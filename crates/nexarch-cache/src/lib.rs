#![doc = include_str!("../README.md")]

mod arrivals;
mod authority;
#[cfg(feature = "azure")]
mod azure;
mod behind;
mod bounded;
#[cfg(feature = "redis")]
mod breaker;
mod builder;
mod cache;
mod changes;
mod checked;
mod checker;
mod clock;
mod coherence;
mod compute;
mod counters;
mod driver;
mod early;
mod entry;
mod envelope;
mod error;
mod fairness;
mod fence;
mod fetch;
mod flight;
mod fly;
mod histogram;
mod invalidate;
mod key;
mod local;
mod memory;
mod message;
mod mirror;
mod node;
mod obtain;
// Not declared in the file that it tests: others compile that file over types of their own.
#[cfg(test)]
#[path = "mirror/tests.rs"]
mod mirror_tests;
mod operation;
mod others;
mod outcome;
mod promise;
mod quota;
mod read;
#[cfg(feature = "redis")]
mod redis;
mod remote;
mod removal;
mod report;
mod seal;
mod stats;
mod status;
mod sweep;
mod sync;
mod tenants;
#[cfg(feature = "testing")]
pub mod testing;
mod tier;
mod truth;
mod typed;
mod variant;
mod warm;

pub use authority::{Authority, Invalidation, ScopeVersions, TruthRead};
#[cfg(feature = "azure")]
pub use azure::{EntraIdentity, VaultReference};
pub use builder::Builder;
pub use cache::Cache;
pub use changes::Changes;
pub use checker::Checked;
pub use clock::{BootTime, Clock, ManualClock, SystemClock};
pub use coherence::Reach;
pub use error::{BoxError, Error, NotBegun, SharedError};
pub use fence::{Epoch, Fence};
pub use invalidate::{Changed, Commit, Invalidated};
pub use key::Scope;
pub use local::LocalAuthority;
pub use node::{NodeOperation, NodeRemote, NodeStats};
pub use operation::{Operation, OperationId};
pub use outcome::{Answer, Outcome};
pub use read::{Computed, Directives, Read};
#[cfg(feature = "redis")]
pub use redis::{
    RedisConfig, RedisConfigError, RedisFinding, RedisMistake, RedisMode, RedisRemote, RedisStep, RedisToken,
    RedisTokenState, RedisTokens, Verdict,
};
pub use remote::{Breaker, Losses, Reason, Remote, RemoteError, RemoteStatus, Removed};
pub use removal::Removal;
pub use stats::{
    Cause, Distribution, LastInvalidated, MemoryStats, OperationStats, Quantiles, RemoteCounts, RemoteStats,
    ScopeStats, Totals,
};
pub use status::{Backend, Condition, Mode, Status};
pub use typed::Typed;
pub use warm::{Ensured, Held, StoredIn, Warmed};
