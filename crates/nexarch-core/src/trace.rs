//! One trace as the API shows it.

mod excerpt;
mod summary;
mod waterfall;

use std::{collections::BTreeMap, fmt};

use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    facts::Facts,
    ids::{SpanId, TraceId},
    infer::clock_shifts,
    span::{Attributes, Kind, Span, Status, Value},
};

pub use excerpt::{Excerpt, Extent};
pub use summary::{ServiceShare, Summary};
pub use waterfall::{Piece, Repeats, Row, Waterfall};

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
    /// Names of the services in it, sorted; at most 10,000.
    pub services: Vec<String>,
    /// Not all spans are listed, because the answer would be too large; `span_count` and the rest are of all.
    pub truncated: bool,
    /// The spans, by start, then by id; the first ones when `truncated`.
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
    /// Milliseconds to add to `start_time` to see the span by the clock of its caller's host; absent when nothing is to
    /// be added. Negative when its own clock is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clock_shift_ms: Option<f64>,
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
    /// A trace as far as it was read.
    pub fn new(trace_id: TraceId, excerpt: &Excerpt) -> Self {
        let Excerpt { span_count, error_count, start_ns, end_ns, services, spans } = excerpt;
        // All at once: a resource that many spans share is read once.
        let mut ordered: Vec<(&Span, Facts)> = spans.iter().zip(Facts::of_all(spans)).collect();
        ordered.sort_by_key(|(span, _)| (span.start_ns, span.span_id, span.kind));
        let number = |count: &u64| usize::try_from(*count).unwrap_or(usize::MAX);
        let shifts = clock_shifts(&ordered.iter().map(|(_, facts)| facts).collect::<Vec<_>>());
        Self {
            trace_id,
            start: moment(*start_ns),
            duration_ms: milliseconds(end_ns.saturating_sub(*start_ns)),
            span_count: number(span_count),
            truncated: (ordered.len() as u64) < *span_count,
            error_count: number(error_count),
            services: services.iter().map(ToString::to_string).collect(),
            spans: ordered
                .into_iter()
                .zip(shifts)
                .map(|((span, facts), shift)| TraceSpan::new(span, &facts, shift))
                .collect(),
        }
    }
}

impl TraceSpan {
    fn new(span: &Span, facts: &Facts, shift: i64) -> Self {
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
            clock_shift_ms: (shift != 0).then(|| shift as f64 / 1e6),
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

/// About how many bytes a span takes in the answer. Its resource is part of it, whoever shares it.
pub fn size(span: &Span) -> usize {
    let list = |list: &Attributes| -> usize {
        list.iter().map(|(key, value)| key.len() + 8 + value_size(value)).sum()
    };
    let events: usize = span.events.iter().map(|event| 64 + event.name.len() + list(&event.attributes)).sum();
    let links: usize = span.links.iter().map(|link| 96 + list(&link.attributes)).sum();
    let own = 256 + span.name.len() + span.status_message.len() + list(&span.attributes);
    own + list(&span.resource.attributes) + events + links
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Str(text) => text.len(),
        Value::Bytes(bytes) => 2 * bytes.len(),
        Value::Array(values) => values.iter().map(|value| 1 + value_size(value)).sum(),
        Value::Map(pairs) => pairs.iter().map(|(key, value)| key.len() + 4 + value_size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => 8,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits::{MAX_TRACE_BYTES, MAX_TRACE_SPANS},
        otlp::{Encoding, Rules, decode},
        span::attribute,
    };

    fn spans(count: usize, text: usize) -> Vec<Span> {
        let body = serde_json::json!({"resourceSpans": [{"scopeSpans": [{"spans": [{
            "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708", "name": "op",
            "startTimeUnixNano": "1000", "endTimeUnixNano": "3000",
            "attributes": [{"key": "k", "value": {"stringValue": "x".repeat(text)}}],
        }]}]}]});
        let decoded = decode(&body.to_string().into(), Encoding::Json, &Rules::default()).unwrap();
        let span = &decoded.spans[0];
        assert!(attribute(&span.attributes, "k").is_some());
        (0..count as u64)
            .map(|at| Span { start_ns: 1_000 + at, end_ns: Some(9_000_000), ..span.clone() })
            .collect()
    }

    #[test]
    fn an_answer_is_bounded_in_spans_and_bytes_and_says_so() {
        let id = spans(1, 1)[0].trace_id;
        let trace = |spans| Trace::new(id, &Excerpt::of(spans, Extent::ANSWER));
        let small = trace(spans(50, 10));
        assert_eq!((small.truncated, small.spans.len(), small.span_count), (false, 50, 50));
        let many = trace(spans(MAX_TRACE_SPANS + 1, 10));
        assert_eq!(
            (many.truncated, many.spans.len(), many.span_count),
            (true, MAX_TRACE_SPANS, MAX_TRACE_SPANS + 1)
        );
        assert_eq!(many.spans[0].start_time, moment(1_000), "the first ones");
        let heavy = trace(spans(2_000, 60_000));
        assert!(heavy.truncated && heavy.spans.len() < 600, "{}", heavy.spans.len());
        assert_eq!(heavy.span_count, 2_000);
        assert!(serde_json::to_vec(&heavy).unwrap().len() < MAX_TRACE_BYTES + (1 << 20));
    }

    #[test]
    fn a_span_of_a_slow_clock_says_what_to_add() {
        let host = |name: &str| {
            let attributes = vec![("host.name".into(), Value::Str(name.into()))];
            std::sync::Arc::new(crate::span::Resource { attributes })
        };
        let base = &spans(1, 1)[0];
        let (start_ns, ms) = (1_000_000_000, 1_000_000);
        let client = Span {
            kind: Kind::Client,
            start_ns,
            end_ns: Some(start_ns + 10 * ms),
            resource: host("a"),
            ..base.clone()
        };
        let server = Span {
            kind: Kind::Server,
            start_ns: start_ns - 60 * ms,
            end_ns: Some(start_ns - 54 * ms),
            resource: host("b"),
            ..base.clone()
        };
        let shown = {
            let excerpt = Excerpt::of(vec![client, server], Extent::ANSWER);
            let drawn = Waterfall::new(base.trace_id, &Facts::of_all(&excerpt.spans), true);
            assert_eq!(drawn.rows[1].moved_ms, Some(62.0), "the same in the waterfall");
            serde_json::to_value(Trace::new(base.trace_id, &excerpt)).unwrap()
        };
        let span =
            |kind: &str| shown["spans"].as_array().unwrap().iter().find(|it| it["kind"] == kind).unwrap();
        assert_eq!(
            span("server")["clock_shift_ms"],
            62.0,
            "2 ms after its client began, 2 ms before it ended"
        );
        assert_eq!(span("server")["start_time"], moment(start_ns - 60 * ms), "what was sent stays");
        assert!(span("client").get("clock_shift_ms").is_none());
    }
}
