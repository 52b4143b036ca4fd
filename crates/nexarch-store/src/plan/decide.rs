//! Which spans are new, which version of a span wins, and what that changes in the rollups.

use std::collections::HashMap;

use nexarch_core::{facts::Facts, ids::TraceId, rollup::Delta};

use super::{
    Arrived, DAY_NS, Gain, Incoming, Large, Limits, Row, Stored, Touched,
    identity::{Key, Version, key, version},
    index::{Index, Place},
    worth::{Form, add_worth},
};
use crate::chunk::Seeded;

/// What a decision depends on beside the spans.
pub(crate) struct Terms {
    /// Bounds.
    pub(crate) limits: Limits,
    /// The database's seed.
    pub(crate) seed: u64,
    /// The present, nanoseconds since the Unix epoch.
    pub(crate) now_ns: u64,
}

/// Stored versions of the arriving identities of large traces.
pub(crate) type Versions = HashMap<Key, Version, Seeded>;

/// Decides on the spans that arrived for some traces and adds the outcome to `gain`.
pub(crate) fn decide(
    incoming: &mut Incoming,
    wave: Vec<Touched>,
    mut versions: Versions,
    terms: &Terms,
    gain: &mut Gain,
) {
    let mut index = Index::default();
    gain.rows.reserve(wave.iter().map(|touched| touched.members.len()).sum());
    for Touched { trace, members, stored } in wave {
        index.clear();
        let mut growing = match stored {
            Stored::All { facts, infer } => {
                Growing::Small(Small::new(&mut index, (facts, members.len()), infer, terms))
            }
            Stored::Index => Growing::Large(Changes::default(), &mut versions),
        };
        for member in members {
            let Some(arrived) = incoming.spans.get_mut(member).and_then(Option::take) else { continue };
            let Some((_, Ok(tally))) = incoming.batches.get_mut(arrived.batch) else { continue };
            let fresh = match &mut growing {
                Growing::Small(small) => small.add(arrived),
                Growing::Large(changes, versions) => changes.add(versions, arrived, terms.seed),
            };
            if fresh {
                tally.accepted += 1;
            } else {
                tally.duplicates += 1;
            }
        }
        match growing {
            Growing::Small(small) => small.finish(trace, gain),
            Growing::Large(changes, _) => changes.finish(trace, gain, terms),
        }
    }
}

enum Growing<'a> {
    Small(Small<'a>),
    Large(Changes, &'a mut Versions),
}

/// The facts of a trace that was loaded, while spans are added.
struct Small<'a> {
    index: &'a mut Index,
    /// The winner of each identity.
    facts: Vec<Facts>,
    changes: Vec<(usize, Change)>,
    /// For each of `facts`, its change.
    change_of: Vec<Option<usize>>,
    /// What the trace contributed before the first change.
    retracted: Option<Delta>,
    /// Spans before.
    before: u64,
    /// Is it inferred now? Else it is settled later.
    infer: bool,
    terms: &'a Terms,
}

/// A span to be stored: a new one, or a better version of a known one.
struct Change {
    fresh: bool,
    arrived: Arrived,
}

impl<'a> Small<'a> {
    fn new(
        index: &'a mut Index,
        (stored, arriving): (Vec<Facts>, usize),
        infer: bool,
        terms: &'a Terms,
    ) -> Self {
        let mut facts: Vec<Facts> = Vec::with_capacity(stored.len() + arriving);
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
        let before = facts.len() as u64;
        let change_of = vec![None; facts.len()];
        let changes = Vec::with_capacity(arriving);
        Self { index, facts, changes, change_of, retracted: None, before, infer, terms }
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
                self.changes.push((at, Change { fresh: true, arrived }));
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
        known.clone_from(&arrived.facts);
        if let Some((_, change)) = change_of.and_then(|change| self.changes.get_mut(change)) {
            // Better than one that arrived in this very group: that one is never stored.
            change.arrived = arrived;
        } else {
            *change_of = Some(self.changes.len());
            self.changes.push((at, Change { fresh: false, arrived }));
        }
        false
    }

    /// Remembers, before the first change, what the trace contributed.
    fn retract(&mut self) {
        if self.infer && self.retracted.is_none() {
            let mut worth = Delta::default();
            self.add_worth(&mut worth);
            self.retracted = Some(worth);
        }
    }

    fn add_worth(&self, delta: &mut Delta) {
        let (most, count) = (self.terms.limits.settle_trace, self.facts.len() as u64);
        if count > 0 {
            add_worth(delta, &self.facts, Form::of_trace(count, most), most);
        }
    }

    fn finish(mut self, id: TraceId, gain: &mut Gain) {
        let count = self.facts.len() as u64;
        let small = count <= self.terms.limits.inline_trace;
        if self.changes.is_empty() {
            if small {
                gain.known.push((id, self.facts));
            }
            return;
        }
        if let Some(retracted) = self.retracted.take() {
            gain.delta.subtract(&retracted);
            self.add_worth(&mut gain.delta);
        }
        gain.new_traces += u64::from(self.before == 0);
        let changes: Vec<Change> = std::mem::take(&mut self.changes).into_iter().map(|(_, it)| it).collect();
        gain.rows(changes, !self.infer, self.terms);
        if small && self.infer {
            gain.known.push((id, self.facts));
        } else {
            let settled = if self.infer { count } else { self.before };
            let index = entries(self.facts.iter(), self.terms.seed);
            gain.large.push(Large { trace: id, index, entered: Some(settled), waits: !self.infer });
        }
    }
}

/// What arrived for a trace that is not loaded.
#[derive(Default)]
struct Changes {
    changes: Vec<Change>,
    at: HashMap<Key, usize, Seeded>,
}

impl Changes {
    /// Adds a span; is it a new one?
    fn add(&mut self, stored: &mut Versions, arrived: Arrived, seed: u64) -> bool {
        let (key, version) = (key(seed, &arrived.facts), version(&arrived.facts));
        let known = stored.get(&key);
        if known.is_some_and(|known| version <= *known) {
            return false;
        }
        let fresh = known.is_none();
        stored.insert(key, version);
        if let Some(change) = self.at.get(&key).and_then(|at| self.changes.get_mut(*at)) {
            change.arrived = arrived;
        } else {
            self.at.insert(key, self.changes.len());
            self.changes.push(Change { fresh, arrived });
        }
        fresh
    }

    fn finish(self, id: TraceId, gain: &mut Gain, terms: &Terms) {
        if self.changes.is_empty() {
            return;
        }
        let index = entries(self.changes.iter().map(|change| &change.arrived.facts), terms.seed);
        gain.rows(self.changes, true, terms);
        gain.large.push(Large { trace: id, index, entered: None, waits: true });
    }
}

/// Entries of the index of identities, by day.
fn entries<'a>(facts: impl Iterator<Item = &'a Facts>, seed: u64) -> Vec<(u64, Key, Version)> {
    facts.map(|facts| (facts.start_ns / DAY_NS, key(seed, facts), version(facts))).collect()
}

impl Gain {
    /// Adds the changes of one trace to what is stored.
    fn rows(&mut self, changes: Vec<Change>, preview: bool, terms: &Terms) {
        let trace = self.traces;
        self.traces += 1;
        for Change { fresh, arrived: Arrived { span, facts, .. } } in changes {
            let (low, high) = self.range.unwrap_or((facts.start_ns, facts.start_ns));
            self.range = Some((low.min(facts.start_ns), high.max(facts.start_ns)));
            let late = facts.start_ns.saturating_add(terms.limits.late_ns) < terms.now_ns;
            self.late += u64::from(late && fresh);
            self.rows.push(Row { span, facts, trace, fresh, preview });
        }
    }
}
