//! What stands in the shared tier for one entry. Pure: bytes in, bytes out, no clock, no IO.
//!
//! All numbers little-endian:
//!
//! ```text
//!  0  magic "nxch"            16  label: epoch       56  computed at    88  bytes of parameters
//!  4  format version           24  label: tenant      64  expires        92  bytes of body, plain
//!  5  flags                    32  label: operation   72  dies           96  bytes of payload
//!  6  codec                    40  label: data        80  cost, ns      100  nonce (24), if sealed
//!  7  0                        48  contains                              ..  payload: parameters, body
//!  8  fingerprint of schema        (times: µs since 1970)                ..  16: checksum, or tag if sealed
//! ```
//!
//! The checksum and the tag cover the **name** of the key, too, so a value that is found under another key is a corrupt
//! one. The checksum finds accidents; only the tag finds somebody who can write to the shared tier.

mod reader;
#[cfg(test)]
mod tests;

use crate::fence::Fence;
use crate::seal::{NONCE, Sealer, TAG};
use reader::Reader;
pub(crate) use reader::Rejected;
use std::io;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: [u8; 4] = *b"nxch";
/// Raised when the layout changes: the other one is a miss.
const FORMAT: u8 = 1;
pub(crate) const HEADER: usize = 100;

const COMPRESSED: u8 = 1;
const SEALED: u8 = 2;
const NEGATIVE: u8 = 4;
const KNOWN_FLAGS: u8 = COMPRESSED | SEALED | NEGATIVE;

/// Bodies from this size on are compressed, if it saves anything: 1 KiB of JSON becomes 362 bytes in 22 µs. Less than this
/// fits into one packet either way.
pub(crate) const COMPRESS_FROM: usize = 1 << 10;

/// What envelopes of this crate add to parameters and body at most, in bytes.
pub(crate) const OVERHEAD: usize = HEADER + NONCE + TAG;

/// What is in a body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Codec {
    /// Whatever the caller put there.
    #[default]
    Bytes,
    /// A value of a type, by `postcard`.
    Postcard,
}

/// What is said of a value beside the value. Times are microseconds since 1970, on the clock of who wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) label: Fence,
    pub(crate) contains: u64,
    pub(crate) computed_at: u64,
    pub(crate) expires: u64,
    pub(crate) dies: u64,
    pub(crate) cost: Duration,
    pub(crate) negative: bool,
}

/// Where a value belongs: what is written under one of these is read under an equal one only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The full name of the key.
    pub(crate) key: &'a str,
    pub(crate) params: &'a str,
    /// Of the schema of the body.
    pub(crate) fingerprint: u64,
    pub(crate) codec: Codec,
    pub(crate) sealer: Option<&'a Sealer>,
}

/// Packs a value. With a sealer it takes a nonce that was never used before.
pub(crate) fn pack(place: &Place<'_>, nonce: [u8; NONCE], head: &Head, body: &[u8]) -> io::Result<Vec<u8>> {
    let squeezed = if body.len() >= COMPRESS_FROM { Some(zstd::bulk::compress(body, LEVEL)?) } else { None };
    let squeezed = squeezed.filter(|squeezed| squeezed.len() < body.len());
    let flags = if squeezed.is_some() { COMPRESSED } else { 0 }
        | if place.sealer.is_some() { SEALED } else { 0 }
        | if head.negative { NEGATIVE } else { 0 };
    let content = squeezed.as_deref().unwrap_or(body);
    let payload = place.params.len() + content.len();
    let mut out = Vec::with_capacity(OVERHEAD + payload);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[FORMAT, flags, place.codec.number(), 0]);
    let Fence { epoch, tenant, operation, data } = head.label;
    let cost = crate::clock::nanos(head.cost);
    for number in [
        place.fingerprint,
        epoch.get(),
        tenant,
        operation,
        data,
        head.contains,
        head.computed_at,
        head.expires,
        head.dies,
        cost,
    ] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for length in [place.params.len(), body.len(), payload] {
        out.extend_from_slice(&u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    }
    debug_assert_eq!(out.len(), HEADER);
    let header = out.len();
    if place.sealer.is_some() {
        out.extend_from_slice(&nonce);
    }
    let begins = out.len();
    out.extend_from_slice(place.params.as_bytes());
    out.extend_from_slice(content);
    let end = match place.sealer {
        Some(sealer) => {
            let beside = beside(place.key, &out[..header]);
            let tag = sealer.seal(&nonce, &beside, &mut out[begins..]);
            tag.ok_or_else(|| io::Error::other("too long to be sealed"))?
        }
        None => checksum(&[place.key.as_bytes(), &out]),
    };
    out.extend_from_slice(&end);
    Ok(out)
}

/// Unpacks a value that was found at `place` at `now`, whose body may have `max_body` bytes.
pub(crate) fn unpack(
    place: &Place<'_>,
    now: u64,
    max_body: usize,
    value: &bytes::Bytes,
) -> Result<(Head, bytes::Bytes), Rejected> {
    Reader::new(value)?.read(place, now, max_body)
}

/// The label that the beginning of a value, [`HEADER`] bytes of it, says that it has; nothing of it was verified.
pub(crate) fn claimed_label(head: &bytes::Bytes) -> Option<Fence> {
    Reader::new(head).ok().map(|reader| reader.head().label)
}

/// Bytes of the body that a value says it has, compressed or not; nothing of it was verified.
pub(crate) fn claimed_length(value: &bytes::Bytes) -> usize {
    Reader::new(value).map_or(0, |reader| reader.body())
}

/// Level 1. On JSON of this project (`docs/openapi.json`, one core, `zstd -b`), in blocks of 8 KiB: 1 to 5.2 at 318 MB/s,
/// level 3 5.4 at 315, level 5 5.9 at 104; in one of 64 KiB: 7.4 at 526 MB/s, level 3 7.8 at 367.
const LEVEL: i32 = 1;

/// What a checksum or a tag covers beside the payload. A header has one length, so the two cannot run into each other.
fn beside(key: &str, header: &[u8]) -> Vec<u8> {
    [key.as_bytes(), header].concat()
}

/// Of all parts in a row.
pub(crate) fn checksum(parts: &[&[u8]]) -> [u8; TAG] {
    let mut hash = Xxh3::new();
    for part in parts {
        hash.update(part);
    }
    hash.digest128().to_le_bytes()
}

impl Codec {
    fn number(self) -> u8 {
        match self {
            Self::Bytes => 0,
            Self::Postcard => 1,
        }
    }
}
