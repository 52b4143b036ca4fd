//! SIGKILL of a server while it takes spans in, and of an import while it stores: what was acknowledged is there, what was not
//! is there whole or not at all, and sending everything again doubles nothing.
//!
//! These servers are too young for upkeep, and their traces too small to be settled: that a kill inside of those loses nothing
//! is proved in the store (`tests/kill.rs`), where the clock is an argument.

use std::{
    fs,
    process::Stdio,
    sync::{Mutex, mpsc::channel},
    thread,
};

use crate::support::{
    client::Body,
    encode::{otlp_json, otlp_protobuf},
    home::Home,
    map::Map,
    server::Server,
    spans::{CLIENT, SERVER, Span, call, many},
    wait,
};

/// Connections that send at the same time, so that the kill meets batches in every stage at once.
const CONNECTIONS: u64 = 4;
/// Kills; the k-th comes when so many answers have arrived as [`answers_before_kill`] says.
const KILLS: u64 = 20;

/// The trace that all batches add to.
const SHARED: u128 = 7;

/// Spread over the first hundred answers: fresh files, a growing log, and whatever else happens on the way.
fn answers_before_kill(kill: u64) -> usize {
    usize::try_from(kill * kill / 4).unwrap()
}

/// A batch that touches a trace of its own and one that all batches share, so that storing one rewrites what the others
/// contributed.
fn batch(number: u64) -> Vec<Span> {
    let mut spans = call(u128::from(number) + 1_000);
    spans.extend(many(SHARED, 3).into_iter().map(|span| Span { id: number * 10 + span.id, ..span }));
    spans
}

struct Sent {
    body: Vec<u8>,
    spans: u64,
    acknowledged: bool,
}

/// Sends batches on all connections until the server is gone.
fn send_until_killed(server: &mut Server, key: &str, kill: u64, sent: &Mutex<Vec<Sent>>) {
    let (answered, answers) = channel();
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let (client, answered) = (server.client(key), answered.clone());
            scope.spawn(move || {
                for turn in 0.. {
                    let spans = batch(kill * 1_000_000 + turn * CONNECTIONS + connection);
                    let body = otlp_protobuf(&spans);
                    let headers = [("Content-Type", "application/x-protobuf")];
                    let reply = client.try_send("POST", "/v1/traces", &headers, &Body::Sized(&body));
                    let acknowledged = reply.is_ok_and(|reply| reply.expect(200).body.is_empty());
                    sent.lock().unwrap().push(Sent { body, spans: spans.len() as u64, acknowledged });
                    if !acknowledged || answered.send(()).is_err() {
                        return;
                    }
                }
            });
        }
        for _ in 0..answers_before_kill(kill) {
            answers.recv_timeout(wait::PATIENCE).expect("the server answers");
        }
        server.kill();
    });
}

#[test]
fn no_acknowledged_span_is_lost_and_none_is_doubled() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let sent = Mutex::new(Vec::new());
    for kill in 0..KILLS {
        send_until_killed(&mut server, &key, kill, &sent);
        server = home.serve();
        let batches = sent.lock().unwrap();
        let acknowledged: u64 = batches.iter().filter(|sent| sent.acknowledged).map(|sent| sent.spans).sum();
        let all: u64 = batches.iter().map(|sent| sent.spans).sum();
        let stored = server.client(&key).total_spans();
        assert!(
            (acknowledged..=all).contains(&stored),
            "{acknowledged} acknowledged, {stored} stored, {all} sent"
        );
        assert_eq!(stored % 6, 0, "a batch is there whole or not at all");
    }
    let batches = sent.into_inner().unwrap();
    let (stored, client) = (server.client(&key).total_spans(), server.client(&key));
    let (kept, lost): (Vec<&Sent>, Vec<&Sent>) = batches.iter().partition(|sent| sent.acknowledged);
    assert!(!lost.is_empty(), "no kill met a batch under way: the test proves too little");
    for sent in kept {
        client.otlp_protobuf(&sent.body).expect(200);
    }
    assert_eq!(
        client.total_spans(),
        stored,
        "an acknowledged batch was lost, for sending it again added spans"
    );
    for sent in lost {
        client.otlp_protobuf(&sent.body).expect(200);
    }
    let all: u64 = batches.iter().map(|sent| sent.spans).sum();
    assert_eq!(client.total_spans(), all);
    assert_eq!(client.get("/api/v1/ingest/stats").ok()["total_spans"], all);
    let shared = client.get(&format!("/api/v1/traces/{SHARED:032x}")).ok();
    assert_eq!(shared["span_count"], 3 * batches.len());
    // The graph was not counted twice either: each batch is one call of shop to stock.
    let calls: Vec<_> = Map::read(&client).calls().into_iter().collect();
    assert_eq!(calls, [(("shop".to_owned(), "stock".to_owned()), batches.len() as u64)]);
}

/// Spans of each trace of the file that is imported: too many to be inferred while they are stored, so they are previewed,
/// and settled at the end of an import.
const LARGE: u64 = 3_000;
/// Such traces.
const TRACES: u64 = 3;

/// Calls of five services to each other, in lines that are no part of the tree.
fn large_traces() -> String {
    let start_ns = wait::now_ns() - 60_000_000_000;
    let span = |trace: u64, id: u64| {
        let kind = if id % 2 == 1 { SERVER } else { CLIENT };
        let span = Span::new(u128::from(trace), id, &format!("s{}", id / 2 % 5), kind).child_of((id + 1) / 3);
        Span { start_ns: start_ns + id * 1_000, ..span }
    };
    let all: Vec<Span> = (0..LARGE * TRACES).map(|nth| span(nth % TRACES + 1, nth / TRACES + 1)).collect();
    all.chunks(500).map(|line| otlp_json(line).to_string() + "\n").collect()
}

#[test]
fn an_import_that_is_killed_beside_its_server_and_with_it_is_finished_by_the_next() {
    const ALL: u64 = LARGE * TRACES;
    let home = Home::new();
    let (key, once) = (home.tenant("acme"), home.tenant("once"));
    let file = home.path().join("large.jsonl");
    fs::write(&file, large_traces()).unwrap();
    let import = |tenant| home.command(["import", "--tenant", tenant, file.to_str().unwrap()]);
    let mut server = home.serve();
    let mut unsettled = 0;
    // While spans are stored; and, when all are, while traces are settled.
    for (kill, stored) in [1, 2_001, 5_001, ALL, ALL].into_iter().enumerate() {
        let mut child = import("acme").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let client = server.client(&key);
        let total = || client.get("/api/v1/ingest/stats").ok()["total_spans"].as_u64().unwrap();
        wait::until("spans of the import", || (total() >= stored).then_some(()));
        child.kill().unwrap();
        child.wait().unwrap();
        let waiting = client.get("/api/v1/ingest/diagnostics").ok()["unsettled_traces"].as_u64().unwrap();
        unsettled += u64::from(waiting > 0);
        if kill % 2 == 1 {
            server.kill();
            server = home.serve();
        }
    }
    assert!(unsettled > 0, "no kill came before all traces were settled: the test proves too little");
    for tenant in ["acme", "once"] {
        let output = import(tenant).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let maps = [key, once].map(|key| {
        let client = server.client(&key);
        assert_eq!(client.total_spans(), ALL);
        assert_eq!(client.get("/api/v1/ingest/diagnostics").ok()["unsettled_traces"], 0);
        let map = Map::read(&client);
        assert!(!map.calls().is_empty());
        map.calls()
    });
    assert_eq!(maps[0], maps[1], "kills show in the graph");
}
