//! Sums over traces.

use rustc_hash::FxHashMap;

use super::{Access, flame::Flame};
use crate::ids::TraceId;

/// A node of the graph and a text of the table.
pub(crate) type Step = (usize, u32);

/// A figure of a request, and what the request stands for, in 1/256.
pub(crate) type Weighed<T> = (T, u32);

/// Everything that is added up. Maps are in no order; whoever shows them sorts.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) traces: u64,
    pub(crate) spans: u64,
    /// Entry requests.
    pub(crate) entries: u64,
    /// What they stand for, in 1/256.
    pub(crate) entry_weight: u64,
    /// Σ weight · duration of the entry requests, 1/256 ns.
    pub(crate) root_ns: u128,
    /// By entry operation.
    pub(crate) routes: FxHashMap<Step, Route>,
    /// Time on critical paths, by operation.
    pub(crate) path: FxHashMap<Step, OnPath>,
    /// Σ weight · self time in 1/256 ns, and Σ weight, by operation.
    pub(crate) own: FxHashMap<Step, (u128, u128)>,
    /// By node.
    pub(crate) passing: Vec<Passing>,
    /// By operation.
    pub(crate) fan_out: FxHashMap<Step, FanOut>,
    /// By caller, its operation, callee, and what is called.
    pub(crate) loops: FxHashMap<(usize, u32, usize, u32), Loop>,
    /// By caller and callee.
    pub(crate) hops: FxHashMap<(usize, usize), Hop>,
    /// What all traces stand for, in 1/256.
    pub(crate) trace_weight: u64,
    /// By service: the traces that it is in.
    pub(crate) present: FxHashMap<usize, u64>,
    /// By two services, the smaller first: the traces that both are in.
    pub(crate) together: FxHashMap<(usize, usize), Together>,
    /// By service and database.
    pub(crate) accesses: FxHashMap<(usize, usize), Accesses>,
}

/// The trace with the largest figure; of equal ones the smallest id, so that the order cannot matter.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Example(Option<(u64, std::cmp::Reverse<TraceId>)>);

impl Example {
    pub(crate) fn new(figure: u64, trace: TraceId) -> Self {
        Self(Some((figure, std::cmp::Reverse(trace))))
    }

    /// Takes the other if that is larger.
    pub(crate) fn offer(&mut self, other: Self) -> bool {
        let larger = other.0 > self.0;
        if larger {
            *self = other;
        }
        larger
    }

    pub(crate) fn trace(self) -> Option<TraceId> {
        self.0.map(|(_, trace)| trace.0)
    }
}

/// The requests of one entry operation.
#[derive(Debug, Default)]
pub(crate) struct Route {
    pub(crate) entries: u64,
    pub(crate) weight: u64,
    /// 1/256 ns.
    pub(crate) root_ns: u128,
    /// Nanoseconds.
    pub(crate) durations: Vec<Weighed<u64>>,
    /// 1/256 ns on the critical path, by operation.
    pub(crate) steps: FxHashMap<Step, u128>,
    pub(crate) slowest: Example,
    /// Longest nesting of requests, for each entry request.
    pub(crate) depths: Vec<Weighed<u32>>,
    /// The longest, with its nodes from the first caller on.
    pub(crate) deepest: (Example, Vec<usize>),
    /// Critical paths by stack.
    pub(crate) flame: Flame,
}

/// Traces that two services are in.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Together {
    pub(crate) traces: u64,
    /// What they stand for, in 1/256.
    pub(crate) weight: u64,
}

/// Time of one operation on critical paths.
#[derive(Debug, Default)]
pub(crate) struct OnPath {
    pub(crate) weighted_ns: u128,
    /// For each entry request on whose path it is.
    pub(crate) samples: Vec<Weighed<u64>>,
}

/// Entry requests that pass a node.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Passing {
    /// Number of them.
    pub(crate) count: u64,
    /// What they stand for, in 1/256.
    pub(crate) weight: u64,
    /// The same by [did something fail at the node][did the request fail].
    pub(crate) outcomes: [[u64; 2]; 2],
}

impl Passing {
    /// P(the request fails, given that something failed here) − P(it fails, given that nothing did); `None` when one of
    /// both was never seen.
    pub(crate) fn hardness(&self) -> Option<f64> {
        let rate = |[good, bad]: [u64; 2]| (good + bad > 0).then(|| bad as f64 / (good + bad) as f64);
        Some(rate(self.outcomes[1])? - rate(self.outcomes[0])?)
    }
}

/// What requests of an operation call.
#[derive(Debug, Default)]
pub(crate) struct FanOut {
    /// Distinct callees of each request.
    pub(crate) callees: Vec<Weighed<u32>>,
    /// Calls of each request.
    pub(crate) calls: Vec<Weighed<u32>>,
    /// What the requests stand for, in 1/256.
    pub(crate) weight: u64,
    pub(crate) widest: Example,
}

/// The same call again and again.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Loop {
    /// Spans below which it happened.
    pub(crate) parents: u64,
    /// What those stand for, in 1/256.
    pub(crate) weight: u64,
    /// Σ weight · calls in turn.
    pub(crate) calls: u128,
    /// Σ weight · what running them at once would save at most.
    pub(crate) cost_ns: u128,
    pub(crate) worst: Example,
}

impl Loop {
    /// So many equal calls after each other are a loop.
    pub(crate) const LEAST: u64 = 5;
}

/// Calls from one node to another.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Hop {
    /// That reached the callee.
    pub(crate) calls: u64,
    /// Those that do not repeat a failed one.
    pub(crate) logical: u64,
    /// What both stand for, in 1/256.
    pub(crate) weights: [u64; 2],
    /// The trace with most retries.
    pub(crate) worst: Example,
}

/// What a service does to a database.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accesses {
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) unknown: u64,
}

impl Accesses {
    pub(crate) fn add(&mut self, access: Access) {
        match access {
            Access::Read => self.reads += 1,
            Access::Write => self.writes += 1,
            Access::Unknown => self.unknown += 1,
        }
    }
}

/// The value of rank `⌈q·N⌉`, `per_mille` of 1000; `None` without values.
pub(crate) fn quantile<T: Copy + Ord>(values: &[T], per_mille: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * per_mille).div_ceil(1000).max(1);
    sorted.get(rank - 1).copied()
}

/// The value of rank `⌈q·Σw⌉` of values with weights, `per_mille` of 1000; `None` without weight.
pub(crate) fn weighted_quantile<T: Copy + Ord>(values: &[Weighed<T>], per_mille: u64) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let all: u64 = sorted.iter().map(|value| u64::from(value.1)).sum();
    let rank = (u128::from(all) * u128::from(per_mille)).div_ceil(1000).max(1);
    let mut seen = 0u128;
    let reached = |value: &&Weighed<T>| {
        seen += u128::from(value.1);
        seen >= rank
    };
    sorted.iter().find(reached).map(|value| value.0)
}
