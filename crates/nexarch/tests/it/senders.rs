//! Official SDKs and a collector, as they come from their package indexes: every span arrives, exactly once, also
//! through refusals and across a crash of the server.

use crate::support::{
    home::Home,
    sender::{Rotel, Sdk, Sender, assert_holds},
    server::Server,
    wait,
};

const SDKS: [Sdk; 5] = [Sdk::PythonGrpc, Sdk::PythonHttp, Sdk::NodeJson, Sdk::NodeProto, Sdk::NodeGrpc];
/// Those that send again what was refused. Node's gRPC exporter (0.223.1) takes every error as final, UNAVAILABLE with
/// a `RetryInfo` too: whatever a server does, it loses what met a refusal.
const STEADY: [Sdk; 4] = [Sdk::PythonGrpc, Sdk::PythonHttp, Sdk::NodeJson, Sdk::NodeProto];
const SPANS: u64 = 300;

/// The three doors of a server.
struct Doors {
    main: String,
    grpc: String,
    http: String,
}

fn serve(home: &Home) -> (Server, Doors) {
    let server = home.serve_with(&[("OTLP_GRPC_ADDR", "127.0.0.1:0"), ("OTLP_HTTP_ADDR", "127.0.0.1:0")]);
    doors(server)
}

fn doors(mut server: Server) -> (Server, Doors) {
    let last = |line: String| line.split_whitespace().last().unwrap().to_owned();
    let (grpc, http) = (last(server.line_with("OTLP/gRPC at")), last(server.line_with("OTLP/HTTP at")));
    let doors = Doors { main: server.base().to_owned(), grpc, http };
    (server, doors)
}

#[test]
fn every_sdk_delivers_every_span_by_every_door() {
    let home = Home::new();
    let keys = SDKS.map(|sdk| (sdk, home.tenant(&format!("{sdk:?}").to_lowercase())));
    let (server, doors) = serve(&home);
    for (sdk, key) in &keys {
        let own = if matches!(sdk, Sdk::PythonGrpc | Sdk::NodeGrpc) { &doors.grpc } else { &doors.http };
        let client = server.client(key);
        let mut sender = Sender::start(*sdk, own, key, &[]);
        sender.make(SPANS);
        assert!(sender.flush(), "{sdk:?}: {}", sender.log());
        let mut sent = sender.finish();
        assert_holds(&client, &sent);
        // The main door takes the same, packed.
        let mut sender = Sender::start(*sdk, &doors.main, key, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]);
        sender.make(SPANS);
        assert!(sender.flush(), "{sdk:?}: {}", sender.log());
        sent.extend(sender.finish());
        assert_holds(&client, &sent);
        assert_eq!(client.get("/api/v1/ingest/stats").ok()["duplicates"], 0, "{sdk:?}");
    }
}

#[test]
fn every_sdk_that_retries_waits_out_a_rate_limit_and_loses_nothing() {
    let home = Home::new();
    let keys = STEADY.map(|sdk| (sdk, home.tenant(&format!("{sdk:?}").to_lowercase())));
    // Batches of 100: each one is let in and leaves a debt that refuses the next for a while.
    let server = home.serve_with(&[("RATE_LIMIT_SPANS_PER_SECOND", "60")]);
    for (sdk, key) in &keys {
        let client = server.client(key);
        let mut sender = Sender::start(*sdk, server.base(), key, &[]);
        sender.make(SPANS);
        sender.flush();
        let sent = sender.finish();
        assert_holds(&client, &sent);
    }
}

#[test]
fn every_sdk_that_retries_sends_again_what_a_crash_left_unanswered() {
    for sdk in STEADY {
        let home = Home::new();
        let mut server = home.serve();
        let key = server.first_key();
        let port = server.base().rsplit(':').next().unwrap().to_owned();
        let mut sender = Sender::start(sdk, server.base(), &key, &[]);
        sender.make(SPANS);
        assert!(sender.flush(), "{sdk:?}: {}", sender.log());
        server.kill();
        // Made and tried while nobody listens: the SDK's own schedule sends it, and refusals make it wait.
        sender.make(100);
        let server = home.serve_with(&[("PORT", &port)]);
        let sent = sender.finish();
        assert_holds(&server.client(&key), &sent);
    }
}

#[test]
fn a_collector_between_loses_nothing_either() {
    for protocol in ["http", "grpc"] {
        let home = Home::new();
        let mut server = home.serve();
        let key = server.first_key();
        let port = server.base().rsplit(':').next().unwrap().to_owned();
        let rotel = Rotel::start(server.base(), protocol, &key);
        // The collector has the key; the SDK needs none.
        let mut sender = Sender::start(Sdk::NodeJson, &rotel.endpoint, "", &[]);
        sender.make(SPANS);
        assert!(sender.flush(), "{}", sender.log());
        let client = server.client(&key);
        let total = |client: &crate::support::client::Client| {
            client.get("/api/v1/ingest/stats").ok()["total_spans"].as_u64().unwrap()
        };
        wait::until("the first spans", || (total(&client) == SPANS).then_some(()));
        assert_holds(&client, &sender.made);
        server.kill();
        sender.make(SPANS);
        assert!(sender.flush(), "the collector takes it alone: {}", sender.log());
        let server = home.serve_with(&[("PORT", &port)]);
        let client = server.client(&key);
        wait::until("the rest", || (total(&client) == 2 * SPANS).then_some(()));
        assert_holds(&client, &sender.finish());
    }
}
