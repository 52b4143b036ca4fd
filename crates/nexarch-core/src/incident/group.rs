//! Which runs are one incident, and which of its services is the root.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::{APART, Anomaly, Change, Happened, Incident, LISTED, Run, SPAN, Signal, Watch};
use crate::{
    graph::{NodeType, build},
    rollup::{Corrupt, Rollup},
};

/// Who calls whom, through queues too. Built when it is asked for: mostly nothing happens.
pub(super) struct Calls<'a> {
    minutes: &'a [(u32, Vec<u8>)],
    known: Option<Callees>,
}

/// Services by the services that they call.
#[derive(Default)]
struct Callees(BTreeMap<String, BTreeSet<String>>);

impl<'a> Calls<'a> {
    /// As the cells of these minutes say.
    pub(super) fn of(minutes: &'a [(u32, Vec<u8>)]) -> Self {
        Self { minutes, known: None }
    }

    fn known(&mut self) -> Result<&Callees, Corrupt> {
        if self.known.is_none() {
            let rollup = Rollup::fold(self.minutes.iter().map(|(minute, blob)| (*minute, blob.as_slice())))?;
            let graph = build(&rollup, None);
            let is_service = |at: usize| graph.nodes[at].kind == NodeType::Service;
            let calls = graph.edges.iter().map(|edge| (edge.source, edge.target));
            let flows = graph.flows.iter().map(|flow| (flow.source, flow.target));
            let mut callees = Callees::default();
            for (from, to) in calls.chain(flows).filter(|(from, to)| is_service(*from) && is_service(*to)) {
                let [from, to] = [from, to].map(|at| graph.nodes[at].id.clone());
                callees.0.entry(from).or_default().insert(to);
            }
            self.known = Some(callees);
        }
        Ok(self.known.get_or_insert_default())
    }
}

impl Callees {
    fn of(&self, service: &str) -> impl Iterator<Item = &String> {
        self.0.get(service).into_iter().flatten()
    }

    /// Does one call the other, directly or through others? An entry operation and what makes it slow may have services
    /// between them that are busy with other things.
    fn are_near(&self, a: &str, b: &str) -> bool {
        let among = |service| BTreeSet::from([service]);
        a == b || self.below(a, &among(b)) > 0 || self.below(b, &among(a)) > 0
    }

    /// How many of these services one depends on, directly or not.
    fn below(&self, service: &str, among: &BTreeSet<&str>) -> usize {
        let mut seen: BTreeSet<&str> = BTreeSet::from([service]);
        let mut next = vec![service];
        while let Some(at) = next.pop() {
            next.extend(self.of(at).map(String::as_str).filter(|&callee| seen.insert(callee)));
        }
        among.iter().filter(|it| **it != service && seen.contains(**it)).count()
    }
}

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
        for mut run in opened {
            run.incident = self.place(&run, calls.known()?, &mut merged);
            touched.insert(run.incident.clone());
            self.runs.push(run);
        }
        self.runs.sort_by(|a, b| (&a.subject, a.signal, a.from).cmp(&(&b.subject, b.signal, b.from)));
        for incident in &mut self.incidents {
            let runs: Vec<&Run> = self.runs.iter().filter(|run| run.incident == incident.id).collect();
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
    fn place(&mut self, run: &Run, calls: &Callees, merged: &mut BTreeMap<String, String>) -> String {
        let is_near = |other: &&Run| {
            other.to.is_none_or(|to| to + APART >= run.from)
                && calls.are_near(&other.subject.service, &run.subject.service)
        };
        let ids: BTreeSet<String> =
            self.runs.iter().filter(is_near).map(|other| other.incident.clone()).collect();
        let oldest =
            self.incidents.iter().filter(|it| ids.contains(&it.id)).min_by_key(|it| (it.from, &it.id));
        let Some(id) = oldest.map(|oldest| oldest.id.clone()) else {
            let incident = begun_by(run);
            let id = incident.id.clone();
            self.incidents.push(incident);
            return id;
        };
        for part in self.runs.iter_mut().filter(|other| ids.contains(&other.incident)) {
            part.incident.clone_from(&id);
        }
        self.incidents.retain(|incident| incident.id == id || !ids.contains(&incident.id));
        merged.extend(ids.into_iter().filter(|part| *part != id).map(|part| (part, id.clone())));
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
        for incident in &self.incidents {
            let happened = match before.iter().find(|it| it.id == incident.id) {
                None => Happened::Opened,
                Some(known) if known == incident => continue,
                Some(known) if known.to.is_none() && incident.to.is_some() => Happened::Closed,
                Some(_) => Happened::Updated,
            };
            changes.push(Change { happened, incident: incident.clone(), into: None, minute });
        }
    }

    /// Forgets incidents that cannot go on any more: a run that begins later is too far apart.
    fn forget(&mut self, minute: u32) {
        self.incidents.retain(|incident| incident.to.is_none_or(|to| to + APART + SPAN >= minute));
        let incidents = &self.incidents;
        self.runs.retain(|run| incidents.iter().any(|incident| incident.id == run.incident));
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
        let below = calls.below(service, &among);
        (if is_ill { below } else { among.len() - below }, *from, (*service).to_owned())
    };
    first.into_iter().min_by_key(rank).map(|(service, _)| service.to_owned())
}
