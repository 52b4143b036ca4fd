//! OTLP/HTTP as the protocol asks: encodings, partial success, and every error in the encoding of its request.

use std::{io::Write, net::TcpStream};

use serde_json::{Value, json};

use crate::support::{
    client::{Body, Client, Reply},
    encode::{field, gzip, otlp_json, otlp_protobuf, zstd},
    home::Home,
    spans::{Span, call, many},
    wait,
};

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

fn post(client: &Client, media_type: &str, body: &[u8]) -> Reply {
    client.send("POST", "/v1/traces", &[("Content-Type", media_type)], &Body::Sized(body))
}

fn post_packed(client: &Client, media_type: &str, encoding: &str, body: &[u8]) -> Reply {
    let headers = [("Content-Type", media_type), ("Content-Encoding", encoding)];
    client.send("POST", "/v1/traces", &headers, &Body::Sized(body))
}

/// Asserts a status with a google.rpc.Status in JSON and returns its message.
#[track_caller]
fn json_status(reply: Reply, status: u16) -> String {
    let reply = reply.expect(status);
    assert_eq!(reply.header("Content-Type"), JSON);
    let message = reply.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(!message.is_empty(), "{}", reply.json());
    message
}

/// The same in protobuf.
#[track_caller]
fn protobuf_status(reply: Reply, status: u16) -> String {
    let reply = reply.expect(status);
    assert_eq!(reply.header("Content-Type"), PROTOBUF);
    let message = status_message(&reply.body);
    assert!(!message.is_empty(), "{:?}", reply.body);
    message
}

/// Field 2 of a google.rpc.Status.
fn status_message(mut rest: &[u8]) -> String {
    while let [tag, after @ ..] = rest {
        let len = after.iter().position(|byte| byte & 0x80 == 0).expect("a varint") + 1;
        let value = after[..len].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
        let after = &after[len..];
        match tag {
            0x12 => return String::from_utf8(after[..value].to_vec()).unwrap(),
            // Any other field with a length, for instance the details.
            tag if tag & 7 == 2 => rest = &after[value..],
            _ => rest = after,
        }
    }
    String::new()
}

#[test]
fn success_is_empty_in_the_encoding_of_the_request() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    for body in [otlp_protobuf(&call(1)), Vec::new()] {
        let reply = post(&client, PROTOBUF, &body).expect(200);
        assert_eq!((reply.header("Content-Type"), reply.body.len()), (PROTOBUF, 0));
        reply.version();
    }
    for body in [otlp_json(&call(2)), json!({}), json!({"resourceSpans": []})] {
        let reply = client.otlp_json(&body).expect(200);
        assert_eq!((reply.header("Content-Type"), reply.json()), (JSON, json!({})));
        reply.version();
    }
    assert_eq!(client.total_spans(), 6);
}

#[test]
fn every_way_to_pack_a_body_arrives() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut traces = 1..;
    let mut next = || call(traces.next().unwrap());
    for (media_type, charset, encode) in [
        (PROTOBUF, "application/x-protobuf", (|spans| otlp_protobuf(spans)) as fn(&[Span]) -> Vec<u8>),
        (JSON, "application/json; charset=utf-8", |spans| otlp_json(spans).to_string().into_bytes()),
    ] {
        post(&client, charset, &encode(&next())).expect(200);
        post_packed(&client, media_type, "identity", &encode(&next())).expect(200);
        post_packed(&client, media_type, "gzip", &gzip(&encode(&next()))).expect(200);
        post_packed(&client, media_type, "zstd", &zstd(&encode(&next()))).expect(200);
        let headers = [("Content-Type", media_type)];
        client.send("POST", "/v1/traces", &headers, &Body::Chunked(&encode(&next()))).expect(200);
        let headers = [("Content-Type", media_type), ("Content-Encoding", "gzip")];
        client.send("POST", "/v1/traces", &headers, &Body::Chunked(&gzip(&encode(&next())))).expect(200);
    }
    assert_eq!(client.total_spans(), 2 * 6 * 3);
    assert_eq!(client.get(&format!("/api/v1/traces/{:032x}", 12)).ok()["spans"].as_array().unwrap().len(), 3);
}

#[test]
fn a_bad_span_costs_only_itself() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut spans = many(7, 6);
    spans[1].trace = 0;
    spans[3].id = 0;
    spans[4].start_ns += 2 * 3_600_000_000_000; // two hours ahead
    let answer = client.otlp_json(&otlp_json(&spans)).ok();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    assert!(*rejected == json!(3) || *rejected == json!("3"), "{answer}");
    assert!(
        answer["partialSuccess"]["errorMessage"].as_str().is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    assert_eq!(client.total_spans(), 3);

    // The same in protobuf: partial_success is field 1, rejected_spans its field 1; the length between has 2 bytes.
    for span in &mut spans {
        span.trace *= 2;
    }
    let reply = post(&client, PROTOBUF, &otlp_protobuf(&spans)).expect(200);
    assert_eq!((reply.body[0], &reply.body[3..5]), (0x0a, &[0x08, 3][..]), "{:?}", reply.body);
    assert_eq!(client.total_spans(), 6);

    for span in &mut spans {
        span.id = 0;
    }
    let answer = client.otlp_json(&otlp_json(&spans)).ok();
    assert!(answer["partialSuccess"].is_object(), "all bad is a partial success too: {answer}");
    // Names of enum values are what other exporters call OTLP/JSON; the protocol knows numbers only.
    let good = otlp_json(&call(9)).to_string();
    let named = good.replace("\"kind\":2", "\"kind\":\"SPAN_KIND_SERVER\"");
    assert_ne!(named, good);
    let answer = post(&client, JSON, named.as_bytes()).ok();
    assert_eq!(answer["partialSuccess"]["rejectedSpans"], "2", "{answer}");
    assert_eq!(client.total_spans(), 7);
}

#[test]
fn what_cannot_be_decoded_is_refused_whole() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let good = otlp_json(&call(1)).to_string();
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\u{0}",
        "{\"resourceSpans\": 3}",
        &good[..good.len() - 1],
        &format!("{good}x"),
    ] {
        json_status(post(&client, JSON, body.as_bytes()), 400);
    }
    let good = otlp_protobuf(&call(1));
    for body in [&[0xff][..], &good[..good.len() - 1], &field(1, b"\xff\xff\xff"), b"{}"] {
        protobuf_status(post(&client, PROTOBUF, body), 400);
    }
    for (encoding, packed) in [("gzip", gzip(&good)), ("zstd", zstd(&good))] {
        protobuf_status(post_packed(&client, PROTOBUF, encoding, b"not packed"), 400);
        protobuf_status(post_packed(&client, PROTOBUF, encoding, &packed[..packed.len() - 4]), 400);
    }
    assert_eq!(client.get("/api/v1/ingest/stats").ok()["total_spans"], 0);
    // The server is as well as before.
    client.otlp_protobuf(&good).expect(200);
    assert_eq!(client.total_spans(), 3);
}

#[test]
fn errors_before_the_body_are_statuses_too() {
    let home = Home::new();
    let key = home.tenant("acme");
    let reader = home.key("acme", "read");
    let server = home.serve();
    let (client, stranger) = (server.client(&key), server.stranger());
    let body = otlp_protobuf(&call(1));

    for (reply, status) in [
        (post(&stranger, PROTOBUF, &body), 401),
        (post(&server.client(&format!("{key}x")), PROTOBUF, &body), 401),
        (post(&server.client(&reader), PROTOBUF, &body), 403),
    ] {
        assert_eq!(reply.header("WWW-Authenticate").is_empty(), status == 403);
        protobuf_status(reply, status);
    }
    json_status(stranger.otlp_json(&json!({})), 401);

    for method in ["GET", "PUT", "DELETE"] {
        let reply = client.send(method, "/v1/traces", &[], &Body::None);
        assert_eq!(reply.header("Allow"), "POST");
        json_status(reply, 405);
    }
    json_status(post(&client, "text/plain", &body), 415);
    json_status(client.send("POST", "/v1/traces", &[], &Body::Sized(&body)), 415);
    protobuf_status(post_packed(&client, PROTOBUF, "br", &body), 415);

    for path in ["/v1/logs", "/v1/metrics", "/v1/profiles", "/v1/traces/x", "/v1/%20"] {
        let reply = client.send("POST", path, &[("Content-Type", PROTOBUF)], &Body::Sized(&body));
        assert!(protobuf_status(reply, 404).contains("traces only"));
        assert!(json_status(client.post(path, &json!({})), 404).contains("traces only"));
    }
    assert_eq!(client.total_spans(), 0);
}

#[test]
fn the_size_limit_holds_before_and_after_inflating() {
    const LIMIT: usize = 1 << 20;
    let home = Home::new();
    let mut server = home.serve_with(&[("MAX_BODY_MB", "1")]);
    let key = server.first_key();
    let client = server.client(&key);
    let large = vec![b' '; LIMIT + 1];
    json_status(post(&client, JSON, &large), 413);
    json_status(client.send("POST", "/v1/traces", &[("Content-Type", JSON)], &Body::Chunked(&large)), 413);
    // 64 MiB of nothing in some 64 KiB.
    let bomb = gzip(&vec![0; 64 * LIMIT]);
    assert!(bomb.len() < LIMIT);
    protobuf_status(post_packed(&client, PROTOBUF, "gzip", &bomb), 413);
    protobuf_status(post_packed(&client, PROTOBUF, "gzip", &gzip(&bomb)), 400);
    protobuf_status(post_packed(&client, PROTOBUF, "zstd", &zstd(&vec![0; 64 * LIMIT])), 413);

    // Exactly at the limit is within it.
    let mut fits = otlp_json(&call(1)).to_string().into_bytes();
    fits.resize(LIMIT, b' ');
    assert_eq!(post_packed(&client, JSON, "gzip", &gzip(&fits)).ok(), json!({}));
    assert_eq!(client.total_spans(), 3);
}

#[test]
fn a_flood_meets_a_429_and_room_comes_back() {
    let home = Home::new();
    let mut server = home.serve_with(&[("MAX_BODY_MB", "1"), ("MAX_INFLIGHT_MB", "1")]);
    let key = server.first_key();
    // A client that sends most of its body and then pauses holds most of the budget.
    let mut slow = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nContent-Type: {JSON}\r\nContent-Length: 1000000\r\n\r\n"
    );
    slow.write_all(head.as_bytes()).unwrap();
    slow.write_all(&vec![b' '; 900_000]).unwrap();

    let client = server.client(&key);
    // Only when it is kept: two that grow at the same time may both be refused, and then nothing is kept.
    let kept = || client.get("/api/v1/ingest/stats").ok()["queue"]["inflight_bytes"].as_u64().unwrap();
    wait::until("the pause", || (kept() >= 900_000).then_some(()));
    let mut body = otlp_json(&call(1)).to_string().into_bytes();
    body.resize(300_000, b' ');
    let refused = post(&client, JSON, &body);
    assert!(
        refused.header("Retry-After").parse::<u64>().is_ok_and(|seconds| seconds > 0),
        "{:?}",
        refused.headers
    );
    json_status(refused, 429);
    drop(slow);
    wait::until("room", || (post(&client, JSON, &body).status == 200).then_some(()));
    assert_eq!(client.total_spans(), 3);
}

#[test]
fn unknown_fields_and_both_spellings_of_numbers_are_taken() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut body = otlp_json(&many(0xABCD, 1));
    let span = &mut body["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    span["startTimeUnixNano"] = span["startTimeUnixNano"].as_str().unwrap().parse::<u64>().unwrap().into();
    span["traceId"] = span["traceId"].as_str().unwrap().to_uppercase().into();
    span["surprise"] = json!({"nested": [1, {"deep": null}]});
    body["another"] = Value::from("surprise");
    assert_eq!(client.otlp_json(&body).ok(), json!({}));
    let trace = client.get("/api/v1/traces/0000000000000000000000000000abcd").ok();
    assert_eq!(trace["spans"].as_array().unwrap().len(), 1);
}

#[test]
fn a_long_answer_is_packed_for_those_who_ask() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let mut bad = many(4, 40);
    for span in &mut bad {
        span.trace = 0;
    }
    let body = otlp_protobuf(&bad);
    let plain = post(&client, PROTOBUF, &body).expect(200);
    assert_eq!(plain.header("Content-Encoding"), "");
    let headers = [("Content-Type", PROTOBUF), ("Accept-Encoding", "zstd, gzip")];
    let packed = client.send("POST", "/v1/traces", &headers, &Body::Sized(&body)).expect(200);
    assert_eq!((packed.header("Content-Encoding"), packed.header("Content-Type")), ("gzip", PROTOBUF));
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed.body[..]), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}
