//! The architecture map as a Graphviz graph: `dot -Tsvg map.dot > map.svg`.
//!
//! In a quoted string of this language only `\"` ends nothing, but labels know more escapes (`\n`, `\N`) and HTML
//! entities; so quotes, backslashes and ampersands of names are escaped, and they stand in labels only. Nodes have made-up
//! identifiers.

use std::{collections::HashMap, fmt::Write};

use super::{
    mood::Mood,
    slug::slugs,
    text::{count, latency, percent, plain},
    words,
};
use crate::graph::{ArchitectureMap, MapEdge, MapNode, NodeType, label};

/// Widest label of a node, in characters.
const LABEL: usize = 40;
/// Widest protocol on an edge, in characters.
const PROTOCOL: usize = 20;

/// An edge with fewer calls than this is never drawn as wide as the widest.
const BUSY: u64 = 50;

/// Draws a map.
pub fn render(map: &ArchitectureMap) -> String {
    let slugs = slugs(map);
    let index: HashMap<&str, usize> =
        map.nodes.iter().enumerate().map(|(at, node)| (&*node.id, at)).collect();
    let mut out = String::with_capacity(1024 + 300 * (map.nodes.len() + map.edges.len()));
    let mut title = words::summary(map);
    if let Some(window) = words::window(&map.window) {
        let _ = write!(title, "{}{window}", if title.is_empty() { "" } else { " · " });
    }
    let _ = write!(
        out,
        "digraph architecture {{\n  graph [rankdir=LR, charset=\"UTF-8\", fontname=\"Helvetica\", fontsize=14, \
         labelloc=t, nodesep=0.35, ranksep=0.9, bgcolor=white, label={}]\n  node [shape=box, style=\"rounded,filled\", \
         fillcolor=\"#f6f7f9\", color=\"#8b97a6\", fontname=\"Helvetica\", fontsize=11]\n  edge [color=\"#8b97a6\", \
         fontname=\"Helvetica\", fontsize=9, fontcolor=\"#566274\"]\n",
        quote(&title)
    );
    for (node, slug) in map.nodes.iter().zip(&slugs) {
        node_line(&mut out, node, slug);
    }
    let most = map.edges.iter().map(|edge| edge.call_count).max().unwrap_or(0).max(BUSY);
    for edge in &map.edges {
        if let (Some(&source), Some(&target)) = (index.get(&*edge.source), index.get(&*edge.target)) {
            edge_line(&mut out, edge, (&slugs[source], &slugs[target]), most);
        }
    }
    out.push_str("}\n");
    out
}

fn node_line(out: &mut String, node: &MapNode, slug: &str) {
    let shape = match node.kind {
        NodeType::Service => "",
        NodeType::Database | NodeType::Cache => ", shape=cylinder, style=filled",
        NodeType::Queue => ", shape=cds, style=filled",
        NodeType::External => ", shape=oval, style=\"filled,dashed\"",
        NodeType::User => ", shape=oval, style=filled",
        NodeType::Model => ", shape=hexagon, style=filled",
    };
    let metrics = &node.metrics;
    let figures = format!(
        "{} · p95 {} · err {}",
        count(metrics.call_count),
        latency(metrics.p95_latency_ms),
        percent(metrics.error_rate)
    );
    let name = words::short(label(node.kind, &node.name), LABEL);
    let _ = writeln!(
        out,
        "  {slug} [label={}{shape}{}, tooltip={}]",
        quote(&format!("{name}\n{figures}")),
        color(Mood::of_node(node)),
        quote(&words::node(node))
    );
}

fn edge_line(out: &mut String, edge: &MapEdge, (source, target): (&str, &str), most: u64) {
    let protocol = words::short(edge.protocol.as_deref().unwrap_or_default(), PROTOCOL);
    let label = match (&*protocol, count(edge.call_count)) {
        ("", calls) => calls,
        (protocol, calls) => format!("{protocol} · {calls}"),
    };
    let share = (edge.call_count as f64).ln_1p() / (most as f64).ln_1p();
    let _ = writeln!(
        out,
        "  {source} -> {target} [label={}, penwidth={:.1}{}{}, tooltip={}]",
        quote(&label),
        1.0 + 2.5 * share,
        if edge.inferred.is_some() { ", style=dashed" } else { "" },
        color(Mood::of(edge.error_rate)),
        quote(&words::edge(edge))
    );
}

fn color(mood: Mood) -> &'static str {
    match mood {
        Mood::Good => "",
        Mood::Fair => ", color=\"#c98500\"",
        Mood::Bad => ", color=\"#d3302f\"",
    }
}

/// A quoted string that is read as a label: each line of the text is a line of it.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    out.push('"');
    for (at, line) in text.split('\n').enumerate() {
        if at > 0 {
            out.push_str("\\n");
        }
        for c in plain(line).chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '&' => out.push_str("&amp;"),
                c => out.push(c),
            }
        }
    }
    out.push('"');
    out
}
