//! The server as its users meet it: the real program, real sockets, real files. One binary, so that it links once.
//!
//! Needs Python, Node.js, OpenSSL, Graphviz and strace; `cargo xtask test` brings them. Nothing is skipped without them: it fails.

mod admin;
mod admin_stats;
mod analyze;
mod audit;
mod auth;
mod azure;
#[cfg(feature = "azure")]
mod azure_page;
mod bad_input;
mod bench;
mod beside;
mod cache_cli;
mod cache_watch;
mod config;
mod connection;
mod converge;
mod crash;
mod demo;
mod deploy;
mod diagnostics;
mod disk;
mod doctor;
#[cfg(feature = "azure")]
mod entra;
mod export;
mod fair;
mod figures;
mod findings;
mod freshness;
mod grace;
mod grpc;
mod hostile;
mod http_cache;
mod import;
mod import_again;
mod import_formats;
mod import_hostile;
mod keys;
mod large;
mod life;
mod lifecycle;
mod limits;
mod metrics;
mod monitoring;
mod native;
mod openapi;
mod otlp;
#[cfg(feature = "otel")]
mod own_traces;
mod packed;
mod python_sdk;
mod readme;
mod redis;
mod refusals;
mod rewarm;
#[cfg(feature = "azure")]
mod rotations;
mod search;
mod senders;
mod silent;
mod stream;
mod support;
mod tls;
mod upgrade;
#[cfg(feature = "azure")]
mod vault;
mod warm;
