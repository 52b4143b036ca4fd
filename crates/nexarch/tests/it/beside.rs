//! Commands beside a running server: what they say is done, the server shows.

use std::{
    fs,
    io::{Read as _, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{home::Home, wait};

/// One request with five root spans of one trace; their times are given, so that two such files are two versions of
/// the same spans.
fn request(start_ns: u64, duration_ns: u64, status: u8) -> Value {
    let span = |nth: u8| {
        json!({
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": format!("00000000000000{:02x}", nth + 1),
            "name": "op", "kind": 2, "startTimeUnixNano": start_ns.to_string(),
            "endTimeUnixNano": (start_ns + duration_ns).to_string(), "status": { "code": status },
        })
    };
    let resource = json!({ "attributes": [{ "key": "service.name", "value": { "stringValue": "a" } }] });
    let spans: Vec<Value> = (0..5).map(span).collect();
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "spans": spans }] }] })
}

#[test]
fn an_import_of_updated_spans_is_shown_by_the_next_read() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let start = wait::now_ns();
    let error_rate = || client.get("/api/v1/dashboard/overview").ok()["error_rate"].as_f64().unwrap();
    for (round, (duration, status, expected)) in
        [(1_000_000, 0, 0.0), (2_000_000, 2, 1.0)].into_iter().enumerate()
    {
        let file = home.path().join("spans.json");
        fs::write(&file, request(start, duration, status).to_string()).unwrap();
        let summary = home.json(["import", "--tenant", "default", file.to_str().unwrap()]);
        // The second file holds known spans: nothing is accepted, and yet everything reads differently.
        let counts = [&summary["accepted"], &summary["duplicates"]].map(|n| n.as_u64().unwrap());
        assert_eq!(counts, if round == 0 { [5, 0] } else { [0, 5] });
        assert!((error_rate() - expected).abs() < 1e-9, "round {round}: {}", error_rate());
        assert!((error_rate() - expected).abs() < 1e-9, "cached now");
    }
}

/// A container that is paused, or throttled for long, goes on with requests that came meanwhile: before it had time to
/// look what others did.
#[test]
fn an_import_beside_a_frozen_server_is_shown_by_the_reads_that_waited() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    let start = wait::now_ns();
    let import = |duration, status| {
        let file = home.path().join("spans.json");
        fs::write(&file, request(start, duration, status).to_string()).unwrap();
        home.json(["import", "--tenant", "default", file.to_str().unwrap()])
    };
    import(1_000_000, 0);
    let overview = client.get("/api/v1/dashboard/overview").ok();
    assert!(overview["error_rate"].as_f64().unwrap() < 1e-9, "in memory now: {overview}");

    let mut waiting: Vec<TcpStream> = (0..32).map(|_| known_connection(server.base())).collect();
    server.signal("STOP");
    assert_eq!(import(2_000_000, 2)["duplicates"], 5);
    let get = format!(
        "GET /api/v1/dashboard/overview HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
    );
    for connection in &mut waiting {
        connection.write_all(get.as_bytes()).unwrap();
    }
    server.signal("CONT");
    for connection in &mut waiting {
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("\"error_rate\":1.0"), "{answer}");
    }
}

/// A connection that the server has answered on.
fn known_connection(base: &str) -> TcpStream {
    let mut connection = TcpStream::connect(base.trim_start_matches("http://")).unwrap();
    connection.write_all(b"HEAD /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        connection.read_exact(&mut byte).unwrap();
        head.extend(byte);
    }
    connection
}

#[test]
fn a_request_that_never_ends_does_not_hold_up_the_end() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut half = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    half.write_all(b"POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Le").unwrap();
    // Answered after the half request was taken in: the server knows of it.
    client.get("/api/v1/health").expect(200);
    let (status, time) = wait::timed(|| server.terminate());
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(time < Duration::from_secs(30), "{time:?}");
}
