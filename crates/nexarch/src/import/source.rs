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

use super::detect::{self, Format, SKIPPABLE, ZSTD};

/// Read ahead, and looked at to tell the format (bytes).
const WINDOW: usize = 64 << 10;

/// A compressed file may always expand to this many bytes …
const FREE_EXPANSION: u64 = 64 << 20;
/// … and beyond that to this many times what was read of it. Traces reach 50; gzip's own limit is 1,032, and a
/// file that comes near it holds nothing but repetition.
const MAX_EXPANSION: u64 = 200;

/// Does a zstd frame begin here that holds no content? Some programs write one first, such as pzstd.
fn is_skippable(magic: &[u8]) -> bool {
    matches!(magic, [0x50..=0x5f, rest @ ..] if rest.starts_with(SKIPPABLE))
}

/// Largest zstd window accepted, as a power of two (128 MiB): the limit of the zstd program itself. What a file
/// asks for beyond that is memory.
pub(super) const MAX_WINDOW_LOG: u32 = 27;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ACCEPTED: &str =
    "OTLP (JSON or protobuf), Jaeger UI JSON or Zipkin v2 JSON, each plain or compressed with gzip or zstd";

/// Why a file cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It cannot be opened, or not even its beginning can be read.
    #[error("{}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// Its content is nothing we know.
    #[error("{}: {found}; accepted is {ACCEPTED}", path.display())]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What it looks like.
        found: &'static str,
    },
    /// It is a pipe or a device, and would have to be read twice.
    #[error("{}: --shift-to-now reads every file twice, and this is no file; save it to one first, or pass --shift-by", path.display())]
    Once {
        /// The file.
        path: PathBuf,
    },
}

/// Plain bytes of a file.
pub(super) type Source = Box<dyn BufRead + Send>;

/// Opens a file and tells its format; `consumed` grows by the bytes read from disk.
pub(super) fn open(path: &Path, consumed: &Arc<AtomicU64>) -> Result<(Format, Source), Unreadable> {
    let failed = |cause| Unreadable::Io { path: path.to_owned(), cause };
    let file =
        Counted { inner: File::open(path).map_err(failed)?, consumed: consumed.clone(), own: Arc::default() };
    let own = file.own.clone();
    let mut raw = BufReader::with_capacity(WINDOW, file);
    let magic = raw.fill_buf().map_err(failed)?;
    let source: Source = if magic.starts_with(GZIP) {
        Box::new(Guarded { inner: MultiGzDecoder::new(raw), produced: 0, consumed: own }.buffered())
    } else if magic.starts_with(ZSTD) || is_skippable(magic) {
        let mut inner = zstd::stream::read::Decoder::with_buffer(raw).map_err(failed)?;
        inner.window_log_max(MAX_WINDOW_LOG).map_err(failed)?;
        Box::new(Guarded { inner, produced: 0, consumed: own }.buffered())
    } else {
        Box::new(raw)
    };
    let (head, source) = peek(source).map_err(failed)?;
    let unknown = |found| Unreadable::Unknown { path: path.to_owned(), found };
    Ok((detect::format(&head).map_err(unknown)?, source))
}

/// The first bytes, at most a window, and a source that still begins with them. A file that breaks in there is good
/// as far as it goes.
fn peek(mut source: Source) -> io::Result<(Vec<u8>, Source)> {
    let mut head = Vec::new();
    let rest = match source.by_ref().take(WINDOW as u64).read_to_end(&mut head) {
        Ok(_) => source,
        Err(error) if head.is_empty() => return Err(error),
        Err(error) => Box::new(BufReader::new(Failing(Some(error)))),
    };
    Ok((head.clone(), Box::new(io::Cursor::new(head).chain(rest))))
}

/// Fails as it did before.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
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

/// How many bytes may come out of so many compressed ones.
pub(super) fn allowed(consumed: u64) -> u64 {
    consumed.saturating_mul(MAX_EXPANSION).max(FREE_EXPANSION)
}

/// What a decompression bomb is told.
pub(super) fn expands() -> io::Error {
    io::Error::other(format!("it expands to more than {MAX_EXPANSION} times its size"))
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
        if self.produced > allowed(self.consumed.load(Ordering::Relaxed)) {
            return Err(expands());
        }
        Ok(read)
    }
}
