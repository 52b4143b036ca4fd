//! One item: its fields picked out, then judged.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer as _,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Reader, fields};
use crate::{
    Text, attributes, cut,
    span::{Kind, Span, Status, Value},
};

/// Unknown field names that an error may list.
const MAX_HINTS: usize = 5;

/// The fields of an item as sent; `null` is absent, and of a repeated field the last wins.
#[derive(Default)]
struct Item<'a> {
    known: [Option<&'a RawValue>; FIELDS.len()],
    unknown: Vec<Cow<'a, str>>,
}

const FIELDS: [&str; 13] = [
    "trace_id",
    "span_id",
    "parent_span_id",
    "service_name",
    "operation",
    "kind",
    "start_time",
    "end_time",
    "latency_ms",
    "status_code",
    "error",
    "downstream",
    "attributes",
];

impl<'a> Item<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let place = FIELDS.iter().position(|field| *field == name)?;
        self.known[place]
    }

    /// Reads an optional field; an error starts with its name.
    fn optional<T>(
        &self,
        name: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.get(name).map(read).transpose().map_err(|error| format!("{name}: {error}"))
    }

    fn required<T>(
        &self,
        name: &str,
        what: &str,
        read: impl FnOnce(&'a RawValue) -> Result<T, String>,
    ) -> Result<T, String> {
        self.optional(name, read)?.ok_or_else(|| {
            let hint = match self.unknown.as_slice() {
                [] => String::new(),
                unknown => format!(" (not a field: {})", unknown.join(", ")),
            };
            format!("{name}: missing; send {what}{hint}")
        })
    }
}

/// Reads one item into a span.
pub(super) fn read(raw: &RawValue, reader: &mut Reader<'_>) -> Result<Span, String> {
    let item = serde_json::Deserializer::from_str(raw.get())
        .deserialize_map(ItemVisitor)
        .map_err(|_| "a span must be a JSON object".to_owned())?;
    let trace_id = item.required("trace_id", "up to 32 hex digits or a UUID", fields::trace_id)?;
    let span_id = item.required("span_id", "16 hex digits", fields::span_id)?;
    let parent = item.optional("parent_span_id", fields::parent_span_id)?.flatten();
    let service = item.required("service_name", "the name of the service as text", fields::name)?;
    let name = item.required("operation", "the name of the operation as text", fields::name)?;
    let kind = item.optional("kind", fields::kind)?.unwrap_or(Kind::Internal);
    let start_ns = item.required("start_time", "an RFC 3339 time", fields::time)?;
    let end_ns = end(&item, start_ns)?;
    let outcome = Outcome::of(&item)?;
    let mut list =
        item.optional("attributes", |raw| fields::attributes(raw, &reader.budget))?.unwrap_or_default();
    reader.rules.check_start(start_ns).map_err(|reason| format!("start_time: {reason}"))?;

    let flags = &mut reader.flags;
    flags.end_before_start += u64::from(end_ns.is_some_and(|end| end < start_ns));
    flags.self_parent += u64::from(parent == Some(span_id));
    flags.no_sampling += 1;
    if let Some(code) = outcome.status_code {
        list.push(("http.response.status_code".into(), Value::Int(code)));
    }
    let kind = match item.optional("downstream", fields::downstream)?.flatten() {
        Some(downstream) => call(kind, downstream, &mut list),
        None => kind,
    };
    // The fields win over attributes of the same name.
    attributes::resolve(&mut list);
    let mut span = Span {
        trace_id,
        span_id,
        parent_span_id: parent.filter(|parent| *parent != span_id),
        flags: 0,
        trace_state: Text::new(),
        name,
        kind,
        start_ns,
        end_ns: end_ns.map(|end| end.max(start_ns)),
        status: if outcome.error { Status::Error } else { Status::Unset },
        status_message: outcome.message,
        attributes: list,
        events: Vec::new(),
        links: Vec::new(),
        resource: reader.resource(service),
        scope: reader.scope.clone(),
    };
    reader.flags.cut += cut::span(&mut span);
    Ok(span)
}

/// A span that names whom it calls: see the module's words on `downstream`.
fn call(kind: Kind, downstream: Text, list: &mut crate::span::Attributes) -> Kind {
    let (key, kind) = match kind {
        Kind::Server | Kind::Consumer => ("nexarch.downstream", kind),
        Kind::Client | Kind::Producer => ("service.peer.name", kind),
        Kind::Internal | Kind::Unspecified => ("service.peer.name", Kind::Client),
    };
    list.push((key.into(), Value::Str(downstream)));
    kind
}

fn end(item: &Item<'_>, start_ns: u64) -> Result<Option<u64>, String> {
    let latency_ns = item.optional("latency_ms", fields::latency)?;
    let end_ns = item.optional("end_time", fields::time)?;
    Ok(end_ns.or(latency_ns.map(|latency| start_ns.saturating_add(latency))))
}

struct Outcome {
    status_code: Option<i64>,
    error: bool,
    message: Text,
}

impl Outcome {
    fn of(item: &Item<'_>) -> Result<Self, String> {
        let status_code = item.optional("status_code", fields::status_code)?;
        let (error, message) = item.optional("error", fields::error)?.unwrap_or_default();
        Ok(Self { status_code, error: error || status_code.is_some_and(|code| code >= 500), message })
    }
}

struct ItemVisitor;

#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Visitor<'de> for ItemVisitor {
    type Value = Item<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span as a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item<'de>, A::Error> {
        let mut item = Item::default();
        while let Some(Key(name)) = map.next_key()? {
            if let Some(place) = FIELDS.iter().position(|field| *field == name) {
                item.known[place] = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
                if item.unknown.len() < MAX_HINTS {
                    item.unknown.push(name);
                }
            }
        }
        Ok(item)
    }
}
