//! Which layer each node belongs to: longest path from a caller without callers.

use petgraph::{algo::kosaraju_scc, graph::DiGraph};

/// The layer of each node, 0 = leftmost. Edges run to a higher layer, but for those that close a cycle.
pub(super) fn layers(count: usize, links: &[(usize, usize)]) -> Vec<usize> {
    let component = components(count, links);
    let out = Neighbours::new(count, links.iter().copied());
    let closing = closing_edges(count, links, &component, &out);
    let forward: Vec<(usize, usize)> =
        links.iter().zip(&closing).filter(|(_, closing)| !**closing).map(|(&link, _)| link).collect();
    let out = Neighbours::new(count, forward.iter().copied());
    let mut layer = longest_paths(count, &forward, &out);
    // A caller that nobody calls may move right, next to what it calls: long edges hide structure.
    let mut called = vec![false; count];
    for &(_, to) in &forward {
        called[to] = true;
    }
    for node in (0..count).filter(|&node| !called[node]) {
        if let Some(nearest) = out.of(node).iter().map(|&next| layer[next]).min() {
            layer[node] = nearest.saturating_sub(1);
        }
    }
    layer
}

/// Neighbours of all nodes, in one allocation.
pub(super) struct Neighbours {
    start: Vec<usize>,
    nodes: Vec<usize>,
}

impl Neighbours {
    pub(super) fn new(count: usize, links: impl Iterator<Item = (usize, usize)> + Clone) -> Self {
        let mut start = vec![0; count + 1];
        for (from, _) in links.clone() {
            start[from + 1] += 1;
        }
        for node in 0..count {
            start[node + 1] += start[node];
        }
        let mut next = start.clone();
        let mut nodes = vec![0; start[count]];
        for (from, to) in links {
            nodes[next[from]] = to;
            next[from] += 1;
        }
        Self { start, nodes }
    }

    pub(super) fn of(&self, node: usize) -> &[usize] {
        &self.nodes[self.start[node]..self.start[node + 1]]
    }
}

/// The strongly connected component of each node. Kosaraju's algorithm, because petgraph's Tarjan recurses, and a
/// chain of thousands of services must not end the stack.
fn components(count: usize, links: &[(usize, usize)]) -> Vec<usize> {
    let mut graph = DiGraph::<(), ()>::with_capacity(count, links.len());
    let nodes: Vec<_> = (0..count).map(|_| graph.add_node(())).collect();
    for &(from, to) in links {
        graph.add_edge(nodes[from], nodes[to], ());
    }
    let mut component = vec![0; count];
    for (number, members) in kosaraju_scc(&graph).into_iter().enumerate() {
        for node in members {
            component[node.index()] = number;
        }
    }
    component
}

/// Marks edges to leave out so that no cycle is left: in each component those that lead back on a depth-first walk
/// that begins where most calls come in.
fn closing_edges(count: usize, links: &[(usize, usize)], component: &[usize], out: &Neighbours) -> Vec<bool> {
    let mut entries = vec![0usize; count];
    for &(from, to) in links {
        entries[to] += usize::from(component[from] != component[to]);
    }
    let mut starts: Vec<usize> = (0..count).collect();
    starts.sort_by_key(|&node| (std::cmp::Reverse(entries[node]), node));
    let mut walk = Walk { on_path: vec![false; count], done: vec![false; count], back: Vec::new() };
    for start in starts {
        walk.from(start, component, out);
    }
    walk.back.sort_unstable();
    links.iter().map(|link| walk.back.binary_search(link).is_ok()).collect()
}

struct Walk {
    on_path: Vec<bool>,
    done: Vec<bool>,
    back: Vec<(usize, usize)>,
}

impl Walk {
    fn from(&mut self, start: usize, component: &[usize], out: &Neighbours) {
        if self.done[start] {
            return;
        }
        let mut stack = vec![(start, 0)];
        self.on_path[start] = true;
        while let Some((node, next)) = stack.last_mut() {
            let node = *node;
            let Some(&to) = out.of(node).get(*next) else {
                self.on_path[node] = false;
                self.done[node] = true;
                stack.pop();
                continue;
            };
            *next += 1;
            if component[to] != component[node] || self.done[to] {
                continue;
            }
            if self.on_path[to] {
                self.back.push((node, to));
            } else {
                self.on_path[to] = true;
                stack.push((to, 0));
            }
        }
    }
}

fn longest_paths(count: usize, links: &[(usize, usize)], out: &Neighbours) -> Vec<usize> {
    let mut waiting = vec![0usize; count];
    for &(_, to) in links {
        waiting[to] += 1;
    }
    let mut ready: Vec<usize> = (0..count).filter(|&node| waiting[node] == 0).collect();
    let mut layer = vec![0; count];
    while let Some(node) = ready.pop() {
        for &to in out.of(node) {
            layer[to] = layer[to].max(layer[node] + 1);
            waiting[to] -= 1;
            if waiting[to] == 0 {
                ready.push(to);
            }
        }
    }
    layer
}
