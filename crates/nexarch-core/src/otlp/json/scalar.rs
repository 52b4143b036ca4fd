//! Scalars as protobuf writes them in JSON: 64-bit integers as numbers or as decimal strings, floats also by name,
//! enums as integers only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use bytes::Bytes;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Unexpected, Visitor};

use super::Context;
use crate::Text;

/// Implements `Deserialize` for a scalar by its visitor.
macro_rules! scalar {
    ($name:ident) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Scalar;
                impl<'de> Visitor<'de> for Scalar {
                    type Value = $name;
                    scalar_visitor!($name);
                }
                deserializer.deserialize_any(Scalar)
            }
        }
    };
}

macro_rules! scalar_visitor {
    (Uint64) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a 64-bit unsigned integer as a number or a decimal string")
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Uint64, E> {
            Ok(Uint64(number))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Uint64, E> {
            let unexpected = || E::invalid_value(Unexpected::Float(number), &self);
            u64::try_from(whole(number).ok_or_else(unexpected)?).map(Uint64).map_err(|_| unexpected())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Uint64, E> {
            text.parse().map(Uint64).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    };
    (Int64) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a 64-bit integer as a number or a decimal string")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Int64, E> {
            Ok(Int64(number))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Int64, E> {
            let unexpected = |_| E::invalid_value(Unexpected::Unsigned(number), &self);
            i64::try_from(number).map(Int64).map_err(unexpected)
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Int64, E> {
            let unexpected = || E::invalid_value(Unexpected::Float(number), &self);
            i64::try_from(whole(number).ok_or_else(unexpected)?).map(Int64).map_err(|_| unexpected())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Int64, E> {
            text.parse().map(Int64).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    };
    (Double) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number, or one of \"NaN\", \"Infinity\", \"-Infinity\"")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<Double, E> {
            Ok(Double(number as f64))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<Double, E> {
            Ok(Double(number as f64))
        }

        fn visit_f64<E: de::Error>(self, number: f64) -> Result<Double, E> {
            Ok(Double(number))
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Double, E> {
            // Rust reads the three names of protobuf as well as decimal numbers.
            text.parse().map(Double).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
        }
    };
    (EnumNumber) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an integer (names of enum values are not OTLP/JSON)")
        }

        fn visit_i64<E: de::Error>(self, number: i64) -> Result<EnumNumber, E> {
            Ok(EnumNumber(i32::try_from(number).unwrap_or(i32::MAX)))
        }

        fn visit_u64<E: de::Error>(self, number: u64) -> Result<EnumNumber, E> {
            Ok(EnumNumber(i32::try_from(number).unwrap_or(i32::MAX)))
        }
    };
}

/// A whole number that was written as a float (`1e9`, `3.0`), while it is exact.
#[expect(clippy::cast_possible_truncation, reason = "the range is checked before")]
fn whole(number: f64) -> Option<i128> {
    (number.fract() == 0.0 && number.abs() <= 2f64.powi(64)).then_some(number as i128)
}

/// `uint64`, `fixed64`, `uint32`, `fixed32`.
pub(super) struct Uint64(pub(super) u64);
/// `int64`.
pub(super) struct Int64(pub(super) i64);
/// `double`.
pub(super) struct Double(pub(super) f64);
/// The number of an enum value; one outside of 32 bits is as unknown as any other unknown one.
pub(super) struct EnumNumber(pub(super) i32);

scalar!(Uint64);
scalar!(Int64);
scalar!(Double);
scalar!(EnumNumber);

/// A text, shared with the body where it holds no escapes. A lone surrogate (JavaScript writes them) is replaced.
#[derive(Clone, Copy)]
pub(super) struct TextSeed<'c, 'b, 'r>(pub(super) &'c Context<'b, 'r>);

impl<'de> DeserializeSeed<'de> for TextSeed<'_, '_, '_> {
    type Value = Text;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for TextSeed<'_, '_, '_> {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(self.0.text(bytes))
    }
}

/// Base64, of the standard or the URL alphabet, padded or not.
pub(super) struct Base64(pub(super) Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let super::object::Str(text) = Deserialize::deserialize(deserializer)?;
        let engine =
            if text.contains(['-', '_']) { &URL_SAFE_PAD_INDIFFERENT } else { &STANDARD_PAD_INDIFFERENT };
        match engine.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Self(bytes.into())),
            Err(_) => Err(de::Error::custom("the string is not base64")),
        }
    }
}
