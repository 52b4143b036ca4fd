//! Rigs for tests: real `redis-server` processes in every state we promise to survive, and a proxy that breaks
//! networks. Nothing here is a double: what cannot run fails, and names the Debian package that brings it.
//!
//! Everything blocks, so that it serves tests with and without a runtime; what is started ends when dropped.

mod certificates;
mod cluster;
mod proxy;
mod server;
mod stranger;
mod wait;

pub use certificates::Certificates;
pub use cluster::RedisCluster;
pub use proxy::FaultProxy;
pub use server::{RedisServer, ServerBuilder};
pub use stranger::{ClosedPort, Stranger};
pub use wait::{PATIENCE, until};
