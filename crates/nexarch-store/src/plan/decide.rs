//! Which spans are new, which version of a span wins, and what that changes in the rollups.

use std::collections::HashMap;

use nexarch_core::{facts::Facts, facts::Identity, infer::contribution, rollup::Delta};

use super::{Arrived, Gain, Incoming, Limits, Row, Touched};
use crate::chunk::Seeded;

/// Decides on the spans that arrived for some traces and adds the outcome to `gain`.
pub(crate) fn decide(incoming: &mut Incoming, wave: Vec<Touched>, limits: Limits, gain: &mut Gain) {
    for touched in wave {
        trace(incoming, touched, limits, gain);
    }
}

/// The facts of a trace while spans are added.
struct Trace {
    facts: Vec<Facts>,
    at: HashMap<Identity, usize, Seeded>,
    /// Spans before, and now.
    before: u64,
    count: u64,
    limits: Limits,
}

/// A stored span that is new or replaces `old`.
struct Change {
    at: usize,
    old: Option<Facts>,
    arrived: Arrived,
}

impl Trace {
    /// Of several stored versions of a span, the winner stands.
    fn new(stored: Vec<Facts>, count: u64, limits: Limits) -> Self {
        let (facts, at) = (Vec::with_capacity(stored.len()), HashMap::default());
        let mut this = Self { facts, at, before: count, count, limits };
        for facts in stored {
            match this.at.get(&facts.identity()) {
                Some(at) if facts.supersedes(&this.facts[*at]) => this.facts[*at] = facts,
                Some(_) => {}
                None => {
                    this.at.insert(facts.identity(), this.facts.len());
                    this.facts.push(facts);
                }
            }
        }
        if this.whole(count) {
            // All were loaded, so here is the exact number.
            (this.before, this.count) = (this.facts.len() as u64, this.facts.len() as u64);
        }
        this
    }

    /// Is a trace of so many spans inferred as a whole?
    fn whole(&self, count: u64) -> bool {
        count <= self.limits.whole_trace
    }
}

fn trace(incoming: &mut Incoming, touched: Touched, limits: Limits, gain: &mut Gain) {
    let mut trace = Trace::new(touched.stored, touched.count, limits);
    let before = trace.whole(trace.before).then(|| contribution(&trace.facts));
    let mut changes: Vec<Change> = Vec::new();
    let mut change_at: HashMap<usize, usize, Seeded> = HashMap::default();

    for index in touched.members {
        let Some(arrived) = incoming.spans.get_mut(index).and_then(Option::take) else { continue };
        let Some((_, Ok(tally))) = incoming.batches.get_mut(arrived.batch) else { continue };
        let identity = arrived.facts.identity();
        let Some(at) = trace.at.get(&identity).copied() else {
            tally.accepted += 1;
            trace.count += 1;
            let at = trace.facts.len();
            trace.at.insert(identity, at);
            trace.facts.push(arrived.facts.clone());
            change_at.insert(at, changes.len());
            changes.push(Change { at, old: None, arrived });
            continue;
        };
        tally.duplicates += 1;
        if !arrived.facts.supersedes(&trace.facts[at]) {
            continue;
        }
        let old = std::mem::replace(&mut trace.facts[at], arrived.facts.clone());
        match change_at.get(&at).and_then(|index| changes.get_mut(*index)) {
            // Better than one that arrived in this very group: that one is never stored.
            Some(change) => change.arrived = arrived,
            None => {
                change_at.insert(at, changes.len());
                changes.push(Change { at, old: Some(old), arrived });
            }
        }
    }
    if changes.is_empty() {
        keep(trace, touched.trace, gain);
        return;
    }
    rollups(&trace, before, &changes, &mut gain.delta);
    gain.new_traces += u64::from(trace.before == 0);
    let number = gain.traces;
    gain.traces += 1;
    for Change { old, arrived: Arrived { span, facts, .. }, .. } in changes {
        let (low, high) = gain.range.unwrap_or((facts.start_ns, facts.start_ns));
        gain.range = Some((low.min(facts.start_ns), high.max(facts.start_ns)));
        gain.rows.push(Row { span, facts, trace: number, fresh: old.is_none() });
    }
    keep(trace, touched.trace, gain);
}

/// Replaces the earlier contribution of the trace by the present one.
fn rollups(trace: &Trace, before: Option<Delta>, changes: &[Change], delta: &mut Delta) {
    let alone = |facts: &Facts| contribution(std::slice::from_ref(facts));
    match before {
        Some(before) => {
            delta.subtract(&before);
            if trace.whole(trace.count) {
                delta.add(&contribution(&trace.facts));
            } else {
                trace.facts.iter().for_each(|facts| delta.add(&alone(facts)));
            }
        }
        None => {
            for change in changes {
                if let Some(old) = &change.old {
                    delta.subtract(&alone(old));
                }
                delta.add(&alone(&trace.facts[change.at]));
            }
        }
    }
}

/// Remembers the trace, unless only a part of it was loaded.
fn keep(trace: Trace, id: nexarch_core::ids::TraceId, gain: &mut Gain) {
    if trace.whole(trace.before) && trace.whole(trace.count) {
        gain.known.push((id, trace.facts));
    }
}
