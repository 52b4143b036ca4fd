//! What one tenant does to the way in is its own trouble: the byte budget is shared out, and bounds what requests become.

use std::{
    io::Write,
    net::TcpStream,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    thread,
};

use serde_json::Value;

use crate::support::{
    client::{Body, Client},
    encode::{field, gzip, native, otlp_protobuf},
    home::Home,
    inside::Inside,
    server::Server,
    spans::{call, many},
    wait::{self, now_ns},
};

/// A request without spans of so many bytes, all but the last `missing` of them sent.
fn half_sent(server: &Server, key: &str, bytes: usize, missing: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
    );
    // It may be refused before it is read.
    let _ = stream.write_all(&[head.as_bytes(), &vec![b' '; bytes - missing]].concat());
    stream
}

/// The status of a whole request without spans; none when it was refused so early that the connection broke.
fn padded(client: &Client, bytes: usize) -> Option<u16> {
    let body = [b"{}", &vec![b' '; bytes - 2][..]].concat();
    let headers = [("Content-Type", "application/json")];
    client.try_send("POST", "/v1/traces", &headers, &Body::Sized(&body)).ok().map(|reply| reply.status)
}

/// What a tenant is told of its limits.
fn limits(client: &Client) -> Value {
    client.get("/api/v1/ingest/diagnostics").ok()["limits"].clone()
}

/// Batches refused by rate, by quota and for want of room.
fn refused(limits: &Value) -> [u64; 3] {
    ["rate", "quota", "busy"].map(|why| limits[format!("refused_{why}")].as_u64().unwrap())
}

#[test]
fn bodies_that_never_end_keep_no_other_tenant_out() {
    let home = Home::new();
    let (greedy, other) = (home.tenant("greedy"), home.tenant("other"));
    let server = home.serve_with(&[("MAX_BODY_MB", "1"), ("MAX_INFLIGHT_MB", "4")]);
    let _slow: Vec<TcpStream> = (0..8).map(|_| half_sent(&server, &greedy, 1_000_000, 9)).collect();
    let client = server.client(&greedy);
    wait::until("its share is used up", || (refused(&limits(&client))[2] > 0).then_some(()));
    let client = server.client(&other);
    for trace in 1..4 {
        assert_eq!(padded(&client, 300_000), Some(200));
        client.otlp_protobuf(&otlp_protobuf(&call(trace))).expect(200);
    }
    assert_eq!(client.total_spans(), 9);
}

/// Spans of 500 attributes that are two bytes each.
fn dense(spans: u64) -> Vec<u8> {
    let empty: Vec<u8> = std::iter::repeat_n(field(9, b""), 500).flatten().collect();
    let span = |id: u64| {
        let start = [&[7 << 3 | 1][..], &now_ns().to_le_bytes()].concat();
        field(2, &[field(1, &[1; 16]), field(2, &id.to_be_bytes()), start, empty.clone()].concat())
    };
    let spans: Vec<u8> = (1..=spans).flat_map(span).collect();
    field(1, &field(2, &spans))
}

#[test]
fn what_a_small_request_becomes_is_bounded_by_the_budget() {
    let home = Home::new();
    let mut server = home.serve_with(&[("MAX_BODY_MB", "2"), ("MAX_INFLIGHT_MB", "8")]);
    let client = server.first_client();
    let send = |body: &[u8]| {
        let headers = [("Content-Type", "application/x-protobuf"), ("Content-Encoding", "gzip")];
        client.send("POST", "/v1/traces", &headers, &Body::Sized(&gzip(body)))
    };
    // 1 MB, a few kilobytes when packed, 36 MB when decoded; the budget was never that large, so trying again is no use.
    let refused = send(&dense(1_000)).expect(413);
    assert!(refused.header("Retry-After").is_empty(), "{refused:?}");
    // In pieces that fit it is taken.
    send(&dense(40)).expect(200);
    send(&otlp_protobuf(&many(7, 2_000))).expect(200);
    assert_eq!(client.total_spans(), 2_040);
    let queue = client.get("/api/v1/ingest/stats").ok()["queue"].clone();
    assert_eq!(queue["inflight_bytes"], 0, "all is given back");
}

#[test]
fn refused_batches_and_the_quota_are_told_to_their_tenant() {
    let home = Home::new();
    let (key, other) = (home.tenant("acme"), home.tenant("other"));
    {
        let settings = [("QUOTA_SPANS_PER_DAY", "10"), ("MAX_BODY_MB", "1"), ("MAX_INFLIGHT_MB", "1")];
        let server = home.serve_with(&settings);
        let client = server.client(&key);
        client.otlp_protobuf(&otlp_protobuf(&call(1))).expect(200);
        client.otlp_protobuf(&otlp_protobuf(&many(2, 8))).expect(429);
        client.otlp_protobuf(&otlp_protobuf(&many(2, 11))).expect(413);
        let _slow = half_sent(&server, &key, 700_000, 9);
        wait::until("a refusal", || {
            assert_ne!(padded(&client, 500_000), Some(413));
            (refused(&limits(&client))[2] > 0).then_some(())
        });
        let told = limits(&client);
        assert_eq!((&told["quota_spans_per_day"], &told["used_today"]), (&Value::from(10), &Value::from(3)));
        let [rate, quota, busy] = refused(&told);
        assert!(rate == 0 && quota == 2 && busy >= 1, "{told}");
        assert_eq!(refused(&limits(&server.client(&other))), [0, 0, 0]);
    }
    let server = home.serve_with(&[("RATE_LIMIT_SPANS_PER_SECOND", "1")]);
    let client = server.client(&key);
    client.otlp_protobuf(&otlp_protobuf(&many(3, 400))).expect(200);
    client.otlp_protobuf(&otlp_protobuf(&call(4))).expect(429);
    let told = limits(&client);
    assert_eq!((&told["quota_spans_per_day"], &told["used_today"]), (&Value::Null, &Value::from(403)));
    assert_eq!(refused(&told), [1, 0, 0]);
}

/// One tenant asks for more than the server can compute at once; another one's key is looked up, and what it asks for is
/// computed before the queue of the first is through.
#[test]
fn a_flood_of_computations_keeps_no_other_tenant_out() {
    const FLOOD: usize = 40;
    let server = Inside::start(&[]);
    let other = server.tenant("other");
    server.client().batch(&native(&call(1))).expect(202);
    let gate = &server.gate;
    gate.close();
    let before = gate.opened.load(SeqCst);
    let opened = || gate.opened.load(SeqCst) - before;
    let (done, client) = (AtomicUsize::new(0), Client::new(server.base(), Some(&other)));
    thread::scope(|scope| {
        for nth in 0..FLOOD {
            let (server, done) = (&server, &done);
            scope.spawn(move || {
                server.client().get(&format!("/api/v1/dashboard/services/name{nth}")).expect(404);
                done.fetch_add(1, SeqCst);
            });
        }
        // As many as there are readers, or turns.
        let most = thread::available_parallelism().map_or(4, |cores| cores.get() * 2).min(4);
        wait::until("the flood", || (opened() >= most).then_some(()));
        client.get("/api/v1/cache/stats").expect(200);
        let asked = scope.spawn(|| client.get("/api/v1/dashboard/overview").expect(200));
        // On its way; it arrives in the course of some other requests.
        (0..50).for_each(|_| drop(server.client().get("/api/v1/cache/health").expect(200)));
        let mut passed = 0;
        wait::until("the answer", || {
            if opened() > passed {
                gate.pass(1);
                passed += 1;
            }
            asked.is_finished().then_some(())
        });
        let before_it = done.load(SeqCst);
        gate.pass(1_000);
        asked.join().unwrap();
        assert!(before_it < FLOOD / 2, "{before_it} of the others came first");
    });
}
