//! The command line: one file per command, exit codes in one place.

mod analyze;
mod backup;
mod bench;
mod cache;
mod demo;
mod doctor;
mod grid;
mod import;
mod key;
mod openapi;
mod output;
mod serve;
mod tenant;
mod units;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{config::Problems, door::tls};

/// Wrong usage, as the parser of arguments has it.
const EXIT_USAGE: u8 = 2;
/// Wrong configuration (`EX_USAGE` of sysexits.h).
const EXIT_CONFIG: u8 = 64;
/// There are findings, and the call asked to fail on them.
const EXIT_FINDINGS: u8 = 3;

/// Multi-tenant architecture intelligence: OpenTelemetry spans in, a true picture of your architecture out.
#[derive(Parser)]
#[command(name = "nexarch", version, arg_required_else_help = true)]
#[command(
    after_help = "Example:\n  nexarch demo        see it work, with nothing to set up\n  nexarch serve       run it"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server
    Serve(serve::Args),
    /// Run a server on a temporary database, fed live by a synthetic shop
    Demo(demo::Args),
    /// Check configuration, database and Redis step by step, and say what to change
    Doctor(doctor::Args),
    /// Measure cached and uncached reads and ingest, against a server started for it
    Bench(bench::Args),
    /// Load trace files into a tenant
    Import(import::Args),
    /// Show the architecture that trace files tell of
    Analyze(analyze::Args),
    /// Create, list, disable, enable and delete tenants
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// Create, list, rotate and revoke API keys
    #[command(subcommand)]
    Key(key::Command),
    /// Look into the cache of a running server, invalidate and warm it
    #[command(subcommand)]
    Cache(cache::Command),
    /// Copy the database to a file while it is in use
    Backup(backup::Args),
    /// Print the OpenAPI document
    Openapi(openapi::Args),
}

/// The call lacks something, or has something that it cannot have, beyond what the parser of arguments finds.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Misused(String);

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    tls::install_crypto();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Import(args) => import::run(args),
        Command::Analyze(args) => analyze::run(&args),
        Command::Tenant(command) => tenant::run(command),
        Command::Key(command) => key::run(command),
        Command::Cache(command) => cache::run(command),
        Command::Backup(args) => backup::run(args),
        Command::Openapi(args) => openapi::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let code = if error.is::<Problems>() {
                EXIT_CONFIG
            } else if error.is::<Misused>() {
                EXIT_USAGE
            } else if error.is::<analyze::Failing>() {
                EXIT_FINDINGS
            } else {
                1
            };
            ExitCode::from(code)
        }
    }
}

/// Runs a future on the runtime that every command uses.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(future);
    // A stuck blocking task must not keep a finished command alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    outcome
}
