//! The requests of services and entry operations, minute by minute, and what is usual for them.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::{
    BASE, Evidence, HOUR, Run, SPAN, seasons,
    signal::{self, Expected, LEAST_REQUESTS, Reading, Signal, level},
};
use crate::{
    graph::service_id,
    rollup::{Cell, Corrupt, Key, OTHER, Rollup, Table},
    window::Minutes,
};

/// Services that are watched, and operations: the busiest of the minutes looked at.
const MOST: usize = 500;
/// Minutes, or weeks, that make something usual.
const LEAST_MINUTES: usize = 15;
const LEAST_WEEKS: usize = 3;
/// Requests enter at a service when at least one of so many of its requests came from outside; then all its operations are
/// entry operations, because cells do not tell which.
const ENTERS: i64 = 10;

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Subject {
    /// Id of the service.
    pub(super) service: String,
    /// Its environment; empty for none.
    pub(super) environment: String,
    /// One of its operations; `None` for all requests.
    pub(super) operation: Option<String>,
}

/// The requests of a subject.
#[derive(Debug, Default)]
struct Track {
    minutes: BTreeMap<u32, Cell>,
    /// The p95 of those minutes that have one, microseconds.
    p95: BTreeMap<u32, f64>,
    /// By begin of the hour.
    seasons: BTreeMap<u32, Cell>,
}

/// All that is watched.
pub(super) struct Tracks {
    all: BTreeMap<Subject, Track>,
    /// The first minute with anything in it.
    begin: u32,
}

/// Environment, namespace and name of a service.
type Name = [String; 3];

impl Tracks {
    /// Everything busy enough to be judged, and whatever has a run.
    pub(super) fn of(due: Minutes, evidence: Evidence<'_>, runs: &[Run]) -> Result<Self, Corrupt> {
        let minutes = || evidence.minutes.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
        let is_whole = |key: Key| matches!(key, Key::Request(_) | Key::Entry(_));
        let whole = Rollup::fold_by(minutes(), |minute| minute, |_, key| is_whole(key))?;
        let entered = entry_services(&whole);
        let is_part = |table: &Table, key: Key| match key {
            Key::Operation(node, name) => {
                &**table.text_of(name) != OTHER && entered.contains(&name_of(table, node))
            }
            _ => false,
        };
        let parts = Rollup::fold_by(minutes(), |minute| minute, is_part)?;
        let mut all: BTreeMap<Subject, Track> = BTreeMap::new();
        for rollup in [&whole, &parts] {
            for (subject, minute, cell) in cells(rollup) {
                all.entry(subject).or_default().minutes.entry(minute).or_default().merge(cell, 1);
            }
        }
        let begin = all.values().filter_map(|track| track.minutes.keys().next()).min().copied();
        let open: BTreeSet<&Subject> =
            runs.iter().filter(|run| run.to.is_none()).map(|run| &run.subject).collect();
        keep_busiest(&mut all, &open);
        for subject in open {
            if !all.contains_key(subject) {
                all.insert(subject.clone(), Track::default());
            }
        }
        for track in all.values_mut() {
            let p95 = |(minute, cell): (&u32, &Cell)| Some((*minute, cell.quantile_us(950)?));
            track.p95 = track.minutes.iter().filter_map(p95).collect();
        }
        let mut tracks = Self { all, begin: begin.unwrap_or(due.from) };
        tracks.add_seasons(evidence, is_part)?;
        Ok(tracks)
    }

    fn add_seasons(
        &mut self,
        evidence: Evidence<'_>,
        is_part: impl Fn(&Table, Key) -> bool,
    ) -> Result<(), Corrupt> {
        let hours = evidence.seasons.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
        let wanted = |table: &Table, key: Key| matches!(key, Key::Request(_)) || is_part(table, key);
        let rollup = Rollup::fold_by(hours, |minute| minute / HOUR * HOUR, wanted)?;
        for (subject, hour, cell) in cells(&rollup) {
            if let Some(track) = self.all.get_mut(&subject) {
                track.seasons.entry(hour).or_default().merge(cell, 1);
            }
        }
        Ok(())
    }

    /// Everything that is watched, in order.
    pub(super) fn watched(&self) -> impl Iterator<Item = (&Subject, Signal)> {
        self.all.keys().flat_map(|subject| Signal::ALL.map(|signal| (subject, signal)))
    }

    /// A minute beside what is usual; `None` where it says nothing.
    pub(super) fn read(
        &self,
        subject: &Subject,
        signal: Signal,
        minute: u32,
        expected: Expected,
        objective_ms: f64,
    ) -> Option<Reading> {
        let track = self.all.get(subject)?;
        let in_five = track.minutes.range(minute.saturating_sub(SPAN - 1)..=minute);
        let in_five = in_five.map(|(_, cell)| u64::try_from(cell.count).unwrap_or(0)).sum();
        let nothing = Cell::default();
        signal::read(signal, track.minutes.get(&minute).unwrap_or(&nothing), in_five, expected, objective_ms)
    }

    /// What is usual in this hour of the week.
    pub(super) fn season(&self, subject: &Subject, signal: Signal, minute: u32) -> Option<Expected> {
        let track = self.all.get(subject)?;
        let hours = seasons(minute).filter_map(|hour| track.seasons.get(&hour.from));
        let hours: Vec<&Cell> = hours.filter(|cell| enough(cell.count)).collect();
        if hours.len() < LEAST_WEEKS {
            return None;
        }
        match signal {
            Signal::ErrorRatio => share(hours.into_iter()),
            Signal::P95 => {
                level(hours.iter().filter_map(|hour| hour.quantile_us(950)).map(in_ms).collect(), 1.0)
            }
            Signal::RateDrop => {
                let each = each(hours.iter().copied())?;
                level(hours.iter().map(|hour| signal::requests(hour) / f64::from(HOUR)).collect(), each)
            }
        }
    }

    /// What was usual in the hour before the five minutes that end with this one.
    pub(super) fn last_hour(&self, subject: &Subject, signal: Signal, minute: u32) -> Option<Expected> {
        let track = self.all.get(subject)?;
        let to = (minute + 1).saturating_sub(SPAN);
        let from = to.saturating_sub(BASE).max(self.begin);
        if from >= to || (to - from) < u32::try_from(LEAST_MINUTES).unwrap_or(u32::MAX) {
            return None;
        }
        let before = || track.minutes.range(from..to).map(|(_, cell)| cell);
        match signal {
            Signal::ErrorRatio => share(before()),
            Signal::P95 => {
                let values: Vec<f64> = track.p95.range(from..to).map(|(_, us)| in_ms(*us)).collect();
                if values.len() < LEAST_MINUTES { None } else { level(values, 1.0) }
            }
            Signal::RateDrop => {
                let each = each(before())?;
                let of = |minute| track.minutes.get(&minute).map_or(0.0, signal::requests);
                level((from..to).map(of).collect(), each)
            }
        }
    }
}

fn enough(count: i64) -> bool {
    u64::try_from(count).is_ok_and(|count| count >= LEAST_REQUESTS)
}

/// Microseconds as milliseconds.
fn in_ms(us: f64) -> f64 {
    us / 1000.0
}

fn share<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<Expected> {
    let (mut failed, mut all) = (0u64, 0u64);
    for cell in cells {
        let count = u64::try_from(cell.count).unwrap_or(0);
        all += count;
        failed += u64::try_from(cell.errors).unwrap_or(0).min(count);
    }
    (all >= LEAST_REQUESTS).then_some(Expected::Share { failed, all })
}

/// How many requests one that was observed stands for.
fn each<'a>(cells: impl Iterator<Item = &'a Cell>) -> Option<f64> {
    let (mut observed, mut stand_for) = (0i64, 0.0);
    for cell in cells {
        observed = observed.saturating_add(cell.count);
        stand_for += signal::requests(cell);
    }
    (observed > 0).then(|| stand_for / observed as f64)
}

fn name_of(table: &Table, node: u32) -> Name {
    let [environment, namespace, name, ..] = table.describe(node).1;
    [environment.to_string(), namespace.to_string(), name.to_string()]
}

fn entry_services(rollup: &Rollup) -> HashSet<Name> {
    let mut sums: FxHashMap<u32, (i64, i64)> = FxHashMap::default();
    for (key, cell) in rollup.cells() {
        match key {
            Key::Entry(node) => sums.entry(node).or_default().0 += cell.weight,
            Key::Request(node) => sums.entry(node).or_default().1 += cell.weight,
            _ => {}
        }
    }
    let enters = |(entries, requests): (i64, i64)| entries > 0 && entries.saturating_mul(ENTERS) >= requests;
    let entered = sums.into_iter().filter(|(_, sums)| enters(*sums));
    entered.map(|(node, _)| name_of(&rollup.table, node)).collect()
}

/// Cells of requests with what they are about, by minute.
fn cells(rollup: &Rollup) -> impl Iterator<Item = (Subject, u32, &Cell)> {
    rollup.table.cells.iter().filter_map(|(&(minute, key), cell)| {
        let (node, operation) = match key {
            Key::Request(node) => (node, None),
            Key::Operation(node, name) => (node, Some(rollup.table.text_of(name).to_string())),
            _ => return None,
        };
        let [environment, namespace, name] = name_of(&rollup.table, node);
        Some((
            Subject { service: service_id(&namespace, &name, &environment), environment, operation },
            minute,
            cell,
        ))
    })
}

/// Drops what has too few requests ever to be judged, and all but the busiest.
fn keep_busiest(all: &mut BTreeMap<Subject, Track>, open: &BTreeSet<&Subject>) {
    let count = |track: &Track| track.minutes.values().fold(0i64, |sum, cell| sum.saturating_add(cell.count));
    let mut ranks: Vec<(bool, i64, Subject)> = all
        .iter()
        .map(|(subject, track)| (subject.operation.is_some(), count(track), subject.clone()))
        .collect();
    ranks.sort_by(|a, b| (a.0, std::cmp::Reverse(a.1), &a.2).cmp(&(b.0, std::cmp::Reverse(b.1), &b.2)));
    let mut kept: BTreeSet<Subject> = BTreeSet::new();
    for group in ranks.chunk_by(|a, b| a.0 == b.0) {
        let busy = group.iter().filter(|(_, count, _)| enough(*count));
        kept.extend(busy.take(MOST).map(|(.., subject)| subject.clone()));
    }
    all.retain(|subject, _| kept.contains(subject) || open.contains(subject));
}
