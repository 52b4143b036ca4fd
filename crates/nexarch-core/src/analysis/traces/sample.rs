//! Which traces are looked at as a whole.
//!
//! Traces are drawn apart by entry operation, hour and whether they failed, so that rare operations and failures are
//! looked at, too. Of each such stratum those with the smallest hash of the trace id are kept: who keeps a sample needs no
//! list of all traces, two samples merge into that of both, and the order of arrival cannot matter. As every trace then
//! stands for as many as its stratum has for each one taken, its spans are weighed by that: shares of the sample are
//! estimates of shares of all.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::facts::Facts;

/// Traces kept of a stratum. More would be written than anybody reads: a day of twelve operations is 24 · 24 strata, of
/// which an answer takes a few traces each.
pub const KEPT: usize = 32;

/// Strata of an hour; entry operations beyond share one. A tenant with more has names that are made up.
const STRATA: usize = 128;

/// Nanoseconds of an hour.
const HOUR_NS: u64 = 3_600_000_000_000;

/// Stratum of traces without a span without parent: their entry is not known yet, or was never sent.
const NO_ENTRY: u64 = 0;
/// Stratum of entry operations beyond [`STRATA`].
const OTHER: u64 = 2;

/// Where a trace stands in a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Hours since the Unix epoch, of the start of its entry.
    pub hour: u64,
    /// Hash of the entry operation; the lowest bit says whether the entry failed.
    pub stratum: u64,
    /// Of the trace id; the smallest are drawn. Below 2^63.
    pub hash: u64,
}

impl Place {
    /// Of a trace, given by all its spans: its entry is the first of those without a parent. `None` without spans.
    pub fn of(trace: &[Facts]) -> Option<Self> {
        let first =
            |span: &&Facts| (span.parent_span_id.is_some(), span.start_ns, span.span_id, span.content);
        let entry = trace.iter().min_by_key(first)?;
        let operation = if entry.parent_span_id.is_some() { NO_ENTRY } else { operation(entry) };
        Some(Self {
            hour: entry.start_ns / HOUR_NS,
            stratum: operation | u64::from(entry.error),
            hash: xxh3_64(&entry.trace_id.to_bytes()) >> 1,
        })
    }
}

/// A number for an entry operation, above [`OTHER`], with room for a bit below.
fn operation(entry: &Facts) -> u64 {
    // Each with the hash of those before as its seed: no text is made for it, and none can look like two.
    let parts = [&entry.environment, &entry.namespace, &entry.service, &entry.name];
    let hash = parts.iter().fold(0, |hash, part| xxh3_64_with_seed(part.as_bytes(), hash));
    (hash >> 1 | 2) << 1
}

/// What became of a trace that was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drawn {
    /// It is in the sample, under this place.
    pub kept: Option<Place>,
    /// A place that is not in the sample any more: of another trace, or where this one stood before.
    pub gone: [Option<Place>; 2],
}

/// A sample that grows with the traces that are offered. Who forgets one and begins again keeps more than he has to, never
/// less.
///
/// ```
/// use nexarch_core::analysis::sample::{Draw, Place};
/// let mut draw = Draw::default();
/// let place = |hash| Place { hour: 7, stratum: 4, hash };
/// for hash in 1..=32 {
///     assert_eq!(draw.offer(place(hash)).kept, Some(place(hash)));
/// }
/// assert_eq!(draw.offer(place(99)).kept, None, "32 are smaller");
/// assert_eq!(draw.offer(place(0)).gone[0], Some(place(32)), "one makes room");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Draw {
    strata: BTreeMap<(u64, u64), BTreeSet<u64>>,
    /// Where a trace stands, by its hash.
    stands: FxHashMap<u64, (u64, u64)>,
}

impl Draw {
    /// Offers a trace, as often as it grows.
    pub fn offer(&mut self, place: Place) -> Drawn {
        let mut drawn = Drawn::default();
        let stratum = self.stratum(place);
        if let Some(&before) = self.stands.get(&place.hash)
            && before != stratum
        {
            self.stands.remove(&place.hash);
            if let Some(kept) = self.strata.get_mut(&before) {
                kept.remove(&place.hash);
            }
            drawn.gone[1] = Some(Place { hour: before.0, stratum: before.1, hash: place.hash });
        }
        let kept = self.strata.entry(stratum).or_default();
        if kept.len() >= KEPT && kept.last().is_some_and(|&last| place.hash > last) {
            return drawn;
        }
        if kept.insert(place.hash) {
            self.stands.insert(place.hash, stratum);
        }
        drawn.kept = Some(Place { hour: stratum.0, stratum: stratum.1, ..place });
        if kept.len() > KEPT
            && let Some(hash) = kept.pop_last()
        {
            self.stands.remove(&hash);
            drawn.gone[0] = Some(Place { hour: stratum.0, stratum: stratum.1, hash });
        }
        drawn
    }

    /// Strata that are remembered, of about 2 kB each.
    pub fn strata(&self) -> usize {
        self.strata.len()
    }

    /// Its own stratum, or the common one when its hour has too many.
    fn stratum(&self, Place { hour, stratum, .. }: Place) -> (u64, u64) {
        if self.strata.contains_key(&(hour, stratum)) {
            return (hour, stratum);
        }
        let of_hour = self.strata.range((hour, 0)..=(hour, u64::MAX)).count();
        if of_hour < STRATA { (hour, stratum) } else { (hour, OTHER | stratum & 1) }
    }
}

/// A stored trace that could be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Where it stands.
    pub place: Place,
    /// How many spans it has.
    pub spans: u64,
}

/// How much one answer looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Most traces.
    pub traces: usize,
    /// Most spans, all traces together.
    pub spans: u64,
}

impl Budget {
    /// Of an answer: some 3 ms, the overview's included. Twice as many took the overview of a busy day beyond 10 ms. A day of
    /// twelve entry operations has some two or three traces of each then, and more of busy ones.
    pub const ANSWER: Self = Self { traces: 64, spans: 2_048 };
}

/// What was chosen of candidates.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chosen {
    /// Indices of candidates, ascending, each with how many traces it stands for.
    pub traces: Vec<(usize, f64)>,
    /// How many traces the strata have, as the hashes tell.
    pub estimated: f64,
}

/// Chooses what to look at, of strata of which the [`KEPT`] smallest hashes are known (fewer: all). Half of the budget goes to
/// the first trace of each stratum, so that rare ones are looked at, the largest first; the rest by √n of a stratum of n
/// traces, so that busy ones are known well. A trace stands for n over the number taken. n is estimated from the k-th smallest of k hashes: `(k − 1)/h` (Bar-Yossef and others, 2002); exact for fewer.
pub fn choose(candidates: &[Candidate], budget: Budget) -> Chosen {
    let mut strata: BTreeMap<(u64, u64), Vec<usize>> = BTreeMap::new();
    for (at, candidate) in candidates.iter().enumerate() {
        strata.entry((candidate.place.hour, candidate.place.stratum)).or_default().push(at);
    }
    let mut chosen = Chosen::default();
    let (mut firsts, mut order) = (Vec::new(), Vec::new());
    let mut sizes = Vec::with_capacity(strata.len());
    for (number, members) in strata.values_mut().enumerate() {
        members.sort_unstable_by_key(|&at| candidates[at].place.hash);
        members.dedup_by_key(|at| candidates[*at].place.hash);
        members.truncate(KEPT);
        let size = size(members.len(), members.last().map_or(0, |&last| candidates[last].place.hash));
        chosen.estimated += size;
        sizes.push((size, 0usize));
        for (rank, &at) in members.iter().enumerate() {
            let turn = ((rank + 1) as f64).powi(2) / size;
            let list = if rank == 0 { &mut firsts } else { &mut order };
            list.push((turn, candidates[at].place.hash, at, number));
        }
    }
    let by_turn = |a: &Turn, b: &Turn| a.0.total_cmp(&b.0).then_with(|| (a.1, a.2).cmp(&(b.1, b.2)));
    firsts.sort_unstable_by(by_turn);
    order.extend(firsts.drain(firsts.len().min(budget.traces / 2)..));
    order.sort_unstable_by(by_turn);
    let (mut spans, mut taken) = (0, Vec::new());
    for (_, _, at, stratum) in firsts.into_iter().chain(order) {
        if taken.len() == budget.traces {
            break;
        }
        // A trace that is too large for what is left must not end the choice; smaller ones stand for it.
        if spans + candidates[at].spans <= budget.spans {
            spans += candidates[at].spans;
            sizes[stratum].1 += 1;
            taken.push((at, stratum));
        }
    }
    taken.sort_unstable();
    chosen.traces = taken.into_iter().map(|(at, of)| (at, sizes[of].0 / sizes[of].1 as f64)).collect();
    chosen
}

/// When a candidate's turn is, its hash, which one it is, and the number of its stratum.
type Turn = (f64, u64, usize, usize);

/// How many hashes there are, when the k smallest reach up to `last`.
fn size(k: usize, last: u64) -> f64 {
    if k < KEPT {
        k as f64
    } else {
        ((k - 1) as f64 / (last.max(1) as f64 / (1u64 << 63) as f64)).max(k as f64)
    }
}

/// Makes the spans of a trace stand for as many of their kind; weights beyond the largest are the largest.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to its range before")]
pub fn weigh(trace: &mut [Facts], times: f64) {
    for span in trace {
        span.weight = (f64::from(span.weight) * times).round().clamp(0.0, f64::from(u32::MAX)) as u32;
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::{ids::TraceId, infer::testing::START_NS, infer::testing::server};

    fn trace(number: u128, name: &str, error: bool) -> Vec<Facts> {
        let id = TraceId::from_bytes((number + 1).to_be_bytes()).unwrap();
        let root = Facts { trace_id: id, error, ..server("gateway", 1, 0) };
        let child = Facts { trace_id: id, start_ns: START_NS - 1, ..server("other", 2, 1) };
        vec![child, root.with(|it| it.name = name.into())]
    }

    #[test]
    fn a_trace_stands_by_its_entry() {
        let place = |spans: &[Facts]| Place::of(spans).unwrap();
        let [good, bad] = [false, true].map(|error| place(&trace(7, "GET /", error)));
        assert_eq!((good.hash, good.hour, good.stratum | 1), (bad.hash, bad.hour, bad.stratum));
        assert_ne!(good.stratum, place(&trace(7, "GET /other", false)).stratum);
        let reversed: Vec<Facts> = trace(7, "GET /", true).into_iter().rev().collect();
        assert_eq!(place(&reversed), bad, "the order of spans does not matter");
        assert_eq!(place(&trace(7, "GET /", false)[..1]).stratum, NO_ENTRY, "its parent did not come");
        assert_eq!(Place::of(&[]), None);
    }

    /// What is in a sample after offers, as its owner would store it.
    fn stored(places: &[Place]) -> BTreeSet<Place> {
        let mut draw = Draw::default();
        let mut stored = BTreeSet::new();
        for &place in places {
            let drawn = draw.offer(place);
            drawn.gone.into_iter().flatten().for_each(|gone| assert!(stored.remove(&gone)));
            stored.extend(drawn.kept);
        }
        stored
    }

    #[test]
    fn a_trace_moves_with_its_entry_and_crowds_share() {
        let place = |stratum, hash| Place { hour: 3, stratum, hash };
        let moved = stored(&[place(NO_ENTRY, 5), place(NO_ENTRY, 6), place(8, 5)]);
        assert_eq!(moved, BTreeSet::from([place(NO_ENTRY, 6), place(8, 5)]));
        let crowd: Vec<Place> = (0..1_000).map(|at| place(4 + 2 * at, at)).collect();
        let kept = stored(&crowd);
        let strata: BTreeSet<u64> = kept.iter().map(|place| place.stratum).collect();
        assert_eq!(
            (kept.len(), strata.len()),
            (STRATA + KEPT, STRATA + 1),
            "those without a stratum share one"
        );
    }

    proptest! {
        /// The smallest hashes of each stratum stay, in whatever order traces come and however often.
        #[test]
        fn a_sample_is_a_function_of_the_set(
            mut places in vec((0u64..2, 2u64..5, 0u64..400), 0..400)
        ) {
            // One trace has one place.
            places.sort_unstable_by_key(|place| place.2);
            places.dedup_by_key(|place| place.2);
            let mut places: Vec<Place> = places
                .into_iter()
                .map(|(hour, stratum, hash)| Place { hour, stratum: stratum * 2, hash })
                .collect();
            let forward = stored(&places);
            places.extend(places.clone());
            places.reverse();
            prop_assert_eq!(&forward, &stored(&places));
            let mut strata: BTreeMap<(u64, u64), BTreeSet<u64>> = BTreeMap::new();
            for place in &places {
                strata.entry((place.hour, place.stratum)).or_default().insert(place.hash);
            }
            let smallest = strata.into_iter().flat_map(|((hour, stratum), hashes)| {
                hashes.into_iter().take(KEPT).map(move |hash| Place { hour, stratum, hash })
            });
            prop_assert_eq!(forward, smallest.collect::<BTreeSet<_>>());
        }
    }

    /// Even hashes, as good hashes are.
    fn stratum(stratum: u64, traces: u64, spans: u64) -> Vec<Candidate> {
        let step = (1u64 << 63) / traces;
        (0..traces.min(KEPT as u64))
            .map(|at| Candidate { place: Place { hour: 1, stratum, hash: (at + 1) * step - 1 }, spans })
            .collect()
    }

    #[test]
    fn what_is_chosen_stands_for_all() {
        let rare = stratum(4, 3, 10);
        let all: Vec<Candidate> = [stratum(6, 100_000, 10), rare.clone()].concat();
        let chosen = choose(&all, Budget { traces: 20, spans: 10_000 });
        assert_eq!(chosen.traces.len(), 20);
        let weight: f64 = chosen.traces.iter().map(|trace| trace.1).sum();
        assert!((weight - chosen.estimated).abs() < 1e-6, "{weight}");
        assert!((chosen.estimated / 100_003.0 - 1.0).abs() < 0.05, "{}", chosen.estimated);
        let ample = choose(&rare, Budget { traces: 20, spans: 10_000 });
        assert_eq!(ample.traces, [(0, 1.0), (1, 1.0), (2, 1.0)], "few are known exactly");
        let mut backwards = all.clone();
        backwards.reverse();
        let again = choose(&backwards, Budget { traces: 20, spans: 10_000 });
        let hashes = |of: &Chosen, from: &[Candidate]| {
            of.traces.iter().map(|&(at, _)| from[at].place).collect::<BTreeSet<_>>()
        };
        assert_eq!(hashes(&chosen, &all), hashes(&again, &backwards));
    }

    #[test]
    fn no_answer_looks_at_more_than_its_budget() {
        let mut all = stratum(4, 20, 100);
        all.extend(stratum(6, 1, 5_000));
        let chosen = choose(&all, Budget { traces: 50, spans: 1_000 });
        let spans: u64 = chosen.traces.iter().map(|&(at, _)| all[at].spans).sum();
        assert_eq!((chosen.traces.len(), spans), (10, 1_000));
        assert_eq!(choose(&all, Budget { traces: 0, spans: 1_000 }).traces, []);
    }

    #[test]
    fn weights_multiply_and_do_not_overflow() {
        let mut spans = trace(1, "GET /", false);
        weigh(&mut spans, 2.5);
        assert_eq!(spans[0].weight, 640);
        weigh(&mut spans, 1e18);
        assert_eq!(spans[0].weight, u32::MAX);
    }
}
