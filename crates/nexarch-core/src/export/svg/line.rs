//! Where edges leave and enter boxes, and the curves between.

use std::{collections::HashMap, fmt::Write};

use super::Frame;
use crate::{graph::ArchitectureMap, layout::BOX_HEIGHT};

/// Farthest apart that two edges meet a box.
const PORT_GAP: i32 = 9;
/// Ports keep this far from the corners.
const CORNER: i32 = 12;

/// An end of an edge at a box: the height of where the edge goes, the edge, and which end of it this is.
type Port = (i32, usize, usize);

/// The ends of all edges.
pub(super) struct Lines<'a> {
    map: &'a ArchitectureMap,
    /// Source and target point of each edge; `None` when an end is not on the map.
    ends: Vec<Option<[(i32, i32); 2]>>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(map: &'a ArchitectureMap, frames: &[Frame]) -> Self {
        let index: HashMap<&str, usize> =
            map.nodes.iter().enumerate().map(|(at, node)| (&*node.id, at)).collect();
        let nodes: Vec<Option<(usize, usize)>> = map
            .edges
            .iter()
            .map(|edge| Some((*index.get(&*edge.source)?, *index.get(&*edge.target)?)))
            .collect();
        // By box and side (is it the right one?).
        let mut ports: HashMap<(usize, bool), Vec<Port>> = HashMap::new();
        for (edge, ends) in nodes.iter().enumerate() {
            let Some((source, target)) = *ends else { continue };
            let rightward = frames[source].left <= frames[target].left;
            let bends = &map.edges[edge].bends;
            // Seen from a box, an edge goes where its next bend is.
            let first = bends.first().map_or(map.nodes[target].position.y, |bend| bend.y);
            let last = bends.last().map_or(map.nodes[source].position.y, |bend| bend.y);
            ports.entry((source, rightward)).or_default().push((first, edge, 0));
            ports.entry((target, !rightward)).or_default().push((last, edge, 1));
        }
        let mut ends: Vec<Option<[(i32, i32); 2]>> =
            nodes.iter().map(|ends| ends.map(|_| [(0, 0); 2])).collect();
        for ((node, right), mut members) in ports {
            members.sort_unstable();
            let frame = frames[node];
            let x = if right { frame.right() } else { frame.left };
            let between = i32::try_from(members.len()).unwrap_or(i32::MAX).saturating_sub(1);
            let room = (BOX_HEIGHT - 2 * CORNER).min(between.saturating_mul(PORT_GAP));
            for (rank, (_, edge, end)) in (0..).zip(members) {
                let offset = if between == 0 { 0 } else { room * rank / between - room / 2 };
                if let Some(ends) = &mut ends[edge] {
                    ends[end] = (x, frame.middle() + offset);
                }
            }
        }
        Self { map, ends }
    }

    /// The path of an edge; bends lie `down` lower on the canvas than on the map.
    pub(super) fn path(&self, edge: usize, down: i32) -> Option<String> {
        let [start, end] = self.ends[edge]?;
        let mut path = format!("M{} {}", start.0, start.1);
        let mut at = start;
        for pair in self.map.edges[edge].bends.chunks(2) {
            let points: Vec<(i32, i32)> = pair.iter().map(|bend| (bend.x, bend.y + down)).collect();
            if let Some(&first) = points.first() {
                curve(&mut path, at, first);
                at = first;
            }
            if let Some(&second) = points.get(1) {
                let _ = write!(path, "H{}", second.0);
                at = second;
            }
        }
        curve(&mut path, at, end);
        Some(path)
    }
}

/// A curve that leaves and arrives level.
fn curve(path: &mut String, from: (i32, i32), to: (i32, i32)) {
    let reach = (to.0 - from.0) / 2;
    let _ = write!(path, "C{} {} {} {} {} {}", from.0 + reach, from.1, to.0 - reach, to.1, to.0, to.1);
}
