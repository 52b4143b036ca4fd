//! OTLP/gRPC as the protocol asks: the table of OTLP's answers, row by row, on the wire.

use crate::support::{
    encode::{field, gzip, otlp_protobuf},
    grpc::{EXPORT, Grpc, framed},
    home::Home,
    server::Server,
    spans::{call, many},
    wait,
};

const INVALID_ARGUMENT: u32 = 3;
const PERMISSION_DENIED: u32 = 7;
const RESOURCE_EXHAUSTED: u32 = 8;
const UNIMPLEMENTED: u32 = 12;
const UNAVAILABLE: u32 = 14;
const UNAUTHENTICATED: u32 = 16;

/// What is wrong, the headers, the body, the code.
type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Vec<u8>, u32);

fn connect(server: &Server, key: &str) -> Grpc {
    Grpc::connect(server.base().trim_start_matches("http://"), key)
}

#[test]
fn every_door_takes_a_batch_and_says_its_version() {
    let home = Home::new();
    let own = [("OTLP_GRPC_ADDR", "127.0.0.1:0"), ("OTLP_HTTP_ADDR", "127.0.0.1:0")];
    let mut server = home.serve_with(&own);
    let key = server.first_key();
    let mut version = 0;
    let addresses =
        [server.base().to_owned(), server.line_with("OTLP/gRPC at"), server.line_with("OTLP/HTTP at")];
    for (index, address) in addresses.iter().enumerate() {
        let grpc = Grpc::connect(address.rsplit_once("//").unwrap().1, &key);
        let outcome = grpc.export(&otlp_protobuf(&call(index as u128 + 1))).expect(0);
        assert_eq!(outcome.frame, framed(0, b""), "partial_success is unset");
        let now: u64 = outcome.headers["nexarch-version"].to_str().unwrap().parse().unwrap();
        assert!(now > version);
        version = now;
        // A read that starts after the answer shows the batch.
        assert_eq!(server.client(&key).total_spans(), 3 * (index as u64 + 1));
        grpc.export(b"").expect(0);
    }
}

#[test]
fn packed_messages_are_taken_and_answers_are_packed_when_asked() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let grpc = connect(&server, &key);
    let packed = framed(1, &gzip(&otlp_protobuf(&call(1))));
    grpc.call(EXPORT, &[("grpc-encoding", "gzip")], packed).expect(0);
    // A call that may pack need not.
    grpc.call(EXPORT, &[("grpc-encoding", "gzip")], framed(0, &otlp_protobuf(&call(2)))).expect(0);
    grpc.call(EXPORT, &[("grpc-encoding", "identity")], framed(0, &otlp_protobuf(&call(3)))).expect(0);
    assert_eq!(server.client(&key).total_spans(), 9);

    let mut bad = many(4, 40);
    for span in &mut bad {
        span.trace = 0;
    }
    let plain = grpc.export(&otlp_protobuf(&bad)).expect(0);
    let accepting = [("grpc-accept-encoding", "identity, gzip")];
    let answer = grpc.call(EXPORT, &accepting, framed(0, &otlp_protobuf(&bad))).expect(0);
    assert_eq!((answer.headers["grpc-encoding"].as_bytes(), answer.frame[0]), (&b"gzip"[..], 1));
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&answer.frame[5..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.frame[5..]);
}

#[test]
fn a_bad_span_is_a_partial_success() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let mut spans = many(7, 5);
    spans[1].trace = 0;
    spans[3].id = 0;
    let outcome = connect(&server, &key).export(&otlp_protobuf(&spans)).expect(0);
    // partial_success is field 1, rejected_spans its field 1.
    let message = &outcome.frame[5..];
    let after_length = message.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap() + 2;
    assert_eq!((message[0], &message[after_length..after_length + 2]), (0x0a, &[0x08, 2][..]));
    assert_eq!(server.client(&key).total_spans(), 3);
}

#[test]
fn refusals_carry_the_codes_of_otlp() {
    let home = Home::new();
    let key = home.tenant("acme");
    let reader = home.key("acme", "read");
    let server = home.serve();
    let grpc = connect(&server, &key);
    let good = framed(0, &otlp_protobuf(&call(1)));
    let bearer = format!("Bearer {key}");
    let other = format!("Bearer {reader}");
    let cases: &[Case<'_>] = &[
        ("no key", &[("x-api-key", "")], good.clone(), UNAUTHENTICATED),
        ("unknown key", &[("x-api-key", "nex_x")], good.clone(), UNAUTHENTICATED),
        ("a key without the scope", &[("x-api-key", &reader)], good.clone(), PERMISSION_DENIED),
        ("two keys", &[("authorization", &other)], good.clone(), INVALID_ARGUMENT),
        ("the same key twice", &[("authorization", &bearer)], good.clone(), 0),
        ("a bearer alone", &[("x-api-key", ""), ("authorization", &bearer)], good.clone(), 0),
        ("not protobuf", &[], framed(0, &field(1, b"\xff\xff\xff")), INVALID_ARGUMENT),
        ("cut off", &[], good[..good.len() - 1].to_vec(), INVALID_ARGUMENT),
        ("two messages", &[], [good.clone(), good.clone()].concat(), INVALID_ARGUMENT),
        ("no message", &[], Vec::new(), INVALID_ARGUMENT),
        ("not gzip", &[("grpc-encoding", "gzip")], framed(1, b"hello"), INVALID_ARGUMENT),
        ("packed without a word", &[], framed(1, &gzip(b"")), INVALID_ARGUMENT),
        ("another packing", &[("grpc-encoding", "snappy")], good.clone(), UNIMPLEMENTED),
        ("another message", &[("content-type", "application/grpc+json")], good.clone(), UNIMPLEMENTED),
    ];
    for (what, headers, body, code) in cases {
        let outcome = grpc.call(EXPORT, headers, body.clone());
        assert_eq!(outcome.code, *code, "{what}: {outcome:?}");
        assert_eq!(outcome.text.is_empty(), *code == 0, "{what}");
        assert!(!outcome.says_when_to_retry(), "{what}: trying again does not help");
        assert!(!format!("{outcome:?}").contains(key.as_str()), "{what}: the key came back");
    }
    for method in
        ["logs.v1.LogsService/Export", "metrics.v1.MetricsService/Export", "trace.v1.TraceService/X"]
    {
        let path = format!("/opentelemetry.proto.collector.{method}");
        let outcome = grpc.call(&path, &[], good.clone()).expect(UNIMPLEMENTED);
        assert!(outcome.text.contains("traces only"), "{outcome:?}");
    }
    grpc.call("/some.Service/Method", &[], good.clone()).expect(UNIMPLEMENTED);
    // One and the same connection survived all of it.
    grpc.call(EXPORT, &[], good).expect(0);
    assert_eq!(server.client(&key).total_spans(), 3);
}

#[test]
fn too_large_is_final_and_busy_is_not() {
    const LIMIT: usize = 1 << 20;
    let home = Home::new();
    let mut server = home.serve_with(&[("MAX_BODY_MB", "1"), ("MAX_INFLIGHT_MB", "1")]);
    let key = server.first_key();
    let grpc = connect(&server, &key);
    // Said, not sent: refused by the frame's header alone.
    let claimed = [&[0][..], &0xffff_ffff_u32.to_be_bytes()].concat();
    let bomb = framed(1, &gzip(&vec![0; 64 * LIMIT]));
    for (headers, body) in [
        (&[][..], claimed),
        (&[][..], framed(0, &vec![0; LIMIT + 1])),
        (&[("grpc-encoding", "gzip")][..], bomb),
    ] {
        let outcome = grpc.call(EXPORT, headers, body).expect(RESOURCE_EXHAUSTED);
        assert!(!outcome.says_when_to_retry(), "a client would send it for ever");
    }

    // Another call holds most of the budget.
    let client = server.client(&key);
    let inflight = || client.get("/api/v1/ingest/stats").ok()["queue"]["inflight_bytes"].as_u64().unwrap();
    let mut slow = std::net::TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n"
    );
    std::io::Write::write_all(&mut slow, &[head.as_bytes(), &vec![b' '; 900_000]].concat()).unwrap();
    wait::until("the pause", || (inflight() >= 900_000).then_some(()));
    let outcome = grpc.export(&vec![0; 300_000]).expect(UNAVAILABLE);
    assert!(outcome.says_when_to_retry(), "{outcome:?}");
    drop(slow);
    let message = otlp_protobuf(&call(1));
    wait::until("room", || (grpc.export(&message).code == 0).then_some(()));
    assert_eq!(server.client(&key).total_spans(), 3);
}
