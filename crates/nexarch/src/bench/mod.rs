//! Measuring a server from outside: a process, a client that costs little, load that is always the same, and figures
//! with their spread.
//!
//! `nexarch bench` and the benchmarks under `benches/` are written with it. Processor time is that of the measured
//! process alone, so a busy machine and the client's own work do not count.

pub mod client;
pub mod drive;
pub mod estate;
pub mod history;
pub mod load;
pub mod process;
pub mod sample;
pub mod standard;
pub mod usage;
