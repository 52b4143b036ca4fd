//! What `nexarch import` does: several files, one offset in time, batches of a good size.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use nexarch_core::{
    otlp::{Flags, Rules},
    span::Span,
};

use super::{
    batches::{self, Batches},
    files::{self, Input},
    progress::Progress,
    shift::{Offset, Shift},
    source::Unreadable,
    summary::Summary,
};

/// How to import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How to move the spans in time.
    pub shift: Shift,
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
    /// Spans of days that were dropped.
    pub expired: u64,
}

/// Why an import ended early. Importing the same files again is safe, as long as they are moved by the same offset
/// ([`Shift::By`]): what is stored counts as a duplicate.
#[derive(Debug, thiserror::Error)]
pub enum Error<E> {
    /// A file cannot be read at all; found before anything was stored. One that is gone when its turn comes is a problem of
    /// the summary.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A batch could not be stored.
    #[error("{error} (stored before that: {accepted} spans)")]
    Store {
        /// New spans that were stored before.
        accepted: u64,
        /// By how much the spans were moved.
        offset: Option<Offset>,
        /// What was odd about the spans that were read.
        flags: Box<Flags>,
        /// Why.
        error: E,
    },
    /// The reading task crashed.
    #[error("reading crashed (stored before that: {accepted} spans)")]
    Crashed {
        /// New spans that were stored before.
        accepted: u64,
        /// By how much the spans were moved.
        offset: Option<Offset>,
    },
}

/// Reads files and hands their valid spans to `append`, batch by batch and in order.
///
/// The files are read on a blocking thread while `append` works; with [`Shift::ToNow`] twice. Memory is bounded by the
/// longest requests or traces of Jaeger, however many there are.
pub async fn run<E, F>(
    files: Vec<PathBuf>,
    options: Options,
    mut append: impl FnMut(Vec<Span>) -> F,
) -> Result<Summary, Error<E>>
where
    F: Future<Output = Result<Stored, E>>,
{
    let progress = Progress::new(&files, options.shift == Shift::ToNow, options.progress);
    let (sender, mut receiver) = batches::channel();
    // Told before the first batch: whatever ends this, the same files must be moved by the same again.
    let offset = Arc::<OnceLock<Offset>>::default();
    let told = Arc::clone(&offset);
    let reading = tokio::task::spawn_blocking(move || read_all(files, options, &progress, sender, &told));
    let mut total = Stored::default();
    let crashed = |total: Stored| {
        let accepted = total.accepted;
        Error::Crashed { accepted, offset: offset.get().copied() }
    };
    while let Some(batch) = receiver.recv().await {
        let (spans, room) = batch.into_parts();
        match append(spans).await {
            Ok(stored) => {
                total.accepted += stored.accepted;
                total.duplicates += stored.duplicates;
                total.expired += stored.expired;
            }
            Err(error) => {
                // The reader ends at its next batch, because nobody listens.
                drop((receiver, room));
                let read = reading.await.map_err(|_| crashed(total))?;
                let Summary { offset, flags, .. } = read.unwrap_or_default();
                return Err(Error::Store { accepted: total.accepted, offset, flags: Box::new(flags), error });
            }
        }
    }
    let mut summary = reading.await.map_err(|_| crashed(total))??;
    summary.note_expired(total.expired, options.shift);
    Ok(Summary { accepted: total.accepted, duplicates: total.duplicates, ..summary })
}

/// The blocking half: counts what it cannot hand on.
fn read_all(
    files: Vec<PathBuf>,
    options: Options,
    progress: &Progress,
    mut batches: Batches,
    told: &OnceLock<Offset>,
) -> Result<Summary, Unreadable> {
    let Options { shift, now_ns, retention_ns, .. } = options;
    let (inputs, present_ns) = match shift {
        Shift::ToNow => {
            let (inputs, newest) = files::newest(files, (now_ns, retention_ns), progress)?;
            batches.offset = newest.map(|newest| Offset::between(newest, now_ns));
            (inputs, newest.unwrap_or(now_ns))
        }
        Shift::By(offset) => {
            batches.offset = Some(offset);
            (files::look_at(files, progress)?, offset.before(now_ns))
        }
        Shift::No => (files::look_at(files, progress)?, now_ns),
    };
    if let Some(offset) = batches.offset {
        told.get_or_init(|| offset);
    }
    let rules = Rules { now_ns: Some(present_ns), retention_ns, ..Rules::default() };
    let mut summary = Summary { offset: batches.offset, ..Summary::default() };
    for input in inputs {
        match read_one(input, rules, shift, progress, &mut batches, &mut summary) {
            Read::All => summary.files += 1,
            Read::Gone => {}
            Read::Unheard => return Ok(summary),
        }
    }
    if batches.flush().is_ok() {
        progress.finish();
    }
    Ok(summary)
}

/// How far a file was read.
enum Read {
    All,
    /// It cannot be opened any more. What other files held is stored by then, so that is no reason to end.
    Gone,
    /// Nobody listens.
    Unheard,
}

/// Reads one file.
fn read_one(
    mut input: Input,
    rules: Rules,
    shift: Shift,
    progress: &Progress,
    batches: &mut Batches,
    summary: &mut Summary,
) -> Read {
    let requests = match input.read(rules, progress.consumed()) {
        Ok(requests) => requests,
        Err(unreadable) => {
            summary.note_gone(&input.path, &unreadable);
            return Read::Gone;
        }
    };
    for request in requests {
        summary.note(&input.path, &request, shift);
        if let Ok(request) = request {
            progress.add(request.decoded.spans.len());
            if batches.add(request).is_err() {
                return Read::Unheard;
            }
        }
        progress.show();
    }
    Read::All
}
