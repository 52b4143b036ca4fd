//! Trace files in: OTLP as JSON (one request in a file, or one on each line) or protobuf, Jaeger UI JSON, Zipkin v2
//! JSON; each plain, gzip or zstd. The content tells which, never the name.
//!
//! [`read`] turns one file into requests, with bounded memory and without ever giving up on a file for one bad
//! line or span. [`run()`] does what `nexarch import` does: it reads several files, moves them in time when asked to, and
//! hands the spans on in chunks of a good size for the store.

mod batches;
mod brackets;
mod detect;
mod documents;
mod elements;
mod files;
mod json;
mod lenient;
mod progress;
mod reader;
mod records;
mod request;
mod run;
mod shift;
mod source;
mod summary;

pub use reader::{Reader, read};
pub use request::{Place, Problem, Request};
pub use run::{Error, Options, Stored, run};
pub use shift::{Offset, Shift};
pub use source::Unreadable;
pub use summary::Summary;

#[cfg(test)]
mod tests;
