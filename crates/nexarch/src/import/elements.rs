//! Cuts a stream of JSON into the values that matter, however long the arrays are that hold them: spans of Zipkin,
//! traces of Jaeger, requests.

use std::io::{BufRead, Read};

use super::{
    brackets::Brackets,
    documents::{Broken, Document, MAX_DOCUMENT, Why, starts_request},
};

/// Largest trace of an export of Jaeger (256 MiB): its processes stand behind its spans, so it is held as text.
pub(super) const MAX_TRACE: usize = 256 << 20;

/// How much is looked at at once (bytes). Longer lines come in parts.
const PIECE: usize = 256 << 10;

/// Arrays in arrays that are looked into; Zipkin has two. Deeper ones are values.
const MAX_LISTS: usize = 4;

/// A value that was cut out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// With the line on which it begins.
    pub(super) document: Document,
    /// Does it stand in the `data` of an export of Jaeger?
    pub(super) exported: bool,
}

/// What is open around the value that is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    List,
    /// An export of Jaeger, whose `data` is the list inside.
    Export,
}

/// A value whose end was not seen yet.
struct Open {
    document: Document,
    brackets: Brackets,
    /// Too long to be kept: only its end is looked for.
    dropped: bool,
    /// A number or a word: in a list it ends before a comma or a bracket, elsewhere with the line.
    bare: bool,
}

/// The values of a stream. Memory is bounded by [`MAX_TRACE`].
///
/// A value that is never closed costs itself when a later line begins as a request, an export or a span does.
pub(super) struct Elements<R> {
    source: R,
    around: Vec<Around>,
    open: Option<Open>,
    /// What follows the `data` of an export is passed over.
    tail: Option<Brackets>,
    piece: Vec<u8>,
    at: usize,
    /// Of the piece, from 1.
    line: u64,
    line_ended: bool,
    ended: bool,
}

impl<R: BufRead> Elements<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            around: Vec::new(),
            open: None,
            tail: None,
            piece: Vec::new(),
            at: 0,
            line: 0,
            line_ended: true,
            ended: false,
        }
    }

    /// Reads on; says whether there is more. What a new line cuts off is answered.
    fn refill(&mut self) -> Result<bool, Broken> {
        self.piece.clear();
        self.at = 0;
        let begins = self.line_ended;
        let line = self.line + u64::from(begins);
        let read = self.source.by_ref().take(PIECE as u64).read_until(b'\n', &mut self.piece);
        if read.map_err(|error| Broken { line, why: error.into() })? == 0 {
            return Ok(false);
        }
        self.line = line;
        self.line_ended = self.piece.ends_with(b"\n");
        if line == 1 && begins && self.piece.starts_with(b"\xef\xbb\xbf") {
            self.at = 3;
        }
        if begins && (self.open.is_some() || self.tail.is_some()) && self.starts_anew() {
            self.tail = None;
            if let Some(open) = self.open.take() {
                return Err(Broken { line: open.document.line, why: Why::CutOff });
            }
        }
        Ok(true)
    }

    /// Does the line begin something that cannot be inside of a value? Then it is no longer inside of a list, either,
    /// unless it is a span.
    fn starts_anew(&mut self) -> bool {
        if starts_request(&self.piece) || STARTS.iter().any(|start| self.piece.starts_with(start)) {
            self.around.clear();
            return true;
        }
        self.tail.is_none() && self.piece.starts_with(SPAN_STARTS)
    }

    /// Looks at the rest of the piece; answers the first value that ends in it.
    fn scan(&mut self) -> Option<Result<Element, Broken>> {
        while self.at < self.piece.len() {
            if let Some(open) = self.open.take() {
                if let Some(found) = self.go_on(open) {
                    return Some(found);
                }
            } else if let Some(tail) = &mut self.tail {
                self.at += tail.follow_to_end(&self.piece[self.at..]);
                if tail.depth == 0 {
                    self.tail = None;
                }
            } else {
                self.between();
            }
        }
        None
    }

    /// One byte between values.
    fn between(&mut self) {
        let byte = self.piece[self.at];
        match byte {
            b'[' if self.around.len() < MAX_LISTS => self.around.push(Around::List),
            b']' => {
                self.around.pop();
                if self.around.last() == Some(&Around::Export) {
                    self.around.pop();
                    self.tail = Some(Brackets::inside(1));
                }
            }
            b',' => {}
            byte if byte.is_ascii_whitespace() => {}
            byte => {
                let document = Document { line: self.line, bytes: Vec::new() };
                let bare = !matches!(byte, b'{' | b'[');
                self.open = Some(Open { document, brackets: Brackets::default(), dropped: false, bare });
                return;
            }
        }
        self.at += 1;
    }

    /// Goes on with an open value.
    fn go_on(&mut self, mut open: Open) -> Option<Result<Element, Broken>> {
        let rest = &self.piece[self.at..];
        let used = if open.bare {
            let within = !self.around.is_empty();
            let ends = |byte: &u8| *byte == b'\n' || (within && matches!(byte, b',' | b']'));
            rest.iter().position(ends).unwrap_or(rest.len())
        } else if self.around.is_empty() && open.document.bytes.len() < EXPORT.len() * 8 {
            // Byte by byte, until it is known whether this is an export.
            open.brackets.follow(&rest[..1]);
            1
        } else {
            open.brackets.follow_to_end(rest)
        };
        let ended = if open.bare { used < rest.len() } else { open.brackets.depth == 0 };
        let exported = self.around.contains(&Around::Export);
        let limit = if exported { MAX_TRACE } else { MAX_DOCUMENT };
        if open.document.bytes.len() + used > limit {
            open.dropped = true;
            open.document.bytes = Vec::new();
        }
        if !open.dropped {
            open.document.bytes.extend_from_slice(&rest[..used]);
        }
        self.at += used;
        let line = open.document.line;
        if ended && open.dropped {
            return Some(Err(Broken { line, why: Why::TooLong(limit) }));
        }
        if ended {
            return Some(Ok(Element { document: open.document, exported }));
        }
        if open.brackets.depth == 2 && self.around.is_empty() && is_export(&open.document.bytes) {
            self.around.extend([Around::Export, Around::List]);
        } else {
            self.open = Some(open);
        }
        None
    }

    /// At the end of the stream: what is still open is cut off.
    fn end(&mut self) -> Option<Result<Element, Broken>> {
        self.ended = true;
        match self.open.take() {
            Some(Open { document, bare: true, .. }) => Some(Ok(Element { document, exported: false })),
            Some(open) => Some(Err(Broken { line: open.document.line, why: Why::CutOff })),
            None if !self.around.is_empty() => Some(Err(Broken { line: self.line, why: Why::CutOff })),
            None => None,
        }
    }
}

/// How lines begin that begin a document.
const STARTS: [&[u8]; 3] = [b"{\"data\":[", b"[{\"traceId\"", b"[[{\"traceId\""];
/// How a line begins that begins a span of Zipkin.
const SPAN_STARTS: &[u8] = b"{\"traceId\"";

/// How an export of Jaeger begins, but for white space.
const EXPORT: &[u8] = b"{\"data\":[";

fn is_export(bytes: &[u8]) -> bool {
    bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(EXPORT)
}

impl<R: BufRead> Iterator for Elements<R> {
    type Item = Result<Element, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if let Some(found) = self.scan() {
                return Some(found);
            }
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return self.end(),
                Err(broken) => {
                    self.ended = matches!(broken.why, Why::Io(_));
                    return Some(Err(broken));
                }
            }
        }
        None
    }
}
