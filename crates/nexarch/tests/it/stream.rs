//! `GET /api/v1/stream`: what is told, to whom, what is kept for those who come back, and what it costs.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::Ordering::SeqCst,
    thread,
    time::Duration,
};

use http_body_util::BodyExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nexarch_testkit::{FaultProxy, RedisServer};
use serde_json::{Value, json};

use crate::support::{
    client::{Body, Client},
    encode::{native, otlp_json},
    events::Events,
    home::Home,
    inside::Inside,
    server::Server,
    spans::call,
    wait,
};

const STREAM: &str = "/api/v1/stream";

fn delete(client: &Client, rest: &str) -> Value {
    client.send("DELETE", &format!("/api/v1/cache/invalidate{rest}"), &[], &Body::None).ok()
}

/// Asks for a stream over a socket of its own.
fn ask(server: &Server, key: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    ask_on(&mut socket, key);
    socket
}

fn ask_on(socket: &mut TcpStream, key: &str) {
    write!(socket, "GET {STREAM} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n\r\n").unwrap();
}

/// The status line of an answer.
fn status(socket: &mut TcpStream) -> u16 {
    socket.set_read_timeout(Some(wait::PATIENCE)).unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

#[test]
fn changes_are_told_to_their_tenant_alone() {
    let home = Home::new();
    let (acme, other) = (home.tenant("acme"), home.tenant("other"));
    let server = home.serve();
    let client = server.client(&acme);
    let mut of_acme = Events::open(server.base(), &acme, None);
    let mut of_other = Events::open(server.base(), &other, None);

    let spans = native(&call(1));
    let version = client.batch(&spans).expect(202).version();
    let event = of_acme.expect("version");
    assert_eq!(event.data, json!({"version": version, "cause": "ingest"}));
    // Read with what was told: it is there.
    let minimum = version.to_string();
    let read = client.get_with("/api/v1/dashboard/overview", &[("Nexarch-Min-Version", &minimum)]);
    assert_eq!(read.ok()["total_spans"], 3);
    // What is known already is no news.
    assert_eq!(client.batch(&spans).expect(202).json()["duplicates"], 3);

    let answer = delete(&client, "/services");
    let event = of_acme.expect("invalidation");
    let key_id = event.data["by"].as_str().unwrap();
    assert!(key_id.starts_with("key_") && !acme.contains(key_id), "{event:?}");
    assert_eq!((&event.data["scope"], &event.data["reach"]), (&json!("operation"), &json!("cluster")));
    assert_eq!(
        (&event.data["operations"], &event.data["version"]),
        (&json!(["services"]), &answer["version"])
    );
    delete(&client, "?pattern=nothing*");
    delete(&client, "?pattern=*map");
    let event = of_acme.expect("invalidation");
    assert_eq!(
        (&event.data["scope"], &event.data["operations"]),
        (&json!("pattern"), &json!(["architecture_map"]))
    );
    delete(&client, "");
    assert_eq!(of_acme.expect("invalidation").data["scope"], "tenant");

    let report = client.send("POST", "/api/v1/cache/warm/services", &[], &Body::None).ok();
    let event = of_acme.expect("warm");
    assert_eq!((&event.data["entries"], &event.data["bytes"]), (&json!(1), &report["bytes"]));
    assert_eq!(
        (&event.data["operations"], &event.data["by"], &event.data["reach"]),
        (&json!(["services"]), &json!(key_id), &json!("node"))
    );

    // The other one heard of none of it, only of itself.
    let version = server.client(&other).batch(&native(&call(1))).expect(202).version();
    assert_eq!(of_other.expect("version").data["version"], version);
}

/// Who does not wait for the answer has changed something all the same.
#[test]
fn a_change_whose_caller_hung_up_is_told() {
    let server = Inside::start(&[]);
    server.client().batch(&native(&call(1))).expect(202);
    let mut events = Events::open(server.base(), server.key(), None);
    let before = server.gate.opened.load(SeqCst);
    server.gate.close();
    let mut socket = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
    let request = "POST /api/v1/cache/warm/services HTTP/1.1\r\nHost: x\r\nContent-Length: 0";
    write!(socket, "{request}\r\nX-API-Key: {}\r\n\r\n", server.key()).unwrap();
    wait::until("the computation", || (server.gate.opened.load(SeqCst) > before).then_some(()));
    drop(socket);
    server.gate.pass(1_000);
    assert_eq!(events.expect("warm").data["operations"], json!(["services"]));
}

#[test]
fn who_comes_back_gets_what_was_missed_or_is_told_to_read_anew() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    let mut events = Events::open(server.base(), &key, None);
    let begin = events.last_id.clone();
    client.batch(&native(&call(1))).expect(202);
    let first = events.expect("version");
    drop(events);
    delete(&client, "/services");
    delete(&client, "/metrics");

    let mut back = Events::open(server.base(), &key, Some(&first.id));
    let missed = [back.expect("invalidation"), back.expect("invalidation")];
    assert_eq!(missed.clone().map(|event| event.data["operations"][0].clone()), ["services", "metrics"]);
    // From before the first event, too: the place is told when the stream opens.
    let mut all = Events::open(server.base(), &key, Some(&begin));
    assert_eq!(all.expect("version"), first);
    assert_eq!([all.expect("invalidation"), all.expect("invalidation")], missed);

    for unknown in ["0000000000000001-1", "what", ""] {
        let mut anew = Events::open(server.base(), &key, Some(unknown));
        let reset = anew.expect("reset");
        assert_eq!(reset.data["reason"], "unknown", "{unknown:?}");
        delete(&client, "/metrics");
        anew.expect("invalidation");
    }
    // More than is kept.
    for _ in 0..130 {
        delete(&client, "/metrics");
    }
    let mut late = Events::open(server.base(), &key, Some(&first.id));
    let reset = late.expect("reset");
    assert_eq!(reset.data["reason"], "gap");
    delete(&client, "/services");
    assert_eq!(late.expect("invalidation").data["operations"][0], "services");

    assert!(server.terminate().success());
    let again = home.serve();
    let mut after = Events::open(again.base(), &key, Some(&reset.id));
    assert_eq!(after.expect("reset").data["reason"], "unknown", "another process has other places");
}

#[test]
fn a_commit_of_another_process_is_told() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let mut events = Events::open(server.base(), &key, None);
    // Something else that another process writes is no new data.
    home.tenant("other");
    let file = home.path().join("spans.json");
    fs::write(&file, serde_json::to_vec(&otlp_json(&call(1))).unwrap()).unwrap();
    let report = home.json(["import", "--tenant", "default", file.to_str().unwrap()]);
    assert_eq!(report["accepted"], 3);
    let event = events.expect("version");
    assert_eq!(event.data["cause"], Value::Null);
    let minimum = event.data["version"].to_string();
    let read =
        server.client(&key).get_with("/api/v1/dashboard/overview", &[("Nexarch-Min-Version", &minimum)]);
    assert_eq!(read.ok()["total_spans"], 3);
}

/// A key that ends sooner than a command makes keys end.
fn expiring(home: &Home, expires_us: u64) -> String {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let url = format!("sqlite://{}", home.database().display());
        let options = nexarch_store::Options::new(nexarch_store::Role::Guest, nexarch::lifecycle::now_us);
        let store = nexarch_store::open(&url, options).await.unwrap();
        let (tenant, scopes) = ("default".parse().unwrap(), [nexarch_store::Scope::Read]);
        let (_, key) =
            nexarch::auth::create_key(&*store, &tenant, "", &scopes, Some(expires_us)).await.unwrap();
        store.close().await;
        key.expose().to_owned()
    })
}

#[test]
fn a_stream_ends_with_its_key_and_its_tenant() {
    let home = Home::new();
    let mut server = home.serve();
    let first = server.first_key();
    let stays = Events::open(server.base(), &first, None);
    let made = |tenant: &str| home.json(["key", "create", "--tenant", tenant, "--scope", "read", "--json"]);
    let ways: [(&str, &[&str]); 3] = [
        ("revoked", &["the API key was revoked"]),
        ("disabled", &["the tenant is disabled"]),
        // Both go at once.
        ("deleted", &["the API key is gone", "the tenant is gone"]),
    ];
    let mut tenants = 0;
    for (way, words) in ways {
        wait::attempts("the end of a stream, soon after the command", || {
            tenants += 1;
            let tenant = format!("tenant{tenants}");
            home.tenant(&tenant);
            let key = made(&tenant);
            let (id, key) = (key["key_id"].as_str().unwrap(), key["key"].as_str().unwrap());
            let command = match way {
                "revoked" => vec!["key", "revoke", id],
                "disabled" => vec!["tenant", "disable", &tenant],
                _ => vec!["tenant", "delete", &tenant, "--yes"],
            };
            let events = Events::open(server.base(), key, None);
            let reading = thread::spawn(move || events.end());
            // The command is done when a second has passed since its commit, and by then the stream has ended.
            assert!(home.output(command).status.success());
            let (said, took) = wait::timed(|| reading.join().unwrap());
            assert!(matches!(said.as_slice(), [said] if words.contains(&said.as_str())), "{said:?}");
            let refused = server.client(key).get(STREAM).status;
            assert!(matches!(refused, 401 | 403), "{refused}");
            (took < Duration::from_millis(500)).then_some(())
        });
    }
    wait::attempts("the end of a stream, soon after its key", || {
        let expires_us = wait::now_ns() / 1_000 + 5_000_000;
        let soon = expiring(&home, expires_us);
        assert_eq!(Events::open(server.base(), &soon, None).end(), ["the API key has expired"]);
        let now_us = wait::now_ns() / 1_000;
        assert!(now_us >= expires_us, "{} µs too soon", expires_us - now_us);
        (now_us - expires_us < 1_000_000).then_some(())
    });

    // All that time the others went on; a stop ends them at once.
    let reading = thread::spawn(move || stays.end());
    let (status, took) = wait::timed(|| server.terminate());
    assert!(status.success());
    assert!(took < Duration::from_secs(4), "the stop took {took:?}");
    assert_eq!(reading.join().unwrap(), ["the server is stopping"]);
}

#[test]
fn a_change_of_the_cache_is_told() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let home = Home::new();
    let mut server = home.serve_with(&[("REDIS_URL", &format!("redis://{}", proxy.address()))]);
    let key = server.first_key();
    let client = server.client(&key);
    wait::until("Redis to be used", || {
        (client.get("/api/v1/cache/health").ok()["status"] == "connected").then_some(())
    });
    let mut events = Events::open(server.base(), &key, None);
    proxy.refuse();
    let lost = events.expect("cache").data;
    assert_eq!((&lost["backend"], &lost["status"]), (&json!("memory"), &json!("degraded")));
    assert_eq!(lost["mode"], "local");
    assert!(lost["reason"].is_string(), "{lost}");
    proxy.pass();
    let back = wait::until("Redis to be back", || {
        let state = events.expect("cache").data;
        (state["status"] == "connected").then_some(state)
    });
    assert_eq!(back, json!({"backend": "redis", "status": "connected", "mode": "pubsub", "reason": null}));
}

#[test]
fn many_streams_share_a_connection_of_http2() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    let addr = server.base().trim_start_matches("http://").to_owned();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let io = TokioIo::new(tokio::net::TcpStream::connect(addr).await.unwrap());
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
        runtime.handle().spawn(connection);
        let mut streams = Vec::new();
        for _ in 0..20 {
            let request = hyper::Request::get(format!("http://x{STREAM}")).header("x-api-key", &key);
            let reply = sender.send_request(request.body(axum::body::Body::empty()).unwrap()).await.unwrap();
            assert_eq!(reply.status(), 200);
            streams.push(reply.into_body());
        }
        let version =
            tokio::task::spawn_blocking(move || client.batch(&native(&call(1))).version()).await.unwrap();
        for mut body in streams {
            let mut text = String::new();
            while !text.contains("event: version") {
                let frame =
                    tokio::time::timeout(wait::PATIENCE, body.frame()).await.unwrap().unwrap().unwrap();
                text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
            }
            assert!(
                text.ends_with(&format!("data: {{\"version\":{version},\"cause\":\"ingest\"}}\n\n")),
                "{text}"
            );
        }
    });
    let (status, took) = wait::timed(|| server.terminate());
    assert!(status.success() && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn what_is_no_stream_says_so() {
    let home = Home::new();
    let key = home.tenant("acme");
    let writer = home.key("acme", "ingest");
    let server = home.serve();
    server.stranger().get(STREAM).expect(401);
    server.client(&writer).get(STREAM).expect(403);
    server.client(&key).get("/api/v1/stream?since=1").expect(400);
    let reply = server.client(&key).send("HEAD", STREAM, &[], &Body::None).expect(200);
    assert_eq!(reply.header("Content-Type"), "text/event-stream");
    assert_eq!(
        server.client(&key).send("POST", STREAM, &[], &Body::None).expect(405).header("Allow"),
        "GET,HEAD"
    );
}

/// Who does not read is not written to, nothing is kept for it, and it is told that something is missing.
#[test]
fn a_slow_reader_is_told_what_it_missed() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The window of HTTP/2 is what a peer may send ahead; kernels keep megabytes for a reader of HTTP/1.1.
    let mut body = runtime.block_on(async {
        let addr = server.base().trim_start_matches("http://");
        let io = TokioIo::new(tokio::net::TcpStream::connect(addr).await.unwrap());
        let (mut sender, connection) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1_000)
            .handshake(io)
            .await
            .unwrap();
        runtime.handle().spawn(connection);
        let request = hyper::Request::get(format!("http://x{STREAM}")).header("x-api-key", &key);
        sender.send_request(request.body(axum::body::Body::empty()).unwrap()).await.unwrap().into_body()
    });
    let mut text = String::new();
    let mut read_to = |id: &str| {
        runtime.block_on(async {
            while !text.contains(id) {
                let frame = tokio::time::timeout(wait::PATIENCE, body.frame()).await.unwrap().unwrap();
                text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
            }
        });
        text.clone()
    };
    let mut quick = Events::open(server.base(), &key, None);
    for _ in 0..200 {
        delete(&client, "/services");
        quick.expect("invalidation");
    }
    let text = read_to(&quick.last_id);
    let of = |kind: &str| text.matches(&format!("event: {kind}\n")).count();
    assert_eq!(of("reset"), 1, "{text}");
    assert!(of("invalidation") < 50, "{} events were kept for somebody who did not read", of("invalidation"));
    assert!(text.contains(r#"{"reason":"gap","#), "{text}");
    // It goes on from there.
    delete(&client, "/services");
    quick.expect("invalidation");
    read_to(&quick.last_id);
}

/// A thousand people who look at a page where nothing happens.
#[test]
fn a_thousand_idle_streams_are_cheap_and_more_are_refused() {
    nexarch::door::raise_limit();
    let home = Home::new();
    let keys = ["a", "b"].map(|tenant| home.tenant(tenant));
    let server = home.serve();
    // What the first requests need once.
    for key in &keys {
        drop((0..8).map(|_| Events::on(ask(&server, key))).collect::<Vec<_>>());
        server.client(key).get("/api/v1/dashboard/overview").expect(200);
    }
    let before = resident_bytes(&server);
    let mut open: Vec<_> = (0..1_000).map(|nth| Events::on(ask(&server, &keys[nth % 2]))).collect();
    let after = resident_bytes(&server);
    let each = after.saturating_sub(before) / 1_000;
    println!("1,000 idle streams: {} KiB resident, {each} bytes each", after.saturating_sub(before) / 1_024);
    assert!(after - before < 20_000_000, "{} bytes", after - before);

    // Each of them hears.
    for key in &keys {
        server.client(key).batch(&native(&call(1))).expect(202);
    }
    for events in &mut open {
        events.expect("version");
    }

    open.extend((0..12).map(|_| Events::on(ask(&server, &keys[0]))));
    let refused = server.client(&keys[0]).get(STREAM).expect(429);
    assert!(!refused.header("Retry-After").is_empty());
    open.extend((0..12).map(|_| Events::on(ask(&server, &keys[1]))));
    let third = home.tenant("c");
    let refused = server.client(&third).get(STREAM).expect(503);
    assert!(!refused.header("Retry-After").is_empty());
    // A place that is left can be taken.
    drop(open.pop());
    wait::until("a place", || (status(&mut ask(&server, &third)) == 200).then_some(()));
}

/// Resident memory of the server, bytes.
fn resident_bytes(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
