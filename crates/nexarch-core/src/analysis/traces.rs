//! What whole traces show beyond the sums of rollups. All sums are integers, so the order of traces cannot matter.

mod company;
mod flame;
mod path;
mod repeats;
pub mod sample;
#[cfg(test)]
mod tests;
mod totals;

use rustc_hash::{FxHashMap, FxHashSet};

pub(crate) use path::{critical_path, depths, self_time};
pub(crate) use repeats::{Access, access, pattern, repeats};
use totals::Passing;
pub(crate) use totals::{Example, FanOut, Hop, Loop, Route, Together, Totals, quantile, weighted_quantile};

use crate::{
    facts::Facts,
    graph::{Finder, Graph, NodeType},
    infer::tree::{Call, Tree},
    rollup::{Rollup, Table},
};

/// So much of the end of a chain of requests is kept. Nobody reads a longer one.
const CHAIN: u32 = 50;

/// Looks at one trace after the other.
pub(crate) struct Observer<'a> {
    graph: &'a Graph,
    finder: Finder<'a>,
    /// Names of all traces.
    table: Table,
    /// Node of the graph by node of the table.
    places: FxHashMap<u32, Option<usize>>,
    totals: Totals,
}

impl<'a> Observer<'a> {
    pub(crate) fn new(rollup: &'a Rollup, graph: &'a Graph) -> Self {
        Self {
            graph,
            finder: Finder::new(rollup, graph),
            table: Table::default(),
            places: FxHashMap::default(),
            totals: Totals { passing: vec![Passing::default(); graph.nodes.len()], ..Totals::default() },
        }
    }

    /// What all traces showed, with the table of the names in it.
    pub(crate) fn finish(self) -> (Totals, Table) {
        (self.totals, self.table)
    }

    /// Adds one trace, given by all its spans. O(n log n).
    pub(crate) fn trace(&mut self, facts: &[Facts]) {
        let tree = Tree::new(facts, &mut self.table);
        if tree.spans.is_empty() {
            return;
        }
        let view = View::of(self, &tree);
        self.totals.traces += 1;
        self.totals.spans += tree.spans.len() as u64;
        self.company(&tree, &view);
        self.entries(&tree, &view);
        self.requests(&tree, &view);
        self.loops(&tree, &view);
    }

    fn place(&mut self, node: u32) -> Option<usize> {
        let (finder, table) = (&self.finder, &self.table);
        *self.places.entry(node).or_insert_with(|| finder.find(table.node_of(node), table))
    }

    /// Critical path, depth, and what a request passes and what fails on its way, for each entry.
    fn entries(&mut self, tree: &Tree<'_>, view: &View) {
        let depth = depths(tree);
        let mut groups: FxHashMap<usize, Vec<usize>> = FxHashMap::default();
        for &span in &tree.order {
            groups.entry(view.top[span]).or_default().push(span);
        }
        for &top in &tree.tops {
            let Some(at) = view.place[top] else { continue };
            let (span, members) = (tree.spans[top], groups.get(&top).map_or(&[][..], Vec::as_slice));
            let weight = u64::from(span.weight);
            let route = self.totals.routes.entry((at, view.name[top])).or_default();
            route.entries += 1;
            route.weight += weight;
            self.totals.entries += 1;
            self.totals.entry_weight += weight;
            self.pass(tree, view, top, members);
            self.deepest(tree, view, (at, view.name[top]), members, &depth);
            if tree.is_timed(top) {
                self.explain(tree, view, (at, view.name[top]), top);
            }
        }
    }

    /// Which nodes a request passed, and whether something failed there.
    fn pass(&mut self, tree: &Tree<'_>, view: &View, top: usize, members: &[usize]) {
        let mut passed: FxHashMap<usize, bool> = FxHashMap::default();
        for &span in members {
            for node in [view.place[span], view.callee[span]].into_iter().flatten() {
                *passed.entry(node).or_default() |=
                    tree.spans[span].error && view.callee[span].is_none_or(|to| to == node);
            }
        }
        let failed = tree.spans[top].error;
        for (node, bad) in passed {
            let (passing, weight) = (&mut self.totals.passing[node], u64::from(tree.spans[top].weight));
            passing.count += 1;
            passing.weight += weight;
            passing.outcomes[usize::from(bad)][usize::from(failed)] += weight;
        }
    }

    fn deepest(&mut self, tree: &Tree<'_>, view: &View, key: (usize, u32), members: &[usize], depth: &[u32]) {
        let deepest = members
            .iter()
            .copied()
            .filter(|&span| tree.is_request(span))
            .max_by_key(|&span| (depth[span], std::cmp::Reverse(span)));
        let Some(end) = deepest else { return };
        let mut chain = Vec::new();
        let mut at = Some(end);
        let mut left = depth[end].min(CHAIN);
        while let Some(span) = at.filter(|_| left > 0) {
            chain.extend(view.place[span]);
            left -= 1;
            at = tree.parent[span].map(|above| tree.request[above]);
        }
        chain.reverse();
        let route = self.totals.routes.entry(key).or_default();
        route.depths.push((depth[end], tree.spans[end].weight));
        let example = Example::new(u64::from(depth[end]), tree.spans[end].trace_id);
        if route.deepest.0.offer(example) {
            route.deepest.1 = chain;
        }
    }

    /// Where the time of a request went.
    fn explain(&mut self, tree: &Tree<'_>, view: &View, key: (usize, u32), top: usize) {
        let weight = u128::from(tree.spans[top].weight);
        let (from, to) = tree.times[top];
        let mut own: FxHashMap<(usize, u32), u64> = FxHashMap::default();
        let route = self.totals.routes.entry(key).or_default();
        route.flame.entry(key);
        let mut frames = FxHashMap::from_iter([(top, 0)]);
        for segment in critical_path(tree, top) {
            let mut frame = route.flame.of_span(tree, view, segment.span, &mut frames);
            // A call that nothing answered is the callee's time, for nobody else tells of it.
            if let Some(node) = view.callee[segment.span].or(view.place[segment.span]) {
                let step = (node, view.name[segment.span]);
                frame = route.flame.below(frame, step);
                *own.entry(step).or_default() += segment.to - segment.from;
            }
            route.flame.add(frame, weight * u128::from(segment.to - segment.from));
        }
        self.totals.root_ns += weight * u128::from(to - from);
        route.root_ns += weight * u128::from(to - from);
        route.durations.push((to - from, tree.spans[top].weight));
        route.slowest.offer(Example::new(to - from, tree.spans[top].trace_id));
        for (step, ns) in own {
            *route.steps.entry(step).or_default() += weight * u128::from(ns);
            let on_path = self.totals.path.entry(step).or_default();
            on_path.weighted_ns += weight * u128::from(ns);
            on_path.samples.push((ns, tree.spans[top].weight));
        }
    }

    /// What each request calls, and each span's own time.
    fn requests(&mut self, tree: &Tree<'_>, view: &View) {
        let mut called: FxHashMap<usize, (FxHashSet<usize>, u32)> = FxHashMap::default();
        for call in &tree.calls {
            let from = call.caller;
            let Some(to) = view.to(call, self) else { continue };
            if view.place[from] != Some(to) {
                let (callees, calls) = called.entry(from).or_default();
                callees.insert(to);
                *calls += call.times;
            }
            if let Some(service) =
                view.place[from].filter(|_| self.graph.nodes[to].kind == NodeType::Database)
            {
                self.totals.accesses.entry((service, to)).or_default().add(access(&tree.spans[call.at].name));
            }
        }
        for span in 0..tree.spans.len() {
            let Some(at) = view.place[span] else { continue };
            if tree.is_timed(span) {
                let own = self.totals.own.entry((at, view.name[span])).or_default();
                own.0 += u128::from(self_time(tree, span)) * u128::from(tree.spans[span].weight);
                own.1 += u128::from(tree.spans[span].weight);
            }
            if tree.is_request(span) {
                let (callees, calls) = called.get(&span).map_or((0, 0), |(set, calls)| (set.len(), *calls));
                let callees = u32::try_from(callees).unwrap_or(u32::MAX);
                let fan = self.totals.fan_out.entry((at, view.name[span])).or_default();
                let weight = tree.spans[span].weight;
                fan.callees.push((callees, weight));
                fan.calls.push((calls, weight));
                fan.weight += u64::from(weight);
                fan.widest.offer(Example::new(u64::from(callees), tree.spans[span].trace_id));
            }
        }
    }

    fn loops(&mut self, tree: &Tree<'_>, view: &View) {
        let found = repeats(tree, |call| {
            let to = view.to(call, self)?;
            let shown = call.reached.unwrap_or(call.at);
            let what = self.table.text_str(&pattern(&tree.spans[shown].name));
            (view.place[call.caller] != Some(to)).then_some((to, what))
        });
        for repeat in found {
            let Some(from) = view.place[repeat.parent] else { continue };
            let (trace, weight) =
                (tree.spans[repeat.parent].trace_id, u64::from(tree.spans[repeat.parent].weight));
            let hop = self.totals.hops.entry((from, repeat.callee)).or_default();
            hop.calls += repeat.calls;
            hop.logical += repeat.logical;
            hop.weights[0] += weight * repeat.calls;
            hop.weights[1] += weight * repeat.logical;
            hop.worst.offer(Example::new(repeat.calls - repeat.logical, trace));
            let key = (from, view.name[tree.request[repeat.parent]], repeat.callee, repeat.what);
            if repeat.in_turn >= Loop::LEAST {
                let all = self.totals.loops.entry(key).or_default();
                all.parents += 1;
                all.weight += weight;
                all.calls += u128::from(weight) * u128::from(repeat.in_turn);
                all.cost_ns += u128::from(weight) * u128::from(repeat.cost_ns);
                all.worst.offer(Example::new(repeat.in_turn, trace));
            }
        }
    }
}

/// Spans by what they are on the map.
struct View {
    /// The service.
    place: Vec<Option<usize>>,
    /// The callee, of a call that nothing answered.
    callee: Vec<Option<usize>>,
    /// Operation, a text of the table.
    name: Vec<u32>,
    /// The span without parent above.
    top: Vec<usize>,
}

impl View {
    fn of(observer: &mut Observer<'_>, tree: &Tree<'_>) -> Self {
        let place = tree.service.iter().map(|&node| observer.place(node)).collect();
        let mut callee = vec![None; tree.spans.len()];
        for call in tree.calls.iter().filter(|call| call.reached.is_none()) {
            callee[call.at] = call.to.and_then(|to| observer.place(to));
        }
        let name = tree.spans.iter().map(|span| observer.table.text(&span.name)).collect();
        let mut top: Vec<usize> = (0..tree.spans.len()).collect();
        for &span in &tree.order {
            if let Some(above) = tree.parent[span] {
                top[span] = top[above];
            }
        }
        Self { place, callee, name, top }
    }

    /// The node that a call leads to.
    fn to(&self, call: &Call, observer: &mut Observer<'_>) -> Option<usize> {
        match call.reached {
            Some(request) => self.place[request],
            None => call.to.and_then(|to| observer.place(to)),
        }
    }
}
