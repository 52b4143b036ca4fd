//! One span of Zipkin v2 JSON.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::{
    Text,
    foreign::{about, elements, fields, is_zero, micros, named, quoted, string, text},
    ids::{SpanId, TraceId},
    native::plain_attributes,
    otlp::{Budget, Draft, Parent, Reason},
    span::{Attributes, Event, Resource, Value},
};

/// A span, and its endpoint as text.
pub(super) struct Read<'a> {
    /// Without a start where the span has none.
    pub(super) draft: Draft,
    pub(super) endpoint: &'a str,
}

/// The numbers of kinds in OTLP, by their names in Zipkin.
const KINDS: [(&str, i32); 4] = [("SERVER", 2), ("CLIENT", 3), ("PRODUCER", 4), ("CONSUMER", 5)];
/// Of any other: taken as INTERNAL, and counted.
const UNKNOWN_KIND: i32 = 6;
/// The number of an error in OTLP.
const ERROR: i32 = 2;

const FIELDS: [&str; 12] = [
    "traceId",
    "id",
    "parentId",
    "kind",
    "name",
    "timestamp",
    "duration",
    "localEndpoint",
    "remoteEndpoint",
    "tags",
    "annotations",
    "binaryAnnotations",
];

/// Reads a span; what is wrong with it names the span, the field, and what to write instead.
pub(super) fn read<'a>(body: &Bytes, json: &'a [u8], budget: &Budget) -> Result<Read<'a>, String> {
    let json = std::str::from_utf8(json).map_err(|_| "it is not UTF-8".to_owned())?;
    let found = fields(json, &FIELDS).map_err(|error| about(None, &error))?;
    let id = found[1];
    span(body, found, budget).map_err(|error| about(id, &error))
}

fn span<'a>(
    body: &Bytes,
    [trace_id, id, parent, kind, name, timestamp, duration, local, remote, tags, annotations, v1]: [Option<&'a RawValue>;
        12],
    budget: &Budget,
) -> Result<Read<'a>, String> {
    if v1.is_some() {
        return Err("binaryAnnotations: this is Zipkin v1; export the trace from /api/v2/trace/".to_owned());
    }
    let missing = |what: &str| format!("missing; write {what}");
    let start_ns = named("timestamp", timestamp.map_or(Ok(0), micros))?;
    let duration_ns = named("duration", duration.map_or(Ok(0), micros))?;
    let mut draft = Draft {
        trace_id: Some(named("traceId", trace_id.ok_or_else(|| missing(TRACE_ID)).and_then(self::trace_id))?),
        span_id: Some(named("id", id.ok_or_else(|| missing(SPAN_ID)).and_then(span_id))?),
        parent: named("parentId", parent.map_or(Ok(Parent::Root), self::parent))?,
        kind: named("kind", kind.map_or(Ok(0), self::kind))?,
        name: named("name", name.map_or(Ok(Text::new()), |raw| text(body, raw)))?,
        start_ns,
        attributes: named("tags", tags.map_or(Ok(Attributes::new()), |raw| plain_attributes(raw, budget)))?,
        events: named("annotations", annotations.map_or(Ok(Vec::new()), |raw| events(body, raw, budget)))?,
        ..Draft::default()
    };
    draft.end_ns = if duration_ns == 0 { 0 } else { start_ns.saturating_add(duration_ns) };
    if let Some(remote) = remote {
        budget.charge::<(Text, Value)>(3).map_err(|reason| reason.to_string())?;
        draft.attributes.extend(named("remoteEndpoint", peer(body, remote))?);
        crate::attributes::resolve(&mut draft.attributes);
    }
    if let Some(message) = crate::span::attribute(&draft.attributes, "error") {
        draft.status = ERROR;
        // Many clients write `true`, which says no more than that it is there.
        let words = message.as_str().filter(|words| *words != "true").unwrap_or_default();
        draft.status_message = words.into();
    }
    Ok(Read { draft, endpoint: local.map_or("null", RawValue::get) })
}

impl Draft {
    /// Moves a span without a start to one; its end was its duration until now.
    pub(super) fn start_at(&mut self, start_ns: u64) {
        self.start_ns = start_ns;
        self.end_ns = if self.end_ns == 0 { 0 } else { self.end_ns.saturating_add(start_ns) };
    }
}

const TRACE_ID: &str = "16 or 32 hex digits, not all zero";
const SPAN_ID: &str = "16 hex digits, not all zero";

fn trace_id(raw: &RawValue) -> Result<TraceId, String> {
    let id = TraceId::from_hex_lenient(&string(raw)?);
    id.ok_or_else(|| format!("expected {TRACE_ID}, got {}", quoted(raw)))
}

fn span_id(raw: &RawValue) -> Result<SpanId, String> {
    SpanId::from_hex(&string(raw)?).ok_or_else(|| format!("expected {SPAN_ID}, got {}", quoted(raw)))
}

/// An empty or all-zero parent means a root.
fn parent(raw: &RawValue) -> Result<Parent, String> {
    let digits = string(raw)?;
    match SpanId::from_hex(&digits) {
        Some(id) => Ok(Parent::Id(id)),
        None if is_zero(&digits) && matches!(digits.len(), 0 | 16) => Ok(Parent::Root),
        None => Err(format!("expected 16 hex digits, or nothing for a root, got {}", quoted(raw))),
    }
}

fn kind(raw: &RawValue) -> Result<i32, String> {
    let kind = string(raw)?;
    let known = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(&kind));
    Ok(known.map_or(UNKNOWN_KIND, |(_, number)| *number))
}

fn events(body: &Bytes, raw: &RawValue, budget: &Budget) -> Result<Vec<Event>, String> {
    let list = elements(raw)?;
    budget.charge::<Event>(list.len()).map_err(|reason: Reason| reason.to_string())?;
    let event = |raw: &RawValue| {
        let [time, value] = fields(raw.get(), &["timestamp", "value"])?;
        Ok(Event {
            time_ns: named("timestamp", time.map_or(Ok(0), micros))?,
            name: named("value", value.map_or(Ok(Text::new()), |raw| text(body, raw)))?,
            attributes: Attributes::new(),
        })
    };
    list.into_iter().map(event).collect()
}

/// An endpoint: its service in lower case, its address, its port.
struct Endpoint {
    service: Option<Text>,
    ip: Option<Text>,
    port: Option<u16>,
}

fn endpoint(body: &Bytes, json: &str) -> Result<Endpoint, String> {
    if json == "null" {
        return Ok(Endpoint { service: None, ip: None, port: None });
    }
    let [service, v4, v6, port] = fields(json, &["serviceName", "ipv4", "ipv6", "port"])?;
    let field = |name: &str, raw: Option<&RawValue>| {
        let text = named(name, raw.map(|raw| text(body, raw)).transpose())?;
        Ok::<_, String>(text.filter(|text| !text.trim().is_empty()))
    };
    let port = port.map(|raw| {
        let number = raw.get().trim_matches('"').parse::<u16>();
        number.map_err(|_| format!("port: expected a number of at most 65535, got {}", quoted(raw)))
    });
    Ok(Endpoint {
        service: field("serviceName", service)?.map(lower),
        ip: field("ipv4", v4)?.or(field("ipv6", v6)?),
        port: port.transpose()?.filter(|port| *port != 0),
    })
}

fn lower(name: Text) -> Text {
    if name.chars().any(char::is_uppercase) { name.to_lowercase().into() } else { name }
}

/// The sender: its service, and the host as `ip:port`.
pub(super) fn resource(body: &Bytes, json: &str) -> Result<Resource, Reason> {
    let Endpoint { service, ip, port } =
        endpoint(body, json).map_err(|error| Reason::Field(format!("localEndpoint: {error}")))?;
    let mut attributes = Attributes::new();
    attributes.extend(service.map(|name| ("service.name".into(), Value::Str(name))));
    let instance = ip.map(|ip| match port {
        Some(port) => format!("{ip}:{port}").into(),
        None => ip,
    });
    attributes.extend(instance.map(|instance| ("service.instance.id".into(), Value::Str(instance))));
    Ok(Resource { attributes })
}

fn peer(body: &Bytes, raw: &RawValue) -> Result<Attributes, String> {
    let Endpoint { service, ip, port } = endpoint(body, raw.get())?;
    let mut attributes = Attributes::new();
    attributes.extend(service.map(|name| ("service.peer.name".into(), Value::Str(name))));
    attributes.extend(ip.map(|ip| ("network.peer.address".into(), Value::Str(ip))));
    attributes.extend(port.map(|port| ("network.peer.port".into(), Value::Int(port.into()))));
    Ok(attributes)
}
