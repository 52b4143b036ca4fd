//! The pure part of Nexarch: spans, and what a *set* of spans says about an architecture.
//!
//! Nothing here performs IO, waits, or reads a clock. Every function is a function of its arguments, so that it
//! can be replayed, fuzzed and tested by property.

pub mod analysis;
pub mod attributes;
mod cut;
pub mod diagnostics;
pub mod diff;
pub mod export;
pub mod facts;
mod foreign;
pub mod graph;
pub mod hash;
pub mod histogram;
pub mod ids;
pub mod incident;
pub mod infer;
pub mod jaeger;
pub mod layout;
pub mod limits;
pub mod native;
pub mod otlp;
pub mod overview;
pub mod report;
pub mod rollup;
pub mod season;
pub mod service_detail;
pub mod services;
pub mod span;
pub mod statistics;
pub mod trace;
pub mod trends;
pub mod uptime;
pub mod view;
pub mod weight;
pub mod window;
pub mod zipkin;

pub use bytestring::ByteString as Text;
