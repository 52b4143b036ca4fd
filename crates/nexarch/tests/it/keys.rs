//! Keys over HTTP and from the command line: made, used, rotated, revoked.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use nexarch_testkit::RedisServer;
use serde_json::{Value, json};

use crate::support::{
    admin::{Admin, OPEN, TENANTS},
    client::Client,
    encode::{native, otlp_protobuf},
    home::Home,
    server::Server,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";
const KEYS: &str = "/api/v1/admin/tenants/acme/keys";

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("{field} in {value}"))
}

/// A client with the secret of an answer.
fn client_of(server: &Server, made: &Value) -> Client {
    server.client(text(made, "key"))
}

/// A client is let in until a moment, told to the second and cut off, and is not when it asks a second later.
fn until_refused(client: &Client, end: &str) {
    let late_ns = |now: u64| i128::from(now) - i128::from(seconds(end)) * 1_000_000_000;
    let mut let_in = 0;
    wait::until("the end of a secret", || {
        let asked = wait::now_ns();
        let is_refused = client.get(OVERVIEW).status == 401;
        let_in = if is_refused { let_in } else { asked };
        is_refused.then_some(())
    });
    let refused = wait::now_ns();
    assert!(late_ns(refused) >= 0, "refused {} ns after {end}", late_ns(refused));
    assert!(late_ns(let_in) < 2_000_000_000, "let in {} ns after {end}", late_ns(let_in));
}

fn seconds(moment: &str) -> i64 {
    moment.parse::<jiff::Timestamp>().unwrap().as_second()
}

#[test]
fn a_key_is_made_shown_without_its_secret_and_revoked() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    admin.post(TENANTS, &json!({"id": "acme"})).expect(201);
    admin.post(TENANTS, &json!({"id": "other"})).expect(201);
    let reply = admin
        .post(KEYS, &json!({"scopes": ["read", "read"], "name": "Grafana", "expires": "90d"}))
        .expect(201);
    let made = reply.json();
    assert_eq!((text(&made, "tenant_id"), text(&made, "name")), ("acme", "Grafana"));
    assert_eq!(made["scopes"], json!(["read"]));
    assert!(text(&made, "key").starts_with("nex_") && made["old_secret_valid_until"].is_null(), "{made}");
    let ninety = seconds(text(&made, "expires_at")) - i64::try_from(wait::now_ns() / 1_000_000_000).unwrap();
    assert!((90 * 86_400 - 60..=90 * 86_400).contains(&ninety), "{made}");
    let path = format!("{KEYS}/{}", text(&made, "key_id"));
    assert_eq!(reply.header("Location"), path);
    let client = client_of(&server, &made);
    client.get(OVERVIEW).expect(200);

    let shown = admin.get(&path).ok();
    assert_eq!((text(&shown, "state"), &shown["scopes"]), ("active", &json!(["read"])));
    assert_eq!(text(&shown, "expires_at"), text(&made, "expires_at"));
    let plain = admin.key("acme", &json!({}));
    assert_eq!((&plain["scopes"], &plain["expires_at"]), (&json!(["ingest", "read"]), &Value::Null));
    let page = admin.get(&format!("{KEYS}?limit=1")).ok();
    assert_eq!((&page["keys"], &page["next_cursor"]), (&json!([shown]), &made["key_id"]));
    let next = admin.get(&format!("{KEYS}?limit=1&cursor={}", text(&page, "next_cursor"))).ok();
    assert_eq!((&next["keys"][0]["key_id"], &next["next_cursor"]), (&plain["key_id"], &Value::Null));
    let all = admin.get(KEYS).expect(200);
    assert!(!String::from_utf8_lossy(&all.body).contains("nex_"), "no secret in {all:?}");

    // Another tenant's key is none.
    for reply in [
        admin.get(&path.replace("acme", "other")),
        admin.delete(&path.replace("acme", "other")),
        admin.post(&path.replace("acme", "other").replace("key_", "key_x"), &json!({})),
        admin.post(&format!("{}/rotate", path.replace("acme", "other")), &json!({"grace": "0"})),
        admin.get(&format!("{KEYS}/nobody")),
        admin.get(&format!("{KEYS}/a%2fb")),
    ] {
        assert!(matches!(reply.status, 404 | 405), "{reply:?}");
    }
    client.get(OVERVIEW).expect(200);

    let revoked = admin.delete(&path).ok();
    assert_eq!(text(&revoked, "state"), "revoked");
    client.get(OVERVIEW).expect(401);
    assert_eq!(admin.delete(&path).ok()["revoked_at"], revoked["revoked_at"], "the first one counts");
    let refused = admin.post(&format!("{path}/rotate"), &json!({"grace": "0"})).expect(409);
    assert!(text(&refused.json(), "detail").contains("revoked"));
    let log = server.log_with("audit: key revoked");
    assert!(log.contains("audit: key created"), "{log}");
    let line =
        log.lines().find(|line| line.contains("audit: key created") && line.contains(text(&made, "key_id")));
    let line = line.unwrap_or_else(|| panic!("no line of the key in {log}"));
    let expires = format!("expires=\"{}\"", text(&made, "expires_at"));
    for part in ["scopes=\"read\"", &expires, "reach=\"cluster\""] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!log.contains("nex_"), "a secret in {log}");
}

#[test]
fn bodies_of_keys_are_checked() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    admin.post(TENANTS, &json!({"id": "acme"})).expect(201);
    for body in [
        json!({"scopes": []}),
        json!({"scopes": ["root"]}),
        json!({"scopes": "read"}),
        json!({"expires": "soon"}),
        json!({"expires": "0"}),
        json!({"expires": "2020-01-01T00:00:00Z"}),
        json!({"expires": 90}),
        json!({"name": "a\tb"}),
        json!({"secret": "nex_mine"}),
    ] {
        admin.post(KEYS, &body).expect(422);
    }
    assert_eq!(admin.get(KEYS).ok()["keys"], json!([]));
    admin.post("/api/v1/admin/tenants/nobody/keys", &json!({})).expect(404);
    let made = admin.key("acme", &json!({}));
    let rotate = format!("{KEYS}/{}/rotate", text(&made, "key_id"));
    for body in [json!({}), json!({"grace": "x"}), json!({"grace": 0}), json!({"grace": "0", "expires": "0"})]
    {
        admin.post(&rotate, &body).expect(422);
    }
    client_of(&server, &made).get(OVERVIEW).expect(200);
}

#[test]
fn a_rotation_has_no_gap_and_its_grace_ends_on_time() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    admin.post(TENANTS, &json!({"id": "acme"})).expect(201);
    let first = admin.key("acme", &json!({}));
    let path = format!("{KEYS}/{}", text(&first, "key_id"));
    let old = client_of(&server, &first);
    old.get(OVERVIEW).expect(200);

    let second = admin.post(&format!("{path}/rotate"), &json!({"grace": "3s"})).ok();
    assert_eq!((&second["key_id"], &second["scopes"]), (&first["key_id"], &first["scopes"]));
    assert_ne!(second["key"], first["key"]);
    let new = client_of(&server, &second);
    new.get(OVERVIEW).expect(200);
    old.get(OVERVIEW).expect(200);
    assert_eq!(admin.get(&path).ok()["old_secret_valid_until"], second["old_secret_valid_until"]);
    let end = text(&second, "old_secret_valid_until");
    until_refused(&old, end);
    let refused = old.get(OVERVIEW).expect(401).json();
    assert!(text(&refused, "detail").contains("rotation"), "{refused}");
    new.get(OVERVIEW).expect(200);
    assert_eq!(admin.get(&path).ok()["old_secret_valid_until"], Value::Null);

    // Without grace, at once; and what was granted before ends, too.
    let third = admin.post(&format!("{path}/rotate"), &json!({"grace": "1h", "expires": "2h"})).ok();
    assert!(!third["expires_at"].is_null(), "{third}");
    let fourth = admin.post(&format!("{path}/rotate"), &json!({"grace": "0"})).ok();
    assert_eq!(fourth["old_secret_valid_until"], Value::Null);
    assert_eq!(fourth["expires_at"], third["expires_at"], "it stays");
    for (secret, status) in [(&second, 401), (&third, 401), (&fourth, 200)] {
        client_of(&server, secret).get(OVERVIEW).expect(status);
    }
    let rotated = |log: &String| log.matches("audit: key rotated").count();
    let log =
        wait::until("three rotations in the log", || Some(server.log()).filter(|log| rotated(log) >= 3));
    assert_eq!(rotated(&log), 3, "{log}");
}

#[test]
fn commands_beside_the_server_rotate_revoke_and_expire() {
    let home = Home::new();
    let server = home.serve();
    home.tenant("acme");
    let made =
        home.json(["key", "create", "--tenant", "acme", "--expires", "3s", "--name", "short", "--json"]);
    let client = client_of(&server, &made);
    client.get(OVERVIEW).expect(200);
    until_refused(&client, text(&made, "expires_at"));
    assert!(String::from_utf8_lossy(&client.get(OVERVIEW).body).contains("expired"));

    let made = home.json(["key", "create", "--tenant", "acme", "--json"]);
    let (id, old) = (text(&made, "key_id"), client_of(&server, &made));
    old.get(OVERVIEW).expect(200);
    let rotated = home.json(["key", "rotate", id, "--grace", "0", "--json"]);
    old.get(OVERVIEW).expect(401);
    let new = client_of(&server, &rotated);
    new.get(OVERVIEW).expect(200);
    let rotated = home.output(["key", "rotate", id, "--grace", "1h"]);
    let said = String::from_utf8(rotated.stderr).unwrap();
    assert!(rotated.status.success() && said.contains("the old one is good until"), "{said}");
    let secret = String::from_utf8(rotated.stdout).unwrap();
    server.client(secret.trim()).get(OVERVIEW).expect(200);
    new.get(OVERVIEW).expect(200);
    let revoked = home.json(["key", "revoke", id, "--json"]);
    assert_eq!(text(&revoked, "state"), "revoked");
    new.get(OVERVIEW).expect(401);
    server.client(secret.trim()).get(OVERVIEW).expect(401);
    assert_eq!(home.output(["key", "rotate", id]).status.code(), Some(2), "the grace has to be stated");
    assert_eq!(home.output(["key", "rotate", id, "--grace", "0"]).status.code(), Some(1), "it is revoked");

    let listed = String::from_utf8(home.output(["key", "list", "--tenant", "acme"]).stdout).unwrap();
    let heading: Vec<usize> = ["NAME", "SCOPES", "CREATED", "LAST USED", "STATE"]
        .map(|column| listed.lines().next().unwrap().find(column).unwrap())
        .into();
    for line in listed.lines() {
        // Every column begins behind a blank.
        assert!(heading.iter().all(|at| line.as_bytes()[at - 1] == b' '), "{listed}");
    }
    assert!(
        listed.contains("expired 20") && listed.contains("revoked 20") && !listed.contains("nex_"),
        "{listed}"
    );
}

#[test]
fn the_last_use_is_shown_at_once_and_stored_when_the_server_stops() {
    let home = Home::new();
    let mut server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    admin.post(TENANTS, &json!({"id": "acme"})).expect(201);
    let made = admin.key("acme", &json!({}));
    let path = format!("{KEYS}/{}", text(&made, "key_id"));
    assert_eq!(admin.get(&path).ok()["last_used_at"], Value::Null);
    let client = client_of(&server, &made);
    let began = i64::try_from(wait::now_ns() / 1_000_000_000).unwrap();
    for _ in 0..50 {
        client.get(OVERVIEW).expect(200);
    }
    client.batch(&native(&call(1))).expect(202);
    let shown = admin.get(&path).ok();
    let used = seconds(text(&shown, "last_used_at"));
    assert!((began..=began + 60).contains(&used), "{shown}");
    let stored =
        |home: &Home| home.json(["key", "list", "--tenant", "acme", "--json"])[0]["last_used_at"].clone();
    assert_eq!(stored(&home), Value::Null, "no request writes to the database");
    // What the server remembers of keys is dropped with any change of them; what it knows of their uses is not.
    admin.key("acme", &json!({}));
    assert_eq!(admin.get(&path).ok()["last_used_at"], shown["last_used_at"]);
    assert!(server.terminate().success());
    assert_eq!(stored(&home), shown["last_used_at"]);
}

/// The values of a deleted tenant are put back into Redis, as a node that was cut off might do: nobody reads them.
#[test]
fn a_tenant_that_comes_back_sees_nothing_of_the_one_before() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let home = Home::new();
    let server = home.serve_with(&[OPEN, ("REDIS_URL", &url)]);
    let admin = Admin::of(&server);
    let key = admin.tenant("acme");
    let client = server.client(&key);
    wait::until("Redis", || (client.get("/api/v1/cache/health").ok()["status"] == "connected").then_some(()));
    client.batch(&native(&call(1))).expect(202);
    assert_eq!(client.total_spans(), 3);
    let names = || redis.cli(&["--scan", "--pattern", "nexarch:acme:dashboard_overview:*"]);
    let name = wait::until("the value in Redis", || names().lines().next().map(str::to_owned));
    let copied = redis.cli(&["COPY", &name, "kept"]);
    assert_eq!(copied.trim(), "1");

    let deleted = admin.delete("/api/v1/admin/tenants/acme").ok();
    assert_eq!(
        deleted,
        json!({"status": "success", "tenant_id": "acme", "purged": true, "redis": "removed"})
    );
    assert_eq!(names().trim(), "");
    client.get(OVERVIEW).expect(401);
    admin.get("/api/v1/admin/tenants/acme").expect(404);
    admin.delete("/api/v1/admin/tenants/acme").expect(404);

    let key = admin.tenant("acme");
    assert_eq!(redis.cli(&["COPY", "kept", &name]).trim(), "1");
    let client = server.client(&key);
    let reply = client.get(OVERVIEW);
    assert_eq!(
        reply.header("Cache-Status").split("; ttl").next(),
        Some("nexarch; fwd=miss; stored"),
        "{reply:?}"
    );
    assert_eq!(reply.ok()["total_spans"], 0);
    assert_eq!(client.total_spans(), 0, "from memory");
    let stats = client.get("/api/v1/cache/stats").ok();
    assert_eq!(stats["totals"]["requests"], 2, "counted from the beginning: {stats}");
    // It begins with nothing, and goes on like any other.
    client.batch(&native(&call(1))).expect(202);
    assert_eq!(client.total_spans(), 3);
}

/// A body may take minutes, and its key is looked at when the head has come: what happens to the key meanwhile counts.
#[test]
fn a_body_under_way_does_not_outlive_its_key_or_its_tenant() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    let watcher = server.client(&admin.tenant("watcher"));
    admin.post(TENANTS, &json!({"id": "acme"})).expect(201);
    for end in ["revoked", "made anew"] {
        let made = admin.key("acme", &json!({"scopes": ["ingest"]}));
        let body = otlp_protobuf(&call(1));
        let (most, last) = body.split_at(body.len() - 1);
        let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/x-protobuf\r\nContent-Length: {}\r\n\r\n",
            text(&made, "key"),
            body.len()
        );
        stream.write_all(&[head.as_bytes(), most].concat()).unwrap();
        wait::until("the request to be under way", || {
            let queue = watcher.get("/api/v1/ingest/stats").ok()["queue"].clone();
            (queue["inflight_bytes"].as_u64() > Some(0)).then_some(())
        });
        if end == "revoked" {
            admin.delete(&format!("{KEYS}/{}", text(&made, "key_id"))).expect(200);
        } else {
            admin.delete("/api/v1/admin/tenants/acme");
            admin.post(TENANTS, &json!({"id": "acme"})).expect(201);
        }
        stream.write_all(last).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 401"), "{end}: {answer}");
        let key = admin.key("acme", &json!({"scopes": ["read"]}));
        assert_eq!(client_of(&server, &key).total_spans(), 0, "{end}");
    }
}
