//! Start, stop, start again.

use std::{fs::Permissions, net::TcpListener, os::unix::fs::PermissionsExt, thread};

use crate::support::{
    encode::{native, otlp_protobuf},
    home::Home,
    map::Map,
    spans::{call, many},
    wait,
};

#[test]
fn a_stop_is_clean_and_a_restart_keeps_everything() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let client = server.client(&key);
    for trace in 1..=20 {
        client.batch(&native(&call(trace))).expect(202);
    }
    let version = client.get("/api/v1/dashboard/overview").version();
    let map = Map::read(&client);
    // A connection that is kept open must not hold the stop up.
    let (status, took) = wait::timed(|| server.terminate());
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(took.as_secs() < 30, "the stop took {took:?}");

    let mut again = home.serve();
    let client = again.client(&key);
    assert_eq!(client.total_spans(), 60);
    assert_eq!(Map::read(&client).comparable(), map.comparable());
    assert!(client.get("/api/v1/dashboard/overview").version() >= version);
    assert!(client.batch(&native(&call(21))).expect(202).version() > version);
    assert_eq!(again.terminate().code(), Some(0));
    assert!(!again.all_lines().iter().any(|line| line.contains("nex_")), "the key is shown once in a life");
}

#[test]
fn what_was_taken_before_a_stop_is_answered_and_kept() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    let body = otlp_protobuf(&many(1, 20_000));
    let client = server.client(&key);
    let answered = thread::scope(|scope| {
        let sending = scope.spawn(|| {
            client.try_send(
                "POST",
                "/v1/traces",
                &[("Content-Type", "application/x-protobuf")],
                &crate::support::client::Body::Sized(&body),
            )
        });
        assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
        sending.join().unwrap().is_ok_and(|reply| reply.status == 200)
    });
    let total = home.serve().client(&key).total_spans();
    assert!(total == 20_000 || (!answered && total == 0), "{total} spans; answered: {answered}");
}

#[test]
fn a_taken_port_and_a_served_database_are_errors() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = home.command(["serve"]).env("PORT", &port).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains(&port));

    let mut server = home.serve();
    let output = home.output(["serve"]);
    assert_eq!(output.status.code(), Some(1), "one server per file: {output:?}");
    // The first one did not notice.
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    assert_eq!(client.total_spans(), 3);
    // A killed server leaves no lock behind.
    server.kill();
    drop(home.serve());
}

#[test]
fn the_first_key_is_printed_to_the_own_machine_and_filed_for_others() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    assert!(key.starts_with("nex_") && key.len() >= 4 + 43, "256 random bits: {}", key.len());
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    assert_eq!(client.total_spans(), 3);
    client.send("DELETE", "/api/v1/cache/invalidate", &[], &crate::support::client::Body::None).expect(200);
    assert!(!home.path().join("nexarch-first-key").exists());

    let home = Home::new();
    let file = home.path().join("nexarch-first-key");
    // What lies there already, open to all, must not stay open with a key in it.
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let mut server = home.serve_with(&[("HOST", "0.0.0.0")]);
    server.line_with("nexarch-first-key");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    assert!(key.starts_with("nex_"));
    let base = server.base().replace("0.0.0.0", "127.0.0.1");
    crate::support::client::Client::new(&base, Some(&key)).get("/api/v1/dashboard/overview").expect(200);
    assert_eq!(server.terminate().code(), Some(0));
    let (log, lines) = (server.log(), server.all_lines());
    assert!(!log.contains("nex_") && !lines.iter().any(|line| line.contains("nex_")), "{log}\n{lines:?}");
}

#[test]
fn health_needs_no_key_and_says_the_version() {
    let home = Home::new();
    let mut server = home.serve();
    assert!(server.line_with("listening").starts_with(&format!("nexarch {} ", env!("CARGO_PKG_VERSION"))));
    let stranger = server.stranger();
    let health = stranger.get("/api/v1/health").ok();
    assert_eq!((&health["status"], &health["version"]), (&"ok".into(), &env!("CARGO_PKG_VERSION").into()));
    let ready = stranger.get("/api/v1/health/ready").ok();
    assert_eq!(ready["database"], "ok", "{ready}");
    let cache = stranger.get("/api/v1/cache/health").ok();
    assert_eq!((&cache["healthy"], &cache["mode"]), (&true.into(), &"local".into()));
    assert_eq!(cache["staleness_bound_ms"], 0);
}
