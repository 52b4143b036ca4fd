//! `nexarch analyze`: trace files to a picture of the architecture, without a server, a database or a configuration.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::ValueEnum;
use nexarch_core::{
    analysis::Severity,
    export::Format,
    otlp::Rules,
    report::{Evidence, Form, Report},
};

use crate::import;

/// How many problems of files are told in words; all are counted.
const MAX_TOLD: u64 = 20;

/// Show the architecture that trace files tell of
#[derive(clap::Args)]
#[command(
    after_help = "Reads what `nexarch import` reads. Needs no server and no database, and reads no configuration.\n\nExamples:\n  nexarch analyze traces.jsonl.gz\n  nexarch analyze traces.jsonl.gz --format html --out architecture.html\n  nexarch analyze now.json --baseline before.json --fail-on high"
)]
pub(super) struct Args {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What to compare with: files of an earlier time
    #[arg(long, value_name = "FILE", num_args = 1..)]
    baseline: Vec<PathBuf>,
    /// How to show it
    #[arg(long, value_enum, default_value_t = Shape::Text)]
    format: Shape,
    /// Exit with code 3 when there is a finding of this severity, or worse
    #[arg(long, value_enum, value_name = "SEVERITY")]
    fail_on: Option<Level>,
    /// Write to this file instead of standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Requests slower than this are slow, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    latency_objective_ms: u32,
}

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Shape {
    Text,
    Json,
    Mermaid,
    Dot,
    Svg,
    Html,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Low,
    Medium,
    High,
    Critical,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
            Level::Critical => Self::Critical,
        }
    }
}

/// There are findings that the call asked to fail on.
#[derive(Debug, thiserror::Error)]
#[error("{count} finding(s) as bad as --fail-on asks for")]
pub(super) struct Failing {
    count: usize,
}

impl From<Shape> for Form {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Text => Self::Text,
            Shape::Json => Self::Export(Format::Json),
            Shape::Mermaid => Self::Export(Format::Mermaid),
            Shape::Dot => Self::Export(Format::Dot),
            Shape::Svg => Self::Export(Format::Svg),
            Shape::Html => Self::Export(Format::Html),
        }
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let head = read(&args.files)?;
    let base = if args.baseline.is_empty() { None } else { Some(read(&args.baseline)?) };
    let report = Report::of(&head, base.as_ref(), f64::from(args.latency_objective_ms))?;
    let text = report.render(args.format.into())?;
    match &args.out {
        Some(file) => fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?,
        None => print(&text)?,
    }
    let count = args.fail_on.map_or(0, |level| report.findings_from(level.into()));
    if count > 0 {
        return Err(Failing { count }.into());
    }
    Ok(())
}

/// A reader that stops reading (`| head`) is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// All spans of some files; what cannot be read is told and passed over, as an import does.
fn read(files: &[PathBuf]) -> anyhow::Result<Evidence> {
    let mut evidence = Evidence::default();
    let mut problems = Problems::default();
    for file in files {
        for request in import::read(file, Rules::default())? {
            match request {
                Ok(request) => {
                    problems.rejected(file, &request);
                    evidence.add(&request.decoded.spans);
                }
                Err(problem) => problems.tell(&problem),
            }
        }
    }
    if problems.count > MAX_TOLD {
        eprintln!("… and {} more", problems.count - MAX_TOLD);
    }
    anyhow::ensure!(evidence.spans() > 0 || problems.count == 0, "no file has a span that can be read");
    Ok(evidence)
}

/// What was wrong with files, told on standard error.
#[derive(Default)]
struct Problems {
    count: u64,
}

impl Problems {
    fn rejected(&mut self, file: &Path, request: &import::Request) {
        let (told, all) = request.problems(file);
        for problem in &told {
            self.tell(problem);
        }
        self.count += all.saturating_sub(told.len() as u64);
    }

    fn tell(&mut self, problem: &import::Problem) {
        self.count += 1;
        if self.count <= MAX_TOLD {
            eprintln!("{problem}");
        }
    }
}
