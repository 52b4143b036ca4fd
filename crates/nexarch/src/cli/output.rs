//! What commands share: configuration, store, logs, and results on stdout.

use std::{
    any::Any,
    collections::BTreeMap,
    io::{self, Write},
    path::Path,
    sync::Arc,
};

use anyhow::Context;
use nexarch_store::Store;
use serde::Serialize;
use tracing_subscriber::{
    Layer,
    filter::{FilterExt, FilterFn, Targets},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::{
    audit,
    config::{self, Config, LogConfig, Sources},
    lifecycle,
};

/// The configuration of this process, with the flags given.
pub(super) fn configuration(flags: BTreeMap<String, String>) -> anyhow::Result<Config> {
    Ok(config::load(&resolved(Sources::of_process(flags, Path::new(".")))?)?)
}

/// The same, without the variables that begin like these (but for flags).
pub(super) fn configuration_ignoring(
    flags: BTreeMap<String, String>,
    ignored: &[&str],
) -> anyhow::Result<Config> {
    let sources = Sources::of_process(flags, Path::new(".")).ignoring(ignored);
    Ok(config::load(&resolved(sources)?)?)
}

/// With secrets in the place of references to them.
fn resolved(mut sources: Sources) -> anyhow::Result<Sources> {
    if sources.has_references() {
        super::block_on(async {
            sources.resolve().await;
            Ok(())
        })?;
    }
    Ok(sources)
}

/// Logs go to stderr; colours only when that is a terminal.
pub(super) fn start_logs(log: &LogConfig) {
    // A second subscriber in one process (tests) changes nothing.
    let _ = tracing_subscriber::registry().with(logs(log)).try_init();
}

/// Logs, and traces where the configuration says where to. These are sent to their end when what is returned is dropped.
#[cfg_attr(
    not(feature = "otel"),
    expect(clippy::unnecessary_wraps, reason = "traces may have nowhere to go")
)]
pub(super) fn start_logs_and_traces(config: &Config) -> anyhow::Result<Option<Box<dyn Any>>> {
    #[cfg(feature = "otel")]
    if let Some(traces) = &config.traces {
        let (layer, flush) = crate::otel::layer(traces)?;
        let _ = tracing_subscriber::registry().with(logs(&config.log)).with(layer).try_init();
        return Ok(Some(Box::new(flush)));
    }
    start_logs(&config.log);
    Ok(None)
}

fn logs<S>(log: &LogConfig) -> impl Layer<S> + use<S>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    let mut filter: Targets = log.filter.parse().unwrap_or_default();
    // Who asks for fewer words does not ask for changes that nobody can trace.
    if !filter.iter().any(|(target, _)| target == audit::TARGET) {
        filter = filter.with_target(audit::TARGET, tracing::Level::INFO);
    }
    let format = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()));
    let layer = if log.json { format.json().boxed() } else { format.with_target(false).boxed() };
    // Spans are for traces: before each line of a log they would be more than the line. The hint keeps the cheap answer to
    // whether anybody listens.
    let events = FilterFn::new(is_no_span).with_max_level_hint(tracing::Level::TRACE);
    layer.with_filter(filter.and(events))
}

/// An event, or the question whether one would be heard.
fn is_no_span(metadata: &tracing::Metadata<'_>) -> bool {
    !metadata.is_span()
}

/// Opens the database beside a server that may be running.
pub(super) async fn open_beside(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    open(config, nexarch_store::Role::Guest).await
}

/// Opens the database, of this version or an older one, to look at it or to copy it.
pub(super) async fn open_to_look(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    open(config, nexarch_store::Role::Observer).await
}

/// Opens the database as its server.
pub(super) async fn open_as_owner(config: &Config) -> anyhow::Result<Arc<dyn Store>> {
    open(config, nexarch_store::Role::Owner).await
}

async fn open(config: &Config, role: nexarch_store::Role) -> anyhow::Result<Arc<dyn Store>> {
    let options = nexarch_store::Options::new(role, lifecycle::now_us)
        .quota_spans_per_day(config.quota_spans_per_day)
        .latency_objective_ms(config.latency_objective.as_secs_f64() * 1e3);
    nexarch_store::open(config.database_url.expose(), options).await.context("cannot open the database")
}

/// Prints a result as one line of JSON.
pub(super) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// Writes a text to stdout, with a line break at its end; a closed one is an error, not a crash.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    write!(out, "{text}{end}").and_then(|()| out.flush()).context("standard output is closed")
}

/// A text from elsewhere without what a terminal would obey.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Prints rows in aligned columns under a heading.
pub(super) fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    let mut widths = heading.map(|title| title.chars().count());
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: [&str; N]| {
        let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        println!("{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(heading);
    for row in rows {
        line(row.each_ref().map(String::as_str));
    }
}
