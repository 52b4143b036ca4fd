//! The targets of speed and size that concern the whole server; `cached` and `ingest` beside a raw rival in one run.
//!
//! `cargo xtask bench` runs them; alone: `cargo bench -p nexarch --bench targets -- NAME...`, where NAME is one of
//! `cached`, `packed`, `routes`, `ingest`, `settle`, `history`, `estate`, `disk`, `idle`, `steady`. Each prints rows of a
//! Markdown table. Own server
//! and rival are processes of this very executable, so both are built alike.

mod cached;
mod disk;
mod estate;
mod history;
mod idle;
mod ingest;
mod packed;
mod rival;
mod routes;
mod row;
mod settle;
mod share;
mod steady;
mod subject;

use std::process::ExitCode;

use anyhow::bail;

/// Without a name.
const ALL: [&str; 10] =
    ["cached", "packed", "routes", "ingest", "settle", "history", "estate", "disk", "idle", "steady"];

fn main() -> ExitCode {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` says so to every benchmark.
    args.retain(|arg| arg != "--bench");
    if args.first().is_some_and(|arg| arg == "serve") {
        return nexarch::cli::main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(run(&args)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &[String]) -> anyhow::Result<()> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        [rival::NAME, answer @ ..] => rival::serve(answer.first().copied()).await,
        [] => measure(&ALL).await,
        names => measure(names).await,
    }
}

async fn measure(names: &[&str]) -> anyhow::Result<()> {
    for name in names {
        match *name {
            "cached" => cached::measure().await?,
            "packed" => packed::measure().await?,
            "routes" => routes::measure().await?,
            "ingest" => ingest::measure().await?,
            "settle" => settle::measure().await?,
            "history" => history::measure().await?,
            "estate" => estate::measure().await?,
            "disk" => disk::measure().await?,
            "idle" => idle::measure().await?,
            "steady" => steady::measure().await?,
            other => bail!("no benchmark {other}; there are {}", ALL.join(", ")),
        }
    }
    Ok(())
}
