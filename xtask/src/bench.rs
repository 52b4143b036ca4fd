//! The numbers of docs/performance.md: every benchmark as one row of a table, run one after another.
//!
//! A benchmark prints, beside whatever else it says, lines that begin with `| `: rows of a Markdown table
//! (what, figure, spread, target, verdict). To add one, write it anywhere in the workspace and add a line to [`ROWS`].

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::workspace::{command, run, target};

/// A benchmark: its name here, and what cargo is told. Those after the first `--` are the benchmark's own.
struct Row {
    name: &'static str,
    cargo: &'static [&'static str],
}

const ROWS: &[Row] = &[
    Row { name: "memory-hit", cargo: &["-p", "nexarch-cache", "--bench", "memory_hit"] },
    Row {
        name: "statistics",
        cargo: &["-p", "nexarch-cache", "--features", "testing", "--bench", "statistics"],
    },
    Row { name: "zipf", cargo: &["-p", "nexarch-cache", "--bench", "zipf"] },
    Row { name: "redis-hit", cargo: &["-p", "nexarch-cache", "--bench", "redis_hit"] },
    Row { name: "recovery", cargo: &["-p", "nexarch-cache", "--bench", "redis_recovery"] },
    Row { name: "stampede", cargo: &["-p", "nexarch-testkit", "--bench", "nodes", "--", "stampede"] },
    Row { name: "invalidate", cargo: &["-p", "nexarch-testkit", "--bench", "nodes", "--", "invalidate"] },
    Row { name: "frozen", cargo: &["-p", "nexarch-testkit", "--bench", "nodes", "--", "frozen"] },
    Row { name: "freshness", cargo: &["-p", "nexarch-testkit", "--bench", "nodes", "--", "freshness"] },
    Row { name: "cached", cargo: &["-p", "nexarch", "--bench", "targets", "--", "cached"] },
    Row { name: "packed", cargo: &["-p", "nexarch", "--bench", "targets", "--", "packed"] },
    Row { name: "routes", cargo: &["-p", "nexarch", "--bench", "targets", "--", "routes"] },
    Row { name: "steady", cargo: &["-p", "nexarch", "--bench", "targets", "--", "steady"] },
    Row { name: "ingest", cargo: &["-p", "nexarch", "--bench", "targets", "--", "ingest"] },
    Row { name: "settle", cargo: &["-p", "nexarch", "--bench", "targets", "--", "settle"] },
    Row { name: "history", cargo: &["-p", "nexarch", "--bench", "targets", "--", "history"] },
    Row { name: "estate", cargo: &["-p", "nexarch", "--bench", "targets", "--", "estate"] },
    Row { name: "disk", cargo: &["-p", "nexarch", "--bench", "targets", "--", "disk"] },
    Row { name: "idle", cargo: &["-p", "nexarch", "--bench", "targets", "--", "idle"] },
];

/// The name of the row that no table holds: it takes minutes and says nothing of how the program runs.
const BUILD: &str = "build";
/// How long a clean release build may take on two cores.
const BUILD_TARGET: Duration = Duration::from_mins(10);

/// Runs the benchmark of this name, or all but the build, and prints the table.
pub(crate) fn bench(name: Option<&str>) -> Result<()> {
    let chosen: Vec<&Row> = ROWS.iter().filter(|row| name.is_none_or(|name| row.name == name)).collect();
    let mut lines = Vec::new();
    let mut failed = Vec::new();
    if name == Some(BUILD) {
        lines.push(build()?);
    } else if chosen.is_empty() {
        bail!("no benchmark of this name; there are {} and {BUILD}", names());
    }
    for row in chosen {
        // One that fails must not hide what the others found.
        match rows_of(row) {
            Ok(rows) => lines.extend(rows),
            Err(error) => failed.push(format!("{}: {error:#}", row.name)),
        }
    }
    println!("\n| what | figure | spread | target | verdict |\n|---|---|---|---|---|\n{}", lines.join("\n"));
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
}

/// The names, for help.
fn names() -> String {
    ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ")
}

/// Runs a benchmark with its output shown, and returns the lines that are rows.
fn rows_of(row: &Row) -> Result<Vec<String>> {
    let mut child = command("cargo")
        .args(["bench", "--locked"])
        .args(row.cargo)
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo")?;
    let mut rows = Vec::new();
    for line in BufReader::new(child.stdout.take().context("no standard output")?).lines() {
        let line = line?;
        println!("{line}");
        if is_row(&line) {
            rows.push(line);
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the benchmark failed ({status})");
    }
    if rows.is_empty() {
        bail!("the benchmark printed no row");
    }
    Ok(rows)
}

/// Five cells.
fn is_row(line: &str) -> bool {
    line.starts_with("| ") && line.ends_with(" |") && line.matches('|').count() == 6
}

/// Builds everything from nothing, in a directory of its own.
fn build() -> Result<String> {
    let folder = target().join("bench-build");
    let _ = fs::remove_dir_all(&folder);
    let began = now();
    let built = run(command("cargo").args(["build", "--release", "--locked", "--target-dir"]).arg(&folder));
    let took = now() - began;
    let _ = fs::remove_dir_all(&folder);
    built?;
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let verdict = if took < BUILD_TARGET { "met" } else { "MISSED" };
    let minutes = took.as_secs_f64() / 60.0;
    Ok(format!("| clean release build, {cores} cores | {minutes:.1} min | one run | < 10 min | {verdict} |"))
}

#[expect(clippy::disallowed_methods, reason = "how long a build took on this machine is real time")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_from_everything_else() {
        assert!(is_row("| a | 1.2× | 1.1 to 1.3 | ≤ 1.3× | met |"));
        assert!(!is_row("running 1 test"));
        assert!(!is_row("| a | b |"));
    }

    #[test]
    fn an_unknown_name_says_which_there_are() {
        let error = bench(Some("no-such-thing")).unwrap_err().to_string();
        assert!(error.contains("memory-hit") && error.contains("build"), "{error}");
    }
}
