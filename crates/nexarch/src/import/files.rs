//! The files of an import: looked at before anything is stored, and opened once if that is the only time.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use nexarch_core::otlp::Rules;

use super::{
    progress::Progress,
    reader::{Opened, Reader},
    shift::Newest,
    source::Unreadable,
};

/// Files that stay open from the first look at them. Beyond it those that can be opened again are: a process may hold
/// 1,024 files or fewer.
const KEPT_OPEN: usize = 64;

/// A file that was looked at.
pub(super) struct Input {
    pub(super) path: PathBuf,
    /// What may not be opened a second time, such as a pipe, or need not be.
    opened: Option<Opened>,
}

impl Input {
    /// The requests of the file.
    pub(super) fn read(&mut self, rules: Rules, consumed: &Arc<AtomicU64>) -> Result<Reader, Unreadable> {
        let opened = match self.opened.take() {
            Some(opened) => opened,
            None => Opened::open(&self.path, consumed)?,
        };
        Ok(opened.read(rules))
    }
}

/// Opens all files, so that one that cannot be read stops the import before anything is stored.
pub(super) fn look_at(files: Vec<PathBuf>, progress: &Progress) -> Result<Vec<Input>, Unreadable> {
    let look = |(nth, path): (usize, PathBuf)| {
        let opened = if nth < KEPT_OPEN || !comes_again(&path) {
            Some(Opened::open(&path, progress.consumed())?)
        } else {
            Opened::open(&path, &Arc::default())?;
            None
        };
        Ok(Input { path, opened })
    };
    files.into_iter().enumerate().map(look).collect()
}

/// Reads all files for the end of the newest span; they will be read a second time.
pub(super) fn newest(
    files: Vec<PathBuf>,
    (now_ns, retention_ns): (u64, Option<u64>),
    progress: &Progress,
) -> Result<(Vec<Input>, Option<u64>), Unreadable> {
    if let Some(path) = files.iter().find(|path| !comes_again(path)) {
        return Err(Unreadable::Once { path: path.clone() });
    }
    let mut newest = Newest::default();
    for path in &files {
        for request in Opened::open(path, progress.consumed())?.read(Rules::default()).flatten() {
            request.decoded.spans.iter().for_each(|span| newest.add(span, now_ns));
            progress.show();
        }
    }
    let inputs = files.into_iter().map(|path| Input { path, opened: None }).collect();
    Ok((inputs, newest.moment(retention_ns)))
}

/// Is there the same to be read each time it is opened? What cannot be looked at, or is a folder, says so when it is read.
fn comes_again(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |found| found.is_file() || found.is_dir())
}
