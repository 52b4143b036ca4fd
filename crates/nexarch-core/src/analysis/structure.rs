//! Algorithms on the graph of calls. All are iterative (a chain may be longer than any stack), deterministic, and
//! bounded on any graph.

mod components;
mod coupling;
mod cuts;
mod cycles;
mod dominators;
mod net;
mod rank;
mod reach;

pub use components::Components;
pub use coupling::{Coupling, against_stability};
pub use cuts::Cuts;
pub use cycles::{Cycle, cycles};
pub use dominators::Dominators;
pub use net::Net;
pub use rank::{betweenness, page_rank};
pub use reach::Reach;
pub(crate) use reach::reachable;

#[cfg(test)]
mod tests;
