//! One file as a sequence of requests.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use nexarch_core::{
    jaeger,
    otlp::{Decoded, Rules, decode_protobuf},
    zipkin,
};

use super::{
    detect::Format,
    documents::{Broken, Document, Documents},
    elements::{Element, Elements},
    json::{self, Holds},
    records::{BrokenRecord, Record, Records},
    source::{self, Source, Unreadable},
};

/// Spans of Zipkin are decoded when so many bytes of them are together (1 MiB) …
const GROUP_BYTES: usize = 1 << 20;
/// … or so many spans; and as many of a trace of Jaeger at once.
const GROUP_SPANS: usize = 2_000;

/// Where in a file something begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A line of text, from 1.
    Line(u64),
    /// A byte of protobuf after decompression, from 0.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "{line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

/// A request of a file, or as much of the file as is handed on like one.
#[derive(Debug)]
pub struct Request {
    /// Where it begins.
    pub place: Place,
    /// Its spans, and what was wrong with the others.
    pub decoded: Decoded,
    /// Where the rejected spans that are named in `decoded` begin, when that is known better than by `place`.
    rejected_at: Option<Vec<Place>>,
}

/// A part of a file that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{place}: {reason}", file.display())]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Where the part begins.
    pub place: Place,
    /// In words.
    pub reason: String,
}

impl Request {
    /// What was wrong with its spans, in words and with places: the first few, and how many there are.
    pub fn problems(&self, file: &Path) -> (Vec<Problem>, u64) {
        let problem = |place, reason| Problem { file: file.to_owned(), place, reason };
        if let Some(places) = &self.rejected_at {
            let rejected = self.decoded.rejected.iter().map(|span| span.reason.to_string());
            let first = places.iter().zip(rejected).map(|(place, reason)| problem(*place, reason));
            return (first.collect(), self.decoded.rejected_total as u64);
        }
        let all: Vec<Problem> =
            self.decoded.message().map(|reason| problem(self.place, reason)).into_iter().collect();
        let count = all.len() as u64;
        (all, count)
    }
}

/// How the file is cut into parts.
enum Feed {
    Lines(Documents<Source>),
    Elements(Elements<Source>),
    Records(Records<Source>),
}

/// The requests of a file, in order; each bad line or span costs only itself.
pub struct Reader {
    path: PathBuf,
    rules: Rules,
    feed: Feed,
    ready: VecDeque<Result<Request, Problem>>,
    /// Spans of Zipkin that were cut out, one after the other.
    group: Vec<u8>,
    elements: Vec<zipkin::Element>,
    zipkin: zipkin::Reader,
    /// A trace of Jaeger, where it begins, and how many of its spans were handed on.
    trace: Option<(u64, jaeger::Trace, usize)>,
    ended: bool,
}

/// Opens a file of traces; the format is told by the content.
///
/// Blocks on the disk. Memory is bounded by the longest request (64 MiB), or trace of Jaeger (256 MiB), and does not
/// depend on the size of the file; what is longer is a [`Problem`]. After a [`Problem`] reading goes on with the next
/// line, span or message, unless the disk failed, the file is a decompression bomb, or protobuf is broken.
pub fn read(path: &Path, rules: Rules) -> Result<Reader, Unreadable> {
    read_counted(path, rules, &Arc::default())
}

/// The same; `consumed` grows by the bytes read from disk.
pub(super) fn read_counted(
    path: &Path,
    rules: Rules,
    consumed: &Arc<AtomicU64>,
) -> Result<Reader, Unreadable> {
    let (format, source) = source::open(path, consumed)?;
    Ok(Reader {
        path: path.to_owned(),
        rules,
        feed: match format {
            Format::Lines => Feed::Lines(Documents::new(source)),
            Format::Elements => Feed::Elements(Elements::new(source)),
            Format::Binary(framing) => Feed::Records(Records::new(source, framing)),
        },
        ready: VecDeque::new(),
        group: Vec::new(),
        elements: Vec::new(),
        zipkin: zipkin::Reader::new(rules),
        trace: None,
        ended: false,
    })
}

impl Reader {
    /// Reads the next part of the file.
    fn advance(&mut self) {
        match &mut self.feed {
            Feed::Lines(documents) => match documents.next() {
                Some(Ok(document)) => self.document(document),
                Some(Err(Broken { line, why })) => self.problem(Place::Line(line), why.to_string()),
                None => self.end(),
            },
            Feed::Elements(elements) => match elements.next() {
                Some(Ok(element)) => self.element(element),
                Some(Err(Broken { line, why })) => self.problem(Place::Line(line), why.to_string()),
                None => self.end(),
            },
            Feed::Records(records) => match records.next() {
                Some(Ok(record)) => self.record(&record),
                Some(Err(BrokenRecord { offset, why })) => self.problem(Place::Byte(offset), why.to_string()),
                None => self.end(),
            },
        }
    }

    fn document(&mut self, Document { line, bytes }: Document) {
        let decoded = json::decode(&bytes.into(), &self.rules);
        self.request(Place::Line(line), decoded);
    }

    fn element(&mut self, Element { document, exported }: Element) {
        let Document { line, bytes } = document;
        match json::holds(&bytes) {
            Holds::Trace => self.open_trace(line, bytes.into()),
            _ if exported => self.open_trace(line, bytes.into()),
            Holds::Span => self.span(line, &bytes),
            Holds::Request | Holds::Export | Holds::List | Holds::Other => {
                self.document(Document { line, bytes });
            }
        }
    }

    fn span(&mut self, line: u64, json: &[u8]) {
        let start = self.group.len();
        self.group.extend_from_slice(json);
        self.elements.push(zipkin::Element { place: start..self.group.len(), mark: line });
        if self.group.len() >= GROUP_BYTES || self.elements.len() >= GROUP_SPANS {
            self.flush();
        }
    }

    /// Decodes the spans of Zipkin that were put together.
    fn flush(&mut self) {
        if !self.elements.is_empty() {
            let body = Bytes::from(std::mem::take(&mut self.group));
            let elements = std::mem::take(&mut self.elements);
            let group = self.zipkin.spans(&body, &elements);
            self.spans(group);
        }
    }

    fn spans(&mut self, zipkin::Group { decoded, marks }: zipkin::Group) {
        let Some(first) = marks.first() else { return };
        let line = |index: usize| Place::Line(marks.get(index).copied().unwrap_or(*first));
        let rejected_at = Some(decoded.rejected.iter().map(|span| line(span.index)).collect());
        self.ready.push_back(Ok(Request { place: Place::Line(*first), decoded, rejected_at }));
    }

    fn open_trace(&mut self, line: u64, body: Bytes) {
        match jaeger::Trace::open(body) {
            Ok(trace) => self.trace = Some((line, trace, 0)),
            Err(reason) => self.problem(Place::Line(line), reason),
        }
    }

    /// The next part of an open trace.
    fn go_on(&mut self, (line, trace, done): (u64, jaeger::Trace, usize)) {
        let next = trace.len().min(done + GROUP_SPANS);
        let decoded = trace.decode(done..next, &self.rules);
        let line_of = |index| Place::Line(line + trace.lines_before(done + index));
        let rejected_at = Some(decoded.rejected.iter().map(|span| line_of(span.index)).collect());
        self.ready.push_back(Ok(Request { place: Place::Line(line), decoded, rejected_at }));
        if next < trace.len() {
            self.trace = Some((line, trace, next));
        }
    }

    fn record(&mut self, Record { offset, body }: &Record) {
        let decoded = if body.starts_with(b"{") {
            json::decode(body, &self.rules)
        } else {
            decode_protobuf(body, &self.rules).map_err(|error| error.to_string())
        };
        self.request(Place::Byte(*offset), decoded);
    }

    fn request(&mut self, place: Place, decoded: Result<Decoded, String>) {
        match decoded {
            Ok(decoded) => self.ready.push_back(Ok(Request { place, decoded, rejected_at: None })),
            Err(reason) => self.problem(place, reason),
        }
    }

    fn problem(&mut self, place: Place, reason: String) {
        self.ready.push_back(Err(Problem { file: self.path.clone(), place, reason }));
    }

    fn end(&mut self) {
        self.flush();
        let rest = self.zipkin.rest();
        self.spans(rest);
        self.ended = true;
    }
}

impl Iterator for Reader {
    type Item = Result<Request, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            match self.trace.take() {
                Some(trace) => self.go_on(trace),
                None if self.ended => return None,
                None => self.advance(),
            }
        }
    }
}
