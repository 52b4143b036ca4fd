//! Spans made by chance.

use std::sync::Arc;

use nexarch_core::{
    Text,
    span::{Attributes, Event, Kind, Link, Resource, Scope, Span, Status, Value},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::spans;

/// Spans in which little differs, so that identities, parents and minutes meet often.
pub fn crowded() -> impl Strategy<Value = Vec<Span>> {
    vec(crowded_span(), 1..24)
}

fn crowded_span() -> impl Strategy<Value = Span> {
    let start = select(vec![0, 1_000, 59_999_999_999, 60_000_000_000, 3_600_000_000_000, 90_000_000_000_000]);
    let (ids, service) = ((0..3_u64, 1..6_u64, option::of(0..6_u64)), select(vec!["shop", "stock", "pay"]));
    let end = option::of(select(vec![0, 1_000, 7_000_000]));
    (ids, 0..6_i32, 0..3_usize, service, start, end, select(vec!["GET /", "SELECT", "job"]), 0..8_u8)
        .prop_map(|((trace, id, parent), kind, status, service, start, end, name, extra)| {
            let mut span = spans::span(trace, id, start);
            span.parent_span_id = parent.map(spans::span_id);
            span.kind = Kind::from_otlp(kind);
            span.status = [Status::Unset, Status::Ok, Status::Error][status];
            span.end_ns = end.map(|length| span.start_ns + length);
            span.resource = spans::resource(service);
            span.name = name.into();
            let attribute = |key: &'static str, value: &'static str| (key.into(), Value::Str(value.into()));
            match extra {
                1 => {
                    span.attributes =
                        vec![attribute("db.system", "mysql"), attribute("server.address", "db")];
                }
                2 => span.attributes = vec![attribute("server.address", "pay:8080")],
                3 => span.trace_state = "ot=th:8".into(),
                // A message, its receipt, a tool and an agent: facts that only few spans have.
                4 => {
                    span.attributes = vec![
                        attribute("messaging.system", "kafka"),
                        attribute("messaging.destination.name", "q"),
                    ];
                }
                5 => {
                    span.attributes = vec![
                        attribute("messaging.system", "kafka"),
                        attribute("messaging.destination.name", "q"),
                        attribute("messaging.operation.type", "process"),
                    ];
                    span.links =
                        [(trace, 1), (trace, 2), (trace + 1, 3)].map(|(trace, id)| link_to(trace, id)).into();
                }
                6 => {
                    span.attributes = vec![
                        attribute("gen_ai.operation.name", "execute_tool"),
                        attribute("gen_ai.tool.name", "search"),
                    ];
                }
                7 => {
                    span.attributes = vec![
                        attribute("gen_ai.operation.name", "invoke_agent"),
                        attribute("gen_ai.agent.name", "planner"),
                    ];
                }
                _ => {}
            }
            span
        })
}

/// Spans that send and take messages over few traces, and link to each other.
pub fn linked() -> impl Strategy<Value = Vec<Span>> {
    vec(linked_span(), 1..16)
}

fn linked_span() -> impl Strategy<Value = Span> {
    let kind = select(vec![Kind::Producer, Kind::Consumer, Kind::Consumer, Kind::Client, Kind::Internal]);
    let operation = select(vec!["", "create", "send", "receive", "process", "process"]);
    let service = select(vec!["shop", "stock", "pay"]);
    let start = select(vec![0, 1_000_000, 20_000_000, 60_000_000_000]);
    let links = vec((0..3_u64, 1..5_u64), 0..3);
    (
        (0..3_u64, 1..5_u64),
        (kind, operation, service, any::<bool>()),
        start,
        select(vec![1_000, 7_000_000]),
        links,
    )
        .prop_map(|((trace, id), (kind, operation, service, named), start, length, links)| {
            let mut span = spans::span(trace, id, start);
            span.kind = kind;
            span.end_ns = Some(span.start_ns + length);
            span.resource = spans::resource(service);
            span.attributes.clear();
            let attribute = |key: &'static str, value: &'static str| (key.into(), Value::Str(value.into()));
            if named {
                span.attributes.push(attribute("messaging.system", "kafka"));
                span.attributes.push(attribute("messaging.destination.name", "q"));
            }
            if !operation.is_empty() {
                span.attributes.push(attribute("messaging.operation.type", operation));
            }
            span.links = links.into_iter().map(|(trace, id)| link_to(trace, id)).collect();
            span
        })
}

fn link_to(trace: u64, id: u64) -> Link {
    Link {
        trace_id: spans::trace_id(trace),
        span_id: spans::span_id(id),
        trace_state: Text::new(),
        flags: 0,
        attributes: Attributes::new(),
    }
}

/// Spans in which anything may stand.
pub fn any_spans() -> impl Strategy<Value = Vec<Span>> {
    vec(any_span(), 0..40)
}

fn any_span() -> impl Strategy<Value = Span> {
    let ids = (0..4_u64, any::<u64>(), option::of(any::<u8>().prop_map(u64::from)));
    let time = (time(), option::of(time()));
    let words = (text(), text(), text());
    let numbers = (any::<u32>(), 0..6_i32, 0..3_usize);
    let rest = (attributes(), vec(event(), 0..4), vec(link(), 0..3));
    let sender = (0..3_usize, attributes(), text());
    (ids, time, words, numbers, rest, sender).prop_map(|(ids, time, words, numbers, rest, sender)| Span {
        trace_id: spans::trace_id(ids.0),
        span_id: spans::span_id(ids.1),
        parent_span_id: ids.2.map(spans::span_id),
        flags: numbers.0,
        trace_state: words.0,
        name: words.1,
        kind: Kind::from_otlp(numbers.1),
        start_ns: time.0,
        end_ns: time.1.map(|length| time.0.saturating_add(length)),
        status: [Status::Unset, Status::Ok, Status::Error][numbers.2],
        status_message: words.2,
        attributes: rest.0,
        events: rest.1,
        links: rest.2,
        resource: match sender.0 {
            0 => spans::resource("shop"),
            1 => spans::resource("stock"),
            _ => Arc::new(Resource { attributes: sender.1.clone() }),
        },
        scope: Arc::new(Scope { name: sender.2.clone(), version: sender.2, attributes: sender.1 }),
    })
}

/// Times as clocks give them: nanoseconds, whole microseconds, whole milliseconds, and the ends of the range.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0..1_000_000_000_000_u64).prop_map(|us| us * 1_000),
        (0..1_000_000_000_u64).prop_map(|ms| ms * 1_000_000),
        select(vec![0, 1, u64::MAX, u64::MAX - 1, 1 << 62, (1 << 62) - 1]),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    prop_oneof![
        3 => select(vec!["", "a", "GET /cart", "größe", "invoke_agent", "process"]).prop_map(Text::from),
        1 => ".{0,40}".prop_map(Text::from),
        1 => (250..300_usize).prop_map(|length| Text::from("x".repeat(length))),
    ]
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let key = select(vec![
        "http.method",
        "server.address",
        "k",
        "",
        "db.system",
        "messaging.system",
        "messaging.operation.type",
        "messaging.batch.message_count",
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.usage.input_tokens",
        "gen_ai.agent.name",
    ])
    .prop_map(Text::from);
    vec((key, value()), 0..6)
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        text().prop_map(Value::Str),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        // NaN differs from itself, so equality could not be asked for.
        any::<f64>().prop_filter("a number", |number| !number.is_nan()).prop_map(Value::Double),
        vec(any::<u8>(), 0..20).prop_map(|bytes| Value::Bytes(bytes.into())),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((text(), inner), 0..4).prop_map(Value::Map),
        ]
    })
}

fn event() -> impl Strategy<Value = Event> {
    (time(), text(), attributes()).prop_map(|(time_ns, name, attributes)| Event { time_ns, name, attributes })
}

fn link() -> impl Strategy<Value = Link> {
    (0..4_u64, any::<u64>(), text(), any::<u32>(), attributes()).prop_map(
        |(trace, span, trace_state, flags, attributes)| Link {
            trace_id: spans::trace_id(trace),
            span_id: spans::span_id(span),
            trace_state,
            flags,
            attributes,
        },
    )
}
