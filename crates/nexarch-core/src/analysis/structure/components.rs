//! Strongly connected components, by Tarjan (1972), without recursion.

use super::Net;

/// Which nodes reach each other.
///
/// ```
/// use nexarch_core::analysis::structure::{Components, Net};
/// let parts = Components::of(&Net::new(3, [(0, 1, 1), (1, 0, 1), (1, 2, 1)]));
/// assert_eq!(parts.members(), [vec![2], vec![0, 1]], "callees before callers");
/// ```
#[derive(Debug, Clone)]
pub struct Components {
    /// The component of each node. Numbers are in reverse topological order: an edge between two components leads
    /// from the higher to the lower.
    pub of: Vec<usize>,
    /// Number of components.
    pub count: usize,
}

const NEW: usize = usize::MAX;

impl Components {
    /// O(V + E).
    pub fn of(net: &Net) -> Self {
        let mut search = Search {
            net,
            index: vec![NEW; net.len()],
            low: vec![0; net.len()],
            open: Vec::new(),
            walk: Vec::new(),
            next: 0,
            parts: Self { of: vec![NEW; net.len()], count: 0 },
        };
        for root in 0..net.len() {
            if search.index[root] == NEW {
                search.from(root);
            }
        }
        search.parts
    }

    /// The nodes of each component, ascending.
    pub fn members(&self) -> Vec<Vec<usize>> {
        let mut members = vec![Vec::new(); self.count];
        for (node, &part) in self.of.iter().enumerate() {
            members[part].push(node);
        }
        members
    }
}

struct Search<'a> {
    net: &'a Net,
    /// Order of discovery.
    index: Vec<usize>,
    /// The earliest open node that can be reached.
    low: Vec<usize>,
    /// Found, not yet in a component.
    open: Vec<usize>,
    /// The path from the root, with the place in the list of neighbours.
    walk: Vec<(usize, usize)>,
    next: usize,
    parts: Components,
}

impl Search<'_> {
    fn enter(&mut self, node: usize) {
        self.index[node] = self.next;
        self.low[node] = self.next;
        self.next += 1;
        self.open.push(node);
        self.walk.push((node, 0));
    }

    fn from(&mut self, root: usize) {
        self.enter(root);
        while let Some(step) = self.walk.last_mut() {
            let node = step.0;
            if let Some(&to) = self.net.callees(node).get(step.1) {
                step.1 += 1;
                if self.index[to] == NEW {
                    self.enter(to);
                } else if self.parts.of[to] == NEW {
                    self.low[node] = self.low[node].min(self.index[to]);
                }
            } else {
                self.leave(node);
            }
        }
    }

    fn leave(&mut self, node: usize) {
        self.walk.pop();
        if let Some(&(caller, _)) = self.walk.last() {
            self.low[caller] = self.low[caller].min(self.low[node]);
        }
        if self.low[node] == self.index[node] {
            while let Some(member) = self.open.pop() {
                self.parts.of[member] = self.parts.count;
                if member == node {
                    break;
                }
            }
            self.parts.count += 1;
        }
    }
}
