//! Who everybody leans on: `PageRank` over calls, and betweenness.

use super::Net;

/// Share of the rank that follows calls (Brin and Page, 1998).
const DAMPING: f64 = 0.85;
/// Most rounds; the error shrinks by [`DAMPING`] in each.
const ROUNDS: usize = 60;
/// Rounds end when all changes together are below this.
const ENOUGH: f64 = 1e-9;

/// `PageRank` from callers to callees in proportion to the calls; the sum is 1. Own power iteration, O(E) a round.
///
/// ```
/// use nexarch_core::analysis::structure::{Net, page_rank};
/// let rank = page_rank(&Net::new(3, [(0, 2, 1), (1, 2, 1)]));
/// assert!(rank[2] > rank[0] && (rank.iter().sum::<f64>() - 1.0).abs() < 1e-9);
/// ```
pub fn page_rank(net: &Net) -> Vec<f64> {
    let len = net.len();
    if len == 0 {
        return Vec::new();
    }
    let even = 1.0 / len as f64;
    let calls: Vec<f64> = (0..len).map(|node| net.weights(node).iter().map(|&w| w as f64).sum()).collect();
    let mut rank = vec![even; len];
    for _ in 0..ROUNDS {
        // Who calls nobody leans on all alike.
        let idle: f64 =
            rank.iter().zip(&calls).filter(|(_, calls)| **calls <= 0.0).map(|(rank, _)| rank).sum();
        let mut after = vec![(1.0 - DAMPING + DAMPING * idle) * even; len];
        for node in (0..len).filter(|&node| calls[node] > 0.0) {
            let each = DAMPING * rank[node] / calls[node];
            for (&to, &weight) in net.callees(node).iter().zip(net.weights(node)) {
                after[to] += each * weight as f64;
            }
        }
        let change: f64 = rank.iter().zip(&after).map(|(a, b)| (a - b).abs()).sum();
        rank = after;
        if change < ENOUGH {
            break;
        }
    }
    rank
}

/// Up to so many nodes all are sources; above, so many that the work stays about the same.
const EXACT: usize = 2_000;
const SAMPLED_WORK: usize = 4_000_000;
/// Path counts above this are scaled down; they double with each layer of a ladder.
const LARGE: f64 = 1e200;

/// Share of the shortest call paths between others that lead through a node, 0…1 (Brandes, 2001; unweighted). Above
/// 2,000 nodes from evenly spread sources alone (Brandes and Pich, 2007). O(V·E), bounded by sampling.
///
/// ```
/// use nexarch_core::analysis::structure::{Net, betweenness};
/// assert_eq!(betweenness(&Net::new(3, [(0, 1, 1), (1, 2, 1)])), [0.0, 0.5, 0.0]);
/// ```
pub fn betweenness(net: &Net) -> Vec<f64> {
    let len = net.len();
    let mut sums = vec![0.0; len];
    if len < 3 {
        return sums;
    }
    let wanted = if len <= EXACT { len } else { (SAMPLED_WORK / (len + net.size())).clamp(16, len) };
    let mut paths = Paths::new(len);
    for turn in 0..wanted {
        paths.from(net, turn * len / wanted, &mut sums);
    }
    let pairs = (len - 1) as f64 * (len - 2) as f64 * (wanted as f64 / len as f64);
    sums.iter().map(|sum| (sum / pairs).clamp(0.0, 1.0)).collect()
}

/// Shortest paths from one source.
struct Paths {
    depth: Vec<usize>,
    /// Number of shortest paths, over `scale` of the layer.
    count: Vec<f64>,
    through: Vec<f64>,
    order: Vec<usize>,
    scale: Vec<f64>,
}

impl Paths {
    fn new(len: usize) -> Self {
        Self {
            depth: vec![usize::MAX; len],
            count: vec![0.0; len],
            through: vec![0.0; len],
            order: Vec::new(),
            scale: Vec::new(),
        }
    }

    fn from(&mut self, net: &Net, source: usize, sums: &mut [f64]) {
        self.search(net, source);
        // From the far end: what leads through a node's callees leads through it, in proportion to the paths.
        for at in (0..self.order.len()).rev() {
            let node = self.order[at];
            let depth = self.depth[node] + 1;
            let mut through = 0.0;
            for &to in net.callees(node).iter().filter(|to| self.depth[**to] == depth) {
                let all = self.count[to] * self.scale[depth];
                if all > 0.0 {
                    through += self.count[node] / all * (1.0 + self.through[to]);
                }
            }
            self.through[node] = through;
            if node != source {
                sums[node] += through;
            }
        }
        for node in self.order.drain(..) {
            self.depth[node] = usize::MAX;
            self.count[node] = 0.0;
        }
        self.scale.clear();
    }

    fn search(&mut self, net: &Net, source: usize) {
        self.depth[source] = 0;
        self.count[source] = 1.0;
        self.order.push(source);
        self.scale.push(1.0);
        let mut layer = 0..1;
        while !layer.is_empty() {
            let depth = self.scale.len();
            for at in layer.clone() {
                let node = self.order[at];
                for &to in net.callees(node) {
                    if self.depth[to] == usize::MAX {
                        self.depth[to] = depth;
                        self.order.push(to);
                    }
                    if self.depth[to] == depth {
                        self.count[to] += self.count[node];
                    }
                }
            }
            layer = layer.end..self.order.len();
            let most =
                self.order[layer.clone()].iter().fold(0.0, |most: f64, &node| most.max(self.count[node]));
            let scale = if most > LARGE { most } else { 1.0 };
            self.scale.push(scale);
            for at in layer.clone().filter(|_| scale > 1.0) {
                self.count[self.order[at]] /= scale;
            }
        }
    }
}
