//! The protocol in the small, exhaustively: every order of every step of a few nodes, readers and writers, over a
//! database that can be away or set back, a Redis that may answer with anything that was ever stored in it, and
//! messages that are late, doubled, lost or false.
//!
//! The very files of the fence, the mirror and the flights are compiled in and driven; what is written here is what
//! stands around them: the order of `cache.rs`, `compute.rs`, `truth.rs` and `invalidate.rs`.
//!
//! The known mistakes are switches of this model. Each must be found: a check that finds nothing proves nothing.
#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(dead_code, unreachable_pub, reason = "the files are compiled whole, the model uses what it needs")]

#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/fence.rs"]
mod fence;
#[path = "../../src/flight.rs"]
mod flight;
#[path = "../../src/mirror.rs"]
mod mirror;
#[path = "../../src/sync.rs"]
mod sync;

mod action;
mod checker;
mod choices;
mod compute;
mod debt;
mod guest;
mod mistakes;
mod node;
mod read;
mod scenario;
mod truth;
mod world;
mod write;
