//! The architecture of every fixture, kept as text and read against the spans. One snapshot per file; `why` says what
//! makes it right, and stands in its head.

mod otlp;
mod support;
mod trainticket;
mod zipkin;

mod findings;
mod jaeger;
