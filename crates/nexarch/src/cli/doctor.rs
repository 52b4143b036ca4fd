//! `nexarch doctor`: what is wrong, and what to change.

use std::{
    fmt::Write as _,
    io::{IsTerminal, Write},
    path::Path,
};

use anyhow::Context;
use serde::Serialize;

use super::{block_on, output};
use crate::{
    config,
    doctor::{self, Check, Status},
};

/// Check configuration, database and Redis step by step, and say what to change
#[derive(clap::Args)]
#[command(
    after_help = "Reads the same variables and files as `nexarch serve`, and changes nothing but one key in Redis that lives for a second. Exits 1 when a check failed.\n\nExample:\n  REDIS_URL=rediss://cache.example.com:6380 nexarch doctor"
)]
pub(super) struct Args {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    checks: &'a [Check],
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let checks = block_on(async { Ok(Box::pin(doctor::examine(Path::new("."))).await) })?;
    let failed = checks.iter().filter(|check| check.status == Status::Failed).count();
    if args.json {
        output::json(&Report { ok: failed == 0, checks: &checks })?;
    } else {
        let mut out = std::io::stdout().lock();
        let colours = out.is_terminal() && !config::command::no_color();
        out.write_all(text(&checks, colours).as_bytes())
            .and_then(|()| out.flush())
            .context("standard output is closed")?;
    }
    match failed {
        0 => Ok(()),
        1 => anyhow::bail!("1 check failed"),
        more => anyhow::bail!("{more} checks failed"),
    }
}

/// One line per check, its advice below it.
fn text(checks: &[Check], colours: bool) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in checks {
        let (word, colour) = match check.status {
            Status::Ok => ("ok", "32"),
            Status::Warning => ("warning", "33"),
            Status::Failed => ("failed", "31"),
            Status::Skipped => ("skipped", "2"),
        };
        let word = format!("{word:<7}");
        let word = if colours { format!("\x1b[{colour}m{word}\x1b[0m") } else { word };
        let took = format!("{:.1} ms", check.ms);
        let _ = writeln!(text, "{word}  {:width$}  {took:>10}  {}", check.name, check.detail);
        if let Some(advice) = &check.advice {
            let _ = writeln!(text, "{:indent$}→ {advice}", "", indent = 9);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: Status, name: &str, advice: Option<&str>) -> Check {
        let advice = advice.map(str::to_owned);
        Check { name: name.into(), status, ms: 1.25, detail: "words".into(), advice }
    }

    #[test]
    fn lines_are_aligned_and_coloured_on_a_terminal_only() {
        let checks =
            [check(Status::Ok, "database", None), check(Status::Failed, "redis.login", Some("Change it."))];
        assert_eq!(
            text(&checks, false),
            "ok       database         1.2 ms  words\n\
             failed   redis.login      1.2 ms  words\n         → Change it.\n"
        );
        let coloured = text(&checks, true);
        assert!(coloured.contains("\x1b[31mfailed \x1b[0m  redis.login"), "{coloured:?}");
    }
}
