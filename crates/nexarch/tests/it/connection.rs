//! Connections that are kept: what a refusal leaves behind.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use crate::support::{home::Home, wait::PATIENCE};

/// Reads one answer: status line and headers in lower case, and skips the body.
fn answer(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let line = reader.read_line(&mut head).ok()?;
        if line == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    reader.read_exact(&mut vec![0; length]).unwrap();
    Some(head)
}

/// A refusal that comes before the body was read must leave the connection in order, or say that it ends: otherwise
/// the next request of a client that did nothing wrong is lost.
#[test]
fn a_refusal_before_the_body_keeps_the_connection_or_says_that_it_ends() {
    const BODY: usize = 300_000;
    let home = Home::new();
    let server = home.serve();
    for path in ["/v1/traces", "/api/v1/ingest/batch", "/api/v1/nothing"] {
        let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {BODY}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let refused = answer(&mut reader).expect("a refusal");
        assert!(refused.starts_with("http/1.1 40"), "{refused}");
        if refused.contains("\r\nconnection: close\r\n") {
            continue;
        }
        let next = stream
            .write_all(&vec![b' '; BODY])
            .and_then(|()| stream.write_all(b"GET /api/v1/health HTTP/1.1\r\nHost: x\r\n\r\n"))
            .ok()
            .and_then(|()| answer(&mut reader));
        assert!(next.is_some_and(|next| next.starts_with("http/1.1 200")), "{path}: lost after:\n{refused}");
    }
}

/// Most clients send a whole body before they read: a refusal must not meet them as a broken connection, or they never
/// learn why, nor when to come back.
#[test]
fn a_refusal_reaches_a_client_that_sends_everything_first() {
    const BODY: usize = 8 << 20;
    let home = Home::new();
    let server = home.serve();
    for (path, media_type) in [("/v1/traces", "application/json"), ("/api/v1/ingest/batch", "text/plain")] {
        let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {media_type}\r\nContent-Length: {BODY}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&vec![b' '; BODY]).unwrap();
        let refused = answer(&mut BufReader::new(stream)).expect("the refusal");
        assert!(refused.starts_with("http/1.1 401"), "{refused}");
    }
}
