//! Tables of plain text, for a terminal or a log.

use std::fmt::Write;

use super::{
    text::{count, latency, percent},
    words,
};
use crate::{
    graph::{ArchitectureMap, MapEdge, MapNode},
    layout::advance,
};

/// Widest name in a table, in characters.
const NAME: usize = 64;
/// Rows that people read; the other formats have all.
const ROWS: usize = 60;

/// A table under a title.
pub(super) struct Table {
    title: String,
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
    more: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    Left,
    Right,
}

impl Table {
    pub(super) fn new<const N: usize>(title: impl Into<String>, columns: [(&'static str, Align); N]) -> Self {
        Self { title: title.into(), columns: columns.to_vec(), rows: Vec::new(), more: 0 }
    }

    /// Adds a row, whose texts may be by strangers.
    pub(super) fn row<const N: usize>(&mut self, cells: &[String; N]) {
        if self.rows.len() == ROWS {
            self.more += 1;
        } else {
            self.rows.push(cells.iter().map(|cell| words::short(cell, NAME)).collect());
        }
    }

    /// Writes it; nothing at all when there are no rows.
    pub(super) fn write(self, out: &mut String) {
        if self.rows.is_empty() {
            return;
        }
        let _ = writeln!(out, "\n{}", self.title);
        let mut widths: Vec<usize> = self.columns.iter().map(|(name, _)| width(name)).collect();
        for row in &self.rows {
            for (widest, cell) in widths.iter_mut().zip(row) {
                *widest = width(cell).max(*widest);
            }
        }
        let mut line = |cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::from(" ");
            for ((cell, (_, align)), wide) in cells.zip(&self.columns).zip(&widths) {
                let gap = " ".repeat(wide.saturating_sub(width(cell)));
                let _ = match align {
                    Align::Left => write!(text, " {cell}{gap} "),
                    Align::Right => write!(text, " {gap}{cell} "),
                };
            }
            let _ = writeln!(out, "{}", text.trim_end());
        };
        line(&mut self.columns.iter().map(|(name, _)| *name));
        for row in &self.rows {
            line(&mut row.iter().map(String::as_str));
        }
        if self.more > 0 {
            let _ = writeln!(out, "  … and {} more", self.more);
        }
    }
}

fn width(text: &str) -> usize {
    // Our own signs are of one column, unlike most of what is as far from Latin letters.
    text.chars().map(|c| if matches!(c, '→' | '–') { 1 } else { advance(c) }).sum()
}

/// The map as two tables under a summary.
pub fn render(map: &ArchitectureMap) -> String {
    let mut out = String::new();
    head(&mut out, map);
    tables(&mut out, map);
    out
}

/// Summary and window.
pub(super) fn head(out: &mut String, map: &ArchitectureMap) {
    let summary = words::summary(map);
    let _ = writeln!(out, "{}", if summary.is_empty() { "No spans in this window" } else { &summary });
    if let Some(window) = words::window(&map.window) {
        let _ = writeln!(out, "{window}");
    }
}

/// All figures.
pub(super) fn tables(out: &mut String, map: &ArchitectureMap) {
    use Align::{Left, Right};
    let mut nodes = Table::new(
        "Services and what they use",
        [
            ("NAME", Left),
            ("TYPE", Left),
            ("STATE", Left),
            ("REQUESTS", Right),
            ("P50", Right),
            ("P95", Right),
            ("ERRORS", Right),
        ],
    );
    for node in words::worst_nodes(map) {
        nodes.row(&node_row(node));
    }
    nodes.write(out);
    let mut edges = Table::new(
        "Connections",
        [
            ("FROM", Left),
            ("TO", Left),
            ("OVER", Left),
            ("CALLS", Right),
            ("P50", Right),
            ("P95", Right),
            ("ERRORS", Right),
        ],
    );
    for edge in words::worst_edges(map) {
        edges.row(&edge_row(edge));
    }
    edges.write(out);
    if map.edges.iter().any(|edge| edge.inferred.is_some()) {
        let _ = writeln!(
            out,
            "  (inferred): not seen from both sides, but known from a span and its parent, or from a name or an address"
        );
    }
}

fn node_row(node: &MapNode) -> [String; 7] {
    let metrics = &node.metrics;
    [
        node.id.clone(),
        node.kind.as_str().into(),
        node.health_status.map_or("–", words::health).into(),
        count(metrics.call_count),
        latency(metrics.p50_latency_ms),
        latency(metrics.p95_latency_ms),
        percent(metrics.error_rate),
    ]
}

fn edge_row(edge: &MapEdge) -> [String; 7] {
    let over = edge.protocol.as_deref().unwrap_or("–");
    [
        edge.source.clone(),
        edge.target.clone(),
        if edge.inferred.is_some() { format!("{over} (inferred)") } else { over.into() },
        count(edge.call_count),
        latency(edge.p50_latency_ms),
        latency(edge.p95_latency_ms),
        percent(edge.error_rate),
    ]
}
