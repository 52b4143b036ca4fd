//! The shared tier over real servers and broken networks.
#![allow(missing_docs, reason = "tests are named after what they show")]

mod basics;
mod checkup;
mod cluster;
mod connection_string;
mod expiry;
mod failover;
mod kinds;
mod maintenance;
mod messages;
mod network;
mod partly;
mod refusals;
mod settings;
mod storm;
mod support;
mod tokens;
mod wrong;
