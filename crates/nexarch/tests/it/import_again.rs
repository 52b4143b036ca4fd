//! Imports as people do them twice, from a pipe, or beside a server that is not idle.

use std::{
    fs,
    process::{Output, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::{Value, json};

use crate::support::{
    encode::otlp_protobuf,
    home::{Home, fixture},
    spans::{Span, many},
    wait,
};

const BASELINE: &str = "trainticket/2023-01-29-normal.jsonl.gz";

fn summary(output: &Output) -> Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(stdout.lines().last().unwrap_or("null")).unwrap_or(Value::Null)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn files_that_were_moved_are_known_when_they_are_moved_again_by_as_much() {
    let home = Home::new();
    home.tenant("acme");
    let file = fixture(BASELINE);
    let first = home.output(["import", "--tenant", "acme", "--shift-to-now", &file]);
    let said = stderr(&first);
    let by =
        said.lines().find_map(|line| line.split_once("--shift-by ")).unwrap_or_else(|| panic!("{said}")).1;
    let again = home.output(["import", "--tenant", "acme", "--shift-by", by, &file]);
    assert_eq!(
        summary(&again),
        json!({"accepted": 0, "duplicates": 4_890, "rejected": 0, "files": 1}),
        "{again:?}"
    );
    assert!(!stderr(&again).contains("import the same files again"), "it was said already");
    let both = home.output(["import", "--tenant", "acme", "--shift-by", by, "--shift-to-now", &file]);
    assert_eq!(both.status.code(), Some(2));
    let negative = home.output(["import", "--tenant", "acme", "--shift-by", "-1h", &file]);
    assert_eq!(summary(&negative)["rejected"], 4_890, "older still");
}

#[test]
fn an_import_that_ends_early_says_by_how_much_it_moved() {
    let home = Home::new();
    home.tenant("acme");
    let file = fixture(BASELINE);
    let args = ["import", "--tenant", "acme", "--shift-to-now", &file];
    // The first batch is let in, the second one is too much.
    let early = home.command(args).env("QUOTA_SPANS_PER_DAY", "3000").output().unwrap();
    assert_eq!(early.status.code(), Some(1), "{early:?}");
    let said = stderr(&early);
    assert!(said.contains("the import ended early"), "{said}");
    let by =
        said.lines().find_map(|line| line.split_once("--shift-by ")).unwrap_or_else(|| panic!("{said}")).1;
    let rest = summary(&home.output(["import", "--tenant", "acme", "--shift-by", by, &file]));
    let count = |name: &str| rest[name].as_u64().unwrap();
    assert_eq!(count("accepted") + count("duplicates"), 4_890, "{rest}");
    assert!((1_000..=3_000).contains(&count("duplicates")), "{rest}");
}

#[test]
fn a_pipe_is_read_whole_and_not_moved() {
    let home = Home::new();
    home.tenant("acme");
    let pipe = |args: &[&str], file: &str| {
        let args: Vec<&str> = ["import", "--tenant", "acme"].iter().chain(args).copied().collect();
        let mut cat = std::process::Command::new("cat").arg(file).stdout(Stdio::piped()).spawn().unwrap();
        let mut command = home.command(args);
        command.env("RETENTION_DAYS", "3650").stdin(cat.stdout.take().unwrap());
        let output = command.output().unwrap();
        // It holds an end of the pipe, and `cat` would wait for somebody to read.
        drop(command);
        cat.wait().unwrap();
        output
    };
    let (baseline, small) = (fixture(BASELINE), fixture("otlp/jaeger_example_trace.json"));
    let large = pipe(&["/dev/stdin"], &baseline);
    assert_eq!(
        summary(&large),
        json!({"accepted": 4_890, "duplicates": 0, "rejected": 0, "files": 1}),
        "{large:?}"
    );
    let small = pipe(&["/dev/stdin"], &small);
    assert_eq!(
        summary(&small),
        json!({"accepted": 5, "duplicates": 0, "rejected": 0, "files": 1}),
        "{small:?}"
    );
    let refused = pipe(&["--shift-to-now", "/dev/stdin"], &baseline);
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(stderr(&refused).contains("/dev/stdin: --shift-to-now reads every file twice"), "{refused:?}");
}

#[test]
fn what_an_import_refused_is_told_by_diagnostics() {
    let home = Home::new();
    let key = home.tenant("acme");
    let server = home.serve();
    let file = fixture("otlp/jaeger_example_trace.json");
    let refused = home.output(["import", "--tenant", "acme", &file]);
    assert_eq!(summary(&refused)["rejected"], 5);
    assert!(stderr(&refused).contains("diagnostics: rejected_expired 5"), "{refused:?}");
    let since = || server.client(&key).get("/api/v1/ingest/diagnostics").ok()["since_creation"].clone();
    assert_eq!((&since()["rejected"]["too_old"], &since()["rejected"]["total"]), (&json!(5), &json!(5)));
    let odd = home.path().join("odd.json");
    let span = Span { name: String::new(), ..Span::new(1, 1, "shop", 2) };
    fs::write(&odd, crate::support::encode::otlp_json(&[span]).to_string()).unwrap();
    let accepted = home.output(["import", "--tenant", "acme", odd.to_str().unwrap()]);
    assert_eq!(summary(&accepted)["accepted"], 1);
    assert!(stderr(&accepted).contains("diagnostics: no_name 1"), "{accepted:?}");
    assert_eq!((&since()["odd"]["no_name"], &since()["rejected"]["total"]), (&json!(1), &json!(5)));
}

#[test]
fn one_span_with_a_wrong_clock_does_not_cost_a_recording() {
    let home = Home::new();
    home.tenant("acme");
    let wrong = home.path().join("wrong.json");
    let ids = r#""traceId":"00000000000000000000000000000001","spanId":"0000000000000001""#;
    for times in [
        r#""startTimeUnixNano":"1674954000000000000","endTimeUnixNano":"4102444800000000000""#,
        r#""startTimeUnixNano":"4102444800000000000","endTimeUnixNano":"4102444800000000001""#,
    ] {
        let span = format!("{{{ids},{times}}}");
        let text = format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#);
        fs::write(&wrong, text).unwrap();
        let args =
            ["import", "--tenant", "acme", "--shift-to-now", wrong.to_str().unwrap(), &fixture(BASELINE)];
        let output = home.output(args);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(summary(&output)["accepted"].as_u64().unwrap() >= 4_890, "{output:?}");
    }
}

#[test]
fn an_import_ends_beside_a_server_that_takes_in_a_large_trace_all_the_time() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    // Large already: what follows is previewed and waits for settling.
    client.otlp_protobuf(&otlp_protobuf(&many(7, 3_000))).expect(200);
    let growth = |nth: u64| -> Vec<u8> {
        let spans: Vec<Span> =
            many(7, 20).into_iter().map(|span| Span { id: 10_000 + nth * 20 + span.id, ..span }).collect();
        otlp_protobuf(&spans)
    };
    client.otlp_protobuf(&growth(0)).expect(200);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let client = server.client(&key);
            let mut sent = 0;
            while !ended.load(Ordering::Relaxed) {
                sent += 1;
                client.otlp_protobuf(&growth(sent)).expect(200);
            }
            sent
        });
        let file = home.path().join("small.json");
        fs::write(&file, crate::support::encode::otlp_json(&many(9, 5)).to_string()).unwrap();
        let mut import = home.command(["import", "--tenant", "default", file.to_str().unwrap()]);
        let mut import = import.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let (status, took) = wait::timed(|| {
            let status = wait::until("the end of the import", || import.try_wait().unwrap());
            ended.store(true, Ordering::Relaxed);
            status
        });
        assert!(status.success(), "{status}");
        assert!(sender.join().unwrap() > 5, "the server was not idle for {took:?}");
    });
    // The back-off of the busy trace was not used up.
    let stats = client.get("/api/v1/ingest/stats").ok();
    assert_eq!(stats["duplicates"], 0, "{stats}");
}
