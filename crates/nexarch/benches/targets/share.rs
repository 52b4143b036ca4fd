//! How much of the way in is inference: the same calls that an append makes, on this thread's clock.

use std::collections::HashMap;

use nexarch::bench::load::BATCH_SPANS;
use nexarch_core::{facts::Facts, ids::TraceId, infer::contribution, rollup::Delta, span::Span};
use rustix::time::{ClockId, clock_gettime};

/// Processor seconds of this thread that the inference of spans takes when they come in batches: each touched trace
/// before and after, and the difference added up. Facts are taken from spans beforehand: every design needs those.
pub(crate) fn inference_seconds(spans: &[Span]) -> f64 {
    let mut known: HashMap<TraceId, Vec<Facts>> = HashMap::new();
    let mut used = 0.0;
    for batch in spans.chunks(BATCH_SPANS) {
        let mut arrived: HashMap<TraceId, Vec<Facts>> = HashMap::new();
        for facts in Facts::of_all(batch) {
            arrived.entry(facts.trace_id).or_default().push(facts);
        }
        let began = processor_seconds();
        let mut delta = Delta::default();
        for (trace, facts) in arrived {
            let all = known.entry(trace).or_default();
            if !all.is_empty() {
                delta.subtract(&contribution(all));
            }
            all.extend(facts);
            delta.add(&contribution(all));
        }
        std::hint::black_box(delta.encode());
        used += processor_seconds() - began;
    }
    used
}

fn processor_seconds() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 + now.tv_nsec as f64 / 1e9
}
