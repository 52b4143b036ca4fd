//! Identifiers as types: a tenant, a trace, a span. Parsed once, at the edge.

use std::{cmp::Ordering, fmt, str::FromStr, sync::Arc};

/// A tenant: 1 to 63 bytes of `[a-z0-9][a-z0-9_-]*`.
///
/// ```
/// use nexarch_core::ids::TenantId;
/// assert_eq!("acme".parse::<TenantId>().unwrap().as_str(), "acme");
/// assert!("Acme".parse::<TenantId>().is_err());
/// assert!("a:b".parse::<TenantId>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Longest tenant id, in bytes.
    pub const MAX_LEN: usize = 63;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
        let all_allowed = text.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
        if starts_well && all_allowed && text.len() <= Self::MAX_LEN {
            Ok(Self(text.into()))
        } else {
            Err(IdError::Tenant)
        }
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantId({})", self.0)
    }
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $number:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        pub struct $name([u8; $len]);

        // In the order of the bytes. Derived, each comparison would be a call of `memcmp`, and traces are sorted by these.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                <$number>::from_be_bytes(self.0).cmp(&<$number>::from_be_bytes(other.0))
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Takes raw bytes; `None` when all are zero, which OpenTelemetry calls invalid.
            pub fn from_bytes(bytes: [u8; $len]) -> Option<Self> {
                (bytes != [0; $len]).then_some(Self(bytes))
            }

            /// Takes a slice of exactly the right length that is not all zero.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                Self::from_bytes(bytes.try_into().ok()?)
            }

            /// The raw bytes, most significant first.
            pub fn to_bytes(self) -> [u8; $len] {
                self.0
            }

            /// Parses exactly the full number of hex digits, in either case.
            pub fn from_hex(text: &str) -> Option<Self> {
                let digits = text.as_bytes();
                if digits.len() != 2 * $len {
                    return None;
                }
                let mut bytes = [0u8; $len];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    *byte = (hex_digit(pair[0])? << 4) | hex_digit(pair[1])?;
                }
                Self::from_bytes(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

hex_id!(
    /// A trace id: 16 bytes, never all zero; shown as 32 lower-case hex digits.
    TraceId,
    16,
    u128
);
hex_id!(
    /// A span id: 8 bytes, never all zero; shown as 16 lower-case hex digits.
    SpanId,
    8,
    u64
);

impl TraceId {
    /// Parses 16 or 32 hex digits; a 64-bit id is padded with zeros on the left.
    pub fn from_hex_lenient(text: &str) -> Option<Self> {
        match text.len() {
            16 => Self::from_hex(&format!("{text:0>32}")),
            _ => Self::from_hex(text),
        }
    }
}

fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Why a text is no identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not a tenant id.
    #[error("a tenant id is 1 to 63 characters of a-z, 0-9, '_' and '-', and starts with a letter or digit")]
    Tenant,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{SpanId, TraceId};

    proptest! {
        #[test]
        fn ids_are_ordered_as_their_bytes(a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), same in 0..16_usize) {
            let mut b = b;
            b[..same].copy_from_slice(&a[..same]);
            let (Some(one), Some(other)) = (TraceId::from_bytes(a), TraceId::from_bytes(b)) else { return Ok(()) };
            prop_assert_eq!(one.cmp(&other), a.cmp(&b));
            let (a, b) = (&a[8..], &b[8..]);
            let (Some(one), Some(other)) = (SpanId::from_slice(a), SpanId::from_slice(b)) else { return Ok(()) };
            prop_assert_eq!(one.cmp(&other), a.cmp(b));
        }
    }
}
