//! Reads a request body piece by piece, inflating as it comes, within the size limit and the byte budget.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::Instant;

use super::inflight::{Full, Held};

/// Largest zstd window accepted, as a power of two: 8 MiB, what RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A client that sends nothing for this long is given up: what it sent so far counts against everybody's budget.
const NEXT_PIECE: Duration = Duration::from_secs(20);
/// So often it is looked whether a body comes on. …
const STRIDE: Duration = Duration::from_secs(10);
/// … In a stride it must grow by this part of what is held for it: at an even pace any body does, however slow, up to
/// [`WHOLE_BODY`]. One that comes at once but for its last bytes does not …
const STRIDE_PART: usize = 32;
/// … unless so many bytes came, packed as they are: half a megabit per second.
const STRIDE_BYTES: usize = 640 << 10;
/// A whole body takes at most this long: 64 MiB at 5 Mbit/s.
const WHOLE_BODY: Duration = Duration::from_mins(2);

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

impl Encoding {
    /// From the value of `Content-Encoding`; `None` for one that is not supported.
    pub fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Why a body was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Larger than one request may be, packed or not.
    #[error("the body is larger than {0} bytes, before or after decompression")]
    TooLarge(usize),
    /// All requests together are too large now.
    #[error("the server is receiving as much as it can hold; try again")]
    Busy,
    /// Does not unpack.
    #[error("the body is not valid {0}")]
    Corrupt(&'static str),
    /// The client stopped sending.
    #[error("the body did not arrive in time")]
    Slow,
    /// The frame around a gRPC message is wrong.
    #[error(
        "the call holds no message, or one whose frame says neither plain nor packed as grpc-encoding names it"
    )]
    Frame,
    /// The client went away.
    #[error("the body ended early")]
    Cut,
}

impl From<Full> for BodyError {
    fn from(Full: Full) -> Self {
        Self::Busy
    }
}

/// The whole body, unpacked. `held` grows by what is kept in memory, before much of it is.
pub async fn read(body: Body, encoding: Encoding, limit: usize, held: &mut Held) -> Result<Bytes, BodyError> {
    let mut body = body;
    let mut sink = Sink::new(encoding, limit);
    let mut account = Account { held, bytes: 0, since_pause: 0 };
    let mut received = 0usize;
    let begun = Instant::now();
    let (deadline, mut pace) = (begun + WHOLE_BODY, Pace { at: begun, held: 0, received: 0 });
    loop {
        let patience = deadline.min(Instant::now() + NEXT_PIECE);
        let frame = tokio::time::timeout_at(patience, body.frame()).await.map_err(|_| BodyError::Slow)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| BodyError::Cut)?.into_data() else { continue };
        received = received.saturating_add(data.len());
        if received > limit {
            return Err(BodyError::TooLarge(limit));
        }
        sink.expect(data.len());
        for piece in data.chunks(sink.step()) {
            sink.write(piece)?;
            account.grow_to(sink.len()).await?;
        }
        if !pace.is_kept(Instant::now(), account.bytes, received) {
            return Err(BodyError::Slow);
        }
    }
    sink.finish(&mut account).await
}

/// How far a body was at the last look.
struct Pace {
    at: Instant,
    held: usize,
    received: usize,
}

impl Pace {
    fn is_kept(&mut self, now: Instant, held: usize, received: usize) -> bool {
        if now - self.at < STRIDE {
            return true;
        }
        let kept = held - self.held >= self.held / STRIDE_PART || received - self.received >= STRIDE_BYTES;
        *self = Self { at: now, held, received };
        kept
    }
}

/// Bytes inflated in a row on a thread that serves others, too.
const TURN: usize = 256 << 10;

/// How many times as large spans become when they are unpacked, usually.
const USUAL_RATIO: usize = 8;

/// Most room made for bytes that may not come: address space, and memory only as far as it is written to.
const MOST_EXPECTED: usize = 1 << 20;

/// What is held of the budget for one body.
struct Account<'h> {
    held: &'h mut Held,
    bytes: usize,
    /// Since other tasks had their turn.
    since_pause: usize,
}

impl Account<'_> {
    /// There are `len` bytes now.
    async fn grow_to(&mut self, len: usize) -> Result<(), BodyError> {
        let more = len.saturating_sub(self.bytes);
        self.held.grow(more)?;
        self.bytes += more;
        self.since_pause += more;
        if self.since_pause >= TURN {
            self.since_pause = 0;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// There are `len` bytes at the end, and what was packed is gone.
    async fn end_with(&mut self, len: usize) -> Result<(), BodyError> {
        self.grow_to(len).await?;
        self.held.shrink_to(self.held.bytes() - (self.bytes - len));
        self.bytes = len;
        Ok(())
    }
}

/// A buffer with an end: a bomb stops at the limit, wherever it is in the stream.
struct Limited {
    bytes: Vec<u8>,
    limit: usize,
    over: bool,
}

impl Write for Limited {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() > self.limit - self.bytes.len() {
            self.over = true;
            return Err(io::Error::other("over the limit"));
        }
        self.bytes.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Sink {
    Identity(Limited),
    Gzip(Box<flate2::write::MultiGzDecoder<Limited>>),
    /// Kept packed until the end: only the reading decoder tells a frame that was cut off.
    Zstd(Limited),
}

impl Sink {
    fn new(encoding: Encoding, limit: usize) -> Self {
        let buffer = Limited { bytes: Vec::new(), limit, over: false };
        match encoding {
            Encoding::Identity => Self::Identity(buffer),
            Encoding::Gzip => Self::Gzip(Box::new(flate2::write::MultiGzDecoder::new(buffer))),
            Encoding::Zstd => Self::Zstd(buffer),
        }
    }

    /// Bytes that are taken at once: gzip makes up to 1,032 times as many of them, and no more than about a megabyte may
    /// come in between.
    fn step(&self) -> usize {
        match self {
            Self::Gzip(_) => 1 << 10,
            Self::Identity(_) | Self::Zstd(_) => usize::MAX,
        }
    }

    /// Makes room for what so many bytes usually become: a buffer that only doubles is copied again and again.
    fn expect(&mut self, packed: usize) {
        let (buffer, usual) = match self {
            Self::Identity(buffer) | Self::Zstd(buffer) => (buffer, packed),
            Self::Gzip(decoder) => (decoder.get_mut(), packed.saturating_mul(USUAL_RATIO).min(MOST_EXPECTED)),
        };
        buffer.bytes.reserve(usual.min(buffer.limit - buffer.bytes.len()));
    }

    fn write(&mut self, data: &[u8]) -> Result<(), BodyError> {
        let outcome = match self {
            Self::Identity(buffer) | Self::Zstd(buffer) => buffer.write_all(data),
            Self::Gzip(decoder) => decoder.write_all(data),
        };
        outcome.map_err(|_| self.why())
    }

    fn buffer(&self) -> &Limited {
        match self {
            Self::Identity(buffer) | Self::Zstd(buffer) => buffer,
            Self::Gzip(decoder) => decoder.get_ref(),
        }
    }

    fn len(&self) -> usize {
        self.buffer().bytes.len()
    }

    fn why(&self) -> BodyError {
        match self {
            Self::Gzip(decoder) if !decoder.get_ref().over => BodyError::Corrupt("gzip"),
            sink => BodyError::TooLarge(sink.buffer().limit),
        }
    }

    async fn finish(mut self, account: &mut Account<'_>) -> Result<Bytes, BodyError> {
        if let Self::Gzip(decoder) = &mut self
            && decoder.try_finish().is_err()
        {
            return Err(self.why());
        }
        let whole = match self {
            Self::Identity(buffer) => buffer.bytes,
            Self::Gzip(decoder) => decoder.finish().map_err(|_| BodyError::Corrupt("gzip"))?.bytes,
            Self::Zstd(packed) => unpack_zstd(&packed, account).await?,
        };
        account.end_with(whole.len()).await?;
        Ok(whole.into())
    }
}

async fn unpack_zstd(packed: &Limited, account: &mut Account<'_>) -> Result<Vec<u8>, BodyError> {
    let corrupt = |_| BodyError::Corrupt("zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.bytes.as_slice()).map_err(corrupt)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(corrupt)?;
    let mut plain = Limited { bytes: Vec::new(), limit: packed.limit, over: false };
    loop {
        match io::copy(&mut decoder.by_ref().take(TURN as u64), &mut plain) {
            Ok(0) => return Ok(plain.bytes),
            // Both are in memory until it is done.
            Ok(_) => account.grow_to(packed.bytes.len() + plain.bytes.len()).await?,
            Err(_) if plain.over => return Err(BodyError::TooLarge(plain.limit)),
            Err(_) => return Err(BodyError::Corrupt("zstd")),
        }
    }
}
