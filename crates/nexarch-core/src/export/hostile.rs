//! No name becomes syntax. Each format is read again by the rules of its own language, and what was read must be the
//! structure of the map and nothing else.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    graph::{GraphStats, Inferred, MapEdge, MapNode, NodeMetrics, NodeType, Position},
    window::WindowView,
};

/// Pieces of which names are put together: what ends a string, a tag, a comment, a line or a block somewhere.
const PIECES: [&str; 34] = [
    "\"",
    "'",
    "\\",
    "`",
    "\n",
    "\r\n",
    "\t",
    "]",
    "[",
    ")",
    "(",
    "}",
    "{",
    "|",
    ";",
    "#",
    "&",
    "<",
    ">",
    "%%{init: {}}%%",
    "-->",
    "<!--",
    "]]>",
    "<script>alert(1)</script>",
    "</svg>",
    "</title>",
    "</style>",
    "\\N",
    "&quot;",
    "#quot;",
    "\u{0}",
    "\u{202e}",
    "\u{2028}",
    "end",
];

fn name() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => select(&PIECES[..]).prop_map(str::to_owned),
        2 => "[a-z0-9 .:/@-]{1,8}",
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

const TYPES: [NodeType; 7] = [
    NodeType::Service,
    NodeType::Database,
    NodeType::Cache,
    NodeType::Queue,
    NodeType::External,
    NodeType::User,
    NodeType::Model,
];

/// A map with these names for nodes and protocols; ids are made unique, as in every map.
fn map_of(names: &[String], ends: &[(usize, usize)]) -> ArchitectureMap {
    let metrics = NodeMetrics {
        call_count: 7,
        observed_count: 7,
        avg_latency_ms: Some(1.0),
        p50_latency_ms: Some(1.0),
        p95_latency_ms: None,
        p99_latency_ms: Some(1.0),
        error_rate: Some(0.5),
    };
    let id = |at: usize| format!("{}@{at}", names[at]);
    let node = |at: usize| MapNode {
        id: id(at),
        name: names[at].clone(),
        namespace: None,
        kind: TYPES[at % TYPES.len()],
        environment: Some(names[at].clone()),
        health_status: None,
        metrics: metrics.clone(),
        position: Position { x: 200 * i32::try_from(at).unwrap(), y: 50 },
    };
    let edge = |&(source, target): &(usize, usize)| MapEdge {
        source: id(source),
        target: id(target),
        protocol: Some(names[(source + target) % names.len()].clone()),
        call_count: 3,
        observed_count: 3,
        request_count: None,
        avg_latency_ms: None,
        p50_latency_ms: None,
        p95_latency_ms: None,
        p99_latency_ms: None,
        server_avg_latency_ms: None,
        server_p95_latency_ms: None,
        network_latency_ms: None,
        error_rate: Some(0.02),
        message_count: None,
        input_tokens: None,
        output_tokens: None,
        inferred: (source % 2 == 0).then_some(Inferred::Parent),
        bends: Vec::new(),
    };
    ArchitectureMap {
        nodes: (0..names.len()).map(node).collect(),
        edges: ends.iter().map(edge).collect(),
        message_flows: Vec::new(),
        bottlenecks: Vec::new(),
        critical_paths: Vec::new(),
        sample: crate::analysis::Sampled::default(),
        graph_stats: GraphStats {
            total_nodes: names.len(),
            total_edges: ends.len(),
            is_dag: true,
            avg_degree: None,
            folded_nodes: 0,
            folded_edges: 0,
            folded_flows: 0,
        },
        last_updated: Some("2026-01-01T00:00:00Z".into()),
        window: WindowView { name: "24h".into(), from: None, to: None },
    }
}

fn maps() -> impl Strategy<Value = ArchitectureMap> {
    (1usize..8)
        .prop_flat_map(|count| (vec(name(), count), vec((0..count, 0..count), 0..12)))
        .prop_map(|(names, ends)| map_of(&names, &ends))
}

/// What a reader of the language of Graphviz finds: words, strings (as labels, escapes kept) and punctuation. Its rule:
/// in a quoted string only `\"` and `\\` are more than their characters.
fn read_dot(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '"' => {
                let mut string = String::from("\"");
                loop {
                    match rest.next().expect("a string ends") {
                        '"' => break,
                        '\\' => {
                            string.push('\\');
                            string.push(rest.next().expect("an escape is whole"));
                        }
                        c => string.push(c),
                    }
                }
                found.push(string);
            }
            c if c.is_whitespace() || matches!(c, ',' | '=') => {}
            c if c.is_ascii_alphanumeric() || c == '_' || c == '.' => {
                let mut word = String::from(c);
                while let Some(&c) =
                    rest.peek().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
                {
                    word.push(c);
                    rest.next();
                }
                found.push(word);
            }
            '-' => {
                assert_eq!(rest.next(), Some('>'), "only an arrow");
                found.push("->".into());
            }
            '{' | '}' | '[' | ']' => found.push(c.into()),
            c => panic!("{c:?} outside of a string"),
        }
    }
    found
}

fn check_dot(map: &ArchitectureMap) {
    let found = read_dot(&dot::render(map));
    let count = |what: &str| found.iter().filter(|word| *word == what).count();
    assert_eq!((count("{"), count("}"), count("->")), (1, 1, map.edges.len()));
    // Graph, node and edge defaults, and one list for each.
    assert_eq!((count("["), count("]")), (3 + map.nodes.len() + map.edges.len(), count("[")));
    for string in found.iter().filter(|word| word.starts_with('"')) {
        let mut rest = string.chars();
        while let Some(c) = rest.next() {
            let plain = !c.is_control() && !crate::layout::is_direction(c);
            assert!(plain, "{string:?}");
            match c {
                '\\' => assert!(matches!(rest.next(), Some('n' | '"' | '\\')), "an escape of ours: {string}"),
                '&' => assert!(rest.as_str().starts_with("amp;"), "an entity of ours: {string}"),
                _ => {}
            }
        }
    }
}

/// Reads a flowchart line by line: outside of quoted labels there are only our own words, inside only harmless ones.
fn check_mermaid(map: &ArchitectureMap) {
    let chart = mermaid::render(map);
    assert!(!chart.contains("%%{"), "no directive: {chart}");
    let (mut nodes, mut edges) = (0, 0);
    for line in chart.lines() {
        let known = ["%% ", "flowchart LR", "    class", "    linkStyle "];
        if known.iter().any(|start| line.starts_with(start)) {
            assert!(!line.contains('"'));
            continue;
        }
        let parts: Vec<&str> = line.split('"').collect();
        assert_eq!(parts.len(), 3, "one label: {line}");
        if parts[0].ends_with("->|") {
            edges += 1;
        } else {
            nodes += 1;
        }
        let outside = format!("{}{}", parts[0], parts[2]);
        assert!(outside.chars().all(|c| c.is_ascii_alphanumeric() || " _-.>|[](){}".contains(c)), "{line}");
        let inside = parts[1].replace("<br/>", " ");
        let mut rest = inside.chars();
        while let Some(c) = rest.next() {
            if c == '#' {
                let (digits, after) = rest.as_str().split_once(';').expect("an entity ends");
                assert!(!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()), "{line}");
                rest = after.chars();
            } else {
                assert!(c.is_alphanumeric() || " -.,/@+·…–".contains(c), "{c:?} in {line}");
            }
        }
    }
    assert_eq!((nodes, edges), (map.nodes.len(), map.edges.len()));
}

/// Reads markup: tags that open and close, attributes in quotes, entities of ours, and no more elements than the map
/// has parts. `voids` are elements without an end.
fn check_markup(text: &str, map: &ArchitectureMap, voids: &[&str]) -> Vec<String> {
    let mut open: Vec<&str> = Vec::new();
    let mut seen = Vec::new();
    for piece in text.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains('>') || open.last() == Some(&"style") || tag.starts_with("style"), "{text}");
        if open.last() != Some(&"style") && !tag.starts_with("style") {
            for entity in text.split('&').skip(1).chain(tag.split('&').skip(1)) {
                let (name, _) = entity.split_once(';').expect("an entity ends");
                assert!(["amp", "lt", "gt", "quot", "#39", "#10"].contains(&name), "{name}");
            }
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name = tag.split([' ', '/', '\n']).next().unwrap();
        seen.push(name.to_owned());
        if !tag.ends_with('/') && !voids.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let titles = seen.iter().filter(|name| *name == "title").count();
    assert!(titles >= map.nodes.len() + map.edges.len());
    seen
}

fn check_svg(map: &ArchitectureMap) {
    let seen = check_markup(&svg::render(map), map, &[]);
    let known = ["svg", "style", "defs", "marker", "path", "rect", "g", "text", "tspan", "title"];
    assert!(seen.iter().all(|name| known.contains(&&**name)), "{seen:?}");
}

fn check_html(map: &ArchitectureMap) {
    let html = html::render(map);
    let seen = check_markup(&html, map, &["!doctype", "meta"]);
    for banned in ["script", "iframe", "link", "img", "object", "embed", "form", "base", "a", "foreignObject"]
    {
        assert!(!seen.iter().any(|name| name == banned), "{banned}");
    }
    // One row for each part and one for the head of each table.
    let empty = usize::from(map.edges.is_empty());
    assert_eq!(
        seen.iter().filter(|name| *name == "tr").count(),
        map.nodes.len() + map.edges.len() + 2 + empty
    );
    let hidden = |c: char| (c.is_control() && c != '\n') || crate::layout::is_direction(c);
    assert!(!html.contains(hidden));
}

proptest! {
    #[test]
    fn names_never_become_syntax(map in maps()) {
        check_dot(&map);
        check_mermaid(&map);
        check_svg(&map);
        check_html(&map);
        let json: serde_json::Value = serde_json::from_str(&render(&map, Format::Json).unwrap()).unwrap();
        prop_assert_eq!(json["nodes"].as_array().map(Vec::len), Some(map.nodes.len()));
        prop_assert_eq!(json["nodes"][0]["name"].as_str(), Some(map.nodes[0].name.as_str()));
    }
}

#[test]
fn a_megabyte_of_name_is_cut_everywhere() {
    let long = ["x", "é\"", "\u{202e}", "\n", "<b>", "`"].map(|piece| piece.repeat((1 << 20) / piece.len()));
    let map = map_of(&long, &[(0, 1), (1, 2), (5, 3)]);
    check_dot(&map);
    check_mermaid(&map);
    check_svg(&map);
    check_html(&map);
    for format in [Format::Svg, Format::Mermaid, Format::Dot, Format::Html] {
        let size = render(&map, format).unwrap().len();
        assert!(size < 50_000, "{format:?}: {size}");
    }
    assert!(render(&map, Format::Json).unwrap().len() > (6 << 20), "JSON is the answer of the API, whole");
}
