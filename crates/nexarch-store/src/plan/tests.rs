//! Cuts and bounds.

use std::sync::Arc;

use nexarch_core::{
    facts::Patterns,
    rollup::Delta,
    span::{Resource, Scope, Span, Value},
};

use super::{
    Chunk, Distinct, Gain, HOUR_NS, Incoming, Known, Limits, Stored, Terms, Touched, Versions, decide,
};
use crate::{
    chunk::{MAX_SPANS, MAX_WEIGHT, decode_facts},
    suite::spans,
};

fn gain_of(spans: Vec<Span>) -> (Incoming, Gain) {
    let mut incoming = Incoming::prepare(vec![(0, spans)], &mut Patterns::default());
    let nothing = || Stored::All { facts: Distinct::default(), infer: true };
    let touched = |(trace, members)| Touched { trace, members, stored: nothing() };
    let wave = std::mem::take(&mut incoming.traces).into_iter().map(touched).collect();
    let mut gain = Gain::default();
    let terms = Terms { limits: Limits::default(), seed: 1, now_ns: spans::BASE_NS };
    decide(&mut incoming, wave, Versions::default(), &terms, &mut gain);
    (incoming, gain)
}

fn pack((incoming, gain): &(Incoming, Gain)) -> Result<Vec<Chunk>, crate::chunk::Corrupt> {
    super::pack(&gain.rows, incoming, &mut Delta::default())
}

#[test]
fn a_chunk_is_of_one_hour_and_bounded() {
    let mut all = spans::trace(1, 2_700);
    for (index, span) in (0..).zip(&mut all) {
        span.start_ns += (index % 2) * HOUR_NS;
    }
    let chunks = pack(&gain_of(all)).unwrap();
    let shape: Vec<_> =
        chunks.iter().map(|chunk| (chunk.hour - spans::BASE_NS / HOUR_NS, chunk.spans)).collect();
    assert_eq!(shape, [(0, MAX_SPANS), (0, 350), (1, MAX_SPANS), (1, 350)]);
    for chunk in &chunks {
        let facts = decode_facts(&chunk.hot, &|_| true).unwrap();
        assert_eq!(facts.len(), chunk.spans);
        assert!(facts.iter().all(|facts| facts.start_ns / HOUR_NS == chunk.hour));
        assert!(facts.is_sorted_by_key(|facts| facts.start_ns));
        assert_eq!(chunk.traces, [(spans::trace_id(1), chunk.spans as u64)]);
    }
}

#[test]
fn heavy_spans_make_short_chunks() {
    let mut all = spans::trace(1, 20);
    for span in &mut all {
        span.status_message = "x".repeat(MAX_WEIGHT / 4).into();
    }
    let sizes: Vec<_> = pack(&gain_of(all)).unwrap().iter().map(|chunk| chunk.spans).collect();
    assert_eq!(sizes, [4, 4, 4, 4, 4]);
}

#[test]
fn heavy_resources_and_scopes_make_short_chunks_unless_they_are_shared() {
    let resource = |name: &str| {
        let text = name.repeat(MAX_WEIGHT / 4);
        Arc::new(Resource { attributes: vec![("service.name".into(), Value::Str(text.into()))] })
    };
    let sizes =
        |all: Vec<Span>| -> Vec<_> { pack(&gain_of(all)).unwrap().iter().map(|chunk| chunk.spans).collect() };
    let mut own = spans::trace(1, 20);
    for span in &mut own {
        span.resource = resource("x");
    }
    assert_eq!(sizes(own), [4, 4, 4, 4, 4]);
    let mut scoped = spans::trace(1, 20);
    for span in &mut scoped {
        span.scope = Arc::new(Scope { name: "y".repeat(MAX_WEIGHT / 4).into(), ..Scope::default() });
    }
    assert_eq!(sizes(scoped), [4, 4, 4, 4, 4]);
    let mut shared = spans::trace(1, 20);
    let (one, other) = (resource("x"), resource("z"));
    for (nth, span) in shared.iter_mut().enumerate() {
        span.resource = Arc::clone(if nth % 2 == 0 { &one } else { &other });
    }
    assert_eq!(sizes(shared), [20]);
}

#[test]
fn a_heavy_resource_is_not_written_for_each_of_its_spans() {
    let resource = |name: &str| {
        let text = name.repeat(2 * MAX_WEIGHT);
        Arc::new(Resource { attributes: vec![("service.name".into(), Value::Str(text.into()))] })
    };
    let mut all = spans::trace(1, 50);
    let one = resource("x");
    for span in &mut all {
        span.resource = Arc::clone(&one);
    }
    assert_eq!(pack(&gain_of(all)).unwrap().len(), 1);
    // Spans of several that take turns: each would be in nearly all chunks.
    let mut mixed: Vec<Span> = (1..=40).flat_map(|number| spans::trace(number, 2)).collect();
    let several = ["x", "y"].map(resource);
    for (nth, span) in mixed.iter_mut().enumerate() {
        span.resource = Arc::clone(&several[nth % 2]);
    }
    let chunks = pack(&gain_of(mixed)).unwrap();
    assert_eq!(chunks.len(), 2, "one for each");
    for chunk in &chunks {
        let mut traces: Vec<_> = chunk.traces.iter().map(|(trace, _)| *trace).collect();
        traces.dedup();
        assert_eq!(traces.len(), 40, "each trace once");
    }
}

#[test]
fn traces_stand_together_by_their_first_start() {
    let mut all: Vec<Span> = (0..5).flat_map(|number| spans::trace(9 - number, 4)).collect();
    all.sort_by_key(|span| span.span_id);
    let chunks = pack(&gain_of(all)).unwrap();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].traces.len(), 5, "one run each");
    assert!(chunks[0].traces.iter().all(|(_, fresh)| *fresh == 4));
}

#[test]
fn remembered_facts_are_bounded_and_recent() {
    let facts = |number| {
        let mut facts = Distinct::default();
        facts.extend(spans::trace(number, 100).iter().map(Into::into));
        facts
    };
    let mut known = Known::default();
    known.put(1, spans::trace_id(0), facts(0));
    assert!(known.take(2, spans::trace_id(0)).is_none(), "of another tenant");
    assert_eq!(known.take(1, spans::trace_id(0)).map(|facts| facts.len()), Some(100));
    assert!(known.take(1, spans::trace_id(0)).is_none(), "taken out");
    for number in 0..2_000 {
        known.put(1, spans::trace_id(number), facts(number));
        if number > 0 {
            let hot = known.take(1, spans::trace_id(1)).expect("what is used stays");
            known.put(1, spans::trace_id(1), hot);
        } else {
            known.put(1, spans::trace_id(1), facts(1));
        }
    }
    let left = (0..2_000).filter(|number| known.take(1, spans::trace_id(*number)).is_some()).count();
    assert!((300..700).contains(&left), "{left} of 2,000 traces");
    assert!(known.take(1, spans::trace_id(1_999)).is_none());
}
