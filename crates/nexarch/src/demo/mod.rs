//! A synthetic shop that `nexarch demo` watches: twelve services, their databases, a cache, a queue and an
//! external payment API, under traffic that never stops, with an incident that comes and goes.
//!
//! [`Shop`] is pure: what it says happened is a function of a seed and of time. [`sender`] is the only part
//! that waits and talks: it plays the software development kits of all services and sends what is due over
//! OTLP/HTTP, one request for each sending process, so that the halves of a call arrive apart, as they do in
//! life.

mod attributes;
mod call;
mod chance;
mod flows;
mod handler;
mod incident;
mod landscape;
mod outside;
pub mod sender;
mod shop;

pub use shop::Shop;

#[cfg(test)]
mod tests;
