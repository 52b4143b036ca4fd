//! The map as a file, and what differs between two windows.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{
    client::Client,
    encode::otlp_json,
    home::Home,
    spans::{SERVER, Span, call},
};

const EXPORT: &str = "/api/v1/architecture/export?format=";
const DIFF: &str = "/api/v1/architecture/diff?";

fn text(client: &Client, format: &str) -> (String, String) {
    let reply = client.get(&format!("{EXPORT}{format}")).expect(200);
    (reply.header("Content-Type").to_owned(), String::from_utf8(reply.body).unwrap())
}

#[test]
fn every_format_has_its_type_and_the_whole_map() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut spans = call(1);
    spans.push(Span::new(1, 4, "</title><script>alert(1)</script>", SERVER).child_of(2));
    client.otlp_json(&otlp_json(&spans)).expect(200);
    let known = [
        ("json", "application/json", "\"name\":\"stock\""),
        ("svg", "image/svg+xml", "<text class=\"name\" x=\"44\" y=\"22\">stock</text>"),
        ("mermaid", "text/vnd.mermaid; charset=utf-8", "service_shop -->"),
        ("dot", "text/vnd.graphviz; charset=utf-8", "service_shop -> service_stock ["),
        ("html", "text/html; charset=utf-8", "<th scope=\"row\">stock</th>"),
    ];
    for (format, media_type, part) in known {
        let (found, body) = text(&client, format);
        assert_eq!(found, media_type);
        assert!(body.contains(part), "{format}: {body}");
        // In the others it is text like any other.
        assert!(!matches!(format, "svg" | "html" | "mermaid") || !body.contains("<script"), "{format}");
    }
    for format in ["svg", "html"] {
        let reply = client.get(&format!("{EXPORT}{format}")).expect(200);
        assert!(reply.header("Content-Security-Policy").contains("default-src 'none'"), "{format}");
        assert!(reply.header("Cache-Status").contains("hit"), "from the cache the second time");
        assert_eq!(reply.header("X-Content-Type-Options"), "nosniff");
    }
    let wrong = client.get(&format!("{EXPORT}pdf")).expect(400).json();
    assert!(wrong["detail"].as_str().unwrap().contains("mermaid"), "{wrong}");
    client.get("/api/v1/architecture/export").expect(400);
}

/// `dot` of Graphviz itself reads what is written for it.
#[test]
fn graphviz_reads_the_graph() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut spans = call(1);
    for (id, name) in [(4, "a\"b\\"), (5, "x]\n&lt;{|}"), (6, "\\N -> \"; }")] {
        spans.push(Span::new(1, id, name, SERVER).child_of(2));
    }
    client.otlp_json(&otlp_json(&spans)).expect(200);
    let (_, graph) = text(&client, "dot");
    let mut dot = Command::new("dot")
        .arg("-Tplain")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("dot is missing: install the package graphviz");
    std::io::Write::write_all(&mut dot.stdin.take().unwrap(), graph.as_bytes()).unwrap();
    let output = dot.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}\n{graph}");
    let plain = String::from_utf8(output.stdout).unwrap();
    let map = client.get(&format!("{EXPORT}json")).ok();
    let count = |start: &str| plain.lines().filter(|line| line.starts_with(start)).count();
    let size = |list: &str| map[list].as_array().unwrap().len();
    assert_eq!((count("node "), count("edge ")), (size("nodes"), size("edges")), "{plain}");
}

/// Requests of `shop`, one trace each, `minutes` ago; the first ones fail.
fn requests(client: &Client, minutes: u64, count: u64, failing: u64, extra: Option<&str>) {
    let mut spans: Vec<Span> = (0..count)
        .map(|at| {
            let mut span = Span::new(u128::from(minutes * 10_000 + at + 1), 1, "shop", SERVER);
            span.start_ns -= minutes * 60_000_000_000;
            span.error = at < failing;
            span
        })
        .collect();
    if let Some(service) = extra {
        let mut span = Span::new(u128::from(minutes), 9, service, SERVER);
        span.start_ns -= minutes * 60_000_000_000;
        spans.push(span);
    }
    client.otlp_json(&otlp_json(&spans)).expect(200);
}

fn changes(answer: &Value, list: &str) -> Vec<(String, String)> {
    let one = |part: &Value| {
        let text = |name: &str| part[name].as_str().unwrap().to_owned();
        (text("change"), text("id"))
    };
    answer[list].as_array().unwrap().iter().map(one).collect()
}

#[test]
fn drift_between_the_last_quarter_of_an_hour_and_the_one_before() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    requests(&client, 25, 200, 4, Some("mail"));
    requests(&client, 1, 200, 60, Some("pay"));
    let query = "base=15m&head=15m";
    let reply = client.get(&format!("{DIFF}{query}")).expect(200);
    assert!(reply.header("Cache-Status").contains("fwd=miss"));
    let answer = reply.json();
    let found = changes(&answer, "nodes");
    for expected in [("new", "pay"), ("gone", "mail"), ("worse", "shop")] {
        assert!(found.contains(&(expected.0.into(), expected.1.into())), "{expected:?} in {answer}");
    }
    let shop = answer["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "shop").unwrap();
    assert_eq!((&shop["errors"]["test"], &shop["errors"]["difference"]), (&json!("z"), &json!(0.28)));
    assert_eq!(answer["base"]["window"]["to"], answer["head"]["window"]["from"], "side by side");
    assert_eq!(answer["comparison"]["untested"], Value::Null);
    assert!(client.get(&format!("{DIFF}{query}")).expect(200).header("Cache-Status").contains("hit"));
    // Statistics of its operation, and a fixed range that overlaps is not tested.
    assert_eq!(client.get("/api/v1/cache/stats").ok()["operations"]["graph_analysis"]["hits_memory"], 1);
    let window = |side: &str| {
        let window = &answer[side]["window"];
        format!("{}/{}", window["from"].as_str().unwrap(), window["to"].as_str().unwrap())
    };
    let same = client.get(&format!("{DIFF}base={0}&head={0}", window("head"))).ok();
    assert!(same["comparison"]["untested"].is_string(), "{same}");
    let fixed = client.get(&format!("{DIFF}base={}&head={}", window("base"), window("head"))).ok();
    assert_eq!(fixed["nodes"], answer["nodes"], "the same minutes");
}

#[test]
fn drift_says_what_is_wrong_with_a_question() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let empty = client.get(&format!("{DIFF}base=24h&head=1h")).ok();
    assert_eq!((&empty["nodes"], &empty["comparison"]["tests"]), (&json!([]), &json!(0)));
    for (query, part) in [
        ("head=1h", "base is missing"),
        ("base=1h", "head is missing"),
        ("base=2h&head=1h", "base: window must be one of"),
        ("base=1h&head=2026-01-01T00:00:00Z", "head: window must be one of"),
        ("base=1h&head=2026-01-02T00:00:00Z/2026-01-01T00:00:00Z", "head: from must be before to"),
        ("base=1h&head=1h&window=1h", "unknown query parameter window"),
    ] {
        let wrong = client.get(&format!("{DIFF}{query}")).expect(400).json();
        assert!(wrong["detail"].as_str().unwrap().contains(part), "{query}: {wrong}");
    }
    server.stranger().get(&format!("{DIFF}base=1h&head=1h")).expect(401);
}
