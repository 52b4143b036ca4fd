//! `nexarch analyze`: files in, a picture out, and nothing else touched.

use std::fs;

use serde_json::Value;

use crate::support::home::{Home, fixture};

const BASELINE: &str = "trainticket/2023-01-29-normal.jsonl.gz";
const FAULT: &str = "trainticket/2023-01-29-15_44.jsonl.gz";

fn text(home: &Home, args: &[&str]) -> String {
    let output = home.output([&["analyze"], args].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_file_becomes_the_map_that_a_server_draws() {
    let home = Home::new();
    let file = fixture(BASELINE);
    let report: Value = serde_json::from_str(&text(&home, &[&file, "--format", "json"])).unwrap();
    assert_eq!((&report["spans"], &report["traces"]), (&4_890.into(), &71.into()));
    // Without a database, and without making one.
    assert!(fs::read_dir(home.path()).unwrap().next().is_none(), "nothing is written");
    let key = home.tenant("acme");
    home.json(["import", "--tenant", "acme", "--shift-to-now", &file]);
    let map = home.serve().client(&key).get("/api/v1/dashboard/architecture-map").ok();
    assert_eq!(map["nodes"], report["map"]["nodes"]);
    assert_eq!(map["edges"], report["map"]["edges"]);
}

#[test]
fn every_format_shows_it() {
    let home = Home::new();
    let file = fixture(BASELINE);
    for (format, part) in [
        ("text", "Services and what they use"),
        ("mermaid", "flowchart LR"),
        ("dot", "digraph architecture {"),
        ("svg", "<svg "),
        ("html", "<!doctype html>"),
    ] {
        assert!(text(&home, &[&file, "--format", format]).contains(part), "{format}");
    }
    assert_eq!(text(&home, &[&file]), text(&home, &[&file, "--format", "text"]), "text is the usual one");
    let out = home.path().join("map.svg");
    assert_eq!(text(&home, &[&file, "--format", "svg", "--out", out.to_str().unwrap()]), "");
    assert_eq!(fs::read_to_string(out).unwrap(), text(&home, &[&file, "--format", "svg"]));
}

#[test]
fn a_baseline_tells_what_changed() {
    let home = Home::new();
    let (base, fault) = (fixture(BASELINE), fixture(FAULT));
    let report: Value =
        serde_json::from_str(&text(&home, &[&fault, "--format", "json", "--baseline", &base])).unwrap();
    let drift = &report["drift"];
    assert!(drift["comparison"]["tests"].as_u64() > Some(50), "{drift}");
    assert!(text(&home, &[&fault, "--baseline", &base]).contains("Compared with the base: "));
    let same = text(&home, &[&base, "--baseline", &base]);
    assert!(same.contains("Nothing differs from the base"), "{same}");
}

#[test]
fn files_of_every_format_are_read_and_bad_parts_are_told() {
    let home = Home::new();
    let files = ["jaeger/genai_trace_ui.json", "zipkin/yelp.json", "otlp/trace.json"].map(fixture);
    let args: Vec<&str> = files.iter().map(String::as_str).collect();
    assert!(text(&home, &args).contains("traces"));
    let bad = home.path().join("bad.jsonl");
    let good = fs::read_to_string(fixture("otlp/trace.json")).unwrap().replace('\n', " ");
    fs::write(&bad, format!("{{\"resourceSpans\":[\n{good}\n")).unwrap();
    let output = home.output(["analyze", bad.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("bad.jsonl:1:"), "{output:?}");
    for (args, code) in [
        (vec!["analyze"], 2),
        (vec!["analyze", "no-such-file.json"], 1),
        (vec!["analyze", "x.json", "--format", "pdf"], 2),
    ] {
        assert_eq!(home.output(args.iter().copied()).status.code(), Some(code), "{args:?}");
    }
}
