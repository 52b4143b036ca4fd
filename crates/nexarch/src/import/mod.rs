//! Trace files in: OTLP as JSON (one request in a file, or one on each line) or protobuf, Jaeger UI JSON, Zipkin v2
//! JSON; each plain, gzip or zstd. The content tells which, never the name.
//!
//! [`read`] turns one file into requests, with bounded memory and without ever giving up on a file for one bad
//! line or span. [`run()`] does what `nexarch import` does: it reads several files, moves them in time when asked to, and
//! hands the spans on in chunks of a good size for the store.

mod brackets;
mod detect;
mod documents;
mod elements;
mod json;
mod lenient;
mod progress;
mod reader;
mod records;
mod run;
mod shift;
mod source;

pub use reader::{Place, Problem, Reader, Request, read};
pub use run::{Error, Options, Stored, Summary, run};
pub use source::Unreadable;

#[cfg(test)]
mod tests;
