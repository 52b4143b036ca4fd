//! Sums over traces.

use rustc_hash::FxHashMap;

use super::Access;
use crate::ids::TraceId;

/// A node of the graph and a text of the table.
pub(crate) type Step = (usize, u32);

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
    pub(crate) durations: Vec<u64>,
    /// 1/256 ns on the critical path, by operation.
    pub(crate) steps: FxHashMap<Step, u128>,
    pub(crate) slowest: Example,
    /// Longest nesting of requests, for each entry request.
    pub(crate) depths: Vec<u32>,
    /// The longest, with its nodes from the first caller on.
    pub(crate) deepest: (Example, Vec<usize>),
}

/// Time of one operation on critical paths.
#[derive(Debug, Default)]
pub(crate) struct OnPath {
    pub(crate) weighted_ns: u128,
    /// For each entry request on whose path it is.
    pub(crate) samples: Vec<u64>,
}

/// Entry requests that pass a node.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Passing {
    /// What they stand for, in 1/256.
    pub(crate) weight: u64,
    /// Number by [did something fail at the node][did the request fail].
    pub(crate) outcomes: [[u64; 2]; 2],
}

impl Passing {
    /// Number of requests.
    pub(crate) fn count(&self) -> u64 {
        self.outcomes.iter().flatten().sum()
    }

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
    pub(crate) callees: Vec<u32>,
    /// Calls of each request.
    pub(crate) calls: Vec<u32>,
    pub(crate) widest: Example,
}

/// The same call again and again.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Loop {
    /// Spans below which it happened.
    pub(crate) parents: u64,
    pub(crate) calls: u64,
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
    /// Without retries.
    pub(crate) logical: u64,
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
