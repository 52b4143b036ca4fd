//! Tags: keys with typed values, of spans, processes and log entries.

use base64::{Engine as _, engine::general_purpose::STANDARD_PAD_INDIFFERENT};
use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    Text, attributes,
    foreign::{elements, fields, named, quoted, string, text},
    otlp::Budget,
    span::{Attributes, Value},
};

/// Reads a list of tags; of a repeated key the last counts.
pub(super) fn read(body: &Bytes, raw: &RawValue, budget: &Budget) -> Result<Attributes, String> {
    let list = elements(raw)?;
    budget.charge::<(Text, Value)>(list.len()).map_err(|reason| reason.to_string())?;
    let mut tags = list.into_iter().map(|raw| tag(body, raw)).collect::<Result<Attributes, String>>()?;
    attributes::resolve(&mut tags);
    Ok(tags)
}

fn tag(body: &Bytes, raw: &RawValue) -> Result<(Text, Value), String> {
    let [key, of_type, found] = fields(raw.get(), &["key", "type", "value"])?;
    let key = named("key", key.map_or(Ok(Text::new()), |raw| text(body, raw)))?;
    let of_type = named("type", of_type.map(string).transpose())?.unwrap_or_default();
    let Some(found) = found else { return Ok((key, Value::Null)) };
    let value =
        value(body, &of_type.to_ascii_lowercase(), found).map_err(|error| format!("{key}: {error}"))?;
    Ok((key, value))
}

/// Numbers and truths may be in quotes. Without a type, or with an unknown one, JSON's own type counts.
fn value(body: &Bytes, of_type: &str, raw: &RawValue) -> Result<Value, String> {
    let bare = raw.get().trim_matches('"');
    let expected = |what: &str| format!("expected {what}, got {}", quoted(raw));
    match of_type {
        "bool" => bare.parse().map(Value::Bool).map_err(|_| expected("true or false")),
        "int64" => bare.parse().map(Value::Int).map_err(|_| expected("a 64-bit whole number")),
        "float64" => bare.parse().map(Value::Double).map_err(|_| expected("a number")),
        "binary" => {
            let bytes = STANDARD_PAD_INDIFFERENT.decode(string(raw)?.as_bytes());
            bytes.map(|bytes| Value::Bytes(bytes.into())).map_err(|_| expected("base64"))
        }
        _ if raw.get().starts_with('"') => text(body, raw).map(Value::Str),
        _ => Ok(by_shape(raw)),
    }
}

/// A bare number or truth; lists and objects, which Jaeger does not have, stay as they are written.
fn by_shape(raw: &RawValue) -> Value {
    let text = raw.get();
    let whole = text.parse().map(Value::Int);
    let number = whole.or_else(|_| text.parse().map(Value::Double));
    number.or_else(|_| text.parse().map(Value::Bool)).unwrap_or_else(|_| Value::Str(text.into()))
}

/// Takes a tag out of a list.
pub(super) fn take(tags: &mut Attributes, key: &str) -> Option<Value> {
    let at = tags.iter().position(|(name, _)| name == key)?;
    Some(tags.remove(at).1)
}
