//! For tests, simulations and fuzzing, behind the feature `testing`: a shared tier whose faults are scripted, time that
//! runs with tokio's (which can be paused), and a random source with a seed. Not for production.

mod faults;
mod faulty;
mod fuzz;
mod hub;
mod rng;
mod virtual_clock;

use crate::cache::Cache;
use crate::key::Scope;
use crate::operation::OperationId;

pub use faults::Faults;
pub use faulty::FaultyRemote;
#[cfg(feature = "redis")]
pub use fuzz::read_replies;
pub use fuzz::{message, read_envelope, read_message, read_typed};
pub use hub::Hub;
pub use rng::Rng;
pub use virtual_clock::VirtualClock;

/// Counts `times` memory hits of `scope`, which was read before, and does nothing else: what statistics cost, to be measured
/// beside hits.
#[inline(never)]
pub fn count_hits(cache: &Cache, scope: &Scope, operation: OperationId, times: u64) {
    let Some(tenant) = cache.inner.tenants.settled(scope) else { return };
    let now = cache.now();
    for _ in 0..times {
        cache.inner.count_hit(std::hint::black_box(tenant), std::hint::black_box(operation), now);
    }
}
