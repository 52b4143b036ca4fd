//! What the readers of Zipkin and Jaeger files share: fields by name, ids, microseconds, and words for what is wrong.

use std::{borrow::Cow, fmt, ops::Range};

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    Text,
    ids::{SpanId, TraceId},
};

/// Longest quotation of a wrong value in an error, in bytes.
const MAX_QUOTE_BYTES: usize = 60;

/// Longest error about one span, in bytes.
const MAX_ERROR_BYTES: usize = 300;

const NS_PER_US: u64 = 1_000;

/// The values of an object's fields, in the order of the names asked for: `None` when absent or `null`; of a repeated
/// field the last counts, others are passed over.
pub(crate) fn fields<'a, const N: usize>(
    json: &'a str,
    names: &[&str; N],
) -> Result<[Option<&'a RawValue>; N], String> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_map(Pick(names)).map_err(|error| error.to_string())?;
    reader.end().map_err(|error| error.to_string())?;
    Ok(found)
}

struct Pick<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Str(key)) = map.next_key()? {
            match self.0.iter().position(|name| *name == key) {
                Some(place) => found[place] = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

#[derive(Deserialize)]
struct Str<'a>(#[serde(borrow)] Cow<'a, str>);

/// The elements of an array, each as raw text.
pub(crate) fn elements(raw: &RawValue) -> Result<Vec<&RawValue>, String> {
    serde_json::from_str(raw.get()).map_err(|_| format!("expected an array, got {}", quoted(raw)))
}

/// Where in the body a part of it stands.
pub(crate) fn place(body: &Bytes, part: &RawValue) -> Range<usize> {
    let start = (part.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + part.get().len()
}

/// A text in quotes.
pub(crate) fn string(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    match serde_json::from_str(raw.get()) {
        Ok(Str(text)) => Ok(text),
        Err(_) => Err(format!("expected text in quotes, got {}", quoted(raw))),
    }
}

/// A text as a slice of the body where it holds no escapes.
pub(crate) fn text(body: &Bytes, raw: &RawValue) -> Result<Text, String> {
    let text = string(raw)?;
    let offset = (text.as_ptr() as usize).wrapping_sub(body.as_ptr() as usize);
    let shared = match body.get(offset..offset.wrapping_add(text.len())) {
        Some(_) => body.slice(offset..offset + text.len()),
        None => Bytes::from(text.into_owned().into_bytes()),
    };
    Text::try_from(shared).map_err(|_| "expected text in UTF-8".to_owned())
}

/// Microseconds, a whole number or one in quotes, as nanoseconds.
pub(crate) fn micros(raw: &RawValue) -> Result<u64, String> {
    let text = raw.get().trim_matches('"');
    let whole = text.parse::<u64>().ok().or_else(|| whole(text.parse().ok()?));
    whole
        .and_then(|us| us.checked_mul(NS_PER_US))
        .ok_or_else(|| format!("expected microseconds as a whole number of at least 0, got {}", quoted(raw)))
}

/// A whole number that was written as a float (`1.5e15`), while it is exact.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=2f64.powi(53)).contains(&number)).then_some(number as u64)
}

/// A trace id of up to 32 hex digits, padded on the left.
pub(crate) fn padded_trace_id(digits: &str) -> Option<TraceId> {
    (1..=32).contains(&digits.len()).then(|| TraceId::from_hex(&format!("{digits:0>32}")))?
}

/// A span id of up to 16 hex digits, padded on the left.
pub(crate) fn padded_span_id(digits: &str) -> Option<SpanId> {
    (1..=16).contains(&digits.len()).then(|| SpanId::from_hex(&format!("{digits:0>16}")))?
}

/// Is it hex digits, all zero?
pub(crate) fn is_zero(digits: &str) -> bool {
    digits.bytes().all(|digit| digit == b'0')
}

/// A value as sent, cut to a length that an error can bear.
pub(crate) fn quoted(raw: &RawValue) -> String {
    cut(raw.get().to_owned(), MAX_QUOTE_BYTES)
}

/// An error in a bearable length.
pub(crate) fn shortened(error: String) -> String {
    cut(error, MAX_ERROR_BYTES)
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push('…');
    }
    text
}

/// Names the span in an error about it, as far as it names itself.
pub(crate) fn about(span: Option<&RawValue>, error: &str) -> String {
    match span {
        Some(id) => shortened(format!("span {}: {error}", quoted(id).trim_matches('"'))),
        None => shortened(error.to_owned()),
    }
}

/// Puts the name of a field before what is wrong with it.
pub(crate) fn named<T>(name: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|error| format!("{name}: {error}"))
}
