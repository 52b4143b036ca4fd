//! `nexarch bench`: how fast this build is on this machine.

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::{block_on, output, serve::say};
use crate::{
    bench::{
        load::BATCH_SPANS,
        sample::Figure,
        standard::{self, Ingest, Outcome, READERS, Reads, SENDERS},
    },
    lifecycle,
};

/// Fewest spans: less is over before its processor time can be told.
const MIN_SPANS: usize = 1_000;
/// Most spans: a day of the generated shop, open all day, has about twice as many.
const MAX_SPANS: usize = 10_000_000;
/// Steps of the progress bar.
const STEPS: u64 = 1_000;

/// Measure cached and uncached reads and ingest, against a server started for it
#[derive(clap::Args)]
#[command(
    after_help = "Starts this program's own server on a temporary database, loads a day of a synthetic shop into it and measures from outside. Processor time is the server's alone.\n\nExample:\n  nexarch bench --spans 100000"
)]
pub(super) struct Args {
    /// Spans to load, spread over 24 hours
    #[arg(long, default_value_t = 100_000, value_parser = spans)]
    spans: usize,
    /// Print the result as one line of JSON
    #[arg(long)]
    json: bool,
}

fn spans(text: &str) -> Result<usize, String> {
    let wrong = || format!("must be a whole number from {MIN_SPANS} to {MAX_SPANS}");
    text.parse().ok().filter(|number| (MIN_SPANS..=MAX_SPANS).contains(number)).ok_or_else(wrong)
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let folder =
        tempfile::Builder::new().prefix("nexarch-bench-").tempdir().context("no temporary folder")?;
    // Draws on standard error, and nothing when that is no terminal.
    let bar = ProgressBar::new(STEPS);
    let style = ProgressStyle::with_template("{bar:40} {percent:>3} %  {msg}");
    let bar = style.map_or(bar.clone(), |style| bar.with_style(style));
    let progress = |next: &str, share: f64| {
        bar.set_message(next.to_owned());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of the steps")]
        bar.set_position((share * STEPS as f64) as u64);
    };
    let outcome = block_on(standard::measure(folder.path(), args.spans, lifecycle::now_ns(), progress));
    bar.finish_and_clear();
    folder.close().context("the temporary folder could not be removed")?;
    let outcome = outcome?;
    if args.json { output::json(&outcome) } else { tell(&outcome) }
}

fn tell(outcome: &Outcome) -> anyhow::Result<()> {
    let Ingest { spans_per_second, spans_per_cpu_second, batch_ms } = &outcome.ingest;
    let mut rows = vec![[
        format!("ingest of {} spans", outcome.spans),
        format!("{} spans/s", Figure(*spans_per_second)),
        format!("{} µs a span", Figure(1e6 / spans_per_cpu_second)),
        ms(batch_ms.p50),
        ms(batch_ms.p99),
    ]];
    rows.extend(outcome.cached.iter().map(|reads| row("cached", reads)));
    rows.extend(outcome.uncached.iter().map(|reads| row("computed", reads)));
    output::table(["WHAT", "RATE", "SERVER CPU", "P50", "P99"], &rows);
    say(&format!(
        "\nmemory {} MiB, disk {} bytes a span; batches of {BATCH_SPANS} spans, {SENDERS} senders, {READERS} readers",
        Figure(outcome.resident_bytes as f64 / f64::from(1 << 20)),
        Figure(outcome.disk_bytes_per_span),
    ))
}

fn row(what: &str, reads: &Reads) -> [String; 5] {
    [
        format!("{what} {}", reads.path),
        format!("{}/s", Figure(reads.requests_per_second)),
        format!("{} µs", Figure(reads.server_cpu_us)),
        ms(reads.latency_ms.p50),
        ms(reads.latency_ms.p99),
    ]
}

fn ms(ms: f64) -> String {
    format!("{} ms", Figure(ms))
}
