//! Dominators: D dominates X when every path from an entry to X passes D (Lengauer and Tarjan, 1979, the simple
//! variant: O(E log V) whatever the graph, and no recursion).

use super::Net;

/// Who stands on every path to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dominators {
    /// The nearest node through which every path to a node leads; `None` when several entries lead to it by separate
    /// paths, it is an entry, or nothing reaches it.
    pub immediate: Vec<Option<usize>>,
    /// Is there a path from an entry?
    pub reached: Vec<bool>,
    /// Number of other nodes that a node dominates.
    pub dominated: Vec<usize>,
}

const NONE: usize = usize::MAX;

/// Everything by number of the depth-first search; 0 is one virtual root before all entries.
struct Search {
    /// Node of a number; of the root's, nothing.
    node: Vec<usize>,
    number: Vec<usize>,
    above: Vec<usize>,
    semi: Vec<usize>,
    ancestor: Vec<usize>,
    label: Vec<usize>,
}

impl Dominators {
    /// The dominators of all nodes that the entries reach.
    ///
    /// ```
    /// use nexarch_core::analysis::structure::{Dominators, Net};
    /// let diamond = Net::new(5, [(0, 1, 1), (0, 2, 1), (1, 3, 1), (2, 3, 1), (3, 4, 1)]);
    /// let found = Dominators::of(&diamond, &[0]);
    /// assert_eq!(found.immediate, [None, Some(0), Some(0), Some(0), Some(3)]);
    /// assert_eq!(found.dominated, [4, 0, 0, 1, 0]);
    /// ```
    pub fn of(net: &Net, entries: &[usize]) -> Self {
        let mut is_entry = vec![false; net.len()];
        for &entry in entries {
            is_entry[entry] = true;
        }
        let mut search = Search::new(net, entries);
        let count = search.node.len();
        let mut dominator = vec![0; count];
        let mut bucket: Vec<Vec<usize>> = vec![Vec::new(); count];
        for at in (1..count).rev() {
            let node = search.node[at];
            let callers = net.callers(node).iter().map(|&caller| search.number[caller]);
            let callers: Vec<usize> = callers.filter(|&number| number != NONE).collect();
            for caller in callers {
                let best = search.eval(caller);
                search.semi[at] = search.semi[at].min(search.semi[best]);
            }
            if is_entry[node] {
                search.semi[at] = 0;
            }
            bucket[search.semi[at]].push(at);
            let above = search.above[at];
            search.ancestor[at] = above;
            for waiting in std::mem::take(&mut bucket[above]) {
                let best = search.eval(waiting);
                dominator[waiting] = if search.semi[best] < search.semi[waiting] { best } else { above };
            }
        }
        for at in 1..count {
            if dominator[at] != search.semi[at] {
                dominator[at] = dominator[dominator[at]];
            }
        }
        Self::from_numbers(net.len(), &search, &dominator)
    }

    fn from_numbers(len: usize, search: &Search, dominator: &[usize]) -> Self {
        let mut found =
            Self { immediate: vec![None; len], reached: vec![false; len], dominated: vec![0; len] };
        for at in (1..search.node.len()).rev() {
            let node = search.node[at];
            found.reached[node] = true;
            if dominator[at] > 0 {
                let by = search.node[dominator[at]];
                found.immediate[node] = Some(by);
                // A dominator has a smaller number, so its own sum is passed on later.
                found.dominated[by] += 1 + found.dominated[node];
            }
        }
        found
    }
}

impl Search {
    fn new(net: &Net, entries: &[usize]) -> Self {
        let mut search = Self {
            node: vec![NONE],
            number: vec![NONE; net.len()],
            above: vec![NONE],
            semi: Vec::new(),
            ancestor: Vec::new(),
            label: Vec::new(),
        };
        for &entry in entries {
            if search.number[entry] == NONE {
                search.walk(net, entry);
            }
        }
        let count = search.node.len();
        search.semi = (0..count).collect();
        search.label = (0..count).collect();
        search.ancestor = vec![NONE; count];
        search
    }

    fn walk(&mut self, net: &Net, entry: usize) {
        self.enter(entry, 0);
        let mut path = vec![(entry, 0)];
        while let Some(step) = path.last_mut() {
            let node = step.0;
            let Some(&to) = net.callees(node).get(step.1) else {
                path.pop();
                continue;
            };
            step.1 += 1;
            if self.number[to] == NONE {
                self.enter(to, self.number[node]);
                path.push((to, 0));
            }
        }
    }

    fn enter(&mut self, node: usize, above: usize) {
        self.number[node] = self.node.len();
        self.node.push(node);
        self.above.push(above);
    }

    /// The number with the smallest semidominator on the way up; shortens that way.
    fn eval(&mut self, at: usize) -> usize {
        let mut path = Vec::new();
        let mut top = at;
        while self.ancestor[top] != NONE && self.ancestor[self.ancestor[top]] != NONE {
            path.push(top);
            top = self.ancestor[top];
        }
        while let Some(low) = path.pop() {
            let up = self.ancestor[low];
            if self.semi[self.label[up]] < self.semi[self.label[low]] {
                self.label[low] = self.label[up];
            }
            self.ancestor[low] = self.ancestor[up];
        }
        self.label[at]
    }
}
