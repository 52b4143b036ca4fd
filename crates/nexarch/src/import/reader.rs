//! One file as a sequence of requests.

use std::{
    collections::VecDeque,
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
    request::{Place, Problem, Request},
    source::{self, Source, Unreadable},
};

/// Spans of Zipkin are decoded when so many bytes of them are together (1 MiB) …
const GROUP_BYTES: usize = 1 << 20;
/// … or so many spans; and as many of a trace of Jaeger at once.
const GROUP_SPANS: usize = 2_000;

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
    trace: Option<OpenTrace>,
    ended: bool,
}

/// A trace of Jaeger that is handed on in parts.
struct OpenTrace {
    trace: jaeger::Trace,
    /// The line on which it begins.
    line: u64,
    lines: jaeger::Lines,
    /// Spans that were handed on.
    done: usize,
}

/// A file whose format is known.
pub(super) struct Opened {
    path: PathBuf,
    format: Format,
    source: Source,
}

/// Opens a file of traces; the format is told by the content.
///
/// Blocks on the disk. Memory is bounded by the longest request (64 MiB), or trace of Jaeger (256 MiB), and does not
/// depend on the size of the file; what is longer is a [`Problem`]. After a [`Problem`] reading goes on with the next
/// line, span or message, unless the disk failed, the file is a decompression bomb, or protobuf is broken.
pub fn read(path: &Path, rules: Rules) -> Result<Reader, Unreadable> {
    Ok(Opened::open(path, &Arc::default())?.read(rules))
}

impl Opened {
    /// Opens a file and looks at its first bytes; `consumed` grows by the bytes read from disk.
    pub(super) fn open(path: &Path, consumed: &Arc<AtomicU64>) -> Result<Self, Unreadable> {
        let (format, source) = source::open(path, consumed)?;
        Ok(Self { path: path.to_owned(), format, source })
    }

    /// The requests of the file.
    pub(super) fn read(self, rules: Rules) -> Reader {
        let Self { path, format, source } = self;
        Reader {
            path,
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
        }
    }
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
        let body = bytes.into();
        let decoded = json::decode(&body, &self.rules);
        self.request(Place::Line(line), body.len(), decoded);
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

    fn spans(&mut self, zipkin::Group { decoded, marks, bytes }: zipkin::Group) {
        let Some(first) = marks.first() else { return };
        let line = |index: usize| Place::Line(marks.get(index).copied().unwrap_or(*first));
        let rejected_at = Some(decoded.rejected.iter().map(|span| line(span.index)).collect());
        self.ready.push_back(Ok(Request { place: Place::Line(*first), decoded, bytes, rejected_at }));
    }

    fn open_trace(&mut self, line: u64, body: Bytes) {
        match jaeger::Trace::open(body) {
            Ok(trace) => {
                self.trace = Some(OpenTrace { trace, line, lines: jaeger::Lines::default(), done: 0 });
            }
            Err(reason) => self.problem(Place::Line(line), reason),
        }
    }

    /// The next part of an open trace.
    fn go_on(&mut self, mut open: OpenTrace) {
        let OpenTrace { trace, line, lines, done } = &mut open;
        let next = trace.len().min(*done + GROUP_SPANS);
        let decoded = trace.decode(*done..next, &self.rules);
        let mut line_of = |index| Place::Line(*line + trace.lines_before(*done + index, lines));
        let rejected_at = Some(decoded.rejected.iter().map(|span| line_of(span.index)).collect());
        let (place, bytes) = (Place::Line(*line), trace.bytes());
        self.ready.push_back(Ok(Request { place, decoded, bytes, rejected_at }));
        if next < trace.len() {
            open.done = next;
            self.trace = Some(open);
        }
    }

    fn record(&mut self, Record { offset, body }: &Record) {
        let decoded = if body.starts_with(b"{") {
            json::decode(body, &self.rules)
        } else {
            decode_protobuf(body, &self.rules).map_err(|error| error.to_string())
        };
        self.request(Place::Byte(*offset), body.len(), decoded);
    }

    fn request(&mut self, place: Place, bytes: usize, decoded: Result<Decoded, String>) {
        match decoded {
            Ok(decoded) => self.ready.push_back(Ok(Request { place, decoded, bytes, rejected_at: None })),
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
