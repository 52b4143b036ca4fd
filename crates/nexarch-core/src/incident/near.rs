//! Which services have to do with each other. An outage may begin at a thousand subjects in one minute, so every search is
//! made once, and every pair of services is looked at once.

use std::{
    cell::{Cell, OnceCell},
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{APART, Run};
use crate::{
    analysis::structure::{Net, reachable},
    graph::{Graph, NodeType, build},
    rollup::{Corrupt, Rollup},
};

/// Who calls whom, through queues too. Built when it is asked for: mostly nothing happens.
pub(super) struct Calls<'a> {
    minutes: &'a [(u32, Vec<u8>)],
    known: Option<Callees>,
}

/// Services by the services that they call.
pub(super) struct Callees {
    numbers: HashMap<String, usize>,
    net: Net,
    /// What each service leads to, itself included; searched for when it is asked for.
    below: Vec<OnceCell<Vec<bool>>>,
    /// Nodes and edges searched, and pairs compared, so far.
    work: Cell<usize>,
}

impl<'a> Calls<'a> {
    /// As the cells of these minutes say.
    pub(super) fn of(minutes: &'a [(u32, Vec<u8>)]) -> Self {
        Self { minutes, known: None }
    }

    pub(super) fn known(&mut self) -> Result<&Callees, Corrupt> {
        let known = if let Some(known) = self.known.take() {
            known
        } else {
            let rollup = Rollup::fold(self.minutes.iter().map(|(minute, blob)| (*minute, blob.as_slice())))?;
            Callees::of(&build(&rollup, None))
        };
        Ok(self.known.insert(known))
    }
}

impl Callees {
    fn of(graph: &Graph) -> Self {
        let is_service = |at: usize| graph.nodes[at].kind == NodeType::Service;
        let calls = graph.edges.iter().map(|edge| (edge.source, edge.target));
        let flows = graph.flows.iter().map(|flow| (flow.source, flow.target));
        let between = calls.chain(flows).filter(|(from, to)| is_service(*from) && is_service(*to));
        let numbers = graph.nodes.iter().enumerate().filter(|(at, _)| is_service(*at));
        Self {
            numbers: numbers.map(|(at, node)| (node.id.clone(), at)).collect(),
            net: Net::new(graph.nodes.len(), between.map(|(from, to)| (from, to, 1))),
            below: vec![OnceCell::new(); graph.nodes.len()],
            work: Cell::default(),
        }
    }

    fn below(&self, at: usize) -> &[bool] {
        self.below[at].get_or_init(|| {
            let seen = reachable(self.net.len(), [at], |node| self.net.callees(node));
            self.worked(self.net.len() + self.net.size());
            seen
        })
    }

    /// For each of these services, by place: does it call one, or that one it, directly or through others? An entry
    /// operation and what makes it slow may have services between them that are busy with other things.
    fn near(&self, service: &str, among: &[String]) -> Vec<usize> {
        self.worked(among.len());
        let own = self.numbers.get(service).map(|&at| (at, self.below(at)));
        let is_near = |other: &String| {
            other == service
                || own
                    .zip(self.numbers.get(other))
                    .is_some_and(|((at, below), &other)| below[other] || self.below(other)[at])
        };
        (0..among.len()).filter(|&at| is_near(&among[at])).collect()
    }

    /// How many of these services one depends on, directly or not.
    pub(super) fn count_below(&self, service: &str, among: &BTreeSet<&str>) -> usize {
        self.worked(among.len());
        let Some(below) = self.numbers.get(service).map(|&at| self.below(at)) else { return 0 };
        let others = among.iter().filter(|it| **it != service);
        others.filter_map(|it| self.numbers.get(*it)).filter(|at| below[**at]).count()
    }

    fn worked(&self, steps: usize) {
        self.work.set(self.work.get() + steps);
    }

    /// Nodes and edges searched, and pairs compared, so far.
    #[cfg(test)]
    pub(super) fn work(&self) -> usize {
        self.work.get()
    }
}

/// Where the runs of services are: what a new run is compared with.
pub(super) struct Places {
    /// Everything that has a run or begins one, in order.
    services: Vec<String>,
    /// The services that are near each of those that begin one; by their places.
    near: Vec<Option<Vec<usize>>>,
    /// The incidents that the runs of each service are in, with the last end of those; `None` while one lasts.
    held: Vec<BTreeMap<String, Option<u32>>>,
}

impl Places {
    /// Of these runs, and those that will be added.
    pub(super) fn of(runs: &[Run], opened: &[Run], calls: &Callees) -> Self {
        let services: BTreeSet<&String> = runs.iter().chain(opened).map(|run| &run.subject.service).collect();
        let services: Vec<String> = services.into_iter().cloned().collect();
        let begin: BTreeSet<&String> = opened.iter().map(|run| &run.subject.service).collect();
        let near = |service: &String| begin.contains(service).then(|| calls.near(service, &services));
        let near = services.iter().map(near).collect();
        let held = vec![BTreeMap::new(); services.len()];
        let mut places = Self { services, near, held };
        for run in runs {
            places.add(run);
        }
        places
    }

    /// Notes a run that has its incident.
    pub(super) fn add(&mut self, run: &Run) {
        let Ok(at) = self.services.binary_search(&run.subject.service) else { return };
        note(&mut self.held[at], run.incident.clone(), run.to);
    }

    /// The incidents with a run of a near service at most some minutes before a new one.
    pub(super) fn near(&self, run: &Run) -> BTreeSet<String> {
        let at = self.services.binary_search(&run.subject.service).ok();
        let near = at.and_then(|at| self.near[at].as_ref()).into_iter().flatten();
        let held = near.flat_map(|&at| &self.held[at]);
        let fits = held.filter(|(_, to)| to.is_none_or(|to| to + APART >= run.from));
        let ids: BTreeSet<&String> = fits.map(|(id, _)| id).collect();
        ids.into_iter().cloned().collect()
    }

    /// Some incidents became parts of one.
    pub(super) fn merge(&mut self, parts: &BTreeSet<String>, into: &str) {
        for held in &mut self.held {
            let gone: Vec<_> = parts.iter().filter_map(|part| held.remove(part)).collect();
            for to in gone {
                note(held, into.to_owned(), to);
            }
        }
    }
}

fn note(held: &mut BTreeMap<String, Option<u32>>, incident: String, to: Option<u32>) {
    let last = held.entry(incident).or_insert(to);
    *last = last.zip(to).map(|(a, b)| a.max(b));
}
