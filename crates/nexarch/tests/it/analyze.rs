//! `nexarch analyze`: files in, a picture out, and nothing else touched.

use std::{fs, process::Command};

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
fn findings_can_fail_a_job() {
    let home = Home::new();
    // Every second request of `shop` fails.
    let failing = |at: u32| {
        serde_json::json!({"resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeSpans": [{"spans": [{
                "traceId": format!("{at:032x}"), "spanId": "0000000000000001", "name": "GET /", "kind": 2,
                "startTimeUnixNano": "1750000000000000000", "endTimeUnixNano": "1750000000005000000",
                "status": {"code": if at.is_multiple_of(2) { 2 } else { 0 }}}]}]})
    };
    let file = home.path().join("failing.json");
    let requests: Vec<Value> = (1..60).map(failing).collect();
    fs::write(&file, serde_json::json!({"resourceSpans": requests}).to_string()).unwrap();
    let file = file.to_str().unwrap();
    let output = home.output(["analyze", file, "--fail-on", "critical"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("critical"), "{said}");
    assert_eq!(home.output(["analyze", file]).status.code(), Some(0), "only where it is asked for");
    let healthy = fixture("otlp/trace.json");
    assert_eq!(home.output(["analyze", &healthy, "--fail-on", "critical"]).status.code(), Some(0));
    let report: Value = serde_json::from_str(&text(&home, &[file, "--format", "json"])).unwrap();
    assert_eq!(report["findings"]["issues"][0]["severity"], "critical");
    assert!(text(&home, &[file, "--format", "html"]).contains("<h2>Findings</h2>"));
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

const GUIDE: &str = include_str!("../../../../docs/analyze.md");

/// The blocks of a language in the guide.
fn blocks(language: &str) -> Vec<&'static str> {
    let begin = format!("```{language}\n");
    GUIDE.split(begin.as_str()).skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect()
}

/// Runs shell lines with this program as `nexarch`.
fn shell(home: &Home, script: &str) {
    let program = format!("nexarch() {{ {} \"$@\"; }}\n", env!("CARGO_BIN_EXE_nexarch"));
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", &(program + script)])
        .current_dir(home.path())
        .env("GITHUB_STEP_SUMMARY", home.path().join("summary.md"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}\n{output:?}");
}

#[test]
fn the_commands_of_the_guide_run_as_they_stand() {
    let home = Home::new();
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    std::os::unix::fs::symlink(format!("{root}/fixtures"), home.path().join("fixtures")).unwrap();
    let all = blocks("sh");
    assert!(all.len() >= 4, "{all:?}");
    for block in &all {
        shell(&home, block);
    }
    for name in ["architecture.html", "architecture.svg", "architecture.pdf", "architecture.mmd"] {
        assert!(fs::metadata(home.path().join(name)).unwrap().len() > 1_000, "{name}");
    }
}

#[test]
fn the_steps_of_the_workflow_run_as_they_stand() {
    let home = Home::new();
    fs::create_dir(home.path().join("traces")).unwrap();
    for (from, to) in [(FAULT, "head"), (BASELINE, "main")] {
        fs::copy(fixture(from), home.path().join(format!("traces/{to}.jsonl.gz"))).unwrap();
    }
    let workflow = *blocks("yaml").first().unwrap();
    let steps: Vec<String> = workflow
        .split("run: |\n")
        .skip(1)
        .map(|rest| {
            rest.lines().take_while(|line| line.starts_with("          ")).collect::<Vec<_>>().join("\n")
        })
        .filter(|step| step.contains("nexarch analyze"))
        .collect();
    assert_eq!(steps.len(), 2, "{workflow}");
    for step in &steps {
        shell(&home, step);
    }
    let summary = fs::read_to_string(home.path().join("summary.md")).unwrap();
    assert!(summary.starts_with("```mermaid\n%% ") && summary.ends_with("```\n"), "{summary}");
    assert!(fs::read_to_string(home.path().join("architecture.html")).unwrap().contains("<h2>Changes</h2>"));
}
