//! For tests, simulations and fuzzing, behind the feature `testing`: a shared tier whose faults are scripted, time that
//! runs with tokio's (which can be paused), and a random source with a seed. Not for production.

mod faults;
mod faulty;
mod fuzz;
mod hub;
mod rng;
mod virtual_clock;

pub use faults::Faults;
pub use faulty::FaultyRemote;
#[cfg(feature = "redis")]
pub use fuzz::read_replies;
pub use fuzz::{message, read_envelope, read_message, read_typed};
pub use hub::Hub;
pub use rng::Rng;
pub use virtual_clock::VirtualClock;
