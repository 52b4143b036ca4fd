//! The protobuf wire format, as far as OTLP uses it: four wire types; the groups of old are passed over.
//!
//! Written out rather than derived, because a derived message would be built first and converted after: this way each
//! field goes straight to its place in the span, and a too deep value costs one span instead of the request.

/// Why bytes are not protobuf.
pub(super) type Malformed = &'static str;

/// The value of one field as the wire has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Field<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err("a field that should be length-delimited is not"),
        }
    }

    pub(super) fn varint(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err("a field that should be a varint is not"),
        }
    }

    /// Enums and `int32` are written as 64-bit varints, of which the low half counts.
    #[expect(clippy::cast_possible_truncation, reason = "the wire format truncates")]
    pub(super) fn int32(self) -> Result<i32, Malformed> {
        Ok(self.varint()?.cast_signed() as i32)
    }

    pub(super) fn fixed64(self) -> Result<u64, Malformed> {
        match self {
            Self::Fixed64(number) => Ok(number),
            _ => Err("a field that should be 64 bits wide is not"),
        }
    }

    pub(super) fn fixed32(self) -> Result<u32, Malformed> {
        match self {
            Self::Fixed32(number) => Ok(number),
            _ => Err("a field that should be 32 bits wide is not"),
        }
    }
}

/// Reads the fields of one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The number and value of the next field; `None` at the end.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(u32, Field<'a>)>, Malformed> {
        while !self.0.is_empty() {
            match self.key()? {
                (number, START_GROUP) => self.skip_group(number, MAX_GROUP_DEPTH)?,
                (number, wire_type) => return Ok(Some((number, self.field(wire_type)?))),
            }
        }
        Ok(None)
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u32), Malformed> {
        let key = u32::try_from(self.varint()?).map_err(|_| "a field number is too large")?;
        if key >> 3 == 0 { Err("a field has the number 0") } else { Ok((key >> 3, key & 7)) }
    }

    #[inline]
    fn field(&mut self, wire_type: u32) -> Result<Field<'a>, Malformed> {
        Ok(match wire_type {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| TRUNCATED)?;
                Field::Bytes(self.take(len)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(self.array()?)),
            _ => return Err("a field has an unknown wire type"),
        })
    }

    fn skip_group(&mut self, group: u32, depth: u32) -> Result<(), Malformed> {
        let depth = depth.checked_sub(1).ok_or("groups are nested too deeply")?;
        loop {
            match self.key()? {
                (number, START_GROUP) => self.skip_group(number, depth)?,
                (number, END_GROUP) if number == group => return Ok(()),
                (_, wire_type) => drop(self.field(wire_type)?),
            }
        }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        if let [byte @ 0..0x80, rest @ ..] = self.0 {
            self.0 = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0u64;
        for (nth, byte) in self.0.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * nth);
            if *byte < 0x80 {
                if nth == 9 && *byte > 1 {
                    break;
                }
                self.take(nth + 1)?;
                return Ok(number);
            }
        }
        Err(if self.0.len() < 10 { TRUNCATED } else { "a varint is longer than 64 bits" })
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TRUNCATED)?;
        self.0 = rest;
        Ok(*taken)
    }
}

const START_GROUP: u32 = 3;
const END_GROUP: u32 = 4;

/// Groups in groups, of fields that OTLP does not have; more is an attack on the stack.
const MAX_GROUP_DEPTH: u32 = 32;

const TRUNCATED: Malformed = "it ends inside a field";

/// Writes the fields of a message. Zeros and empty texts are left out, as proto3 does.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
    }

    fn key(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }

    pub(super) fn varint_field(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.varint_always(number, value);
        }
    }

    pub(super) fn varint_always(&mut self, number: u32, value: u64) {
        self.key(number, 0);
        self.varint(value);
    }

    pub(super) fn fixed64(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.fixed64_always(number, value);
        }
    }

    pub(super) fn fixed64_always(&mut self, number: u32, value: u64) {
        self.key(number, 1);
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub(super) fn fixed32(&mut self, number: u32, value: u32) {
        if value != 0 {
            self.key(number, 5);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.bytes(number, text.as_bytes());
        }
    }

    pub(super) fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.key(number, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// A nested message: written in place, then moved up by the few bytes that its length needs.
    pub(super) fn message(&mut self, number: u32, write: impl FnOnce(&mut Self)) {
        self.key(number, 2);
        let start = self.0.len();
        write(self);
        let end = self.0.len();
        self.varint((end - start) as u64);
        let header = self.0.len() - end;
        self.0[start..].rotate_right(header);
    }
}
