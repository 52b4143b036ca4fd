//! From a path to plain bytes: opens, inflates, and looks whether the content is something we can read.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::MultiGzDecoder;

use super::documents::starts_request;

/// Read ahead, and looked at to tell the format (bytes).
const WINDOW: usize = 64 << 10;

/// A compressed file may always expand to this many bytes …
const FREE_EXPANSION: u64 = 64 << 20;
/// … and beyond that to this many times what was read of it. Traces reach 50; gzip's own limit is 1,032, and a
/// file that comes near it holds nothing but repetition.
const MAX_EXPANSION: u64 = 200;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
const ACCEPTED: &str = "OTLP/JSON, one request in the file or one on each line, plain or gzip";

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be opened, or not even its beginning can be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its content is nothing we know.
    #[error("{}: {found}; accepted is {ACCEPTED}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
    },
}

/// Plain bytes of a file.
pub(super) type Source = Box<dyn BufRead + Send>;

/// Opens a file; `consumed` grows by the bytes read from disk.
pub(super) fn open(path: &Path, consumed: &Arc<AtomicU64>) -> Result<Source, Unreadable> {
    let failed = |source| Unreadable::Io { path: path.to_owned(), source };
    let unknown = |found| Unreadable::Unknown { path: path.to_owned(), found };
    let file =
        Counted { inner: File::open(path).map_err(failed)?, consumed: consumed.clone(), own: Arc::default() };
    let own = file.own.clone();
    let mut raw = BufReader::with_capacity(WINDOW, file);
    let magic = raw.fill_buf().map_err(failed)?;
    let source: Source = if magic.starts_with(GZIP) {
        Box::new(Guarded { inner: MultiGzDecoder::new(raw), produced: 0, consumed: own }.buffered())
    } else if magic.starts_with(ZSTD) {
        return Err(unknown("it is compressed with zstd"));
    } else {
        Box::new(raw)
    };
    let (head, source) = peek(source).map_err(failed)?;
    match unfamiliar(&head) {
        Some(found) => Err(unknown(found)),
        None => Ok(source),
    }
}

/// The first bytes, at most a window, and a source that still begins with them.
fn peek(mut source: Source) -> io::Result<(Vec<u8>, Source)> {
    let mut head = Vec::new();
    source.by_ref().take(WINDOW as u64).read_to_end(&mut head)?;
    let again = io::Cursor::new(head.clone()).chain(source);
    Ok((head, Box::new(again)))
}

/// What the content looks like when it is nothing that we read; `None` when it is.
fn unfamiliar(head: &[u8]) -> Option<&'static str> {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    // A line of rubbish at the top does not hide the requests below it.
    if text.is_empty() || head.split(|byte| *byte == b'\n').any(starts_request) {
        return None;
    }
    let has = |key: &str| text.windows(key.len()).any(|part| part == key.as_bytes());
    match text.first() {
        Some(b'{') if has("\"resourceSpans\"") || text[1..].trim_ascii_start().starts_with(b"}") => None,
        Some(b'{') if has("\"data\"") && has("\"traceID\"") => Some("it looks like Jaeger UI JSON"),
        Some(b'{') => Some("it is a JSON object without resourceSpans"),
        Some(b'[') => Some("it is a JSON array (Zipkin v2, perhaps)"),
        _ => Some("its content is not known"),
    }
}

/// Counts what is read.
struct Counted<R> {
    inner: R,
    /// Of all files of a call.
    consumed: Arc<AtomicU64>,
    /// Of this file.
    own: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.consumed.fetch_add(read as u64, Ordering::Relaxed);
        self.own.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Stops a decompression bomb.
struct Guarded<R> {
    inner: R,
    produced: u64,
    consumed: Arc<AtomicU64>,
}

impl<R: Read> Guarded<R> {
    fn buffered(self) -> BufReader<Self> {
        BufReader::with_capacity(WINDOW, self)
    }
}

impl<R: Read> Read for Guarded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.produced += read as u64;
        let allowed = self.consumed.load(Ordering::Relaxed).saturating_mul(MAX_EXPANSION).max(FREE_EXPANSION);
        if self.produced > allowed {
            let text = format!("it expands to more than {MAX_EXPANSION} times its size");
            return Err(io::Error::other(text));
        }
        Ok(read)
    }
}
