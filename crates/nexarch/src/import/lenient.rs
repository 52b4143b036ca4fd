//! Files called "OTLP JSON" that are plain protobuf JSON: ids in base64, names for enums, keys as in the `.proto`
//! files, and the names of older versions. `/v1/traces` refuses them, as OTLP asks; a file has no sender who could be
//! told.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

/// Longest request that gets a second chance (bytes): as a tree of values it takes many times its size.
pub(super) const MAX_REWRITTEN: usize = 16 << 20;

/// The request as OTLP/JSON; `None` when nothing in it is plain protobuf JSON.
pub(super) fn rewritten(request: &[u8]) -> Option<Vec<u8>> {
    if request.len() > MAX_REWRITTEN {
        return None;
    }
    let mut json: Value = serde_json::from_slice(request).ok()?;
    let mut changed = rename(&mut json);
    for span in elements(&mut json, "resourceSpans")
        .flat_map(|resource| elements(resource, "scopeSpans"))
        .flat_map(|scope| elements(scope, "spans"))
    {
        changed |= rewrite_ids(span);
        changed |= span.get_mut("kind").is_some_and(|kind| rewrite_enum(kind, &KINDS));
        changed |= span
            .get_mut("status")
            .and_then(|status| status.get_mut("code"))
            .is_some_and(|code| rewrite_enum(code, &CODES));
        for link in elements(span, "links") {
            changed |= rewrite_ids(link);
        }
    }
    if changed { serde_json::to_vec(&json).ok() } else { None }
}

/// Keys of older versions, and of what Tempo answers.
const RENAMED: [(&str, &str); 3] = [
    ("batches", "resourceSpans"),
    ("instrumentationLibrarySpans", "scopeSpans"),
    ("instrumentationLibrary", "scope"),
];

/// Puts all keys into the form of OTLP. Keys of attributes are values of `key`, so they stay. (`serde_json` does not
/// build what is nested deeper than 128 levels, so this ends.)
fn rename(json: &mut Value) -> bool {
    match json {
        Value::Array(values) => values.iter_mut().fold(false, |changed, value| rename(value) | changed),
        Value::Object(fields) => {
            let mut changed = fields.values_mut().fold(false, |changed, value| rename(value) | changed);
            let other: Vec<(String, String)> =
                fields.keys().filter_map(|key| Some((key.clone(), renamed(key)?))).collect();
            for (key, name) in other {
                changed = true;
                // What is there under its right name counts.
                if let Some(value) = fields.remove(&key) {
                    fields.entry(name).or_insert(value);
                }
            }
            changed
        }
        _ => false,
    }
}

/// The right name of a key that is not right.
fn renamed(key: &str) -> Option<String> {
    let mut camel = String::with_capacity(key.len());
    let mut upper = false;
    for letter in key.chars() {
        match letter {
            '_' => upper = true,
            _ if std::mem::take(&mut upper) => camel.push(letter.to_ascii_uppercase()),
            _ => camel.push(letter),
        }
    }
    let known = RENAMED.iter().find(|(old, _)| *old == camel).map(|(_, new)| (*new).to_owned());
    known.or_else(|| (camel != key).then_some(camel))
}

/// In the order of their numbers.
const KINDS: [&str; 6] = [
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];
const CODES: [&str; 3] = ["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// The elements of a list, none when there is no list.
fn elements<'a>(object: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}

fn rewrite_ids(object: &mut Value) -> bool {
    let mut changed = false;
    for (key, bytes) in [("traceId", 16), ("spanId", 8), ("parentSpanId", 8)] {
        changed |= object.get_mut(key).is_some_and(|id| rewrite_id(id, bytes));
    }
    changed
}

/// Base64 of exactly this many bytes becomes hex. Hex is left alone: it never has the length of such base64.
fn rewrite_id(id: &mut Value, bytes: usize) -> bool {
    let decoded = id.as_str().and_then(|text| STANDARD.decode(text).ok());
    let Some(decoded) = decoded.filter(|decoded| decoded.len() == bytes) else { return false };
    let hex = decoded.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    *id = Value::String(hex);
    true
}

fn rewrite_enum(value: &mut Value, names: &[&str]) -> bool {
    let number = value.as_str().and_then(|name| names.iter().position(|known| *known == name));
    let Some(number) = number else { return false };
    *value = Value::from(number);
    true
}
