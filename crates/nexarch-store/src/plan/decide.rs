//! Which spans are new, which version of a span wins, and what that changes in the rollups.

use nexarch_core::{facts::Facts, ids::TraceId, infer::contribution, rollup::Delta};

use super::{
    Arrived, Gain, Incoming, Limits, Row, Touched,
    index::{Index, Place},
};

/// Decides on the spans that arrived for some traces and adds the outcome to `gain`.
pub(crate) fn decide(incoming: &mut Incoming, wave: Vec<Touched>, limits: Limits, gain: &mut Gain) {
    let mut index = Index::default();
    for touched in wave {
        index.clear();
        let Touched { trace, members, count, stored } = touched;
        let mut growing = Trace::new(&mut index, stored, count, limits);
        for member in members {
            let Some(arrived) = incoming.spans.get_mut(member).and_then(Option::take) else { continue };
            let Some((_, Ok(tally))) = incoming.batches.get_mut(arrived.batch) else { continue };
            if growing.add(arrived) {
                tally.accepted += 1;
            } else {
                tally.duplicates += 1;
            }
        }
        growing.finish(trace, gain);
    }
}

/// The facts of a trace while spans are added.
struct Trace<'a> {
    index: &'a mut Index,
    /// The winner of each identity.
    facts: Vec<Facts>,
    changes: Vec<Change>,
    /// For each of `facts`, its change.
    change_of: Vec<Option<usize>>,
    /// What the trace contributed before the first change; stays empty beyond the limit.
    retracted: Option<Delta>,
    /// Spans before, and now.
    before: u64,
    count: u64,
    limits: Limits,
}

/// A span to be stored: a new one, or one that replaces `old`.
struct Change {
    at: usize,
    old: Option<Facts>,
    arrived: Arrived,
}

impl<'a> Trace<'a> {
    fn new(index: &'a mut Index, stored: Vec<Facts>, count: u64, limits: Limits) -> Self {
        let mut facts: Vec<Facts> = Vec::with_capacity(stored.len());
        for version in stored {
            match index.find(&facts, &version) {
                Place::At(at) => match facts.get_mut(at) {
                    Some(known) if version.supersedes(known) => *known = version,
                    _ => {}
                },
                Place::Free(key) => {
                    index.put(key, facts.len());
                    facts.push(version);
                }
            }
        }
        // Up to the limit all were loaded, so there is the exact number.
        let count = if count <= limits.whole_trace { facts.len() as u64 } else { count };
        let change_of = vec![None; facts.len()];
        Self { index, facts, changes: Vec::new(), change_of, retracted: None, before: count, count, limits }
    }

    /// Is a trace of so many spans inferred as a whole?
    fn whole(&self, count: u64) -> bool {
        count <= self.limits.whole_trace
    }

    /// Adds a span; is it a new one?
    fn add(&mut self, arrived: Arrived) -> bool {
        let at = match self.index.find(&self.facts, &arrived.facts) {
            Place::At(at) => at,
            Place::Free(key) => {
                self.retract();
                let at = self.facts.len();
                self.index.put(key, at);
                self.facts.push(arrived.facts.clone());
                self.change_of.push(Some(self.changes.len()));
                self.changes.push(Change { at, old: None, arrived });
                self.count += 1;
                return true;
            }
        };
        if !self.facts.get(at).is_some_and(|known| arrived.facts.supersedes(known)) {
            return false;
        }
        self.retract();
        let (Some(known), Some(change_of)) = (self.facts.get_mut(at), self.change_of.get_mut(at)) else {
            return false;
        };
        let old = std::mem::replace(known, arrived.facts.clone());
        if let Some(change) = change_of.and_then(|change| self.changes.get_mut(change)) {
            // Better than one that arrived in this very group: that one is never stored.
            change.arrived = arrived;
        } else {
            *change_of = Some(self.changes.len());
            self.changes.push(Change { at, old: Some(old), arrived });
        }
        false
    }

    /// Remembers, before the first change, what the trace contributed.
    fn retract(&mut self) {
        if self.retracted.is_none() && self.whole(self.before) {
            let nothing = self.facts.is_empty();
            self.retracted = Some(if nothing { Delta::default() } else { contribution(&self.facts) });
        }
    }

    fn finish(mut self, id: TraceId, gain: &mut Gain) {
        if !self.changes.is_empty() {
            self.rollups(&mut gain.delta);
            gain.new_traces += u64::from(self.before == 0);
            let trace = gain.traces;
            gain.traces += 1;
            for Change { old, arrived: Arrived { span, facts, .. }, .. } in std::mem::take(&mut self.changes)
            {
                let (low, high) = gain.range.unwrap_or((facts.start_ns, facts.start_ns));
                gain.range = Some((low.min(facts.start_ns), high.max(facts.start_ns)));
                gain.rows.push(Row { span, facts, trace, fresh: old.is_none() });
            }
        }
        // A trace of which only a part was loaded is not known.
        if self.whole(self.before) && self.whole(self.count) {
            gain.known.push((id, self.facts));
        }
    }

    /// Replaces the earlier contribution of the trace by the present one.
    fn rollups(&self, delta: &mut Delta) {
        let alone = |facts: &Facts| contribution(std::slice::from_ref(facts));
        if let Some(retracted) = &self.retracted {
            if !retracted.is_empty() {
                delta.subtract(retracted);
            }
            if self.whole(self.count) {
                delta.add(&contribution(&self.facts));
            } else {
                self.facts.iter().for_each(|facts| delta.add(&alone(facts)));
            }
            return;
        }
        for change in &self.changes {
            if let Some(old) = &change.old {
                delta.subtract(&alone(old));
            }
            if let Some(facts) = self.facts.get(change.at) {
                delta.add(&alone(facts));
            }
        }
    }
}
