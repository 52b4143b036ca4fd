//! The Nexarch server and its command line: glue between spans, store, cache and HTTP.
//!
//! No arithmetic on spans (that is `nexarch-core`), no SQL (`nexarch-store`), no cache protocol (`nexarch-cache`).

mod accounts;
pub mod app;
mod audit;
pub mod auth;
mod authority;
pub mod bench;
pub mod cli;
pub mod config;
pub mod cron;
pub mod demo;
mod doctor;
pub mod door;
mod gone;
pub mod http;
pub mod import;
mod incidents;
pub mod ingest;
pub mod lifecycle;
pub mod limit;
pub mod metrics;
mod noted;
mod open_views;
pub mod operation;
#[cfg(feature = "otel")]
mod otel;
mod redis;
mod redis_info;
mod retention;
mod rewarm;
mod scheduled;
mod settle;
mod stream;
mod taken;
mod turns;
pub mod view;
pub mod warm;

/// Of every executable that links the server, so that benchmarks measure what runs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
