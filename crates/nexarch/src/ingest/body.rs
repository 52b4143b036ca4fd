//! Reads a request body piece by piece, inflating as it comes, within the size limit and the byte budget.

use std::{
    io::{self, Write},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;

use super::inflight::{Full, Held};

/// Largest zstd window accepted, as a power of two: 8 MiB, what RFC 8878 asks every decoder to support.
const ZSTD_WINDOW_LOG: u32 = 23;

/// A client that sends nothing for this long is given up: what it sent so far counts against everybody's budget.
const NEXT_PIECE: Duration = Duration::from_secs(20);
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

/// The whole body, unpacked. `held` grows by what is kept in memory.
pub async fn read(body: Body, encoding: Encoding, limit: usize, held: &mut Held) -> Result<Bytes, BodyError> {
    let mut body = body;
    let mut sink = Sink::new(encoding, limit);
    let mut received = 0usize;
    let mut accounted = 0usize;
    let deadline = tokio::time::Instant::now() + WHOLE_BODY;
    loop {
        let patience = deadline.min(tokio::time::Instant::now() + NEXT_PIECE);
        let frame = tokio::time::timeout_at(patience, body.frame()).await.map_err(|_| BodyError::Slow)?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| BodyError::Cut)?.into_data() else { continue };
        received = received.saturating_add(data.len());
        if received > limit {
            return Err(BodyError::TooLarge(limit));
        }
        sink.write(&data)?;
        let len = sink.len();
        held.grow(len - accounted)?;
        accounted = len;
    }
    let whole = sink.finish()?;
    held.grow(whole.len().saturating_sub(accounted))?;
    Ok(whole)
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

    fn finish(mut self) -> Result<Bytes, BodyError> {
        if let Self::Gzip(decoder) = &mut self
            && decoder.try_finish().is_err()
        {
            return Err(self.why());
        }
        match self {
            Self::Identity(buffer) => Ok(buffer.bytes.into()),
            Self::Gzip(decoder) => {
                let buffer = decoder.finish().map_err(|_| BodyError::Corrupt("gzip"))?;
                Ok(buffer.bytes.into())
            }
            Self::Zstd(packed) => unpack_zstd(&packed),
        }
    }
}

fn unpack_zstd(packed: &Limited) -> Result<Bytes, BodyError> {
    let corrupt = |_| BodyError::Corrupt("zstd");
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed.bytes.as_slice()).map_err(corrupt)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(corrupt)?;
    let mut plain = Limited { bytes: Vec::new(), limit: packed.limit, over: false };
    match io::copy(&mut decoder, &mut plain) {
        Ok(_) => Ok(plain.bytes.into()),
        Err(_) if plain.over => Err(BodyError::TooLarge(plain.limit)),
        Err(_) => Err(BodyError::Corrupt("zstd")),
    }
}
