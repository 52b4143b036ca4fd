//! Which runs are one incident, and which of its services is the root.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::{
    APART, Anomaly, Change, Happened, Incident, LISTED, Run, SPAN, Signal, Watch,
    near::{Callees, Calls, Places},
};
use crate::rollup::Corrupt;

impl Watch {
    /// Gives the runs that began in a minute their incidents, ends incidents whose runs ended, and notes what happened.
    pub(super) fn group(
        &mut self,
        opened: Vec<Run>,
        minute: u32,
        calls: &mut Calls<'_>,
        changes: &mut Vec<Change>,
    ) -> Result<(), Corrupt> {
        let before = self.incidents.clone();
        let mut touched: BTreeSet<String> = BTreeSet::new();
        let mut merged: BTreeMap<String, String> = BTreeMap::new();
        if !opened.is_empty() {
            let mut places = Places::of(&self.runs, &opened, calls.known()?);
            for mut run in opened {
                run.incident = self.place(&run, &mut places, &mut merged);
                touched.insert(run.incident.clone());
                places.add(&run);
                self.runs.push(run);
            }
        }
        self.runs.sort_by(|a, b| (&a.subject, a.signal, a.from).cmp(&(&b.subject, b.signal, b.from)));
        let mut runs: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &self.runs {
            runs.entry(&run.incident).or_default().push(run);
        }
        for incident in &mut self.incidents {
            let runs = runs.remove(incident.id.as_str()).unwrap_or_default();
            let ends = runs.iter().map(|run| run.to).collect::<Option<Vec<u32>>>();
            incident.to = ends.and_then(|ends| ends.into_iter().max());
            if touched.contains(&incident.id) {
                describe(incident, &runs, calls.known()?);
            }
        }
        self.incidents.sort_by(|a, b| (a.from, &a.id).cmp(&(b.from, &b.id)));
        self.tell(&before, &merged, minute, changes);
        self.forget(minute);
        Ok(())
    }

    /// The incident that a new run belongs to: the oldest of those with a run of a near service at most some minutes apart,
    /// of which the others become parts; a new one when there is none.
    fn place(&mut self, run: &Run, places: &mut Places, merged: &mut BTreeMap<String, String>) -> String {
        let mut ids = places.near(run);
        let oldest =
            self.incidents.iter().filter(|it| ids.contains(&it.id)).min_by_key(|it| (it.from, &it.id));
        let Some(id) = oldest.map(|oldest| oldest.id.clone()) else {
            let incident = begun_by(run);
            let id = incident.id.clone();
            self.incidents.push(incident);
            return id;
        };
        ids.remove(&id);
        if !ids.is_empty() {
            for part in self.runs.iter_mut().filter(|other| ids.contains(&other.incident)) {
                part.incident.clone_from(&id);
            }
            self.incidents.retain(|incident| !ids.contains(&incident.id));
            places.merge(&ids, &id);
            merged.extend(ids.into_iter().map(|part| (part, id.clone())));
        }
        id
    }

    fn tell(
        &self,
        before: &[Incident],
        merged: &BTreeMap<String, String>,
        minute: u32,
        changes: &mut Vec<Change>,
    ) {
        for gone in before {
            if let Some(into) = merged.get(&gone.id) {
                let incident = Incident { to: Some(minute), ..gone.clone() };
                changes.push(Change {
                    happened: Happened::Merged,
                    incident,
                    into: Some(into.clone()),
                    minute,
                });
            }
        }
        let before: BTreeMap<&str, &Incident> = before.iter().map(|it| (it.id.as_str(), it)).collect();
        for incident in &self.incidents {
            let happened = match before.get(incident.id.as_str()) {
                None => Happened::Opened,
                Some(known) if *known == incident => continue,
                Some(known) if known.to.is_none() && incident.to.is_some() => Happened::Closed,
                Some(_) => Happened::Updated,
            };
            changes.push(Change { happened, incident: incident.clone(), into: None, minute });
        }
    }

    /// Forgets incidents that cannot go on any more: a run that begins later is too far apart.
    fn forget(&mut self, minute: u32) {
        self.incidents.retain(|incident| incident.to.is_none_or(|to| to + APART + SPAN >= minute));
        let known: BTreeSet<&str> = self.incidents.iter().map(|incident| incident.id.as_str()).collect();
        self.runs.retain(|run| known.contains(run.incident.as_str()));
    }
}

/// An incident of one run. Its id is led by lengths, so that no name can look like two.
fn begun_by(run: &Run) -> Incident {
    let mut bytes = b"incident".to_vec();
    for part in [&run.subject.service, run.subject.operation.as_ref().unwrap_or(&String::new())] {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    bytes.extend_from_slice(run.signal.as_str().as_bytes());
    bytes.extend_from_slice(&run.from.to_le_bytes());
    Incident {
        id: format!("{:016x}", xxh3_64(&bytes)),
        from: run.from,
        to: None,
        root: run.subject.service.clone(),
        services: Vec::new(),
        signals: Vec::new(),
    }
}

/// Fills in what follows from the runs.
fn describe(incident: &mut Incident, runs: &[&Run], calls: &Callees) {
    incident.from = runs.iter().map(|run| run.from).min().unwrap_or(incident.from);
    let services: BTreeSet<(String, String)> =
        runs.iter().map(|run| (run.subject.service.clone(), run.subject.environment.clone())).collect();
    incident.services = services.into_iter().collect();
    let mut by_begin = runs.to_vec();
    by_begin.sort_by_key(|run| run.from);
    let mut seen = BTreeSet::new();
    by_begin.retain(|run| seen.insert((&run.subject, run.signal)));
    incident.signals = by_begin.iter().take(LISTED).map(|run| anomaly(run)).collect();
    if let Some(root) = root(runs, calls) {
        incident.root = root;
    }
}

fn anomaly(run: &Run) -> Anomaly {
    let digits = |value: f64| (value * 1e6).round() / 1e6;
    Anomaly {
        service: run.subject.service.clone(),
        operation: run.subject.operation.clone(),
        signal: run.signal,
        value: digits(run.shown.value),
        expected: run.shown.expected.map(digits),
        z: run.shown.z.map(|z| (z * 100.0).round() / 100.0),
    }
}

/// The deepest service that fails or is slow: the one that depends on the fewest of the others that are; of several the
/// first one, by time and then by id. Requests that do not come are felt downstream: where nothing else is seen, the root is
/// the service furthest upstream.
fn root(runs: &[&Run], calls: &Callees) -> Option<String> {
    let ill = |run: &&&Run| run.signal != Signal::RateDrop;
    let is_ill = runs.iter().any(|run| ill(&run));
    let mut first: BTreeMap<&str, u32> = BTreeMap::new();
    for run in runs.iter().filter(|run| ill(run) == is_ill) {
        let from = first.entry(run.subject.service.as_str()).or_insert(run.from);
        *from = run.from.min(*from);
    }
    let among: BTreeSet<&str> = first.keys().copied().collect();
    let rank = |(service, from): &(&str, u32)| {
        let below = calls.count_below(service, &among);
        (if is_ill { below } else { among.len() - below }, *from, (*service).to_owned())
    };
    first.into_iter().min_by_key(rank).map(|(service, _)| service.to_owned())
}
