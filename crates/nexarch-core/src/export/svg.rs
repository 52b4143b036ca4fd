//! The architecture map as one SVG file that stands alone: no script, no font, no reference to anything outside.
//!
//! Colours follow the reader's light or dark scheme. Figures say what colours say, and every node and edge has its
//! full name and figures as a tooltip. Names are written by strangers: all text goes through [`text::escape`].

mod icon;
mod line;
mod style;
mod text;

use std::fmt::Write;

use line::Lines;
use text::{count, cut, escape, latency, percent};

use crate::{
    graph::{ArchitectureMap, MapEdge, MapNode, NodeType, label},
    layout::{BOX_HEIGHT, MARGIN, box_width},
    view::Health,
};

/// Space above the map for title and summary.
const HEADER: i32 = 64;
/// Space below the map for the legend.
const FOOTER: i32 = 40;
/// Narrowest picture: the legend fits.
const NARROWEST: i32 = 760;

/// From this many edges on, healthy ones are drawn faintly.
const BUSY: usize = 80;

/// How bad a share of failures is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    /// Under 1 %, or unknown.
    Good,
    /// Under 5 %.
    Fair,
    /// From 5 %.
    Bad,
}

impl Mood {
    fn of(error_rate: Option<f64>) -> Self {
        match error_rate {
            Some(rate) if rate >= 0.05 => Self::Bad,
            Some(rate) if rate >= 0.01 => Self::Fair,
            _ => Self::Good,
        }
    }

    fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }
}

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

/// Draws a map.
pub fn render(map: &ArchitectureMap) -> String {
    let frames = frames(map);
    let right = frames.iter().map(|frame| frame.right()).max().unwrap_or(0);
    let bottom = frames.iter().map(|frame| frame.top + BOX_HEIGHT).max().unwrap_or(HEADER + MARGIN);
    let width = right.saturating_add(MARGIN).max(NARROWEST);
    let height = bottom.saturating_add(MARGIN + FOOTER);
    // A small map stands in the middle of its picture, not at its left.
    let shift = (width - right - MARGIN) / 2;

    let mut out = String::with_capacity(2048 + 700 * map.nodes.len() + 500 * map.edges.len());
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"{}\">",
        escape(&summary(map))
    );
    out.push_str(style::STYLE);
    out.push_str(style::MARKERS);
    let _ = write!(out, "<rect class=\"page\" width=\"{width}\" height=\"{height}\"/>");
    header(&mut out, map);
    if map.nodes.is_empty() {
        let _ = write!(
            out,
            "<text class=\"figures\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">Nothing to draw: no spans in this \
             window.</text>",
            width / 2,
            HEADER + MARGIN
        );
    }
    let _ = write!(out, "<g transform=\"translate({shift} 0)\">");
    edges(&mut out, map, &frames);
    for (node, frame) in map.nodes.iter().zip(&frames) {
        card(&mut out, node, *frame);
    }
    out.push_str("</g>");
    legend(&mut out, height);
    out.push_str("</svg>\n");
    out
}

/// Boxes of one column are of one width: it looks calm, and edges that pass a column were kept clear of its widest.
fn frames(map: &ArchitectureMap) -> Vec<Frame> {
    let mut widths = std::collections::BTreeMap::new();
    for node in &map.nodes {
        let width = widths.entry(node.position.x).or_insert(0);
        *width = box_width(label(node.kind, &node.name)).max(*width);
    }
    map.nodes
        .iter()
        .map(|node| {
            let width = widths[&node.position.x];
            let (left, top) = (node.position.x - width / 2, node.position.y - BOX_HEIGHT / 2 + HEADER);
            Frame { left, top, width }
        })
        .collect()
}

fn summary(map: &ArchitectureMap) -> String {
    let of = |kind: NodeType| map.nodes.iter().filter(|node| node.kind == kind).count();
    let some = |number: usize, one: &str, many: &str| match number {
        0 => None,
        1 => Some(format!("1 {one}")),
        number => Some(format!("{number} {many}")),
    };
    let parts = [
        some(of(NodeType::Service), "service", "services"),
        some(of(NodeType::Database), "database", "databases"),
        some(of(NodeType::Cache), "cache", "caches"),
        some(of(NodeType::Queue), "queue", "queues"),
        some(of(NodeType::Model), "model", "models"),
        some(of(NodeType::External), "external", "externals"),
        some(map.edges.len(), "connection", "connections"),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

fn header(out: &mut String, map: &ArchitectureMap) {
    let _ = write!(out, "<text class=\"title\" x=\"{MARGIN}\" y=\"38\">Architecture</text>");
    let mut line = summary(map);
    if let (Some(from), Some(to)) = (&map.window.from, &map.window.to) {
        let _ = write!(line, "{}{from} – {to}", if line.is_empty() { "" } else { " · " });
    }
    let _ = write!(out, "<text class=\"figures\" x=\"{MARGIN}\" y=\"60\">{}</text>", escape(&line));
}

fn edges(out: &mut String, map: &ArchitectureMap, frames: &[Frame]) {
    let most = map.edges.iter().map(|edge| edge.call_count).max().unwrap_or(0).max(1);
    let lines = Lines::new(map, frames);
    // On a large map the healthy edges step back.
    let _ = write!(out, "<g class=\"{}\">", if map.edges.len() > BUSY { "busy" } else { "calm" });
    // Bad ones last, so that nothing hides them.
    for mood in [Mood::Good, Mood::Fair, Mood::Bad] {
        for (at, edge) in map.edges.iter().enumerate().filter(|(_, edge)| Mood::of(edge.error_rate) == mood) {
            let Some(path) = lines.path(at, HEADER) else { continue };
            let share = (edge.call_count as f64).ln_1p() / (most as f64).ln_1p();
            let _ = write!(
                out,
                "<path class=\"edge {}{}\" stroke-width=\"{:.1}\" marker-end=\"url(#{})\" d=\"{path}\"><title>{}\
                 </title></path>",
                mood.class(),
                if edge.inferred.is_some() { " inferred" } else { "" },
                1.2 + 2.8 * share,
                mood.class(),
                escape(&edge_tooltip(edge))
            );
        }
    }
    out.push_str("</g>");
}

fn edge_tooltip(edge: &MapEdge) -> String {
    let mut tip = format!("{} → {}\n{} calls", edge.source, edge.target, count(edge.call_count));
    if let Some(protocol) = &edge.protocol {
        let _ = write!(tip, " over {protocol}");
    }
    let _ = write!(
        tip,
        "\np50 {}, p95 {}, errors {}",
        latency(edge.p50_latency_ms),
        latency(edge.p95_latency_ms),
        percent(edge.error_rate)
    );
    if edge.inferred.is_some() {
        tip.push_str("\ninferred: not seen from both sides");
    }
    tip
}

fn card(out: &mut String, node: &MapNode, frame: Frame) {
    let mood = match node.health_status {
        Some(Health::Critical) => Mood::Bad,
        Some(Health::Warning) => Mood::Fair,
        Some(Health::Healthy | Health::Unknown) => Mood::Good,
        None => Mood::of(node.metrics.error_rate),
    };
    let Frame { left, top, width } = frame;
    let _ = write!(
        out,
        "<g class=\"node {} {}\" transform=\"translate({left} {top})\"><title>{}</title><rect class=\"card\" \
         width=\"{width}\" height=\"{BOX_HEIGHT}\" rx=\"{}\"/>",
        node.kind.as_str(),
        mood.class(),
        escape(&node_tooltip(node)),
        if node.kind == NodeType::Service { 10 } else { BOX_HEIGHT / 2 }
    );
    out.push_str(icon::of(node.kind));
    let _ = write!(
        out,
        "<text class=\"name\" x=\"44\" y=\"22\">{}</text>",
        escape(&cut(label(node.kind, &node.name)))
    );
    let metrics = &node.metrics;
    let _ = write!(
        out,
        "<text class=\"figures\" x=\"44\" y=\"39\">{}<tspan class=\"errors\" dx=\"8\">{}</tspan></text></g>",
        escape(&format!("p95 {}", latency(metrics.p95_latency_ms))),
        escape(&format!("err {}", percent(metrics.error_rate)))
    );
}

fn node_tooltip(node: &MapNode) -> String {
    let metrics = &node.metrics;
    format!(
        "{} ({})\n{} requests\np50 {}, p95 {}, p99 {}, errors {}",
        node.id,
        node.kind.as_str(),
        count(metrics.call_count),
        latency(metrics.p50_latency_ms),
        latency(metrics.p95_latency_ms),
        latency(metrics.p99_latency_ms),
        percent(metrics.error_rate)
    )
}

fn legend(out: &mut String, height: i32) {
    let y = height - 22;
    let mut x = MARGIN;
    let entries = [
        ("good", "errors under 1 %"),
        ("fair", "under 5 %"),
        ("bad", "5 % and more"),
        ("good inferred", "inferred"),
    ];
    for (class, label) in entries {
        let _ = write!(
            out,
            "<path class=\"edge {class}\" stroke-width=\"2.5\" d=\"M{x} {}h30\"/><text class=\"figures\" x=\"{}\" \
             y=\"{y}\">{label}</text>",
            y - 4,
            x + 38
        );
        x += 56 + 7 * i32::try_from(label.len()).unwrap_or(0);
    }
    let _ = write!(
        out,
        "<text class=\"figures\" x=\"{x}\" y=\"{y}\">width of a line: its share of the traffic, logarithmic</text>"
    );
}

#[cfg(test)]
mod tests;
