//! "Not now" by every way in: senders wait it out, nothing is counted twice, and what was answered is kept.

use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
};

use serde_json::json;

use crate::support::{
    encode::{native, otlp_protobuf},
    grpc::Grpc,
    home::{Holder, Home},
    sender::{Sdk, Sender, assert_holds},
    spans::{call, many},
    wait,
};

const UNAVAILABLE: u32 = 14;

#[test]
fn official_sdks_wait_out_a_database_that_is_away_and_no_span_is_lost_or_doubled() {
    const SPANS: u64 = 300;
    let home = Home::new();
    let sdks = [Sdk::PythonHttp, Sdk::PythonGrpc];
    let keys = sdks.map(|sdk| (sdk, home.tenant(&format!("{sdk:?}").to_lowercase())));
    let server = home.serve();
    let mut senders: Vec<(Sender, &str)> =
        keys.iter().map(|(sdk, key)| (Sender::start(*sdk, server.base(), key, &[]), key.as_str())).collect();
    let holder = Holder::take(&home);
    for (sender, _) in &mut senders {
        sender.make(SPANS);
    }
    for (sender, _) in &senders {
        wait::until("a refusal", || sender.log().contains("retrying in").then_some(()));
    }
    // Others are told so, too.
    let client = server.client(senders[0].1);
    let refused = client.otlp_protobuf(&otlp_protobuf(&call(1))).expect(503);
    assert!(refused.header("Retry-After").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    drop(holder);
    for (sender, key) in senders {
        let sent = sender.finish();
        let client = server.client(key);
        assert_holds(&client, &sent);
        assert_eq!(client.get("/api/v1/ingest/stats").ok()["duplicates"], 0);
    }
}

#[test]
fn a_used_up_quota_is_unavailable_over_grpc_and_says_when_it_is_not() {
    let home = Home::new();
    let (mine, other) = (home.tenant("mine"), home.tenant("other"));
    let server = home.serve_with(&[("QUOTA_SPANS_PER_DAY", "5")]);
    let connect = |key: &str| Grpc::connect(server.base().trim_start_matches("http://"), key);
    let grpc = connect(&mine);
    grpc.export(&otlp_protobuf(&many(1, 4))).expect(0);
    for _ in 0..3 {
        let refused = grpc.export(&otlp_protobuf(&many(2, 2))).expect(UNAVAILABLE);
        assert!(refused.says_when_to_retry(), "{refused:?}");
    }
    // What fits is let in, on the same connection, and others are not concerned.
    grpc.export(&otlp_protobuf(&many(3, 1))).expect(0);
    connect(&other).export(&otlp_protobuf(&many(2, 5))).expect(0);
    assert_eq!(server.client(&mine).total_spans(), 5);
}

#[test]
fn a_batch_that_is_told_to_come_back_is_not_counted_until_it_is_taken() {
    let home = Home::new();
    let key = home.tenant("acme");
    // Further batches fit the rate only if those that were refused took nothing of it.
    let settings = [("QUOTA_SPANS_PER_DAY", "5"), ("RATE_LIMIT_SPANS_PER_SECOND", "6")];
    let server = home.serve_with(&settings);
    let client = server.client(&key);
    let rejected = || {
        let stats = client.get("/api/v1/ingest/stats").ok();
        let diagnostics = client.get("/api/v1/ingest/diagnostics").ok();
        (stats["rejected"].clone(), diagnostics["since_creation"]["rejected"]["total"].clone())
    };
    client.otlp_protobuf(&otlp_protobuf(&many(1, 4))).expect(200);
    // Two good ones and a bad one, where only one is left.
    let mut spans = many(2, 3);
    spans[2].trace = 0;
    let quota = |nth: usize, detail: &str| {
        assert!(!detail.contains("spans per second"), "{nth}: the quota, not the rate: {detail}");
    };
    for nth in 0..20 {
        let reply = client.otlp_protobuf(&otlp_protobuf(&spans)).expect(429);
        quota(nth, &String::from_utf8_lossy(&reply.body));
        let reply = client.batch(&native(&spans)).expect(429);
        quota(nth, &String::from_utf8_lossy(&reply.body));
    }
    assert_eq!(rejected(), (json!(0), json!(0)), "nothing was answered for good");
    client.otlp_protobuf(&otlp_protobuf(&spans[1..])).expect(200);
    assert_eq!(rejected(), (json!(1), json!(1)));
    assert_eq!(client.total_spans(), 5);
}

#[test]
fn a_taken_port_of_otlp_is_an_error_when_asked_for_and_a_warning_when_not() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in ["OTLP_GRPC_ADDR", "OTLP_HTTP_ADDR", "METRICS_ADDR"] {
        let output = home.command(["serve"]).env(name, &address).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(name) && said.contains(&address), "{said}");
    }
    // If another program has it, it is taken all the same.
    let _default = TcpListener::bind("127.0.0.1:4317");
    let mut command = home.command(["serve"]);
    command.env_remove("OTLP_GRPC_ADDR");
    let mut server = crate::support::server::Server::start(&mut command);
    let warning = "OTLP_GRPC_ADDR: its default is not available";
    wait::until("the warning", || server.log().contains(warning).then_some(()));
    // The main port takes what was meant for the other.
    let key = server.first_key();
    let grpc = Grpc::connect(server.base().trim_start_matches("http://"), &key);
    grpc.export(&otlp_protobuf(&call(1))).expect(0);
    assert_eq!(server.client(&key).total_spans(), 3);
}

#[test]
fn a_drain_is_unavailable_over_grpc_and_keeps_what_it_took() {
    let home = Home::new();
    let mut server = home.serve_with(&[("OTLP_GRPC_ADDR", "127.0.0.1:0")]);
    let key = server.first_key();
    let own = server.line_with("OTLP/gRPC at");
    let grpc = Grpc::connect(own.rsplit_once("//").unwrap().1, &key);
    grpc.export(&otlp_protobuf(&call(1))).expect(0);
    server.signal("TERM");
    let mut taken = 1;
    let refused = loop {
        let outcome = grpc.export(&otlp_protobuf(&call(taken + 1)));
        match outcome.code {
            0 => taken += 1,
            _ => break outcome.expect(UNAVAILABLE),
        }
    };
    assert!(refused.says_when_to_retry(), "{refused:?}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.log());
    let server = home.serve();
    let client = server.client(&key);
    assert_eq!(u128::from(client.total_spans()), 3 * taken);
    // What was refused is taken now, once.
    client.otlp_protobuf(&otlp_protobuf(&call(taken + 1))).expect(200);
    assert_eq!(u128::from(client.total_spans()), 3 * (taken + 1));
}

/// Who hangs up while the database is waited for has sent its spans all the same: they are stored, and so is what was wrong
/// with the others.
#[test]
fn what_a_caller_sent_is_counted_though_it_hung_up() {
    let home = Home::new();
    let key = home.tenant("acme");
    let server = home.serve();
    let client = server.client(&key);
    let holder = Holder::take(&home);
    let good = native(&call(1));
    let mut items = good.as_array().unwrap().clone();
    items.push(json!({"no": "span"}));
    let body = json!(items).to_string();
    let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /api/v1/ingest/batch HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let stats = || client.get("/api/v1/ingest/stats").ok();
    wait::until("a transaction to begin", || (stats()["queue"]["commits"] == 1).then_some(()));
    drop(stream);
    // The end of the connection was there before this answer.
    stats();
    drop(holder);
    wait::until("the spans", || (client.total_spans() == 3).then_some(()));
    wait::until("what was refused", || (stats()["rejected"] == 1).then_some(()));
}
