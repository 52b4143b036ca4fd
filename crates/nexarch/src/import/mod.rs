//! Trace files in: OTLP/JSON, one request in a file or one on each line, plain or gzip.
//!
//! [`read`] turns one file into requests, with bounded memory and without ever giving up on a file for one bad
//! line. [`run()`] does what `nexarch import` does: it reads several files, moves them in time when asked to, and
//! hands the spans on in chunks of a good size for the store.

mod documents;
mod lenient;
mod reader;
mod run;
mod shift;
mod source;

pub use reader::{Problem, Reader, Request, read};
pub use run::{Error, Options, Stored, Summary, run};
pub use source::Unreadable;

#[cfg(test)]
mod tests;
