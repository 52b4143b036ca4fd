//! From ordered layers to columns and coordinates.

use super::{BOX_HEIGHT, MARGIN, layers::Neighbours};
use crate::graph::Position;

/// Between two columns: room for arrows …
const GUTTER: i32 = 64;
/// … and for each edge that begins in the left one …
const GUTTER_PER_EDGE: i32 = 6;
/// … up to this.
const WIDEST_GUTTER: i32 = 118;
/// Between two columns of one layer: room for edges that pass.
const NARROW_GUTTER: i32 = 56;
/// Between two boxes of a column: room for edges that pass.
const ROW_GAP: i32 = 34;
/// Most that a long and low map may stretch the distance of its rows by.
const STRETCH: f64 = 1.75;
/// Passes that pull nodes towards their neighbours.
const PASSES: usize = 10;

/// Boxes in columns.
pub(super) struct Grid {
    /// Centre of each node.
    pub(super) centres: Vec<Position>,
    /// The column of each node.
    pub(super) column: Vec<usize>,
    /// The columns from left to right.
    pub(super) columns: Vec<Column>,
}

/// Boxes above each other.
pub(super) struct Column {
    /// Its nodes, from top to bottom.
    pub(super) nodes: Vec<usize>,
    /// Left and right edge of its widest box.
    pub(super) left: i32,
    /// See `left`.
    pub(super) right: i32,
}

pub(super) fn place(rows: &[Vec<usize>], widths: &[i32], links: &[(usize, usize)], aspect: f64) -> Grid {
    let limit = rows_per_column(rows, widths, aspect);
    let mut leaving = vec![0i32; widths.len()];
    for &(from, _) in links {
        leaving[from] = leaving[from].saturating_add(1);
    }
    let mut columns: Vec<Column> = Vec::new();
    let mut column = vec![0; widths.len()];
    let mut x = MARGIN;
    for layer in rows {
        let parts = layer.len().div_ceil(limit).max(1);
        let edges = layer.iter().fold(0i32, |sum, &node| sum.saturating_add(leaving[node]));
        let gutter = GUTTER.saturating_add(edges.saturating_mul(GUTTER_PER_EDGE)).min(WIDEST_GUTTER);
        for part in 0..parts {
            // Row by row: what stands high in the order stands high on the map, in whichever column.
            let nodes: Vec<usize> = layer.iter().copied().skip(part).step_by(parts).collect();
            let width = nodes.iter().map(|&node| widths[node]).max().unwrap_or(0);
            for &node in &nodes {
                column[node] = columns.len();
            }
            columns.push(Column { nodes, left: x, right: x.saturating_add(width) });
            x = x.saturating_add(width).saturating_add(if part + 1 == parts {
                gutter
            } else {
                NARROW_GUTTER
            });
        }
    }
    let tallest = columns.iter().map(|column| column.nodes.len()).max().unwrap_or(0).max(1);
    let low = f64::from(BOX_HEIGHT + ROW_GAP);
    let pitch = (f64::from(x) / aspect / tallest as f64).clamp(low, low * STRETCH);
    let y = vertical(&columns, &column, widths.len(), links, pitch);
    let top = y.iter().copied().fold(f64::INFINITY, f64::min);
    let mut centres = vec![Position { x: 0, y: 0 }; widths.len()];
    for column in &columns {
        for &node in &column.nodes {
            let y = whole(y[node] - top) + MARGIN + BOX_HEIGHT / 2;
            centres[node] = Position { x: i32::midpoint(column.left, column.right), y };
        }
    }
    Grid { centres, column, columns }
}

/// How many boxes a column holds at most, so that width to height comes near the aspect.
fn rows_per_column(rows: &[Vec<usize>], widths: &[i32], aspect: f64) -> usize {
    let tallest = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let widest: Vec<i32> =
        rows.iter().map(|row| row.iter().map(|&node| widths[node]).max().unwrap_or(0)).collect();
    let misfit = |limit: usize| {
        let width: f64 = rows
            .iter()
            .zip(&widest)
            .map(|(row, &wide)| {
                let parts = row.len().div_ceil(limit).max(1);
                parts as f64 * f64::from(wide + NARROW_GUTTER) + f64::from(WIDEST_GUTTER - NARROW_GUTTER)
            })
            .sum();
        let height = tallest.min(limit) as f64 * f64::from(BOX_HEIGHT + ROW_GAP);
        (width / height / aspect).ln().abs()
    };
    (1..=tallest).min_by(|&a, &b| misfit(a).total_cmp(&misfit(b)).then(b.cmp(&a))).unwrap_or(1)
}

/// Vertical centres: each column centred, then pulled towards the neighbours without changing the order.
fn vertical(
    columns: &[Column],
    column: &[usize],
    count: usize,
    links: &[(usize, usize)],
    pitch: f64,
) -> Vec<f64> {
    let mut y = vec![0.0; count];
    for column in columns {
        for (row, &node) in column.nodes.iter().enumerate() {
            y[node] = (row as f64 - (column.nodes.len() as f64 - 1.0) / 2.0) * pitch;
        }
    }
    let both = links.iter().flat_map(|&(a, b)| [(a, b), (b, a)]);
    let near = Neighbours::new(count, both);
    for pass in 0..PASSES {
        let rightward = pass % 2 == 0;
        for step in 0..columns.len() {
            let at = if rightward { step } else { columns.len() - 1 - step };
            // In the last passes both sides pull; before, one side at a time lets lines become straight.
            let pulls = |other: usize| pass + 2 >= PASSES || (column[other] < at) == rightward;
            let wanted: Vec<f64> = columns[at]
                .nodes
                .iter()
                .map(|&node| {
                    let mut pulling: Vec<f64> =
                        near.of(node).iter().filter(|&&other| pulls(other)).map(|&other| y[other]).collect();
                    median(&mut pulling).unwrap_or(y[node])
                })
                .collect();
            for (&node, settled) in columns[at].nodes.iter().zip(spread(&wanted, pitch)) {
                y[node] = settled;
            }
        }
    }
    y
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 { upper } else { f64::midpoint(values[middle - 1], upper) })
}

/// The places nearest to the wanted ones (least squares) that keep the order and a distance: pool adjacent
/// violators.
fn spread(wanted: &[f64], pitch: f64) -> Vec<f64> {
    let mut pools: Vec<(f64, usize)> = Vec::with_capacity(wanted.len());
    for (row, &place) in wanted.iter().enumerate() {
        let mut pool = (place - row as f64 * pitch, 1);
        while let Some(&(mean, size)) = pools.last()
            && mean >= pool.0
        {
            pools.pop();
            let total = mean * size as f64 + pool.0 * pool.1 as f64;
            pool = (total / (size + pool.1) as f64, size + pool.1);
        }
        pools.push(pool);
    }
    let bases = pools.into_iter().flat_map(|(mean, size)| std::iter::repeat_n(mean, size));
    bases.enumerate().map(|(row, base)| base + row as f64 * pitch).collect()
}

/// Rounded to a whole unit; what is beyond `i32` cannot be drawn anyway.
fn whole(value: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and the value is rounded")]
    {
        value.round() as i32
    }
}
