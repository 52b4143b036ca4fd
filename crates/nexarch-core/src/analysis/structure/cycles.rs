//! Cycles of calls: one for each strongly connected component, never all of them, whose number is exponential.

use super::{Components, Net};

/// Searches for a shortest cycle start at so many nodes of a component.
const STARTS: usize = 32;

/// Services that all reach each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cycle {
    /// All nodes of the component, ascending.
    pub members: Vec<usize>,
    /// A shortest cycle among those through the first [`STARTS`] members, in the order of calls, from its smallest
    /// node on: of several shortest ones the first in order, so that it begins with the smallest edge on any of them.
    pub path: Vec<usize>,
    /// The edge of `path` with the least weight: where cutting costs least.
    pub cut: (usize, usize),
    /// Its weight.
    pub cut_weight: u64,
}

/// The cycles of a graph, by first member. At most 32 breadth-first searches in each component, O(V + E) each.
///
/// ```
/// use nexarch_core::analysis::structure::{Components, Net, cycles};
/// let net = Net::new(4, [(0, 1, 9), (1, 2, 4), (2, 0, 7), (2, 3, 1)]);
/// let found = cycles(&net, &Components::of(&net));
/// assert_eq!((found[0].path.as_slice(), found[0].cut), (&[0, 1, 2][..], (1, 2)));
/// ```
pub fn cycles(net: &Net, components: &Components) -> Vec<Cycle> {
    let mut scratch = Scratch { came_from: vec![usize::MAX; net.len()], seen: Vec::new() };
    let mut found: Vec<Cycle> = components
        .members()
        .into_iter()
        .filter(|members| members.len() > 1)
        .filter_map(|members| {
            let path = shortest(net, components, &members, &mut scratch)?;
            let edges = (0..path.len()).map(|at| (path[at], path[(at + 1) % path.len()]));
            let (cut_weight, cut) =
                edges.map(|(a, b)| (net.weight(a, b).unwrap_or(0), (a, b))).min_by_key(|edge| edge.0)?;
            Some(Cycle { members, path, cut, cut_weight })
        })
        .collect();
    found.sort_by_key(|cycle| cycle.members[0]);
    found
}

struct Scratch {
    came_from: Vec<usize>,
    seen: Vec<usize>,
}

fn shortest(
    net: &Net,
    components: &Components,
    members: &[usize],
    scratch: &mut Scratch,
) -> Option<Vec<usize>> {
    let mut best: Option<Vec<usize>> = None;
    for &start in members.iter().take(STARTS) {
        let limit = best.as_ref().map_or(usize::MAX, Vec::len);
        if limit == 2 {
            break;
        }
        if let Some(path) = through(net, components, start, scratch)
            && path.len() < limit
        {
            best = Some(path);
        }
        for node in scratch.seen.drain(..) {
            scratch.came_from[node] = usize::MAX;
        }
    }
    let mut path = best?;
    let first = path.iter().enumerate().min_by_key(|step| step.1).map_or(0, |step| step.0);
    path.rotate_left(first);
    Some(path)
}

/// A shortest cycle through a node, inside of its component.
fn through(net: &Net, components: &Components, start: usize, scratch: &mut Scratch) -> Option<Vec<usize>> {
    let Scratch { came_from, seen } = scratch;
    came_from[start] = start;
    seen.push(start);
    let mut turn = 0;
    while let Some(&node) = seen.get(turn) {
        turn += 1;
        for &to in net.callees(node) {
            if to == start {
                let mut path = vec![node];
                while path[path.len() - 1] != start {
                    path.push(came_from[path[path.len() - 1]]);
                }
                path.reverse();
                return Some(path);
            }
            if components.of[to] == components.of[start] && came_from[to] == usize::MAX {
                came_from[to] = node;
                seen.push(to);
            }
        }
    }
    None
}
