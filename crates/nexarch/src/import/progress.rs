//! How far an import is, for a person at a terminal.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// Bytes read as a bar, spans read as a number and a speed.
const TEMPLATE: &str = "{bar:32.cyan/dim} {percent:>3}%  {bytes} of {total_bytes}  {msg}  {eta} left";

/// Bytes read, as a bar.
pub(super) struct Progress {
    consumed: Arc<AtomicU64>,
    spans: AtomicU64,
    bar: ProgressBar,
}

impl Progress {
    /// Over these files, read twice or once. Drawn on standard error, and nothing when that is no terminal.
    pub(super) fn new(files: &[PathBuf], twice: bool, drawn: bool) -> Self {
        let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |file| file.len());
        let total = files.iter().map(size).sum::<u64>() * if twice { 2 } else { 1 };
        let bar = if drawn { ProgressBar::new(total) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template(TEMPLATE).map(|style| style.progress_chars("━━─"));
        let bar = style.map_or(bar.clone(), |style| bar.with_style(style));
        bar.set_message("looking at the files");
        Self { consumed: Arc::default(), spans: AtomicU64::new(0), bar }
    }

    /// Where to count bytes read.
    pub(super) fn consumed(&self) -> &Arc<AtomicU64> {
        &self.consumed
    }

    /// Counts spans that were read.
    pub(super) fn add(&self, spans: usize) {
        self.spans.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// Shows how far it is; the bar itself decides how often to draw.
    pub(super) fn show(&self) {
        self.bar.set_position(self.consumed.load(Ordering::Relaxed));
        let spans = self.spans.load(Ordering::Relaxed);
        if spans > 0 && !self.bar.is_hidden() {
            let seconds = self.bar.elapsed().as_secs_f64();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
            let speed = (spans as f64 / seconds.max(0.001)) as u64;
            self.bar.set_message(format!("{} spans, {}/s", HumanCount(spans), HumanCount(speed)));
        }
    }

    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
