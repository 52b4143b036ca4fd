//! What `nexarch import` does: several files, one offset in time, chunks of a good size.

use std::path::{Path, PathBuf};

use nexarch_core::{
    otlp::{Reason, Rules},
    span::Span,
};
use serde::Serialize;
use tokio::sync::mpsc;

use super::{
    progress::Progress,
    reader::{Problem, read_counted},
    shift,
    source::Unreadable,
};

/// Spans are handed on once this many are together: the store writes a chunk of about 1,000 spans, and one
/// transaction pays for several.
const BATCH_SPANS: usize = 2_000;
/// Never more than this at once, however large one request was.
const MAX_BATCH_SPANS: usize = 5_000;
/// Batches that wait while the store writes: reading goes on meanwhile, and memory stays bounded.
const WAITING_BATCHES: usize = 2;
/// How many problems are kept with their words; all are counted.
const MAX_KEPT_PROBLEMS: usize = 20;

/// How to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Move all files by one offset, so that the newest span ends at `now_ns`.
    pub shift_to_now: bool,
    /// The present, nanoseconds since the Unix epoch.
    pub now_ns: u64,
    /// Spans that are older than this (nanoseconds, after the move) are rejected.
    pub retention_ns: Option<u64>,
    /// Draw a progress bar on standard error, if that is a terminal.
    pub progress: bool,
}

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stored {
    /// New spans.
    pub accepted: u64,
    /// Spans that were known.
    pub duplicates: u64,
}

/// What became of an import; serialised it is the last line on standard output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// New spans.
    pub accepted: u64,
    /// Spans that were known.
    pub duplicates: u64,
    /// Invalid spans, and one for each part of a file that could not be read as a request.
    pub rejected: u64,
    /// Files read.
    pub files: u64,
    /// The first problems; a span of OTLP names the line of its request.
    #[serde(skip)]
    pub problems: Vec<Problem>,
    /// How many problems are not among these.
    #[serde(skip)]
    pub more_problems: u64,
    /// What to do about it, for a person.
    #[serde(skip)]
    pub hint: Option<&'static str>,
}

/// Why an import ended early. Importing the same files again is safe: what is stored counts as a duplicate.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// A file cannot be read at all; found before anything was stored.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A batch could not be stored.
    #[error("{error} (stored before that: {accepted} spans)")]
    Store {
        /// New spans that were stored before.
        accepted: u64,
        /// Why.
        error: E,
    },
    /// The reading task crashed.
    #[error("reading crashed")]
    Crashed,
}

const HINT: &str = "the spans are older than the retention; pass --shift-to-now to move them to the present";

/// Reads files and hands their valid spans to `append`, batch by batch and in order.
///
/// The files are read on a blocking thread while `append` works. With `shift_to_now` every file is read twice.
pub async fn run<E, F>(
    files: Vec<PathBuf>,
    options: Options,
    mut append: impl FnMut(Vec<Span>) -> F,
) -> Result<Summary, Error<E>>
where
    F: Future<Output = Result<Stored, E>>,
{
    let progress = Progress::new(&files, options.shift_to_now, options.progress);
    let (sender, mut batches) = mpsc::channel(WAITING_BATCHES);
    let reading = tokio::task::spawn_blocking(move || read_all(&files, options, &progress, &sender));
    let mut total = Stored::default();
    while let Some(batch) = batches.recv().await {
        match append(batch).await {
            Ok(stored) => {
                total.accepted += stored.accepted;
                total.duplicates += stored.duplicates;
            }
            Err(error) => {
                // The reader ends at its next batch, because nobody listens.
                drop(batches);
                let _ = reading.await;
                return Err(Error::Store { accepted: total.accepted, error });
            }
        }
    }
    let summary = reading.await.map_err(|_| Error::Crashed)??;
    Ok(Summary { accepted: total.accepted, duplicates: total.duplicates, ..summary })
}

/// The blocking half: counts what it cannot hand on.
fn read_all(
    files: &[PathBuf],
    options: Options,
    progress: &Progress,
    batches: &mpsc::Sender<Vec<Span>>,
) -> Result<Summary, Unreadable> {
    let newest_ns = preflight(files, options, progress)?;
    let rules =
        Rules { now_ns: Some(newest_ns.unwrap_or(options.now_ns)), retention_ns: options.retention_ns };
    let offset = newest_ns.map(|newest| shift::offset(newest, options.now_ns));
    let mut summary = Summary::default();
    let mut waiting = Vec::new();
    for file in files {
        for request in read_counted(file, rules, progress.consumed())? {
            summary.note(file, &request, options);
            if let Ok(request) = request {
                progress.add(request.decoded.spans.len());
                waiting.extend(request.decoded.spans);
            }
            if waiting.len() >= BATCH_SPANS && hand_on(&mut waiting, offset, batches).is_err() {
                return Ok(summary);
            }
            progress.show();
        }
        summary.files += 1;
    }
    if hand_on(&mut waiting, offset, batches).is_ok() {
        progress.finish();
    }
    Ok(summary)
}

/// Looks at all files before anything is stored; with `shift_to_now` it reads them for the newest end.
fn preflight(files: &[PathBuf], options: Options, progress: &Progress) -> Result<Option<u64>, Unreadable> {
    let mut newest_ns = None;
    for file in files {
        let reader = read_counted(file, Rules::default(), &progress.looked_at(options.shift_to_now))?;
        if !options.shift_to_now {
            continue;
        }
        for request in reader.flatten() {
            newest_ns = newest_ns.max(request.decoded.spans.iter().map(shift::end_ns).max());
            progress.show();
        }
    }
    Ok(newest_ns)
}

/// Moves what is waiting in time and hands it on; fails when nobody listens any more.
fn hand_on(
    waiting: &mut Vec<Span>,
    offset: Option<i64>,
    batches: &mpsc::Sender<Vec<Span>>,
) -> Result<(), mpsc::error::SendError<Vec<Span>>> {
    while !waiting.is_empty() {
        let rest = waiting.split_off(waiting.len().min(MAX_BATCH_SPANS));
        let mut batch = std::mem::replace(waiting, rest);
        if let Some(offset) = offset {
            for span in &mut batch {
                shift::shift(span, offset);
            }
        }
        batches.blocking_send(batch)?;
    }
    Ok(())
}

impl Summary {
    /// Counts what is wrong with a request.
    fn note(&mut self, file: &Path, request: &Result<super::Request, Problem>, options: Options) {
        let (problems, total) = match request {
            Ok(request) => {
                self.rejected += request.decoded.rejected_total as u64;
                let expired = request.decoded.rejected.iter().any(|span| span.reason == Reason::Expired);
                if expired && !options.shift_to_now {
                    self.hint = Some(HINT);
                }
                request.problems(file)
            }
            Err(problem) => {
                self.rejected += 1;
                (vec![problem.clone()], 1)
            }
        };
        let room = MAX_KEPT_PROBLEMS.saturating_sub(self.problems.len()).min(problems.len());
        self.more_problems += total.max(problems.len() as u64) - room as u64;
        self.problems.extend(problems.into_iter().take(room));
    }
}
