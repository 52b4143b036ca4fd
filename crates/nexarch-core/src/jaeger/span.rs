//! One span of Jaeger UI JSON.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::tags::{self, take};
use crate::{
    Text,
    foreign::{
        about, elements, fields, is_zero, micros, named, padded_span_id, padded_trace_id, quoted, string,
        text,
    },
    ids::{SpanId, TraceId},
    otlp::{Budget, Draft, Parent},
    span::{Attributes, Event, Link, Scope, Value, attribute},
};

/// A span, and who sent it.
pub(super) struct Read {
    pub(super) draft: Draft,
    /// Key of `processes`.
    pub(super) process: String,
    pub(super) scope: Scope,
}

const FIELDS: [&str; 12] = [
    "traceID",
    "spanID",
    "parentSpanID",
    "operationName",
    "references",
    "flags",
    "startTime",
    "duration",
    "tags",
    "logs",
    "processID",
    "process",
];

/// Reads a span; what is wrong with it names the span, the field, and what to write instead.
pub(super) fn read(body: &Bytes, json: &str, budget: &Budget) -> Result<Read, String> {
    let found = fields(json, &FIELDS).map_err(|error| about(None, &error))?;
    let id = found[1];
    span(body, found, budget).map_err(|error| about(id, &error))
}

fn span(
    body: &Bytes,
    [trace_id, id, parent, name, references, flags, start, duration, tags, logs, process, inline]: [Option<&RawValue>;
        12],
    budget: &Budget,
) -> Result<Read, String> {
    if process.is_none() && inline.is_some() {
        return Err("process: this is not the JSON of the UI; export from /api/traces".to_owned());
    }
    let missing = |what: &str| format!("missing; write {what}");
    let start = start.ok_or_else(|| missing("microseconds")).and_then(micros);
    let trace_id = named("traceID", trace_id.ok_or_else(|| missing(TRACE_ID)).and_then(self::trace_id))?;
    let mut draft = Draft {
        trace_id: Some(trace_id),
        span_id: Some(named("spanID", id.ok_or_else(|| missing(SPAN_ID)).and_then(span_id))?),
        name: named("operationName", name.map_or(Ok(Text::new()), |raw| text(body, raw)))?,
        flags: named("flags", flags.map_or(Ok(0), self::flags))?,
        start_ns: named("startTime", start)?,
        attributes: named("tags", tags.map_or(Ok(Vec::new()), |raw| tags::read(body, raw, budget)))?,
        events: named("logs", logs.map_or(Ok(Vec::new()), |raw| events(body, raw, budget)))?,
        ..Draft::default()
    };
    // A duration of 0 µs is real here: Jaeger has no other way to say "very short".
    let duration = named("duration", duration.map(micros).transpose())?;
    draft.end_ns = duration.map_or(0, |duration| draft.start_ns.saturating_add(duration));
    let list = named("references", references.map_or(Ok(Vec::new()), |raw| self::references(raw, budget)))?;
    refer(&mut draft, list, trace_id);
    if matches!(draft.parent, Parent::Root)
        && let Some(parent) = parent
    {
        draft.parent = named("parentSpanID", self::parent(parent))?;
    }
    let scope = interpret(&mut draft);
    let process = named("processID", process.map(string).transpose())?.unwrap_or_default().into_owned();
    Ok(Read { draft, process, scope })
}

const TRACE_ID: &str = "1 to 32 hex digits, not all zero";
const SPAN_ID: &str = "1 to 16 hex digits, not all zero";

fn trace_id(raw: &RawValue) -> Result<TraceId, String> {
    padded_trace_id(&string(raw)?).ok_or_else(|| format!("expected {TRACE_ID}, got {}", quoted(raw)))
}

fn span_id(raw: &RawValue) -> Result<SpanId, String> {
    padded_span_id(&string(raw)?).ok_or_else(|| format!("expected {SPAN_ID}, got {}", quoted(raw)))
}

fn parent(raw: &RawValue) -> Result<Parent, String> {
    if is_zero(&string(raw)?) { Ok(Parent::Root) } else { span_id(raw).map(Parent::Id) }
}

fn flags(raw: &RawValue) -> Result<u32, String> {
    // Jaeger's own bits but for "sampled", which is W3C's, mean nothing to anybody else.
    let number = raw.get().parse::<u32>();
    number.map(|flags| flags & 1).map_err(|_| format!("expected a number of 32 bits, got {}", quoted(raw)))
}

/// A reference to another span.
struct Reference {
    child_of: bool,
    trace_id: TraceId,
    span_id: SpanId,
}

/// References with valid ids; without a span there is nothing to refer to.
fn references(raw: &RawValue, budget: &Budget) -> Result<Vec<Option<Reference>>, String> {
    let list = elements(raw)?;
    budget.charge::<Link>(list.len()).map_err(|reason| reason.to_string())?;
    let reference = |raw: &RawValue| {
        let [of_type, trace, span] = fields(raw.get(), &["refType", "traceID", "spanID"])?;
        let child_of = match of_type {
            Some(of_type) => string(of_type)?.eq_ignore_ascii_case("CHILD_OF"),
            None => true,
        };
        let ids = trace.and_then(|raw| trace_id(raw).ok()).zip(span.and_then(|raw| span_id(raw).ok()));
        Ok(ids.map(|(trace_id, span_id)| Reference { child_of, trace_id, span_id }))
    };
    list.into_iter().map(reference).collect()
}

/// The first `CHILD_OF` inside the trace is the parent, all others are links.
fn refer(draft: &mut Draft, references: Vec<Option<Reference>>, own: TraceId) {
    for Reference { child_of, trace_id, span_id } in references.into_iter().flatten() {
        if child_of && trace_id == own && matches!(draft.parent, Parent::Root) {
            draft.parent = Parent::Id(span_id);
            continue;
        }
        let of_type = if child_of { "child_of" } else { "follows_from" };
        draft.links.push(Link {
            trace_id,
            span_id,
            trace_state: Text::new(),
            flags: 0,
            attributes: vec![("opentracing.ref_type".into(), Value::Str(Text::from_static(of_type)))],
        });
    }
}

/// Logs as events: each is named by its field `event`, which every client of `OpenTracing` writes.
fn events(body: &Bytes, raw: &RawValue, budget: &Budget) -> Result<Vec<Event>, String> {
    let list = elements(raw)?;
    budget.charge::<Event>(list.len()).map_err(|reason| reason.to_string())?;
    let event = |raw: &RawValue| {
        let [time, list] = fields(raw.get(), &["timestamp", "fields"])?;
        let mut attributes =
            named("fields", list.map_or(Ok(Vec::new()), |raw| tags::read(body, raw, budget)))?;
        let name = match attribute(&attributes, "event") {
            Some(Value::Str(_)) => take(&mut attributes, "event"),
            _ => None,
        };
        Ok(Event {
            time_ns: named("timestamp", time.map_or(Ok(0), micros))?,
            name: name.and_then(into_text).unwrap_or_default(),
            attributes,
        })
    };
    list.into_iter().map(event).collect()
}

fn into_text(value: Value) -> Option<Text> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

/// The numbers of kinds in OTLP, by their names in tags.
const KINDS: [(&str, i32); 5] =
    [("internal", 1), ("server", 2), ("client", 3), ("producer", 4), ("consumer", 5)];
/// Of any other: taken as INTERNAL, and counted.
const UNKNOWN_KIND: i32 = 6;
/// The numbers of the status in OTLP.
const OK: i32 = 1;
const ERROR: i32 = 2;

/// Turns tags that are fields in OpenTelemetry into those.
fn interpret(draft: &mut Draft) -> Scope {
    let tags = &mut draft.attributes;
    if let Some(kind) = take(tags, "span.kind") {
        let name = kind.as_str().unwrap_or_default().to_ascii_lowercase();
        let known = KINDS.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        draft.kind = known.unwrap_or(if name.is_empty() { 0 } else { UNKNOWN_KIND });
    }
    let failed = match attribute(tags, "error") {
        Some(Value::Bool(truth)) => *truth,
        Some(Value::Str(text)) => !matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "0"),
        _ => false,
    };
    let stated = take(tags, "otel.status_code");
    draft.status = match stated.as_ref().and_then(Value::as_str) {
        Some(code) if code.eq_ignore_ascii_case("error") => ERROR,
        _ if failed => ERROR,
        Some(code) if code.eq_ignore_ascii_case("ok") => OK,
        _ => 0,
    };
    let mut field = |key| take(tags, key).and_then(into_text).unwrap_or_default();
    draft.status_message = field("otel.status_description");
    draft.trace_state = field("w3c.tracestate");
    Scope {
        name: field("otel.scope.name"),
        version: field("otel.scope.version"),
        attributes: Attributes::new(),
    }
}
