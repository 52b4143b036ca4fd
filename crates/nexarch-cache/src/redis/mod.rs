//! The shared tier over Redis.
//!
//! Top down: [`remote`] answers the cache's calls; [`layout`] knows which server a key belongs to, and [`scout`] keeps
//! that true; [`node`] is one server with its breaker; [`mod@line`] keeps one
//! connection of it alive; [`messages`] keeps the one for messages, and [`maintenance`] heeds what is announced on it;
//! [`dialer`] makes connections, no more of them than [`gate`] lets through: a [`link`] for values, an [`ear`] for
//! messages; [`wire`] is what goes over one, [`socket`] and [`tls`] open it, [`renewal`] keeps its token good.
//! [`checkup`] looks at all of it once, for people. [`board`] gathers what they report into one status.

mod backoff;
mod beat;
mod board;
mod checkup;
mod config;
mod connection_string;
mod dialer;
mod ear;
mod failure;
mod gate;
mod layout;
mod line;
mod link;
mod maintenance;
mod messages;
mod node;
mod remote;
mod remove;
mod renewal;
mod round_trip;
mod scout;
mod service;
mod slots;
mod socket;
mod tier;
mod tls;
mod token;
mod url;
mod wire;

pub use checkup::{RedisFinding, RedisMistake, RedisStep, Verdict};
pub use config::{RedisConfig, RedisConfigError, RedisMode};
pub use remote::RedisRemote;
pub use token::{RedisToken, RedisTokenState, RedisTokens};
#[cfg(feature = "testing")]
pub(crate) use wire::Inbox;
