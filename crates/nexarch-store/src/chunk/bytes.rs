//! Numbers as bytes: variable-length integers, and a reader that checks every length.

use super::Corrupt;

/// Nanoseconds in a microsecond and in a millisecond: clocks of many clients tick in these.
const UNITS: [u64; 3] = [1, 1_000, 1_000_000];

/// Above this a scaled number does not fit beside its unit.
const MAX_SCALED: u64 = 1 << 62;

/// Appends seven bits per byte, lowest first.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 {
            return out.push(low & 0x7f);
        }
        out.push(low | 0x80);
    }
}

/// Appends a length.
pub(super) fn put_len(out: &mut Vec<u8>, len: usize) {
    put_varint(out, len as u64);
}

/// Appends a length and the bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a time or duration in nanoseconds in the coarsest unit that keeps it exact.
///
/// The lowest two bits name the unit; unit 3 means "the number follows in full".
pub(super) fn put_scaled(out: &mut Vec<u8>, value: u64) {
    let unit = UNITS.iter().rposition(|unit| value.is_multiple_of(*unit)).unwrap_or(0);
    let scaled = value / UNITS[unit];
    if scaled < MAX_SCALED {
        put_varint(out, scaled << 2 | unit as u64);
    } else {
        put_varint(out, 3);
        put_varint(out, value);
    }
}

/// Folds the sign into the lowest bit, so that small negatives stay short.
pub(super) fn zigzag(value: i64) -> u64 {
    (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned()
}

/// The opposite of [`zigzag`].
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Reads what the functions above wrote.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Fails unless everything was read.
    pub(super) fn finish(&self) -> Result<(), Corrupt> {
        if self.0.is_empty() { Ok(()) } else { Err(Corrupt("bytes left over")) }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Corrupt("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Corrupt("cut short"))?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next byte.
    pub(super) fn byte(&mut self) -> Result<u8, Corrupt> {
        let (first, rest) = self.0.split_first().ok_or(Corrupt("cut short"))?;
        self.0 = rest;
        Ok(*first)
    }

    /// See [`put_varint`].
    pub(super) fn varint(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt("number too long"))
    }

    /// A number of 32 bits.
    pub(super) fn varint32(&mut self) -> Result<u32, Corrupt> {
        u32::try_from(self.varint()?).map_err(|_| Corrupt("number too large"))
    }

    /// How many things follow; as each takes at least a byte, more than the bytes left is a lie.
    pub(super) fn count(&mut self) -> Result<usize, Corrupt> {
        match usize::try_from(self.varint()?) {
            Ok(count) if count <= self.left() => Ok(count),
            _ => Err(Corrupt("count beyond the block")),
        }
    }

    /// The index of something in a list of `len`.
    pub(super) fn index(&mut self, len: usize) -> Result<usize, Corrupt> {
        match usize::try_from(self.varint()?) {
            Ok(index) if index < len => Ok(index),
            _ => Err(Corrupt("index beyond its list")),
        }
    }

    /// See [`put_bytes`].
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len = self.count()?;
        self.take(len)
    }

    /// See [`put_scaled`].
    pub(super) fn scaled(&mut self) -> Result<u64, Corrupt> {
        let coded = self.varint()?;
        match UNITS.get((coded & 3) as usize) {
            Some(unit) => (coded >> 2).checked_mul(*unit).ok_or(Corrupt("time too large")),
            None => self.varint(),
        }
    }
}
