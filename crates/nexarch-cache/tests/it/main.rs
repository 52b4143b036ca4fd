//! The promises of the crate, through its public interface, in one binary.
#![allow(missing_docs, reason = "tests are named after what they show")]

mod checker;
mod cluster;
mod coherence;
mod directives;
mod early;
mod expiry;
mod fairness;
mod flights;
mod game;
mod lease;
mod lives;
mod model;
mod mutated;
mod others;
mod race;
mod restore;
mod script;
mod slow;
mod spans;
mod statistics;
mod support;
mod sweep;
mod tier;
mod typed;
mod unpolled;
mod variants;
mod walls;
mod warm;
