//! How many nodes each one reaches, and how many reach it.

use super::{Components, Net};

/// Columns of the closure that are computed together: a row is a cache line.
const WORDS: usize = 8;
const COLUMNS: usize = 64 * WORDS;
type Row = [u64; WORDS];

/// Sizes of what lies below and above each node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// Number of other nodes to which a call path leads.
    pub below: Vec<u64>,
    /// Number of other nodes from which one comes: who feels it when the node fails.
    pub above: Vec<u64>,
}

impl Reach {
    /// The closure over the components as bit sets, 512 columns at a time: O(V·E/64) time, O(V) memory.
    ///
    /// ```
    /// use nexarch_core::analysis::structure::{Components, Net, Reach};
    /// let net = Net::new(4, [(0, 1, 1), (1, 2, 1), (2, 1, 1), (2, 3, 1)]);
    /// let reach = Reach::of(&net, &Components::of(&net));
    /// assert_eq!((reach.below, reach.above), (vec![3, 2, 2, 0], vec![0, 2, 2, 3]));
    /// ```
    pub fn of(net: &Net, components: &Components) -> Self {
        let members = components.members();
        // Members of a component next to each other: few blocks hold bits of one.
        let columns: Vec<usize> = members.iter().flatten().copied().collect();
        let between = |node: usize, to: &usize| components.of[*to] != components.of[node];
        let mut below = vec![0; net.len()];
        let mut above = vec![0; net.len()];
        let mut rows = vec![Row::default(); components.count];
        for block in columns.chunks(COLUMNS) {
            let own = |rows: &mut [Row]| {
                rows.fill(Row::default());
                for (column, &node) in block.iter().enumerate() {
                    rows[components.of[node]][column / 64] |= 1 << (column % 64);
                }
            };
            own(&mut rows);
            // Callees have lower numbers.
            for (part, nodes) in members.iter().enumerate() {
                for &node in nodes {
                    for &to in net.callees(node).iter().filter(|to| between(node, to)) {
                        merge(&mut rows, part, components.of[to]);
                    }
                }
            }
            count(&rows, components, &mut below);
            own(&mut rows);
            for (part, nodes) in members.iter().enumerate().rev() {
                for &node in nodes {
                    for &from in net.callers(node).iter().filter(|from| between(node, from)) {
                        merge(&mut rows, part, components.of[from]);
                    }
                }
            }
            count(&rows, components, &mut above);
        }
        // Each found itself, too.
        for sum in below.iter_mut().chain(&mut above) {
            *sum -= 1;
        }
        Self { below, above }
    }
}

fn merge(rows: &mut [Row], part: usize, other: usize) {
    let other = rows[other];
    for (mine, its) in rows[part].iter_mut().zip(other) {
        *mine |= its;
    }
}

fn count(rows: &[Row], components: &Components, sums: &mut [u64]) {
    let ones: Vec<u64> =
        rows.iter().map(|row| row.iter().map(|word| u64::from(word.count_ones())).sum()).collect();
    for (sum, &part) in sums.iter_mut().zip(&components.of) {
        *sum += ones[part];
    }
}

/// Nodes below a set of nodes, those themselves included.
pub(crate) fn reachable<'a>(
    len: usize,
    from: impl IntoIterator<Item = usize>,
    next: impl Fn(usize) -> &'a [usize],
) -> Vec<bool> {
    let mut seen = vec![false; len];
    let mut open: Vec<usize> = from.into_iter().collect();
    for &node in &open {
        seen[node] = true;
    }
    while let Some(node) = open.pop() {
        for &to in next(node) {
            if !seen[to] {
                seen[to] = true;
                open.push(to);
            }
        }
    }
    seen
}
