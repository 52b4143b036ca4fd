//! Cuts a stream of protobuf into requests.

use std::io::{self, BufRead, Read};

use bytes::Bytes;

use super::{
    detect::{Framing, ZSTD},
    documents::{MAX_DOCUMENT, Why},
    source::{MAX_WINDOW_LOG, allowed, expands},
};

/// A request, or the `ResourceSpans` that could be one, and where it begins.
#[derive(Debug)]
pub(super) struct Record {
    /// Bytes before it.
    pub(super) offset: u64,
    pub(super) body: Bytes,
}

/// A part of the stream that is no request.
#[derive(Debug)]
pub(super) struct BrokenRecord {
    pub(super) offset: u64,
    pub(super) why: Why,
}

/// The requests of a stream; bare ones are cut into their `ResourceSpans`. Memory is bounded by [`MAX_DOCUMENT`].
///
/// Nothing in protobuf says where the next message begins, so what is not protobuf ends the file.
pub(super) struct Records<R> {
    source: R,
    framing: Framing,
    offset: u64,
    /// Bytes before what is being read, fields that are passed over among them.
    begun: u64,
    /// Bytes of frames that were inflated, and what came out of them.
    packed: u64,
    inflated: u64,
    ended: bool,
}

/// The key of `resource_spans`.
const RESOURCE_SPANS: u64 = 0x0a;

impl<R: BufRead> Records<R> {
    pub(super) fn new(source: R, framing: Framing) -> Self {
        Self { source, framing, offset: 0, begun: 0, packed: 0, inflated: 0, ended: false }
    }

    fn record(&mut self) -> Result<Option<Bytes>, Why> {
        loop {
            self.begun = self.offset;
            if self.source.fill_buf()?.is_empty() {
                return Ok(None);
            }
            let mut body = Vec::new();
            let length = match self.framing {
                Framing::Fixed32 => {
                    let mut length = [0; 4];
                    self.exactly(&mut length)?;
                    u64::from(u32::from_be_bytes(length))
                }
                Framing::Varint => self.varint(&mut Vec::new())?,
                Framing::Bare => match self.varint(&mut body)? {
                    RESOURCE_SPANS => self.varint(&mut body)?,
                    key => {
                        self.pass_over(key)?;
                        continue;
                    }
                },
            };
            if length > MAX_DOCUMENT as u64 {
                self.skip(length)?;
                return Err(Why::TooLong(MAX_DOCUMENT));
            }
            let start = body.len();
            // Grows as it reads: the length is not believed.
            let read = self.source.by_ref().take(length).read_to_end(&mut body)?;
            self.offset += read as u64;
            if (read as u64) < length {
                return Err(Why::CutOff);
            }
            if self.framing == Framing::Fixed32 && body[start..].starts_with(ZSTD) {
                body = self.inflated(&body[start..])?;
            }
            return Ok(Some(body.into()));
        }
    }

    /// A field that is none of a request's.
    fn pass_over(&mut self, key: u64) -> Result<(), Why> {
        match key & 7 {
            _ if key >> 3 == 0 => Err(Why::NoProtobuf),
            0 => self.varint(&mut Vec::new()).map(drop),
            1 => self.skip(8),
            2 => {
                let length = self.varint(&mut Vec::new())?;
                self.skip(length)
            }
            5 => self.skip(4),
            _ => Err(Why::NoProtobuf),
        }
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), Why> {
        self.source.read_exact(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Why::CutOff,
            _ => error.into(),
        })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }

    /// Reads a varint; its bytes are appended to `copy`.
    fn varint(&mut self, copy: &mut Vec<u8>) -> Result<u64, Why> {
        let mut number = 0;
        for nth in 0..9 {
            let mut byte = [0];
            self.exactly(&mut byte)?;
            copy.push(byte[0]);
            number |= u64::from(byte[0] & 0x7f) << (7 * nth);
            if byte[0] < 0x80 {
                return Ok(number);
            }
        }
        Err(Why::NoProtobuf)
    }

    /// A request that was compressed by itself. All of them together may expand as much as a compressed file.
    fn inflated(&mut self, frame: &[u8]) -> Result<Vec<u8>, Why> {
        self.packed += frame.len() as u64;
        let mut body = Vec::new();
        let mut decoder = zstd::stream::read::Decoder::new(frame).map_err(Why::Frame)?;
        decoder.window_log_max(MAX_WINDOW_LOG).map_err(Why::Frame)?;
        let read = decoder.take(MAX_DOCUMENT as u64 + 1).read_to_end(&mut body);
        self.inflated += body.len() as u64;
        read.map_err(Why::Frame)?;
        if body.len() > MAX_DOCUMENT && self.inflated <= allowed(self.packed).saturating_add(1) {
            return Err(Why::TooLong(MAX_DOCUMENT));
        }
        if self.inflated > allowed(self.packed) { Err(expands().into()) } else { Ok(body) }
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Why> {
        let skipped = io::copy(&mut self.source.by_ref().take(bytes), &mut io::sink())?;
        self.offset += skipped;
        if skipped < bytes { Err(Why::CutOff) } else { Ok(()) }
    }
}

impl<R: BufRead> Iterator for Records<R> {
    type Item = Result<Record, BrokenRecord>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let record = self.record();
        let offset = self.begun;
        match record {
            Ok(body) => body.map(|body| Ok(Record { offset, body })),
            Err(why) => {
                self.ended = !matches!(why, Why::TooLong(_) | Why::Frame(_));
                Some(Err(BrokenRecord { offset, why }))
            }
        }
    }
}
