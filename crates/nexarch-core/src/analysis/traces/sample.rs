//! Which traces are looked at as a whole.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::{facts::Facts, ids::TraceId};

/// Traces of a stratum.
const SIZE: usize = 200;
/// Strata with the smallest hashes; a tenant with more entry operations has names that are made up.
const STRATA: usize = 2_000;
const HOUR_NS: u64 = 3_600_000_000_000;

/// Traces are drawn apart by entry operation, hour, and whether they failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Stratum {
    hash: u64,
    hour: u64,
    failed: bool,
}

/// A sample of traces that does not depend on the order in which they are offered, nor on which node offers them: the
/// 200 traces, and the 200 failed traces, of each entry operation and hour with the smallest hash of the trace id.
///
/// ```
/// use nexarch_core::analysis::Sample;
/// let sample = Sample::default();
/// assert_eq!(sample.traces().count(), 0);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    strata: BTreeMap<Stratum, BTreeSet<(u64, TraceId)>>,
}

impl Sample {
    /// Offers a trace by all its spans; its entry is the first of those without a parent.
    pub fn offer(&mut self, trace: &[Facts]) {
        let first =
            |span: &&Facts| (span.parent_span_id.is_some(), span.start_ns, span.span_id, span.content);
        let Some(span) = trace.iter().min_by_key(first) else { return };
        let entry = [&*span.environment, &*span.namespace, &*span.service, &*span.name].join("\0");
        let stratum =
            |failed| Stratum { hash: xxh3_64(entry.as_bytes()), hour: span.start_ns / HOUR_NS, failed };
        let trace = (xxh3_64(&span.trace_id.to_bytes()), span.trace_id);
        self.add(stratum(false), [trace]);
        if span.error {
            self.add(stratum(true), [trace]);
        }
    }

    /// Adds another sample; the result is the sample of both sets of traces.
    pub fn merge(&mut self, other: &Self) {
        for (stratum, traces) in &other.strata {
            self.add(stratum.clone(), traces.iter().copied());
        }
    }

    /// The traces, each once, ascending.
    pub fn traces(&self) -> impl Iterator<Item = TraceId> {
        self.strata.values().flatten().map(|trace| trace.1).collect::<BTreeSet<_>>().into_iter()
    }

    fn add(&mut self, stratum: Stratum, traces: impl IntoIterator<Item = (u64, TraceId)>) {
        let kept = self.strata.entry(stratum).or_default();
        kept.extend(traces);
        while kept.len() > SIZE {
            kept.pop_last();
        }
        while self.strata.len() > STRATA {
            self.strata.pop_last();
        }
    }
}
