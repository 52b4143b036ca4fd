//! Cuts a stream of bytes into JSON documents: one on each line, or one over many lines.

use std::io::{self, BufRead, Read};

use super::brackets::Brackets;

/// The longest document, and so the longest line (bytes): as much as one request may hold over HTTP by default.
pub(super) const MAX_DOCUMENT: usize = 64 << 20;

/// A document and the line on which it begins, from 1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) line: u64,
    pub(super) bytes: Vec<u8>,
}

/// A part of the stream that is no document.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) line: u64,
    pub(super) why: Why,
}

/// What is wrong with it.
#[derive(Debug, thiserror::Error)]
pub(super) enum Why {
    #[error("it is cut off: its end is missing")]
    CutOff,
    /// Than so many bytes.
    #[error("it is longer than {} MiB; export smaller parts", .0 >> 20)]
    TooLong(usize),
    #[error("the compressed request cannot be read: {0}")]
    Frame(io::Error),
    /// Nothing follows after these two.
    #[error("the rest of the file is no protobuf")]
    NoProtobuf,
    #[error("the rest of the file cannot be read: {0}")]
    Io(#[from] io::Error),
}

/// The first key of a request: in OTLP/JSON, in plain protobuf JSON, and in what Tempo answers.
const FIRST_KEYS: [&[u8]; 3] = [b"\"resourceSpans\"", b"\"resource_spans\"", b"\"batches\""];

/// Does a line begin a request, so that what was open before it must have been cut off?
pub(super) fn starts_request(line: &[u8]) -> bool {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let rest = line.strip_prefix(b"{").map(<[u8]>::trim_ascii_start);
    rest.is_some_and(|rest| FIRST_KEYS.iter().any(|key| rest.starts_with(key)))
}

/// The documents of a stream.
///
/// A line that is complete in itself is a document. One that leaves brackets open is continued by the following
/// lines, until the brackets are closed; or until a line begins a new request, in which case only the cut-off
/// part is lost. Memory is bounded by [`MAX_DOCUMENT`].
pub(super) struct Documents<R> {
    source: R,
    /// Lines read so far.
    lines: u64,
    open: Option<Open>,
    /// A line that was read while the document before it had to be given up.
    next: Option<Document>,
    /// Too much was left open: nothing counts until a line begins a request.
    lost: bool,
    ended: bool,
}

/// A document whose end was not seen yet.
struct Open {
    document: Document,
    brackets: Brackets,
}

impl<R: BufRead> Documents<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, lines: 0, open: None, next: None, lost: false, ended: false }
    }

    /// The next line that is not blank; `None` at the end.
    fn line(&mut self) -> Result<Option<Document>, Broken> {
        loop {
            let line = self.lines + 1;
            let broken = |why| Broken { line, why };
            let mut bytes = Vec::new();
            let limit = MAX_DOCUMENT as u64 + 1;
            let read = self.source.by_ref().take(limit).read_until(b'\n', &mut bytes);
            if read.map_err(|error| broken(error.into()))? == 0 {
                return Ok(None);
            }
            self.lines = line;
            if bytes.len() > MAX_DOCUMENT {
                if !bytes.ends_with(b"\n") {
                    self.skip_line().map_err(|error| broken(error.into()))?;
                }
                return Err(broken(Why::TooLong(MAX_DOCUMENT)));
            }
            if line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
                bytes.drain(..3);
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Document { line, bytes }));
            }
        }
    }

    /// Drops the rest of a line without keeping it.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.source.fill_buf()?;
            let (used, done) = match buffer.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.source.consume(used);
            if done {
                return Ok(());
            }
        }
    }

    /// Takes one more line; answers what is complete by it.
    fn take(&mut self, line: Document) -> Option<Result<Document, Broken>> {
        let begins = starts_request(&line.bytes);
        if self.lost && !begins {
            return None;
        }
        self.lost = false;
        match self.open.take() {
            Some(open) if begins => {
                self.next = Some(line);
                Some(Err(Broken { line: open.document.line, why: Why::CutOff }))
            }
            Some(mut open) => {
                if open.document.bytes.len() + line.bytes.len() > MAX_DOCUMENT {
                    self.lost = true;
                    return Some(Err(Broken { line: open.document.line, why: Why::TooLong(MAX_DOCUMENT) }));
                }
                open.brackets.follow(&line.bytes);
                open.document.bytes.extend_from_slice(&line.bytes);
                self.keep_if_open(open)
            }
            None => {
                let mut brackets = Brackets::default();
                brackets.follow(&line.bytes);
                self.keep_if_open(Open { document: line, brackets })
            }
        }
    }

    fn keep_if_open(&mut self, open: Open) -> Option<Result<Document, Broken>> {
        if open.brackets.depth == 0 {
            return Some(Ok(open.document));
        }
        self.open = Some(open);
        None
    }
}

impl<R: BufRead> Iterator for Documents<R> {
    type Item = Result<Document, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let line = match self.next.take() {
                Some(line) => Ok(Some(line)),
                None => self.line(),
            };
            match line {
                Ok(Some(line)) => {
                    if let Some(found) = self.take(line) {
                        return Some(found);
                    }
                }
                Ok(None) => {
                    self.ended = true;
                    let open = self.open.take()?;
                    return Some(Err(Broken { line: open.document.line, why: Why::CutOff }));
                }
                Err(broken) => {
                    self.ended = matches!(broken.why, Why::Io(_));
                    // The long line may have been part of what is open: both are lost together.
                    self.lost |= self.open.take().is_some();
                    return Some(Err(broken));
                }
            }
        }
        None
    }
}
