//! One trace as the API shows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    facts::Facts,
    ids::{SpanId, TraceId},
    span::{Attributes, Kind, Span, Status, Value},
};

/// A trace: its spans in the order of their starts.
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trace {
    /// 32 hex digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// Start of the earliest span, RFC 3339.
    pub start: String,
    /// From the earliest start to the latest end, milliseconds.
    pub duration_ms: f64,
    /// Number of spans.
    pub span_count: usize,
    /// Number of failed spans.
    pub error_count: usize,
    /// Names of the services in it, sorted.
    pub services: Vec<String>,
    /// The spans, by start, then by id.
    pub spans: Vec<TraceSpan>,
}

/// A span of a [`Trace`].
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TraceSpan {
    /// 16 hex digits.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// Absent for a root.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub parent_span_id: Option<SpanId>,
    /// `service.name`.
    pub service_name: String,
    /// The span's name.
    pub operation: String,
    /// `internal`, `server`, …
    pub kind: &'static str,
    /// RFC 3339 with nanoseconds.
    pub start_time: String,
    /// Milliseconds; absent when the sender gave no end.
    pub duration_ms: Option<f64>,
    /// `unset`, `ok` or `error`.
    pub status: &'static str,
    /// The developer's words on the status.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status_message: String,
    /// The span's own attributes.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub attributes: Json,
    /// The sender's attributes.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub resource: Json,
    /// Timed notes.
    pub events: Vec<TraceEvent>,
    /// References to other spans.
    pub links: Vec<TraceLink>,
}

/// A timed note of a [`TraceSpan`].
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TraceEvent {
    /// RFC 3339 with nanoseconds.
    pub time: String,
    /// What happened.
    pub name: String,
    /// Details.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub attributes: Json,
}

/// A reference of a [`TraceSpan`].
#[derive(Debug, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TraceLink {
    /// Trace of the target.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub trace_id: TraceId,
    /// The target.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub span_id: SpanId,
    /// Details.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub attributes: Json,
}

impl Trace {
    /// Puts the spans of one trace in order.
    pub fn new(trace_id: TraceId, spans: &[Span]) -> Self {
        // All at once: a resource that many spans share is read once.
        let mut ordered: Vec<(&Span, Facts)> = spans.iter().zip(Facts::of_all(spans)).collect();
        ordered.sort_by_key(|(span, _)| (span.start_ns, span.span_id, span.kind));
        let start = ordered.first().map_or(0, |(span, _)| span.start_ns);
        let end = ordered.iter().map(|(span, _)| span.end_ns.unwrap_or(span.start_ns)).max().unwrap_or(start);
        let shown: Vec<TraceSpan> =
            ordered.into_iter().map(|(span, facts)| TraceSpan::new(span, &facts)).collect();
        let services: BTreeSet<&str> = shown.iter().map(|span| span.service_name.as_str()).collect();
        Self {
            trace_id,
            start: moment(start),
            duration_ms: milliseconds(end - start),
            span_count: shown.len(),
            error_count: spans.iter().filter(|span| span.status == Status::Error).count(),
            services: services.into_iter().map(str::to_owned).collect(),
            spans: shown,
        }
    }
}

impl TraceSpan {
    fn new(span: &Span, facts: &Facts) -> Self {
        let event = |event: &crate::span::Event| TraceEvent {
            time: moment(event.time_ns),
            name: event.name.to_string(),
            attributes: Json::new(&event.attributes),
        };
        let link = |link: &crate::span::Link| TraceLink {
            trace_id: link.trace_id,
            span_id: link.span_id,
            attributes: Json::new(&link.attributes),
        };
        Self {
            span_id: span.span_id,
            parent_span_id: span.parent_span_id,
            service_name: facts.service.to_string(),
            operation: span.name.to_string(),
            kind: if span.kind == Kind::Unspecified { "internal" } else { span.kind.as_str() },
            start_time: moment(span.start_ns),
            duration_ms: span.end_ns.map(|end| milliseconds(end.saturating_sub(span.start_ns))),
            status: match span.status {
                Status::Unset => "unset",
                Status::Ok => "ok",
                Status::Error => "error",
            },
            status_message: span.status_message.to_string(),
            attributes: Json::new(&span.attributes),
            resource: Json::new(&span.resource.attributes),
            events: span.events.iter().map(event).collect(),
            links: span.links.iter().map(link).collect(),
        }
    }
}

fn moment(ns: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ns))
        .map_or_else(|_| ns.to_string(), |moment| moment.to_string())
}

fn milliseconds(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Attributes as a JSON object: sorted by key, of a repeated key the last, bytes as hex.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(BTreeMap<String, Value>);

impl Json {
    fn new(attributes: &Attributes) -> Self {
        Self(attributes.iter().map(|(key, value)| (key.to_string(), value.clone())).collect())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, Shown(value))))
    }
}

struct Shown<'a>(&'a Value);

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Str(text) => serializer.serialize_str(text),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            // JSON has no NaN or infinity.
            Value::Double(number) if !number.is_finite() => serializer.collect_str(number),
            Value::Double(number) => serializer.serialize_f64(*number),
            Value::Bytes(bytes) => serializer.collect_str(&Hex(bytes)),
            Value::Array(values) => serializer.collect_seq(values.iter().map(Shown)),
            Value::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for (key, value) in pairs {
                    map.serialize_entry(&**key, &Shown(value))?;
                }
                map.end()
            }
        }
    }
}
