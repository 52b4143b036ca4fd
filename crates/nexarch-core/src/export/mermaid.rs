//! The architecture map as a Mermaid flowchart, for README files, pull requests and wikis.
//!
//! A label is a quoted string in which all but letters, digits and a little punctuation is written as a numbered
//! entity (`#60;`), so that no name ends its label, opens a directive (`%%{`) or becomes markup.
//!
//! Mermaid refuses more than 500 edges or 50,000 characters unless the page that shows it raises its limits. So of a
//! larger map the failing and the busiest edges are drawn, and a comment and a note in the drawing say what is missing.

use std::{collections::BTreeSet, fmt::Write};

use super::{
    mood::Mood,
    slug::slugs,
    text::{count, latency, percent, plain},
    words,
};
use crate::graph::{ArchitectureMap, MapEdge, MapNode, NodeType, label};

/// Most edges that Mermaid draws (`maxEdges`).
const MAX_EDGES: usize = 500;
/// Most characters that Mermaid reads (`maxTextSize`: 50,000), with some to spare for head, note and styles.
const MAX_CHARACTERS: usize = 48_000;
/// Widest label of a node, in characters.
const LABEL: usize = 40;
/// Widest protocol on an edge, in characters.
const PROTOCOL: usize = 20;

/// Draws a map.
///
/// ```text
/// flowchart LR
///     service_checkout["checkout<br/>1.2k · p95 42 ms"]
///     database_orders_db[("orders-db")]
///     service_checkout -->|"postgresql · 3.4k"| database_orders_db
/// ```
pub fn render(map: &ArchitectureMap) -> String {
    let slugs = slugs(map);
    let chart = Chart::choose(map, &slugs);
    let mut out = String::with_capacity(MAX_CHARACTERS.min(4096 + 120 * (map.nodes.len() + map.edges.len())));
    let _ = writeln!(out, "%% Architecture: {}", comment(&words::summary(map)));
    if let Some(window) = words::window(&map.window) {
        let _ = writeln!(out, "%% {}", comment(&window));
    }
    let missing = (map.nodes.len() - chart.nodes.len(), map.edges.len() - chart.edges.len());
    if missing != (0, 0) {
        let _ = writeln!(
            out,
            "%% Left out, because Mermaid draws at most {MAX_EDGES} edges: {} of {} nodes, {} of {} edges. The formats \
             dot, svg and html have all.",
            missing.0,
            map.nodes.len(),
            missing.1,
            map.edges.len()
        );
    }
    out.push_str("flowchart LR\n");
    for (_, line) in &chart.nodes {
        out.push_str(line);
    }
    if missing != (0, 0) {
        let _ = writeln!(
            out,
            "    left_out[\"not shown#58; {} nodes, {} connections\"]\n    class left_out aside",
            missing.0, missing.1
        );
    }
    for (_, line) in &chart.edges {
        out.push_str(line);
    }
    styles(&mut out, map, &slugs, &chart);
    out
}

/// What is drawn, in the order of the map, each with its line.
struct Chart {
    nodes: Vec<(usize, String)>,
    edges: Vec<(usize, String)>,
}

impl Chart {
    fn choose(map: &ArchitectureMap, slugs: &[String]) -> Self {
        let index: std::collections::HashMap<&str, usize> =
            map.nodes.iter().enumerate().map(|(at, node)| (&*node.id, at)).collect();
        let ends = |edge: &MapEdge| Some((*index.get(&*edge.source)?, *index.get(&*edge.target)?));
        let mut order: Vec<usize> = (0..map.edges.len()).collect();
        let rank = |at: &usize| {
            let edge = &map.edges[*at];
            std::cmp::Reverse((Mood::of(edge.error_rate), edge.call_count))
        };
        order.sort_by_key(rank);
        let mut room = MAX_CHARACTERS;
        let (mut nodes, mut edges) = (BTreeSet::new(), BTreeSet::new());
        let node_line = |at: usize| node_line(&map.nodes[at], &slugs[at]);
        // Where its class is given, a node is named once more.
        let node_weight = |at: usize| weight(&node_line(at)) + slugs[at].len() + 1;
        for at in order {
            if edges.len() == MAX_EDGES {
                break;
            }
            let Some((source, target)) = ends(&map.edges[at]) else { continue };
            let new: BTreeSet<usize> =
                [source, target].into_iter().filter(|end| !nodes.contains(end)).collect();
            let line = edge_line(&map.edges[at], &slugs[source], &slugs[target]);
            let cost = weight(&line) + STYLED + new.iter().map(|&end| node_weight(end)).sum::<usize>();
            if cost > room {
                break;
            }
            room -= cost;
            nodes.extend(new);
            edges.insert(at);
        }
        // Those without edges, while there is room.
        for at in 0..map.nodes.len() {
            let cost = node_weight(at);
            if !nodes.contains(&at) && cost <= room {
                room -= cost;
                nodes.insert(at);
            }
        }
        let edge_line = |at: usize| {
            let (source, target) = ends(&map.edges[at])?;
            Some((at, edge_line(&map.edges[at], &slugs[source], &slugs[target])))
        };
        Self {
            nodes: nodes.into_iter().map(|at| (at, node_line(at))).collect(),
            edges: edges.into_iter().filter_map(edge_line).collect(),
        }
    }
}

/// The number of an edge where it is styled.
const STYLED: usize = 4;

fn weight(line: &str) -> usize {
    // Mermaid counts UTF-16 units.
    line.encode_utf16().count()
}

fn node_line(node: &MapNode, slug: &str) -> String {
    let (open, close) = match node.kind {
        NodeType::Service => ("[", "]"),
        NodeType::Database | NodeType::Cache => ("[(", ")]"),
        NodeType::Queue => ("[[", "]]"),
        NodeType::External => ("([", "])"),
        NodeType::User => ("((", "))"),
        NodeType::Model => ("{{", "}}"),
    };
    let name = quote(&words::short(label(node.kind, &node.name), LABEL));
    let metrics = &node.metrics;
    let figures = match metrics.call_count {
        0 => String::new(),
        calls => format!("<br/>{} · p95 {}", count(calls), latency(metrics.p95_latency_ms)),
    };
    let errors = errors(metrics.error_rate);
    format!("    {slug}{open}\"{name}{figures}{errors}\"{close}\n")
}

fn edge_line(edge: &MapEdge, source: &str, target: &str) -> String {
    let line = if edge.inferred.is_some() { "-.->" } else { "-->" };
    let protocol = edge.protocol.as_deref().unwrap_or_default();
    let protocol = match quote(&words::short(protocol, PROTOCOL)) {
        empty if empty.is_empty() => empty,
        protocol => format!("{protocol} · "),
    };
    let (calls, errors) = (count(edge.call_count), errors(edge.error_rate));
    format!("    {source} {line}|\"{protocol}{calls}{errors}\"| {target}\n")
}

/// Failures where there are some worth a word.
fn errors(rate: Option<f64>) -> String {
    match Mood::of(rate) {
        Mood::Good => String::new(),
        Mood::Fair | Mood::Bad => format!(" · err {}", quote(&percent(rate))),
    }
}

/// Colours that can be read on light and on dark ground. The healthy ones keep those of the page.
fn styles(out: &mut String, map: &ArchitectureMap, slugs: &[String], chart: &Chart) {
    for (mood, color) in [(Mood::Fair, "#c98500"), (Mood::Bad, "#d3302f")] {
        let nodes: Vec<&str> = chart
            .nodes
            .iter()
            .filter(|(at, _)| Mood::of_node(&map.nodes[*at]) == mood)
            .map(|(at, _)| slugs[*at].as_str())
            .collect();
        if !nodes.is_empty() {
            let class = mood.class();
            let _ = writeln!(out, "    classDef {class} stroke:{color},stroke-width:3px");
            let _ = writeln!(out, "    class {} {class}", nodes.join(","));
        }
        let edges: Vec<String> = chart
            .edges
            .iter()
            .enumerate()
            .filter(|(_, (at, _))| Mood::of(map.edges[*at].error_rate) == mood)
            .map(|(number, _)| number.to_string())
            .collect();
        if !edges.is_empty() {
            let _ = writeln!(out, "    linkStyle {} stroke:{color}", edges.join(","));
        }
    }
    if out.contains("class left_out aside") {
        out.push_str("    classDef aside stroke-dasharray:4\n");
    }
}

/// A text as a part of a quoted label. Whatever could be syntax to Mermaid, to Markdown or to HTML is an entity.
fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' | '-' | '.' | ',' | '/' | '@' | '+' | '·' | '…' | '–' => out.push(c),
            // A word that begins a comment, a class or a style stands nowhere alone: quotes are around it.
            c if c.is_alphanumeric() => out.push(c),
            // Once decoded, `\n` would be the end of a line: an invisible joiner keeps the two apart.
            '\\' => out.push_str("#92;#8288;"),
            c => {
                let _ = write!(out, "#{};", c as u32);
            }
        }
    }
    out
}

/// On a line of its own.
fn comment(text: &str) -> String {
    plain(text).replace(['{', '}'], " ")
}
