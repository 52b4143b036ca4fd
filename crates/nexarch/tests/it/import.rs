//! Files in, the counts of a second opinion out.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::{
    home::{Home, fixture},
    map::Map,
    oracle::{self, Counted, python},
    wait,
};

const OTLP: [&str; 5] = [
    "otlp/trace.json",
    "otlp/jaeger_default.json",
    "otlp/jaeger_example_trace.json",
    "otlp/jaeger_link_attributes_trace.json",
    "otlp/jaeger_otel_traces_01.json",
];
const BASELINE: &str = "trainticket/2023-01-29-normal.jsonl.gz";
const FAULT: &str = "trainticket/2023-01-29-15_44.jsonl.gz";

fn import(home: &Home, tenant: &str, files: &[&str]) -> Value {
    let mut args = vec!["import", "--tenant", tenant, "--shift-to-now"];
    args.extend(files);
    home.json(args)
}

fn numbers(accepted: u64, duplicates: u64, files: usize) -> Value {
    json!({"accepted": accepted, "duplicates": duplicates, "rejected": 0, "files": files})
}

#[test]
fn the_second_opinion_agrees_with_what_was_published_about_the_data() {
    let counts = |counted: &Counted| {
        (
            counted.spans(),
            counted.distinct(),
            counted.traces(),
            counted.services().len(),
            counted.calls().len(),
        )
    };
    let baseline = oracle::count(&[&fixture(BASELINE)]);
    assert_eq!(counts(&baseline), (4_890, 4_890, 71, 25, 42));
    assert_eq!(baseline.crossings(), 783);
    let fault = oracle::count(&[&fixture(FAULT)]);
    assert_eq!((fault.spans(), fault.spans() - fault.distinct()), (6_293, 136));
    let spans = OTLP.map(|file| oracle::count(&[&fixture(file)]).spans());
    assert_eq!(spans, [1, 1, 5, 1, 4]);
}

#[test]
fn every_otlp_file_is_stored_whole_and_drawn() {
    let home = Home::new();
    let tenants: Vec<_> = OTLP
        .iter()
        .enumerate()
        .map(|(at, file)| {
            let (tenant, file) = (format!("t{at}"), fixture(file));
            let key = home.tenant(&tenant);
            let counted = oracle::count(&[&file]);
            assert_eq!(import(&home, &tenant, &[&file]), numbers(counted.distinct(), 0, 1));
            // Moved by another offset the same spans have other starts, and R1 keeps them as other spans; so again
            // means: without moving, which is what `the_baseline_…` does.
            (key, counted)
        })
        .collect();
    let server = home.serve();
    for (key, counted) in tenants {
        let client = server.client(&key);
        let map = Map::read(&client);
        assert!(map.services().is_superset(&counted.services()), "{:?} in {map:?}", counted.services());
        assert_eq!(calls_among(&counted, &map), counted.calls());
        assert_eq!(client.total_spans(), counted.distinct());
        assert_eq!(client.get("/api/v1/ingest/stats").ok()["total_traces"], counted.traces());
    }
}

/// Calls of the map between services that sent spans; R4 may add others that are only named.
fn calls_among(counted: &Counted, map: &Map) -> BTreeMap<(String, String), u64> {
    let services: BTreeSet<String> = counted.services();
    let mut calls = map.calls();
    calls.retain(|(source, target), _| {
        services.contains(source) && services.contains(target) && source != target
    });
    calls
}

#[test]
fn two_minutes_of_trainticket_give_the_map_that_a_script_finds() {
    let home = Home::new();
    let (normal, both) = (home.tenant("normal"), home.tenant("both"));
    let (baseline, fault) = (fixture(BASELINE), fixture(FAULT));
    let server = home.serve();
    // Beside the running server, which shows them when the command has ended.
    assert_eq!(import(&home, "normal", &[&baseline]), numbers(4_890, 0, 1));
    let client = server.client(&normal);
    let expected = oracle::count(&[&baseline]);
    let map = Map::read(&client);
    assert_eq!(map.services(), expected.services());
    assert_eq!(map.calls(), expected.calls());
    assert_eq!(map.calls().values().sum::<u64>(), 783);
    assert_eq!(client.total_spans(), 4_890);

    // Two files at once: one offset for both, so their distance of hours stays.
    let expected = oracle::count(&[&fault, &baseline]);
    assert_eq!(import(&home, "both", &[&fault, &baseline]), numbers(expected.distinct(), 136, 2));
    let client = server.client(&both);
    let map = Map::read(&client);
    assert_eq!(map.services(), expected.services());
    assert_eq!(map.calls(), expected.calls());
    assert_eq!(client.total_spans(), expected.distinct());
    let stats = client.get("/api/v1/ingest/stats").ok();
    assert_eq!((&stats["total_traces"], &stats["duplicates"]), (&json!(expected.traces()), &json!(136)));
    let start = |name: &str| stats[name].as_str().unwrap().parse::<Timestamp>().unwrap().as_nanosecond();
    assert_eq!(start("newest") - start("oldest"), i128::from(expected.spread_ns()));
}

#[test]
fn old_spans_are_refused_in_words_unless_they_are_moved() {
    let home = Home::new();
    home.tenant("acme");
    let file = fixture("otlp/jaeger_example_trace.json");
    let output = home.output(["import", "--tenant", "acme", &file]);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last, json!({"accepted": 0, "duplicates": 0, "rejected": 5, "files": 1}));
    assert!(format!("{stdout}{stderr}").contains("--shift-to-now"), "{stdout}\n{stderr}");
}

#[test]
fn a_file_that_is_no_trace_or_not_there_fails_by_name() {
    let home = Home::new();
    home.tenant("acme");
    let wrong = home.path().join("wrong.json");
    std::fs::write(&wrong, "{\"resourceSpans\": [").unwrap();
    for file in [wrong.to_str().unwrap(), "absent.json"] {
        let output = home.output(["import", "--tenant", "acme", file]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(file));
    }
    let output = home.output(["import", "--tenant", "nobody", &fixture(OTLP[0])]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("nobody"));
}

/// The server would drop them within a minute, and what is imported again would count again.
#[test]
fn an_import_beside_a_server_keeps_no_more_than_the_server() {
    let home = Home::new();
    home.tenant("acme");
    let old = wait::now_ns() - 20 * 86_400 * 1_000_000_000;
    let span = json!({"traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": "old",
                      "startTimeUnixNano": old.to_string(), "endTimeUnixNano": (old + 1).to_string()});
    let file = home.path().join("old.json");
    let request = json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]});
    std::fs::write(&file, request.to_string()).unwrap();
    let import = || {
        let args = ["import", "--tenant", "acme", file.to_str().unwrap()];
        let output = home.command(args).env("RETENTION_DAYS", "60").output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        (serde_json::from_str::<Value>(stdout.lines().last().unwrap()).unwrap(), stderr)
    };
    let server = home.serve();
    let (last, said) = import();
    assert_eq!(last, json!({"accepted": 0, "duplicates": 0, "rejected": 1, "files": 1}));
    assert!(said.contains("keeps spans for 14 days"), "{said}");
    drop(server);
    // A server that keeps more.
    let _server = home.serve_with(&[("RETENTION_DAYS", "60")]);
    assert_eq!(import().0, json!({"accepted": 1, "duplicates": 0, "rejected": 0, "files": 1}));
}

#[test]
fn a_person_at_a_terminal_sees_how_far_an_import_is() {
    let home = Home::new();
    home.tenant("acme");
    let file = fixture(BASELINE);
    let args = ["import", "--tenant", "acme", "--shift-to-now", &file];
    let terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let seen = std::process::Command::new(python())
        .args(["-c", terminal, env!("CARGO_BIN_EXE_nexarch")])
        .args(args)
        .env("DATABASE_URL", format!("sqlite://{}", home.database().display()))
        .env("TERM", "xterm")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&seen.stdout);
    assert!(seen.status.success() && text.contains('%') && text.contains(" left"), "{text}");
    let unseen = home.output(args);
    assert!(unseen.status.success() && !String::from_utf8_lossy(&unseen.stderr).contains('%'), "{unseen:?}");
}
