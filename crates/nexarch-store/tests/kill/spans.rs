//! What the batches hold: a part of one large trace, a trace of its own on an old day, and two that are linked with those of
//! the batches before and behind.

use std::{ops::Range, sync::Arc};

use nexarch_core::{
    ids::{SpanId, TraceId},
    span::{Kind, Link, Resource, Scope, Span, Status, Value},
};

/// Midnight of a day in 2025, nanoseconds since the Unix epoch.
pub(crate) const BASE_NS: u64 = 1_749_945_600_000_000_000;
const MINUTE_NS: u64 = 60_000_000_000;
const DAY_NS: u64 = 1_440 * MINUTE_NS;

/// Spans of the large trace in the first batch: more than an append infers as a whole. Odd, like the number at every later
/// border, so that the two halves of a call come in different batches.
const FIRST: u64 = 2_101;
/// In each other one.
const NEXT: u64 = 24;

/// The large trace.
pub(crate) fn large_id() -> TraceId {
    TraceId::from_bytes([7; 16]).expect("not zero")
}

/// The spans of the large trace in so many batches, by id.
pub(crate) fn large(batches: u64) -> Vec<Span> {
    let count = if batches == 0 { 0 } else { FIRST + (batches - 1) * NEXT };
    (0..count).map(part).collect()
}

/// All spans of some batches of the tenant that stays.
pub(crate) fn kept(batches: Range<u64>) -> Vec<Span> {
    let mut spans = large(batches.end).split_off(large(batches.start).len());
    spans.extend(batches.flat_map(|batch| [old("kept", batch), sent(batch), taken(batch)]));
    spans
}

/// The spans of a tenant that is deleted.
pub(crate) fn gone(batch: u64) -> Vec<Span> {
    // By minutes, so that their cells lie in many pages.
    (0..60)
        .map(|minute| Span { start_ns: BASE_NS + minute * MINUTE_NS, ..old("gone", batch * 60 + minute) })
        .collect()
}

/// A half of a call of `shop` to `stock`; a preview of one half knows no call.
fn part(nth: u64) -> Span {
    // Those of a batch in one minute or two: so settling takes about as many steps each time.
    let start_ns = BASE_NS + nth / NEXT % 180 * MINUTE_NS + nth * 1_000;
    let parent = if nth % 2 == 1 { id(nth) } else { id(1) };
    Span {
        trace_id: large_id(),
        span_id: id(nth + 1),
        parent_span_id: (nth > 0).then_some(parent),
        kind: if nth % 2 == 1 { Kind::Server } else { Kind::Client },
        resource: service(if nth % 2 == 1 { "stock" } else { "shop" }),
        start_ns,
        end_ns: Some(start_ns + 1_000_000 * (nth % 50 + 1)),
        ..old("kept", nth)
    }
}

/// A message of a batch. Nobody names its queue, so its own trace has to be told who takes it.
fn sent(batch: u64) -> Span {
    message(2, batch, Kind::Producer, "shop")
}

/// Takes messages of its own batch and of those beside it.
fn taken(batch: u64) -> Span {
    let beside = batch.saturating_sub(1)..=batch + 1;
    let link = |batch| Link {
        trace_id: sent(batch).trace_id,
        span_id: sent(batch).span_id,
        trace_state: "".into(),
        flags: 0,
        attributes: Vec::new(),
    };
    Span { links: beside.map(link).collect(), ..message(3, batch, Kind::Consumer, "stock") }
}

fn message(half: u128, batch: u64, kind: Kind, name: &str) -> Span {
    let start_ns = BASE_NS + batch * MINUTE_NS + u64::try_from(half).expect("a small number") * 1_000_000;
    let trace_id = TraceId::from_bytes((u128::from(batch + 1) << 64 | half).to_be_bytes()).expect("not zero");
    let resource = service(name);
    Span { trace_id, kind, resource, start_ns, end_ns: Some(start_ns + 500_000), ..old("kept", batch) }
}

/// A trace of its own on a day that is older than the retention; for each batch a later one, since what comes for a day that
/// was dropped, or for one before it, is refused.
fn old(tenant: &str, nth: u64) -> Span {
    let start_ns = BASE_NS - (201 - nth % 200) * DAY_NS;
    let bytes = (u128::from(nth + 1) << 64 | 1).to_be_bytes();
    Span {
        trace_id: TraceId::from_bytes(bytes).expect("not zero"),
        span_id: id(nth + 1),
        parent_span_id: None,
        flags: 0,
        trace_state: "".into(),
        name: format!("operation-of-{tenant}").into(),
        kind: Kind::Server,
        start_ns,
        end_ns: Some(start_ns + 1_000_000 * (nth % 90 + 1)),
        status: Status::Unset,
        status_message: "".into(),
        attributes: Vec::new(),
        events: Vec::new(),
        links: Vec::new(),
        resource: service("shop"),
        scope: Arc::new(Scope::default()),
    }
}

fn id(number: u64) -> SpanId {
    SpanId::from_bytes(number.to_be_bytes()).expect("not zero")
}

fn service(name: &str) -> Arc<Resource> {
    Arc::new(Resource { attributes: vec![("service.name".into(), Value::Str(name.into()))] })
}
