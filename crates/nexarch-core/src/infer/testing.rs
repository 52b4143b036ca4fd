//! Hand-made spans and a readable form of a contribution, for tests.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    Text,
    facts::{Extra, Facts, GenAiRole, Messaging, Pattern, RemoteKind},
    ids::{SpanId, TraceId},
    infer::contributions,
    rollup::{Cell, Class, Delta, Key, Table},
    span::Kind,
};

/// Start of the hand-made spans: minute 1,000,000.
pub(crate) const START_NS: u64 = 1_000_000 * 60_000_000_000;

/// A span of 1 ms; `parent` 0 means root.
pub(crate) fn span(service: &str, kind: Kind, id: u64, parent: u64) -> Facts {
    Facts {
        trace_id: TraceId::from_bytes([7; 16]).unwrap(),
        span_id: SpanId::from_bytes(id.to_be_bytes()).unwrap(),
        parent_span_id: SpanId::from_bytes(parent.to_be_bytes()),
        remote: 0,
        kind,
        error: false,
        start_ns: START_NS + id * 1000,
        duration_ns: Some(1_000_000),
        weight: 256,
        pattern: Arc::new(Pattern {
            name: Text::from(format!("op{id}")),
            service: service.into(),
            ..Pattern::default()
        }),
        extra: None,
        content: id,
    }
}

/// SERVER.
pub(crate) fn server(service: &str, id: u64, parent: u64) -> Facts {
    span(service, Kind::Server, id, parent)
}

/// CLIENT.
pub(crate) fn client(service: &str, id: u64, parent: u64) -> Facts {
    span(service, Kind::Client, id, parent)
}

/// INTERNAL.
pub(crate) fn local(service: &str, id: u64, parent: u64) -> Facts {
    span(service, Kind::Internal, id, parent)
}

/// A span without kind.
pub(crate) fn bare(service: &str, id: u64, parent: u64) -> Facts {
    span(service, Kind::Unspecified, id, parent)
}

/// A CLIENT span of a database.
pub(crate) fn query(service: &str, id: u64, parent: u64, address: &str) -> Facts {
    client(service, id, parent).with(|it| {
        it.remote_kind = RemoteKind::Database;
        it.protocol = "postgresql".into();
        it.target = "shop".into();
        it.address = address.into();
    })
}

/// A span that names a kafka topic.
pub(crate) fn message(service: &str, kind: Kind, id: u64, parent: u64, topic: &str) -> Facts {
    span(service, kind, id, parent).with(|it| {
        it.remote_kind = RemoteKind::Queue;
        it.protocol = "kafka".into();
        it.target = topic.into();
    })
}

/// A span that states what it does with messages.
pub(crate) fn does(messaging: Messaging, span: Facts) -> Facts {
    span.with(|it| it.messaging = messaging)
}

/// A span with links to others of the trace, and so many into other traces.
pub(crate) fn linked(span: Facts, near: &[u64], far: u32) -> Facts {
    let id = |id: &u64| SpanId::from_bytes(id.to_be_bytes()).unwrap();
    let mut extra = span.extra.as_deref().cloned().unwrap_or_default();
    extra.links = near.iter().map(id).collect();
    extra.far_links = far;
    Facts { extra: Some(Arc::new(extra)), ..span }
}

/// The same span in another trace.
pub(crate) fn in_trace(number: u8, span: Facts) -> Facts {
    Facts { trace_id: TraceId::from_bytes([number; 16]).unwrap(), ..span }
}

/// A span with links into other traces, by trace and span.
pub(crate) fn far(span: Facts, links: &[(u8, u64)]) -> Facts {
    let mut extra = span.extra.as_deref().cloned().unwrap_or_default();
    let id = |trace, span: u64| {
        (TraceId::from_bytes([trace; 16]).unwrap(), SpanId::from_bytes(span.to_be_bytes()).unwrap())
    };
    extra.far = links.iter().map(|(trace, span)| id(*trace, *span)).collect();
    extra.far_links = u32::try_from(links.len()).unwrap();
    Facts { extra: Some(Arc::new(extra)), ..span }
}

/// What spans of several traces contribute, told of each other.
pub(crate) fn together(spans: &[Facts]) -> Delta {
    let mut traces: BTreeMap<TraceId, Vec<Facts>> = BTreeMap::new();
    for span in spans {
        traces.entry(span.trace_id).or_default().push(span.clone());
    }
    let mut delta = Delta::default();
    contributions(&mut delta, &traces);
    delta
}

/// A span that states the size of its batch.
pub(crate) fn batch(messages: u32, span: Facts) -> Facts {
    let mut extra = span.extra.as_deref().cloned().unwrap_or_default();
    extra.messages = Some(messages);
    Facts { extra: Some(Arc::new(extra)), ..span }
}

/// A call of a model.
pub(crate) fn chat(service: &str, id: u64, parent: u64, tokens: (u32, u32)) -> Facts {
    let extra = Extra { input_tokens: Some(tokens.0), output_tokens: Some(tokens.1), ..Extra::default() };
    Facts { extra: Some(Arc::new(extra)), ..client(service, id, parent) }.with(|it| {
        it.remote_kind = RemoteKind::Model;
        it.protocol = "openai".into();
        it.target = "gpt".into();
    })
}

/// A span that runs an agent.
pub(crate) fn agent(name: &str, span: Facts) -> Facts {
    let extra = Extra { role: GenAiRole::Agent, agent: name.into(), ..Extra::default() };
    Facts { extra: Some(Arc::new(extra)), ..span }
}

/// A span that runs a tool.
pub(crate) fn tool(name: &str, span: Facts) -> Facts {
    let extra = Extra { role: GenAiRole::Tool, tool: name.into(), ..Extra::default() };
    Facts { extra: Some(Arc::new(extra)), ..span }
}

/// Cells by a readable key, added up over minutes.
pub(crate) fn cells(delta: &Delta) -> BTreeMap<String, Cell> {
    let mut all: BTreeMap<String, Cell> = BTreeMap::new();
    for (&(_, key), cell) in &delta.table.cells {
        all.entry(name(&delta.table, key)).or_default().merge(cell, 1);
    }
    all
}

/// The edges alone: `key n`, with the failures where there are any.
pub(crate) fn edges(delta: &Delta) -> Vec<String> {
    cells(delta)
        .into_iter()
        .filter(|(key, _)| key.starts_with("call") || key.starts_with("client"))
        .map(|(key, cell)| match cell.errors {
            0 => format!("{key} {}", cell.count),
            errors => format!("{key} {} failed {errors}", cell.count),
        })
        .collect()
}

/// The count of one cell, 0 when absent.
pub(crate) fn count(delta: &Delta, key: &str) -> i64 {
    cells(delta).get(key).map_or(0, |cell| cell.count)
}

/// Σ weight · amount of one cell in whole units, 0 when absent.
pub(crate) fn amount(delta: &Delta, key: &str) -> i128 {
    cells(delta).get(key).map_or(0, |cell| cell.time / 256)
}

fn name(table: &Table, key: Key) -> String {
    let text = |id: u32| table.text_of(id).to_string();
    let call = |label: &str, via: crate::rollup::Via, a: u32, b: u32, protocol: u32| {
        let protocol = table.text_of(protocol);
        let via = format!("{via:?}").to_lowercase();
        let dash = if protocol.is_empty() { String::new() } else { format!(" [{protocol}]") };
        format!("{label} {via} {} -> {}{dash}", node(table, a), node(table, b))
    };
    match key {
        Key::Spans(a) => format!("spans {}", node(table, a)),
        Key::Request(a) => format!("request {}", node(table, a)),
        Key::Operation(a, b) => format!("operation {} {}", node(table, a), text(b)),
        Key::Entry(a) => format!("entry {}", node(table, a)),
        Key::Failed(a) => format!("failed {}", node(table, a)),
        Key::Call(via, a, b, c) => call("call", via, a, b, c),
        Key::Client(via, a, b, c) => call("client", via, a, b, c),
        Key::Learned(a, b, c) => format!("learned {} = {}{}", text(b), node(table, a), at(&text(c))),
        Key::Note(note, a) => format!("note {note:?} {}", node(table, a)),
        Key::Flow(a, b, c) => format!("flow {} -> {} -> {}", node(table, a), node(table, b), node(table, c)),
        Key::Amount(amount, a, b, _) => {
            let amount = format!("{amount:?}").to_lowercase();
            format!("{amount} {} -> {}", node(table, a), node(table, b))
        }
    }
}

fn at(environment: &str) -> String {
    if environment.is_empty() { String::new() } else { format!("@{environment}") }
}

/// A node by a readable name.
pub(crate) fn node(table: &Table, id: u32) -> String {
    let (class, parts) = table.describe(id);
    let shown: Vec<&str> = parts[1..].iter().map(|part| &***part).filter(|part| !part.is_empty()).collect();
    let label = match class {
        Class::Service => String::new(),
        class => format!("{class:?}:").to_lowercase(),
    };
    format!("{label}{}{}", shown.join("/"), at(parts[0]))
}
