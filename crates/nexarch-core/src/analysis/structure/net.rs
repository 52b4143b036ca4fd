//! A directed graph as arrays: what every algorithm here walks.

/// A simple directed graph over the nodes `0..len`, with a weight on each edge. Parallel edges are one, whose weight
/// is the sum; loops are left out. Neighbours are in ascending order, so whatever walks it is deterministic.
///
/// ```
/// use nexarch_core::analysis::structure::Net;
/// let net = Net::new(3, [(0, 1, 5), (0, 1, 2), (1, 1, 9), (1, 2, 1)]);
/// assert_eq!(net.edges().collect::<Vec<_>>(), [(0, 1, 7), (1, 2, 1)]);
/// assert_eq!((net.callees(0), net.callers(2)), (&[1][..], &[1][..]));
/// ```
#[derive(Debug, Clone)]
pub struct Net {
    out: Lists,
    weights: Vec<u64>,
    into: Lists,
}

/// A list of nodes for each node, end to end.
#[derive(Debug, Clone)]
pub(super) struct Lists {
    first: Vec<usize>,
    items: Vec<usize>,
}

impl Lists {
    /// From (node, item) in ascending order of nodes.
    fn new(len: usize, sorted: &[(usize, usize)]) -> Self {
        let mut first = vec![0; len + 1];
        for &(node, _) in sorted {
            first[node + 1] += 1;
        }
        for node in 0..len {
            first[node + 1] += first[node];
        }
        Self { first, items: sorted.iter().map(|pair| pair.1).collect() }
    }

    pub(super) fn of(&self, node: usize) -> &[usize] {
        &self.items[self.first[node]..self.first[node + 1]]
    }
}

impl Net {
    /// From (source, target, weight). Panics when an end is not a node.
    pub fn new(len: usize, edges: impl IntoIterator<Item = (usize, usize, u64)>) -> Self {
        let mut edges: Vec<(usize, usize, u64)> = edges.into_iter().filter(|edge| edge.0 != edge.1).collect();
        edges.sort_unstable();
        edges.dedup_by(|next, kept| {
            let same = (next.0, next.1) == (kept.0, kept.1);
            if same {
                kept.2 = kept.2.saturating_add(next.2);
            }
            same
        });
        let forward: Vec<(usize, usize)> = edges.iter().map(|&(a, b, _)| (a, b)).collect();
        let mut backward: Vec<(usize, usize)> = edges.iter().map(|&(a, b, _)| (b, a)).collect();
        backward.sort_unstable();
        Self {
            out: Lists::new(len, &forward),
            weights: edges.iter().map(|edge| edge.2).collect(),
            into: Lists::new(len, &backward),
        }
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.out.first.len() - 1
    }

    /// Are there no nodes?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of edges.
    pub fn size(&self) -> usize {
        self.weights.len()
    }

    /// Whom a node calls.
    pub fn callees(&self, node: usize) -> &[usize] {
        self.out.of(node)
    }

    /// Who calls a node.
    pub fn callers(&self, node: usize) -> &[usize] {
        self.into.of(node)
    }

    /// The weights of the edges of [`Self::callees`].
    pub fn weights(&self, node: usize) -> &[u64] {
        &self.weights[self.out.first[node]..self.out.first[node + 1]]
    }

    /// The weight of an edge; `None` when there is no such edge.
    pub fn weight(&self, source: usize, target: usize) -> Option<u64> {
        self.callees(source).binary_search(&target).ok().map(|at| self.weights(source)[at])
    }

    /// All edges, in order.
    pub fn edges(&self) -> impl Iterator<Item = (usize, usize, u64)> {
        (0..self.len()).flat_map(|source| {
            self.callees(source)
                .iter()
                .zip(self.weights(source))
                .map(move |(&target, &w)| (source, target, w))
        })
    }

    /// Neighbours in either direction, each once.
    pub(super) fn undirected(&self) -> Lists {
        let both = self.edges().flat_map(|(a, b, _)| [(a, b), (b, a)]);
        let mut pairs: Vec<(usize, usize)> = both.collect();
        pairs.sort_unstable();
        pairs.dedup();
        Lists::new(self.len(), &pairs)
    }
}
