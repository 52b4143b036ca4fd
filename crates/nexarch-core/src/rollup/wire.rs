//! LEB128 and zigzag numbers, and a reader that never reads, or reserves, beyond its input.

use super::Corrupt;

/// Appends an unsigned number.
pub(super) fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_bits(value.into()) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value.into()));
}

/// Appends a signed number.
pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Appends a signed number of 128 bits.
pub(super) fn put_i128(out: &mut Vec<u8>, value: i128) {
    let mut value = ((value << 1) ^ (value >> 127)).cast_unsigned();
    while value >= 0x80 {
        out.push(low_bits(value) | 0x80);
        value >>= 7;
    }
    out.push(low_bits(value));
}

fn low_bits(value: u128) -> u8 {
    (value & 0x7f).to_le_bytes()[0]
}

/// What is left of the input.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn byte(&mut self) -> Result<u8, Corrupt> {
        let (&first, rest) = self.0.split_first().ok_or(Corrupt("cut off"))?;
        self.0 = rest;
        Ok(first)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Corrupt("cut off"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn unsigned(&mut self) -> Result<u64, Corrupt> {
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
        Err(Corrupt("number too large"))
    }

    pub(super) fn signed(&mut self) -> Result<i64, Corrupt> {
        let value = self.unsigned()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    pub(super) fn i128(&mut self) -> Result<i128, Corrupt> {
        let mut value: u128 = 0;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            if shift == 126 && bits > 3 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        Err(Corrupt("number too large"))
    }

    /// Passes over so many numbers, of whatever size.
    pub(super) fn skip(&mut self, numbers: usize) -> Result<(), Corrupt> {
        let mut left = numbers;
        let mut at = 0;
        while left > 0 {
            let byte = self.0.get(at).ok_or(Corrupt("cut off"))?;
            left -= usize::from(*byte < 0x80);
            at += 1;
        }
        self.0 = &self.0[at..];
        Ok(())
    }

    /// A position in a table.
    pub(super) fn index(&mut self) -> Result<usize, Corrupt> {
        usize::try_from(self.unsigned()?).map_err(|_| Corrupt("number too large"))
    }

    /// A number of items of at least `size` bytes each; one that the rest of the input cannot hold is refused, so
    /// that nothing is reserved for a lie.
    pub(super) fn length(&mut self, size: usize) -> Result<usize, Corrupt> {
        let count = self.index()?;
        if count.checked_mul(size).is_some_and(|bytes| bytes <= self.0.len()) {
            Ok(count)
        } else {
            Err(Corrupt("cut off"))
        }
    }
}
