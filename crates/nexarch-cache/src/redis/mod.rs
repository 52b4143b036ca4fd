//! The shared tier over Redis.
//!
//! Top down: [`remote`] answers the cache's calls; [`node`] is one server with its breaker; [`line`] keeps one
//! connection of it alive; [`messages`] keeps the one for messages; [`link`] is a connection, [`socket`] and [`tls`]
//! open it. [`board`] gathers what they report into one status.

mod backoff;
mod board;
mod config;
mod failure;
mod line;
mod link;
mod messages;
mod node;
mod remote;
mod remove;
mod round_trip;
mod service;
mod socket;
mod tier;
mod tls;
mod url;

pub use config::{RedisConfig, RedisConfigError, RedisMode};
pub use remote::RedisRemote;
