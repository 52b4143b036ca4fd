//! Places nodes in layers, callers left and callees right. Pure: names and edges alone move nodes, never metrics.
//!
//! 1. [`layers`]: strongly connected components lose their back edges; then longest-path layers.
//! 2. [`order`]: 24 barycenter sweeps, the order with the fewest crossings is kept.
//! 3. [`place`]: tall layers wrap into several columns until width to height is near the aspect asked for, and rows
//!    of a long map move apart; columns are as wide as their widest box; nodes move up or down towards their
//!    neighbours.
//! 4. [`route`]: an edge over several columns gets bends, so that it crosses no box.
//!
//! Each sweep is O(V+E) but for sorting. Nodes come in the order of their ids, and ties keep that order.

mod layers;
mod order;
mod place;
mod route;

use crate::graph::Position;

/// Height of every box.
pub const BOX_HEIGHT: i32 = 52;
/// Width of a box without its label: icon and padding.
const BOX_PADDING: i32 = 64;
/// Width of a label character.
const CHARACTER: i32 = 8;
/// Widest label, in characters as [`advance`] counts them; longer names are cut where they are drawn.
pub const LABEL_CHARACTERS: usize = 22;
/// Narrowest box: two figures fit below the label.
const NARROWEST: i32 = 184;
/// Space around everything.
pub const MARGIN: i32 = 40;

/// Where everything goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arrangement {
    /// Centre of each node.
    pub centres: Vec<Position>,
    /// Points that each edge runs through.
    pub bends: Vec<Vec<Position>>,
}

/// Places nodes, given by their labels in the order of their ids, and edges between them (indices of nodes; an edge
/// to itself, or beyond the nodes, is left alone), for a width to height of `aspect`.
pub fn arrange(labels: &[&str], edges: &[(usize, usize)], aspect: f64) -> Arrangement {
    let count = labels.len();
    let mut links: Vec<(usize, usize)> =
        edges.iter().copied().filter(|&(a, b)| a != b && a < count && b < count).collect();
    links.sort_unstable();
    links.dedup();
    let widths: Vec<i32> = labels.iter().map(|label| box_width(label)).collect();
    let layer = layers::layers(count, &links);
    let order = order::order(&layer, &links);
    let grid = place::place(&order, &widths, &links, aspect);
    let bends = edges
        .iter()
        .map(|&(a, b)| if a < count && b < count { route::bends(&grid, a, b) } else { Vec::new() })
        .collect();
    Arrangement { bends, centres: grid.centres }
}

/// Width of the box of a label.
pub fn box_width(label: &str) -> i32 {
    let wide: usize = label.chars().take(LABEL_CHARACTERS).map(advance).sum();
    let wide = i32::try_from(wide.min(LABEL_CHARACTERS)).unwrap_or(i32::MAX);
    (wide * CHARACTER + BOX_PADDING).max(NARROWEST)
}

/// How many characters wide a character is shown: those beyond Latin letters twice, those that change the direction
/// of text as the escape `\u202e`.
pub fn advance(c: char) -> usize {
    match c {
        c if is_direction(c) => 6,
        c if (c as u32) < 0x250 || c == '…' => 1,
        _ => 2,
    }
}

/// Does the character change the direction of the text around it, so that a name could pretend to be another?
pub fn is_direction(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
