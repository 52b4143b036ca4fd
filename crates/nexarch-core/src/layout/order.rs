//! In which order the nodes of a layer stand, so that few edges cross.

use super::layers::Neighbours;

/// Sweeps over all layers, to the right and to the left in turn. More hardly help.
const SWEEPS: usize = 24;
/// Most stand-ins for edges that pass layers. Beyond, long edges do not take part in the ordering: 2,000 nodes in as
/// many layers could else ask for a hundred million.
const STAND_INS: usize = 20_000;

/// The nodes of each layer, from top to bottom.
pub(super) fn order(layer: &[usize], links: &[(usize, usize)]) -> Vec<Vec<usize>> {
    let Some(last) = layer.iter().copied().max() else { return Vec::new() };
    let mut items = layer.to_vec();
    let mut joints = Vec::with_capacity(links.len());
    for &(a, b) in links {
        let (left, right) = if layer[a] < layer[b] { (a, b) } else { (b, a) };
        let (from, to) = (layer[left], layer[right]);
        if from == to || items.len() + (to - from) > layer.len() + STAND_INS {
            continue;
        }
        let mut at = left;
        for between in from + 1..to {
            items.push(between);
            joints.push((at, items.len() - 1));
            at = items.len() - 1;
        }
        joints.push((at, right));
    }
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); last + 1];
    for (item, &layer) in items.iter().enumerate() {
        rows[layer].push(item);
    }
    let mut ordering = Ordering {
        left: Neighbours::new(items.len(), joints.iter().map(|&(a, b)| (b, a))),
        right: Neighbours::new(items.len(), joints.iter().copied()),
        position: vec![0; items.len()],
    };
    let mut rows = ordering.best(rows);
    for row in &mut rows {
        row.retain(|&item| item < layer.len());
    }
    rows
}

struct Ordering {
    left: Neighbours,
    right: Neighbours,
    /// Of each item in its row.
    position: Vec<usize>,
}

impl Ordering {
    fn best(&mut self, mut rows: Vec<Vec<usize>>) -> Vec<Vec<usize>> {
        for row in &rows {
            self.note(row);
        }
        let mut best = (self.crossings(&rows), rows.clone());
        for sweep in 0..SWEEPS {
            if best.0 == 0 {
                break;
            }
            let count = rows.len();
            for step in 1..count {
                let at = if sweep % 2 == 0 { step } else { count - 1 - step };
                self.sort(&mut rows[at], sweep % 2 == 0);
                self.note(&rows[at]);
            }
            let crossings = self.crossings(&rows);
            if crossings < best.0 {
                best = (crossings, rows.clone());
            }
        }
        best.1
    }

    fn note(&mut self, row: &[usize]) {
        for (position, &item) in row.iter().enumerate() {
            self.position[item] = position;
        }
    }

    /// By the mean position of the neighbours; an item without any keeps its place among the others.
    fn sort(&self, row: &mut [usize], by_left: bool) {
        let side = if by_left { &self.left } else { &self.right };
        let mut keyed: Vec<(f64, usize)> = row
            .iter()
            .enumerate()
            .map(|(place, &item)| {
                let neighbours = side.of(item);
                let sum: usize = neighbours.iter().map(|&other| self.position[other]).sum();
                let mean =
                    if neighbours.is_empty() { place as f64 } else { sum as f64 / neighbours.len() as f64 };
                (mean, item)
            })
            .collect();
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (slot, (_, item)) in row.iter_mut().zip(keyed) {
            *slot = item;
        }
    }

    /// Pairs of edges between neighbouring rows that cross, counted with a binary indexed tree.
    fn crossings(&self, rows: &[Vec<usize>]) -> u64 {
        let mut total = 0;
        for pair in rows.windows(2) {
            let mut tree = vec![0u64; pair[1].len() + 1];
            let mut seen = 0;
            for &item in &pair[0] {
                let ends: Vec<usize> = self.right.of(item).iter().map(|&to| self.position[to]).collect();
                for &end in &ends {
                    let mut below_or_at = 0;
                    let mut at = end + 1;
                    while at > 0 {
                        below_or_at += tree[at];
                        at &= at - 1;
                    }
                    total += seen - below_or_at;
                }
                for end in ends {
                    seen += 1;
                    let mut at = end + 1;
                    while at < tree.len() {
                        tree[at] += 1;
                        at += at & at.wrapping_neg();
                    }
                }
            }
        }
        total
    }
}
