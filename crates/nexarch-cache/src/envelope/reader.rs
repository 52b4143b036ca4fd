//! Reading an envelope that anybody may have written: every length is checked before it is believed.

use super::{
    COMPRESSED, FORMAT, HEADER, Head, KNOWN_FLAGS, MAGIC, NEGATIVE, Place, SEALED, beside, checksum,
};
use crate::fence::{Epoch, Fence};
use crate::seal::{NONCE, TAG};
use bytes::Bytes;
use std::cell::RefCell;
use std::io;
use std::time::Duration;
use zstd::bulk::Decompressor;

/// Why a value of the shared tier is not used. Each is a miss, and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rejected {
    /// Not an envelope, or of another database.
    Foreign,
    /// An envelope that ends too early.
    Truncated,
    /// Of another version of this format.
    OtherFormat,
    /// Of another version of what is in it.
    OtherSchema,
    /// Checksum or tag do not fit: altered, or found under another key.
    Corrupt,
    /// Of other parameters with the same hash.
    OtherParameters,
    /// Sealed, and there is no key.
    Sealed,
    /// Not sealed, and there is a key.
    Unsealed,
    /// More than is taken.
    TooLarge,
    /// Past its hard expiry.
    Expired,
    /// Labelled with a version that the authority did not give yet.
    Ahead,
}

impl Rejected {
    pub(crate) const ALL: [Self; 11] = [
        Self::Foreign,
        Self::Truncated,
        Self::OtherFormat,
        Self::OtherSchema,
        Self::Corrupt,
        Self::OtherParameters,
        Self::Sealed,
        Self::Unsealed,
        Self::TooLarge,
        Self::Expired,
        Self::Ahead,
    ];

    /// The word, as statistics give it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Truncated => "truncated",
            Self::OtherFormat => "other_format",
            Self::OtherSchema => "other_schema",
            Self::Corrupt => "corrupt",
            Self::OtherParameters => "other_parameters",
            Self::Sealed => "sealed",
            Self::Unsealed => "unsealed",
            Self::TooLarge => "too_large",
            Self::Expired => "expired",
            Self::Ahead => "ahead",
        }
    }
}

pub(super) struct Reader<'a> {
    value: &'a Bytes,
    header: &'a [u8; HEADER],
}

impl<'a> Reader<'a> {
    pub(super) fn new(value: &'a Bytes) -> Result<Self, Rejected> {
        if !value.starts_with(&MAGIC) {
            return Err(Rejected::Foreign);
        }
        // Another version may have another header: asked before its length.
        if value.get(4).is_some_and(|&format| format != FORMAT) {
            return Err(Rejected::OtherFormat);
        }
        let header = value.first_chunk().ok_or(Rejected::Truncated)?;
        Ok(Self { value, header })
    }

    pub(super) fn read(
        &self,
        place: &Place<'_>,
        now: u64,
        max_body: usize,
    ) -> Result<(Head, Bytes), Rejected> {
        let flags = self.header[5];
        if flags & !KNOWN_FLAGS != 0 || self.header[7] != 0 {
            return Err(Rejected::OtherFormat);
        }
        let sealed = flags & SEALED != 0;
        match place.sealer {
            None if sealed => return Err(Rejected::Sealed),
            Some(_) if !sealed => return Err(Rejected::Unsealed),
            _ => (),
        }
        let [params, body, payload] = [self.length(88), self.body(), self.length(96)];
        if body > max_body {
            return Err(Rejected::TooLarge);
        }
        let begins = HEADER + if sealed { NONCE } else { 0 };
        // On a target of 32 bits a length may be more than there can be.
        let whole = begins.checked_add(payload).and_then(|sum| sum.checked_add(TAG));
        let Some(whole) = whole else { return Err(Rejected::Corrupt) };
        if self.value.len() < whole {
            return Err(Rejected::Truncated);
        }
        if self.value.len() > whole || params > payload {
            return Err(Rejected::Corrupt);
        }
        let payload = self.verified(place, begins, payload)?;
        let head = self.head();
        self.belongs(place, &payload[..params])?;
        if now >= head.dies {
            return Err(Rejected::Expired);
        }
        let content = payload.slice(params..);
        Ok((head, unsqueezed(content, body, flags & COMPRESSED != 0)?))
    }

    /// The payload, opened, once its checksum or tag fits.
    fn verified(&self, place: &Place<'_>, begins: usize, length: usize) -> Result<Bytes, Rejected> {
        let payload = self.value.slice(begins..begins + length);
        let end: &[u8; TAG] = self.value.last_chunk().ok_or(Rejected::Truncated)?;
        let Some(sealer) = place.sealer else {
            let fits = checksum(&[place.key.as_bytes(), self.header, &payload]) == *end;
            return if fits { Ok(payload) } else { Err(Rejected::Corrupt) };
        };
        let beside = beside(place.key, self.header);
        let nonce: &[u8; NONCE] = self.value[HEADER..].first_chunk().ok_or(Rejected::Truncated)?;
        let mut text = payload.to_vec();
        sealer.open(nonce, &beside, &mut text, end).ok_or(Rejected::Corrupt)?;
        Ok(text.into())
    }

    fn belongs(&self, place: &Place<'_>, params: &[u8]) -> Result<(), Rejected> {
        if self.header[6] != place.codec.number() || self.number(8) != place.fingerprint {
            return Err(Rejected::OtherSchema);
        }
        if params == place.params.as_bytes() { Ok(()) } else { Err(Rejected::OtherParameters) }
    }

    /// Bytes of the body before it was compressed.
    pub(super) fn body(&self) -> usize {
        self.length(92)
    }

    pub(super) fn head(&self) -> Head {
        Head {
            label: Fence {
                epoch: Epoch::new(self.number(16)),
                tenant: self.number(24),
                operation: self.number(32),
                data: self.number(40),
            },
            contains: self.number(48),
            computed_at: self.number(56),
            expires: self.number(64),
            dies: self.number(72),
            cost: Duration::from_nanos(self.number(80)),
            negative: self.header[5] & NEGATIVE != 0,
        }
    }

    fn number(&self, at: usize) -> u64 {
        self.header[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// At most 4 GiB, and nothing is reserved for it before it was compared with what is there.
    fn length(&self, at: usize) -> usize {
        self.header[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
    }
}

/// The body. What is decompressed never takes more room than the header promised, which was compared with the limit.
fn unsqueezed(content: Bytes, length: usize, compressed: bool) -> Result<Bytes, Rejected> {
    let body = if compressed { unsqueeze(&content, length).map_err(|_| Rejected::Corrupt)? } else { content };
    if body.len() == length { Ok(body) } else { Err(Rejected::Corrupt) }
}

thread_local! {
    /// Making one takes longer than unpacking a small body.
    static UNSQUEEZER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn unsqueeze(content: &[u8], length: usize) -> io::Result<Bytes> {
    UNSQUEEZER.with_borrow_mut(|unsqueezer| {
        let unsqueezer = match unsqueezer {
            Some(unsqueezer) => unsqueezer,
            None => unsqueezer.insert(Decompressor::new()?),
        };
        unsqueezer.decompress(content, length).map(Bytes::from)
    })
}
