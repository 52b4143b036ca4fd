//! One file as a sequence of requests.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use nexarch_core::otlp::{Decoded, Reason, Rules, decode_json};

use super::{
    documents::{Broken, Document, Documents},
    lenient,
    source::{self, Source, Unreadable},
};

/// A request of a file.
#[derive(Debug)]
pub struct Request {
    /// The line on which it begins, from 1.
    pub line: u64,
    /// Its spans, and what was wrong with the others.
    pub decoded: Decoded,
}

/// A part of a file that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {reason}", file.display())]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line on which the part begins, from 1.
    pub line: u64,
    /// In words.
    pub reason: String,
}

/// The requests of a file, in order; each bad line costs only itself.
pub struct Reader {
    path: PathBuf,
    documents: Documents<Source>,
    rules: Rules,
}

/// Opens a file of traces; the format is told by the content.
///
/// Blocks on the disk. Memory is bounded by the longest request (64 MiB, or the request is a [`Problem`]) and
/// does not depend on the size of the file. After a [`Problem`] reading goes on with the next line, unless the disk
/// failed or the file is a decompression bomb.
pub fn read(path: &Path, rules: Rules) -> Result<Reader, Unreadable> {
    read_counted(path, rules, &Arc::default())
}

/// The same; `consumed` grows by the bytes read from disk.
pub(super) fn read_counted(
    path: &Path,
    rules: Rules,
    consumed: &Arc<AtomicU64>,
) -> Result<Reader, Unreadable> {
    let source = source::open(path, consumed)?;
    Ok(Reader { path: path.to_owned(), documents: Documents::new(source), rules })
}

impl Reader {
    fn request(&self, document: Document) -> Result<Request, Problem> {
        let line = document.line;
        let body = Bytes::from(document.bytes);
        let decoded = decode(&body, &self.rules).map_err(|reason| self.problem(line, reason))?;
        // OTLP ignores unknown fields, so any other object would pass as an empty request.
        if decoded.received == 0 && !is_empty_request(&body) {
            return Err(self.problem(line, "it is not a request: it has no resourceSpans".into()));
        }
        Ok(Request { line, decoded })
    }

    fn problem(&self, line: u64, reason: String) -> Problem {
        Problem { file: self.path.clone(), line, reason }
    }
}

impl Iterator for Reader {
    type Item = Result<Request, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.documents.next()? {
            Ok(document) => self.request(document),
            Err(Broken { line, why }) => Err(self.problem(line, why.to_string())),
        })
    }
}

/// Strictly first; what that calls malformed gets a second chance as plain protobuf JSON.
fn decode(body: &Bytes, rules: &Rules) -> Result<Decoded, String> {
    let strict = decode_json(body, rules);
    if strict.as_ref().is_ok_and(|decoded| !has_malformed(decoded)) {
        return strict.map_err(|error| error.to_string());
    }
    let second = lenient::rewritten(body).and_then(|plain| decode_json(&plain.into(), rules).ok());
    match (strict, second) {
        (Ok(strict), Some(second)) if second.rejected_total < strict.rejected_total => Ok(second),
        (Err(_), Some(second)) => Ok(second),
        (strict, _) => strict.map_err(|error| error.to_string()),
    }
}

/// Was a span rejected for more than its age? A whole recording may be too old, and a second look costs.
fn has_malformed(decoded: &Decoded) -> bool {
    decoded.rejected.iter().any(|span| !matches!(span.reason, Reason::Expired | Reason::Future))
}

/// Is a document without spans a request all the same?
fn is_empty_request(body: &[u8]) -> bool {
    const KEY: &[u8] = b"\"resourceSpans\"";
    body.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{}")
        || body.windows(KEY.len()).any(|part| part == KEY)
}
