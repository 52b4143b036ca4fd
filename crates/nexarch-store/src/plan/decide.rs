//! Which spans are new, which version of a span wins, and what that changes in the rollups.

use std::collections::{BTreeSet, HashMap};

use nexarch_core::{facts::Facts, ids::TraceId, rollup::Delta};

use super::{
    Arrived, DAY_NS, Distinct, Gain, Incoming, Large, Limits, Links, Row, Stored, Touched,
    identity::{Key, Stamp, key, version},
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

/// What is stored of the arriving identities of large traces.
pub(crate) type Versions = HashMap<Key, Stamp, Seeded>;

/// What a span that arrives is.
enum Verdict {
    /// New.
    Fresh,
    /// Known; it may be a better version.
    Known,
    /// A better version of one that is stored in as many versions as may be.
    Dropped,
}

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
            let Some(Arrived { batch, facts, .. }) = incoming.spans.get(member) else { continue };
            let Some((_, Ok(tally))) = incoming.batches.get_mut(*batch) else { continue };
            let verdict = match &mut growing {
                Growing::Small(small) => small.add(member, facts),
                Growing::Large(changes, versions) => changes.add(versions, (member, facts), terms),
            };
            match verdict {
                Verdict::Fresh => tally.accepted += 1,
                Verdict::Known => tally.duplicates += 1,
                Verdict::Dropped => {
                    tally.duplicates += 1;
                    gain.dropped += 1;
                }
            }
        }
        match growing {
            Growing::Small(small) => small.finish(trace, &incoming.spans, gain),
            Growing::Large(changes, versions) => {
                changes.finish(trace, versions, (&incoming.spans, gain), terms);
            }
        }
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one at a time, on the stack")]
enum Growing<'a> {
    Small(Small<'a>),
    Large(Changes, &'a mut Versions),
}

/// The facts of a trace that was loaded, while spans are added.
struct Small<'a> {
    index: &'a mut Index,
    /// The winner of each identity.
    facts: Distinct,
    changes: Vec<Change>,
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
    /// By its index into [`Incoming`].
    arrived: usize,
}

impl<'a> Small<'a> {
    fn new(
        index: &'a mut Index,
        (mut facts, arriving): (Distinct, usize),
        infer: bool,
        terms: &'a Terms,
    ) -> Self {
        facts.tell_apart(index, arriving);
        let before = facts.len() as u64;
        let change_of = vec![None; facts.len()];
        let changes = Vec::with_capacity(arriving);
        Self { index, facts, changes, change_of, retracted: None, before, infer, terms }
    }

    /// Adds a span and says what it is.
    fn add(&mut self, arrived: usize, facts: &Facts) -> Verdict {
        let at = match self.index.find(self.facts.facts(), facts) {
            Place::At(at) => at,
            Place::Free(key) => {
                self.retract();
                let at = self.facts.len();
                self.index.put(key, at);
                self.facts.push(facts.clone());
                self.change_of.push(Some(self.changes.len()));
                self.changes.push(Change { fresh: true, arrived });
                return Verdict::Fresh;
            }
        };
        if !self.facts.facts().get(at).is_some_and(|known| facts.supersedes(known)) {
            return Verdict::Known;
        }
        let change = self.change_of.get(at).copied().flatten();
        if change.is_none() && self.facts.stored_of(at) >= self.terms.limits.versions {
            return Verdict::Dropped;
        }
        self.retract();
        self.facts.replace(at, facts, change.is_none());
        if let Some(change) = change.and_then(|change| self.changes.get_mut(change)) {
            // Better than one that arrived in this very group: that one is never stored.
            change.arrived = arrived;
        } else {
            if let Some(change_of) = self.change_of.get_mut(at) {
                *change_of = Some(self.changes.len());
            }
            self.changes.push(Change { fresh: false, arrived });
        }
        Verdict::Known
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
            add_worth(delta, self.facts.facts(), &[], Form::of_trace(count, most), most);
        }
    }

    fn finish(mut self, id: TraceId, arrived: &[Arrived], gain: &mut Gain) {
        let count = self.facts.len() as u64;
        // By what it takes to load it, versions of updated spans included.
        let small = self.facts.stored() <= self.terms.limits.inline_trace;
        if self.changes.is_empty() {
            // What is remembered does not wait.
            if small && self.infer {
                gain.known.push((id, self.facts));
            }
            return;
        }
        if let Some(retracted) = self.retracted.take() {
            gain.delta.subtract(&retracted);
            self.add_worth(&mut gain.delta);
        }
        gain.new_traces += u64::from(self.before == 0);
        gain.rows(&self.changes, arrived, !self.infer, self.terms);
        if small && self.infer {
            gain.known.push((id, self.facts));
            return;
        }
        let newest = self.facts.facts().iter().map(day).max().unwrap_or(0);
        let index = if small { Vec::new() } else { self.entries() };
        let settled = if self.infer { count } else { self.before };
        gain.large.push(Large { trace: id, newest, indexed: !small, index, settled, waits: !self.infer });
    }

    /// All of them, for the index of identities.
    fn entries(&self) -> Vec<(u64, Key, Stamp)> {
        let entry = |(at, facts): (usize, &Facts)| {
            let stamp = Stamp { version: version(facts), stored: self.facts.stored_of(at) };
            (day(facts), key(self.terms.seed, facts), stamp)
        };
        self.facts.facts().iter().enumerate().map(entry).collect()
    }
}

/// What arrived for a trace that is not loaded.
#[derive(Default)]
struct Changes {
    changes: Vec<Change>,
    at: HashMap<Key, usize, Seeded>,
}

impl Changes {
    /// Adds a span and says what it is.
    fn add(&mut self, stored: &mut Versions, (arrived, facts): (usize, &Facts), terms: &Terms) -> Verdict {
        let (key, version) = (key(terms.seed, facts), version(facts));
        let known = stored.get(&key).copied();
        if known.is_some_and(|known| version <= known.version) {
            return Verdict::Known;
        }
        let before = known.map_or(0, |known| known.stored);
        if let Some(change) = self.at.get(&key).and_then(|at| self.changes.get_mut(*at)) {
            stored.insert(key, Stamp { version, stored: before });
            change.arrived = arrived;
            return Verdict::Known;
        }
        if before >= terms.limits.versions {
            return Verdict::Dropped;
        }
        stored.insert(key, Stamp { version, stored: before + 1 });
        self.at.insert(key, self.changes.len());
        self.changes.push(Change { fresh: known.is_none(), arrived });
        if known.is_none() { Verdict::Fresh } else { Verdict::Known }
    }

    fn finish(self, id: TraceId, stored: &Versions, (arrived, gain): (&[Arrived], &mut Gain), terms: &Terms) {
        if self.changes.is_empty() {
            return;
        }
        let Self { changes, at } = self;
        let mut newest = 0;
        let entry = |(key, at): (Key, usize)| {
            let day = day(&arrived.get(changes.get(at)?.arrived)?.facts);
            newest = newest.max(day);
            Some((day, key, *stored.get(&key)?))
        };
        let index: Vec<_> = at.into_iter().filter_map(entry).collect();
        gain.rows(&changes, arrived, true, terms);
        gain.large.push(Large { trace: id, newest, indexed: true, index, settled: 0, waits: true });
    }
}

fn day(facts: &Facts) -> u64 {
    facts.start_ns / DAY_NS
}

impl Gain {
    /// Adds the changes of one trace to what is stored.
    fn rows(&mut self, changes: &[Change], spans: &[Arrived], preview: bool, terms: &Terms) {
        let mut links: Option<Links> = None;
        let trace = self.traces;
        self.traces += 1;
        for &Change { fresh, arrived } in changes {
            let Some(Arrived { facts, .. }) = spans.get(arrived) else { continue };
            let (low, high) = self.range.unwrap_or((facts.start_ns, facts.start_ns));
            self.range = Some((low.min(facts.start_ns), high.max(facts.start_ns)));
            let late = facts.start_ns.saturating_add(terms.limits.late_ns) < terms.now_ns;
            self.late += u64::from(late && fresh);
            self.rows.push(Row { arrived, trace, fresh, preview });
            if let Some(extra) = facts.extra.as_deref().filter(|extra| !extra.far.is_empty()) {
                let new = || Links { trace: facts.trace_id, day: 0, targets: BTreeSet::new() };
                let links = links.get_or_insert_with(new);
                links.day = links.day.max(day(facts));
                links.targets.extend(extra.far.iter().map(|(target, _)| *target));
            }
        }
        self.links.extend(links);
    }
}
