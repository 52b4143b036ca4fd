//! What is written down of those who change the cache: one line each, with everything in it but secrets.

use serde_json::Value;

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    home::{Holder, Home},
    server::Server,
    spans::call,
    wait,
};

/// The lines of a log in JSON with the target `audit`, once there are so many.
fn audits(server: &Server, count: usize) -> Vec<Value> {
    wait::until("the lines of audit", || {
        let log = server.log();
        let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let lines: Vec<Value> = whole
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["target"] == "audit")
            .map(|line| line["fields"].clone())
            .collect();
        (lines.len() >= count).then_some(lines)
    })
}

fn invalidate(client: &Client, rest: &str) -> Reply {
    client.send("DELETE", &format!("/api/v1/cache/invalidate{rest}"), &[], &Body::None)
}

fn warm(client: &Client, rest: &str) -> Reply {
    client.send("POST", &format!("/api/v1/cache/warm{rest}"), &[], &Body::None)
}

#[test]
fn every_change_is_one_line_that_says_who_what_and_how_far_and_no_secret() {
    let home = Home::new();
    // However quiet the rest is.
    let mut server = home.serve_with(&[("LOG_FORMAT", "json"), ("RUST_LOG", "error")]);
    let key = server.first_key();
    let listed = home.json(["key", "list", "--tenant", "default", "--json"]);
    let key_id = &listed[0]["key_id"];
    let client = server.client(&key);
    client.batch(&native(&call(1))).expect(202);
    let answers = [
        invalidate(&client, "").ok(),
        invalidate(&client, "/services").ok(),
        invalidate(&client, "?pattern=dash*").ok(),
        invalidate(&client, "?pattern=nothing*").ok(),
    ];
    // What changes nothing leaves no line.
    invalidate(&client, "/unknown").expect(404);
    invalidate(&server.client(&home.key("default", "read")), "").expect(403);
    client.get("/api/v1/dashboard/overview").expect(200);
    let one = warm(&client, "/services").ok();
    let all = warm(&client, "").ok();
    let lines = audits(&server, 6);
    assert_eq!(lines.len(), 6, "{lines:?}");
    for (line, answer) in lines.iter().zip(&answers) {
        assert_eq!(line["message"], "audit: cache invalidated");
        for field in ["scope", "reach", "version"] {
            assert_eq!(line[field], answer[field], "{field} in {line}");
        }
        let names: Vec<&str> =
            answer["operations"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(line["operations"], names.join(","));
    }
    let last = &answers[3]["version"];
    for (line, entries) in [(&lines[4], one["entries"].as_u64()), (&lines[5], sum(&all, "entries"))] {
        assert_eq!((&line["message"], &line["reach"]), (&"audit: cache warmed".into(), &"node".into()));
        assert_eq!((line["entries"].as_u64(), &line["version"]), (entries, last), "{line}");
    }
    assert_eq!(lines[4]["operations"], "services");
    assert_eq!(lines[5]["bytes"].as_u64(), sum(&all, "bytes"));
    for line in &lines {
        assert_eq!((&line["tenant"], &line["by"]), (&"default".into(), key_id));
    }
    assert!(!server.log().contains("nex_"), "{}", server.log());
}

fn sum(all: &Value, field: &str) -> Option<u64> {
    all["operations"].as_array()?.iter().map(|one| one[field].as_u64()).sum()
}

/// Text is read by people: the line names itself. And who does not want it says so by its name.
#[test]
fn the_line_is_found_in_text_and_can_be_turned_off_by_name() {
    let home = Home::new();
    let mut server = home.serve();
    let key = server.first_key();
    invalidate(&server.client(&key), "/metrics").expect(200);
    let line = wait::until("the line", || {
        server.log().lines().find(|line| line.contains("audit: cache invalidated")).map(str::to_owned)
    });
    assert!(line.contains("tenant=default by=\"key_"), "{line}");
    drop(server);
    let mut server = home.serve_with(&[("RUST_LOG", "info,audit=off")]);
    invalidate(&server.client(&key), "/metrics").expect(200);
    assert!(server.terminate().success());
    let log = wait::until("the end of the log", || Some(server.log()).filter(|log| log.contains("draining")));
    assert!(!log.contains("audit"), "{log}");
}

/// Whoever asks later what was made old finds also what nobody knows.
#[test]
fn an_invalidation_that_the_database_did_not_confirm_is_a_line() {
    let home = Home::new();
    let mut server = home.serve_with(&[("LOG_FORMAT", "json")]);
    let key = server.first_key();
    let holder = Holder::take(&home);
    invalidate(&server.client(&key), "/services").expect(503);
    drop(holder);
    let line = audits(&server, 1).remove(0);
    assert_eq!(line["message"], "audit: cache invalidation not confirmed");
    let told = ["tenant", "scope", "outcome"].map(|field| line[field].as_str().unwrap());
    assert_eq!(told, ["default", "operation", "unknown"]);
    assert!(line["by"].as_str().unwrap().starts_with("key_"), "{line}");
}

#[test]
fn what_a_command_changes_of_rights_is_a_line_of_the_server() {
    let home = Home::new();
    let mut server = home.serve_with(&[("LOG_FORMAT", "json")]);
    let key = server.first_key();
    server.client(&key).get("/api/v1/cache/stats").expect(200);
    assert!(!server.log().contains("audit:"), "{}", server.log());
    home.key("default", "read");
    let line = audits(&server, 1).remove(0);
    assert_eq!(
        (&line["message"], &line["by"]),
        (&"audit: tenants or keys changed".into(), &"another process".into())
    );
}
