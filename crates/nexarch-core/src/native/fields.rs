//! The fields of the native format. Each error says what was expected; the caller adds the name of the field.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer as _};
use serde_json::value::RawValue;

use crate::{
    Text,
    ids::{SpanId, TraceId},
    otlp::Budget,
    span::{Attributes, Kind},
};

fn string(raw: &RawValue) -> Result<Cow<'_, str>, String> {
    #[derive(Deserialize)]
    struct Str<'a>(#[serde(borrow)] Cow<'a, str>);
    match serde_json::from_str(raw.get()) {
        Ok(Str(text)) => Ok(text),
        Err(_) => Err(format!("expected text in quotes, got {}", raw.get())),
    }
}

/// Hex digits without the dashes of a UUID.
fn digits(raw: &RawValue) -> Result<String, String> {
    Ok(string(raw)?.trim().replace('-', ""))
}

pub(super) fn trace_id(raw: &RawValue) -> Result<TraceId, String> {
    let digits = digits(raw)?;
    (1..=32)
        .contains(&digits.len())
        .then(|| TraceId::from_hex(&format!("{digits:0>32}")))
        .flatten()
        .ok_or_else(|| format!("expected 1 to 32 hex digits, not all zero, or a UUID, got {}", raw.get()))
}

pub(super) fn span_id(raw: &RawValue) -> Result<SpanId, String> {
    span_digits(&digits(raw)?)
        .and_then(SpanId::from_hex)
        .ok_or_else(|| format!("expected 16 hex digits, not all zero, or a UUID, got {}", raw.get()))
}

/// An empty or all-zero parent means a root.
pub(super) fn parent_span_id(raw: &RawValue) -> Result<Option<SpanId>, String> {
    let digits = digits(raw)?;
    if digits.is_empty() {
        return Ok(None);
    }
    let got = || format!("expected 16 hex digits or a UUID; leave it out for a root; got {}", raw.get());
    span_digits(&digits).map(SpanId::from_hex).ok_or_else(got)
}

/// The 16 digits of a span id, or the first 16 of a UUID.
fn span_digits(digits: &str) -> Option<&str> {
    let valid = matches!(digits.len(), 16 | 32) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    valid.then(|| &digits[..16])
}

pub(super) fn name(raw: &RawValue) -> Result<Text, String> {
    let text = string(raw)?;
    match text.trim() {
        "" => Err("is empty; send its name as text".to_owned()),
        trimmed => Ok(trimmed.into()),
    }
}

/// An empty one names nobody.
pub(super) fn downstream(raw: &RawValue) -> Result<Option<Text>, String> {
    let text = string(raw)?;
    Ok((!text.trim().is_empty()).then(|| text.trim().into()))
}

pub(super) fn kind(raw: &RawValue) -> Result<Kind, String> {
    let text = string(raw)?;
    match text.trim().to_ascii_lowercase().as_str() {
        "" | "internal" => Ok(Kind::Internal),
        "unspecified" => Ok(Kind::Unspecified),
        "server" => Ok(Kind::Server),
        "client" => Ok(Kind::Client),
        "producer" => Ok(Kind::Producer),
        "consumer" => Ok(Kind::Consumer),
        _ => Err(format!("expected internal, server, client, producer or consumer, got {}", raw.get())),
    }
}

/// Nanoseconds since the Unix epoch.
pub(super) fn time(raw: &RawValue) -> Result<u64, String> {
    let expected = || {
        format!(
            "expected an RFC 3339 time since 1970 such as \"2026-01-31T12:00:00.250Z\", got {}",
            raw.get()
        )
    };
    let text = string(raw).map_err(|_| expected())?;
    let text = text.trim();
    let with_zone = text.parse::<jiff::Timestamp>();
    let time = with_zone.or_else(|_| {
        let civil = text.parse::<jiff::civil::DateTime>()?;
        Ok::<_, jiff::Error>(civil.to_zoned(jiff::tz::TimeZone::UTC)?.timestamp())
    });
    time.ok().and_then(|time| u64::try_from(time.as_nanosecond()).ok()).ok_or_else(expected)
}

/// Milliseconds to whole nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked, and the cast saturates"
)]
pub(super) fn latency(raw: &RawValue) -> Result<u64, String> {
    match serde_json::from_str::<f64>(raw.get()) {
        Ok(ms) if ms >= 0.0 && ms.is_finite() => Ok((ms * 1e6).round() as u64),
        _ => Err(format!("expected milliseconds as a number of at least 0, got {}", raw.get())),
    }
}

pub(super) fn status_code(raw: &RawValue) -> Result<i64, String> {
    let number = raw.get().trim_matches('"').parse::<i64>().ok();
    number
        .filter(|code| (0..=999).contains(code))
        .ok_or_else(|| format!("expected an HTTP status such as 200, got {}", raw.get()))
}

/// Whether it failed, and the message.
pub(super) fn error(raw: &RawValue) -> Result<(bool, Text), String> {
    if let Ok(failed) = serde_json::from_str::<bool>(raw.get()) {
        return Ok((failed, Text::new()));
    }
    let message =
        string(raw).map_err(|_| format!("expected true, false or a message as text, got {}", raw.get()))?;
    Ok((!message.is_empty(), (*message).into()))
}

/// Attributes from plain JSON.
pub(crate) fn attributes(raw: &RawValue, budget: &Budget) -> Result<Attributes, String> {
    serde_json::Deserializer::from_str(raw.get()).deserialize_map(super::value::Object(budget)).map_err(
        |error| {
            let text = error.to_string();
            // The position counts from the start of the attributes, which would mislead.
            text[..text.rfind(" at line ").unwrap_or(text.len())].to_owned()
        },
    )
}
