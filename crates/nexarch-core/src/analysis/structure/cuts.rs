//! Articulation points and bridges of the undirected map: what falls apart without a node, or without an edge
//! (Hopcroft and Tarjan, 1973), without recursion.

use super::{Net, net::Lists};

/// Where the map can be cut.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts {
    /// By node: how many others are cut off from the largest rest when the node is gone; 0 when nothing is.
    pub cut_off: Vec<usize>,
    /// Pairs whose only connection is the calls between them (in either direction), smaller node first, ascending.
    pub bridges: Vec<(usize, usize)>,
}

const NEW: usize = usize::MAX;

struct Search {
    neighbours: Lists,
    index: Vec<usize>,
    low: Vec<usize>,
    above: Vec<usize>,
    /// Nodes of the subtree of the search below each, itself included.
    below: Vec<usize>,
    /// Nodes in the parts that a node cuts off, and in the largest of them.
    cut: Vec<(usize, usize)>,
    bridges: Vec<(usize, usize)>,
}

impl Cuts {
    /// O((V + E) log E).
    ///
    /// ```
    /// use nexarch_core::analysis::structure::{Cuts, Net};
    /// let cuts = Cuts::of(&Net::new(5, [(0, 1, 1), (1, 2, 1), (2, 0, 1), (2, 3, 1), (4, 2, 1)]));
    /// assert_eq!((cuts.cut_off, cuts.bridges), (vec![0, 0, 2, 0, 0], vec![(2, 3), (2, 4)]));
    /// ```
    pub fn of(net: &Net) -> Self {
        let len = net.len();
        let mut search = Search {
            neighbours: net.undirected(),
            index: vec![NEW; len],
            low: vec![0; len],
            above: vec![NEW; len],
            below: vec![1; len],
            cut: vec![(0, 0); len],
            bridges: Vec::new(),
        };
        let mut cut_off = vec![0; len];
        for root in 0..len {
            if search.index[root] == NEW {
                let part = search.from(root);
                for &node in &part {
                    // What is not in a part of its own hangs together above the node.
                    let (sum, largest) = search.cut[node];
                    let rest = part.len() - 1 - sum;
                    cut_off[node] = part.len() - 1 - largest.max(rest);
                }
            }
        }
        search.bridges.sort_unstable();
        Self { cut_off, bridges: search.bridges }
    }

    /// Does the map fall apart without it?
    pub fn is_articulation(&self, node: usize) -> bool {
        self.cut_off[node] > 0
    }
}

impl Search {
    /// The nodes connected with a root, in the order of discovery.
    fn from(&mut self, root: usize) -> Vec<usize> {
        let mut found = vec![root];
        let mut walk = vec![(root, 0)];
        // Numbers begin anew in each part: parts never meet.
        self.enter(root, 0);
        while let Some(step) = walk.last_mut() {
            let node = step.0;
            let Some(&to) = self.neighbours.of(node).get(step.1) else {
                walk.pop();
                self.leave(node);
                continue;
            };
            step.1 += 1;
            if self.index[to] == NEW {
                self.above[to] = node;
                self.enter(to, found.len());
                found.push(to);
                walk.push((to, 0));
            } else if to != self.above[node] {
                self.low[node] = self.low[node].min(self.index[to]);
            }
        }
        found
    }

    fn enter(&mut self, node: usize, at: usize) {
        self.index[node] = at;
        self.low[node] = at;
    }

    fn leave(&mut self, node: usize) {
        let above = self.above[node];
        if above == NEW {
            return;
        }
        self.below[above] += self.below[node];
        self.low[above] = self.low[above].min(self.low[node]);
        if self.low[node] >= self.index[above] {
            let (sum, largest) = &mut self.cut[above];
            *sum += self.below[node];
            *largest = self.below[node].max(*largest);
        }
        if self.low[node] > self.index[above] {
            self.bridges.push((node.min(above), node.max(above)));
        }
    }
}
