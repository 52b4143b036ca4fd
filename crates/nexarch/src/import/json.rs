//! One JSON value: what it holds, and its spans.

use std::{borrow::Cow, cell::Cell, fmt};

use bytes::Bytes;
use nexarch_core::{
    jaeger,
    otlp::{Decoded, Reason, Rules, decode_json},
    zipkin,
};
use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::lenient;

/// What a value is, as far as its keys tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// A request of OTLP.
    Request,
    /// An export of Jaeger.
    Export,
    /// A trace of Jaeger.
    Trace,
    /// A span of Zipkin.
    Span,
    /// An array.
    List,
    /// Something else.
    Other,
}

/// Looks at the keys of an object until one decides.
pub(super) fn holds(json: &[u8]) -> Holds {
    if json.trim_ascii_start().starts_with(b"[") {
        return Holds::List;
    }
    let found = Cell::new(Holds::Other);
    // An error is the value's own, and is told when it is decoded.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(Keys(&found));
    found.get()
}

struct Keys<'a>(&'a Cell<Holds>);

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let holds = match &*key {
                "resourceSpans" | "resource_spans" | "batches" => Holds::Request,
                "data" => Holds::Export,
                "traceID" | "spans" | "processes" => Holds::Trace,
                "traceId" | "id" | "parentId" | "localEndpoint" => Holds::Span,
                _ => Holds::Other,
            };
            if holds != Holds::Other {
                self.0.set(holds);
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The spans of a value in any of the formats. OTLP is read strictly first; what that calls malformed gets a second
/// chance as plain protobuf JSON.
pub(super) fn decode(body: &Bytes, rules: &Rules) -> Result<Decoded, String> {
    let words = |error: nexarch_core::otlp::DecodeError| error.to_string();
    match holds(body) {
        Holds::Request => request(body, rules),
        Holds::Export | Holds::Trace => jaeger::decode(body, rules).map_err(words),
        Holds::List => zipkin::decode(body, rules).map_err(words),
        Holds::Span => {
            let list = [b"[", &body[..], b"]"].concat();
            zipkin::decode(&list.into(), rules).map_err(words)
        }
        Holds::Other if is_empty_object(body) => Ok(Decoded::default()),
        Holds::Other => {
            // Says what is wrong with the JSON, if that is it.
            decode_json(body, rules).map_err(words)?;
            // OTLP ignores unknown fields, so any other object would pass as an empty request.
            Err("it holds no spans: it has no resourceSpans, data, spans or traceId".to_owned())
        }
    }
}

fn is_empty_object(json: &[u8]) -> bool {
    json.iter().filter(|byte| !byte.is_ascii_whitespace()).eq(b"{}")
}

fn request(body: &Bytes, rules: &Rules) -> Result<Decoded, String> {
    let strict = decode_json(body, rules);
    if strict.as_ref().is_ok_and(|decoded| decoded.received > 0 && !has_malformed(decoded)) {
        return strict.map_err(|error| error.to_string());
    }
    if body.len() > lenient::MAX_REWRITTEN {
        return without_second_chance(strict.map_err(|error| error.to_string()));
    }
    let second = lenient::rewritten(body).and_then(|plain| decode_json(&plain.into(), rules).ok());
    match (strict, second) {
        (Ok(strict), Some(second)) if is_better(&second, &strict) => Ok(second),
        (Err(_), Some(second)) => Ok(second),
        (strict, _) => strict.map_err(|error| error.to_string()),
    }
}

/// What is wrong with a long request may be only its length: a shorter one would have been read as plain protobuf JSON.
fn without_second_chance(strict: Result<Decoded, String>) -> Result<Decoded, String> {
    let said = |what: &dyn std::fmt::Display| {
        let most = lenient::MAX_REWRITTEN >> 20;
        format!(
            "{what} (plain protobuf JSON is read in requests of up to {most} MiB; this one is longer, split it)"
        )
    };
    let mut decoded = strict.map_err(|error| said(&error))?;
    if decoded.received == 0 {
        return Err(said(&"it holds no spans under resourceSpans"));
    }
    if let Some(first) = decoded.rejected.iter_mut().find(|span| is_malformed(&span.reason)) {
        first.reason = Reason::Field(said(&first.reason));
    }
    Ok(decoded)
}

fn is_better(second: &Decoded, strict: &Decoded) -> bool {
    second.received > strict.received || second.rejected_total < strict.rejected_total
}

/// Was a span rejected for more than its age? A whole recording may be too old, and a second look costs.
fn has_malformed(decoded: &Decoded) -> bool {
    decoded.rejected.iter().any(|span| is_malformed(&span.reason))
}

fn is_malformed(reason: &Reason) -> bool {
    !matches!(reason, Reason::Expired | Reason::Future)
}
