//! The architecture map as one SVG file that stands alone: no script, no font, no reference to anything outside.
//!
//! Colours follow the reader's light or dark scheme. Figures say what colours say, and every node and edge has its
//! full name and figures as a tooltip. Names are written by strangers: all text goes through [`escape`].

mod around;
mod icon;
mod line;
mod style;

use std::fmt::Write;

use line::Lines;

use super::{
    mood::Mood,
    text::{cut, escape, latency, percent},
    words,
};
use crate::{
    graph::{ArchitectureMap, MapNode, NodeType, label},
    layout::{BOX_HEIGHT, MARGIN, box_width},
};

/// Space above the map for title and summary.
const HEADER: i32 = 64;
/// Space below the map for the legend.
const FOOTER: i32 = 40;
/// Narrowest picture: the legend fits.
const NARROWEST: i32 = 760;

/// From this many edges on, healthy ones are drawn faintly.
const BUSY: usize = 80;

/// An edge with fewer calls than this is never drawn as wide as the widest.
const FEW: u64 = 50;

/// A node's box on the canvas.
#[derive(Debug, Clone, Copy)]
struct Frame {
    left: i32,
    top: i32,
    width: i32,
}

impl Frame {
    fn right(self) -> i32 {
        self.left + self.width
    }

    fn middle(self) -> i32 {
        self.top + BOX_HEIGHT / 2
    }
}

/// A drawing with its size.
pub(super) struct Drawing {
    pub(super) svg: String,
    /// Width at full size.
    pub(super) width: i32,
}

/// Draws a map as a file of its own.
pub fn render(map: &ArchitectureMap) -> String {
    let mut drawing = draw(map, HEADER);
    drawing.svg.push('\n');
    drawing.svg
}

/// Draws a map as a part of a page that has its own title and ground.
pub(super) fn inline(map: &ArchitectureMap) -> Drawing {
    draw(map, 0)
}

/// With space for a title above, where there is to be one.
fn draw(map: &ArchitectureMap, header: i32) -> Drawing {
    let frames = frames(map, header);
    let right = frames.iter().map(|frame| frame.right()).max().unwrap_or(0);
    let bottom = frames.iter().map(|frame| frame.top + BOX_HEIGHT).max().unwrap_or(header + MARGIN);
    let width = right.saturating_add(MARGIN).max(NARROWEST);
    let height = bottom.saturating_add(MARGIN + FOOTER);
    // A small map stands in the middle of its picture, not at its left.
    let shift = (width - right - MARGIN) / 2;

    let mut out = String::with_capacity(2048 + 700 * map.nodes.len() + 500 * map.edges.len());
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">",
        escape(&words::summary(map))
    );
    out.push_str(style::STYLE);
    out.push_str(style::MARKERS);
    if header > 0 {
        let _ = write!(out, "<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>");
        around::header(&mut out, map);
    }
    if map.nodes.is_empty() {
        let _ = write!(
            out,
            "<text class=\"figures\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">Nothing to draw: no spans in this \
             window.</text>",
            width / 2,
            header + MARGIN
        );
    }
    let _ = write!(out, "<g transform=\"translate({shift} 0)\">");
    edges(&mut out, map, &frames, header);
    for (node, frame) in map.nodes.iter().zip(&frames) {
        card(&mut out, node, *frame);
    }
    out.push_str("</g>");
    around::legend(&mut out, height);
    out.push_str("</svg>");
    Drawing { svg: out, width }
}

/// Boxes of one column are of one width: it looks calm, and edges that pass a column were kept clear of its widest.
fn frames(map: &ArchitectureMap, header: i32) -> Vec<Frame> {
    let mut widths = std::collections::BTreeMap::new();
    for node in &map.nodes {
        let width = widths.entry(node.position.x).or_insert(0);
        *width = box_width(label(node.kind, &node.name)).max(*width);
    }
    map.nodes
        .iter()
        .map(|node| {
            let width = widths[&node.position.x];
            let (left, top) = (node.position.x - width / 2, node.position.y - BOX_HEIGHT / 2 + header);
            Frame { left, top, width }
        })
        .collect()
}

fn edges(out: &mut String, map: &ArchitectureMap, frames: &[Frame], down: i32) {
    let most = map.edges.iter().map(|edge| edge.call_count).max().unwrap_or(0).max(FEW);
    let lines = Lines::new(map, frames);
    // On a large map the healthy edges step back.
    let _ = write!(out, "<g class=\"{}\">", if map.edges.len() > BUSY { "busy" } else { "calm" });
    // Bad ones last, so that nothing hides them.
    for mood in [Mood::Good, Mood::Fair, Mood::Bad] {
        for (at, edge) in map.edges.iter().enumerate().filter(|(_, edge)| Mood::of(edge.error_rate) == mood) {
            let Some(path) = lines.path(at, down) else { continue };
            let share = (edge.call_count as f64).ln_1p() / (most as f64).ln_1p();
            let _ = write!(
                out,
                "<path class=\"edge {}{}\" stroke-width=\"{:.1}\" marker-end=\"url(#{})\" d=\"{path}\"><title>{}\
                 </title></path>",
                mood.class(),
                if edge.inferred.is_some() { " inferred" } else { "" },
                1.2 + 2.8 * share,
                mood.class(),
                escape(&words::edge(edge))
            );
        }
    }
    out.push_str("</g>");
}

fn card(out: &mut String, node: &MapNode, frame: Frame) {
    let mood = Mood::of_node(node);
    let Frame { left, top, width } = frame;
    let _ = write!(
        out,
        "<g class=\"node {} {}\" transform=\"translate({left} {top})\"><title>{}</title><rect class=\"card\" \
         width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"{}\"/>",
        node.kind.as_str(),
        mood.class(),
        escape(&words::node(node)),
        if node.kind == NodeType::Service { 10 } else { BOX_HEIGHT / 2 }
    );
    out.push_str(icon::of(node.kind));
    let _ = write!(
        out,
        "<text class=\"name\" x=\"44\" y=\"22\">{}</text>",
        escape(&cut(label(node.kind, &node.name)))
    );
    let metrics = &node.metrics;
    // The figure that makes it bad stands out: the failures, or else the time.
    let failing = Mood::of(metrics.error_rate) != Mood::Good;
    let (slow, errors) = if failing { ("", " class=\"mark\"") } else { (" class=\"mark\"", "") };
    let _ = write!(
        out,
        "<text class=\"figures\" x=\"44\" y=\"39\"><tspan{slow}>{}</tspan><tspan{errors} dx=\"8\">{}</tspan></text></g>",
        escape(&format!("p95 {}", latency(metrics.p95_latency_ms))),
        escape(&format!("err {}", percent(metrics.error_rate)))
    );
}

#[cfg(test)]
mod tests;
