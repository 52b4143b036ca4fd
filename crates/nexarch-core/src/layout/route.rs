//! Bends, so that an edge over several columns passes between the boxes in its way.

use super::{BOX_HEIGHT, place::Grid};
use crate::graph::Position;

/// Distance that an edge keeps from a box it passes.
const CLEARANCE: i32 = 12;
/// An edge is level from this far before a column to this far behind it.
const LEVEL: i32 = 14;

/// The points that the edge from one node to another runs through: two for every column between them, level, in
/// the free space nearest to the straight way. Between columns there are no boxes.
pub(super) fn bends(grid: &Grid, from: usize, to: usize) -> Vec<Position> {
    let (start, end) = (grid.column[from], grid.column[to]);
    let steps = start.abs_diff(end);
    let mut y = grid.centres[from].y;
    let goal = grid.centres[to].y;
    let mut points = Vec::new();
    for step in 1..steps {
        let column = if start < end { start + step } else { start - step };
        let left = i32::try_from(steps - step + 1).unwrap_or(i32::MAX);
        let wanted = y + (goal - y) / left;
        y = free(grid, column, wanted);
        let (left, right) = (grid.columns[column].left - LEVEL, grid.columns[column].right + LEVEL);
        let (first, second) = if start < end { (left, right) } else { (right, left) };
        points.push(Position { x: first, y });
        points.push(Position { x: second, y });
    }
    points
}

/// The height nearest to the wanted one at which nothing stands in a column.
fn free(grid: &Grid, column: usize, wanted: i32) -> i32 {
    let nodes = &grid.columns[column].nodes;
    let reach = BOX_HEIGHT / 2 + CLEARANCE;
    let below = nodes.partition_point(|&node| grid.centres[node].y + reach <= wanted);
    match nodes.get(below).map(|&node| grid.centres[node].y) {
        Some(centre) if centre - reach < wanted => {
            if wanted < centre {
                centre - reach
            } else {
                centre + reach
            }
        }
        _ => wanted,
    }
}
