//! The admin API: closed without a secret, and all of tenants with it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{
    admin::{Admin, OPEN, SECRET, TENANTS},
    client::{Body, Client, Reply},
    encode::{native, otlp_protobuf},
    events::Events,
    grpc::Grpc,
    home::Home,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

/// Every route and every method that it knows.
const ROUTES: [(&str, &str); 11] = [
    ("GET", "/api/v1/admin/tenants"),
    ("POST", "/api/v1/admin/tenants"),
    ("GET", "/api/v1/admin/tenants/default"),
    ("PATCH", "/api/v1/admin/tenants/default"),
    ("DELETE", "/api/v1/admin/tenants/default"),
    ("GET", "/api/v1/admin/tenants/default/keys"),
    ("POST", "/api/v1/admin/tenants/default/keys"),
    ("GET", "/api/v1/admin/tenants/default/keys/key_x"),
    ("DELETE", "/api/v1/admin/tenants/default/keys/key_x"),
    ("POST", "/api/v1/admin/tenants/default/keys/key_x/rotate"),
    ("GET", "/api/v1/admin/cache/stats"),
];

#[track_caller]
fn problem(reply: Reply, status: u16) -> Value {
    let reply = reply.expect(status);
    assert_eq!(reply.header("Content-Type"), "application/problem+json");
    let body = reply.json();
    assert_eq!(body["status"], status, "{body}");
    body
}

/// What a 404 says when its path is left out.
fn nothing_at(reply: Reply, path: &str) -> String {
    problem(reply, 404).to_string().replace(path, "PATH")
}

#[test]
fn without_a_secret_nothing_is_there() {
    let home = Home::new();
    // An empty value is unset.
    for settings in [[("ADMIN_SECRET_KEY", "")].as_slice(), &[]] {
        let server = home.serve_with(settings);
        let stranger = server.stranger();
        let elsewhere = nothing_at(stranger.get("/api/v1/nothing"), "/api/v1/nothing");
        let more = [
            ("PUT", "/api/v1/admin/tenants"),
            ("GET", "/api/v1/admin"),
            ("GET", "/api/v1/admin/cache/stats"),
        ];
        for (method, path) in ROUTES.into_iter().chain(more) {
            for key in ["", SECRET] {
                let reply = stranger.send(method, path, &[("X-Admin-Key", key)], &Body::None);
                assert_eq!(reply.header("Allow"), "");
                assert_eq!(nothing_at(reply, path), elsewhere, "{method} {path}");
            }
        }
    }
}

#[test]
fn only_the_secret_opens_and_a_wrong_one_learns_nothing() {
    let home = Home::new();
    let mut server = home.serve_with(&[OPEN]);
    let key = server.first_key();
    let stranger = server.stranger();
    let wrong: [&[(&str, &str)]; 7] = [
        &[],
        &[("X-Admin-Key", "")],
        &[("X-Admin-Key", &SECRET[..SECRET.len() - 1])],
        &[("X-Admin-Key", "correct horse batterz")],
        &[("X-Admin-Key", &key)],
        &[("X-Admin-Key", SECRET), ("X-Admin-Key", SECRET)],
        &[("X-API-Key", SECRET), ("Authorization", "Bearer correct horse battery")],
    ];
    let mut said: Vec<String> = Vec::new();
    for (method, path) in ROUTES {
        for headers in wrong {
            let reply = stranger.send(method, path, headers, &Body::None);
            assert!(reply.header("WWW-Authenticate").starts_with("X-Admin-Key "), "{reply:?}");
            said.push(problem(reply, 401).to_string());
        }
    }
    said.dedup();
    assert_eq!(said.len(), 1, "one answer for all: {said:?}");
    // The tenant is still there, and an API key of it opens its own things only.
    server.client(&key).get(OVERVIEW).expect(200);
    Admin::of(&server).get(TENANTS).expect(200);
    let log = server.log_with("a wrong X-Admin-Key was refused");
    assert_eq!(log.matches("X-Admin-Key was refused").count(), 1, "told once: {log}");
    assert!(!log.contains("horse") && !log.contains(&key), "a secret in {log}");
}

#[test]
fn the_secret_is_a_secret_of_the_configuration() {
    let home = Home::new();
    for short in ["hunter2", "eleven char"] {
        let output = home.command(["serve"]).env("ADMIN_SECRET_KEY", short).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains("ADMIN_SECRET_KEY") && said.contains("at least 12"), "{said}");
        assert!(!said.contains(short), "a secret in {said}");
    }
    let file = home.path().join("admin-secret");
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    let settings = [("ADMIN_SECRET_KEY_FILE", file.to_str().unwrap())];
    let server = home.serve_with(&settings);
    Admin::of(&server).get(TENANTS).expect(200);
    let shown = home.command(["serve", "--print-config"]).envs(settings).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("ADMIN_SECRET_KEY=****") && !shown.contains("horse"), "{shown}");
}

#[test]
fn tenants_are_made_shown_changed_and_listed_page_by_page() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    let made = admin.post(TENANTS, &json!({"id": "acme", "name": "Äcme Inc."})).expect(201);
    assert_eq!(made.header("Location"), "/api/v1/admin/tenants/acme");
    let acme = made.json();
    assert_eq!(
        (&acme["id"], &acme["name"], &acme["enabled"]),
        (&json!("acme"), &json!("Äcme Inc."), &json!(true))
    );
    assert!(acme["created_at"].as_str().unwrap().ends_with('Z'), "{acme}");
    assert_eq!(admin.get(made.header("Location")).ok(), acme);
    assert_eq!(admin.post(TENANTS, &json!({"id": "zoo"})).expect(201).json()["name"], "zoo");
    problem(admin.post(TENANTS, &json!({"id": "zoo"})), 409);

    // `default`, acme, zoo, in pages of two.
    let first = admin.get("/api/v1/admin/tenants?limit=2").ok();
    let ids = |page: &Value| -> Vec<String> {
        page["tenants"].as_array().unwrap().iter().map(|t| t["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (ids(&first), &first["next_cursor"]),
        (vec!["acme".into(), "default".into()], &json!("default"))
    );
    let next = admin.get("/api/v1/admin/tenants?limit=2&cursor=default").ok();
    assert_eq!((ids(&next), &next["next_cursor"]), (vec!["zoo".to_owned()], &Value::Null));
    assert_eq!(ids(&admin.get(TENANTS).ok()), ["acme", "default", "zoo"]);
    // What the command line shows is the same.
    let listed = home.json(["tenant", "list", "--json"]);
    assert_eq!(listed, admin.get(TENANTS).ok()["tenants"]);

    let path = "/api/v1/admin/tenants/acme";
    let renamed = admin.patch(path, &json!({"name": "Acme"})).ok();
    assert_eq!((&renamed["name"], &renamed["enabled"]), (&json!("Acme"), &json!(true)));
    let both = admin.patch(path, &json!({"name": "A", "enabled": false})).ok();
    assert_eq!((&both["name"], &both["enabled"]), (&json!("A"), &json!(false)));
    assert_eq!(admin.patch(path, &json!({})).ok(), both);
    assert_eq!(admin.get(path).ok(), both);
    for what in [
        "audit: tenant created",
        "audit: tenant renamed tenant=acme by=\"admin\" name=\"Acme\" reach=\"cluster\"",
        "audit: tenant renamed and disabled",
    ] {
        server.log_with(what);
    }
}

#[test]
fn what_makes_no_sense_is_named_and_changes_nothing() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    let before = admin.get(TENANTS).ok();
    for (body, status) in [
        (json!({"id": "Upper"}), 422),
        (json!({"id": ""}), 422),
        (json!({"id": "a".repeat(64)}), 422),
        (json!({"id": "a:b"}), 422),
        (json!({"id": "ok", "name": "two\nlines"}), 422),
        (json!({"id": "ok", "name": "x".repeat(201)}), 422),
        (json!({"id": "ok", "colour": "red"}), 422),
        (json!({"name": "nobody"}), 422),
        (json!(["ok"]), 422),
        (json!({"id": 5}), 422),
        (json!({"id": "ok", "name": "x".repeat(20_000)}), 413),
    ] {
        problem(admin.post(TENANTS, &body), status);
    }
    problem(admin.send("POST", TENANTS, b"{\"id\": "), 400);
    problem(admin.send("POST", TENANTS, b""), 400);
    problem(admin.send("POST", "/api/v1/admin/tenants?force=1", b"{}"), 400);
    let plain = [("X-Admin-Key", SECRET), ("Content-Type", "text/plain")];
    problem(server.stranger().send("POST", TENANTS, &plain, &Body::Sized(b"{\"id\":\"ok\"}")), 415);
    for body in
        [json!({"name": null}), json!({"enabled": null}), json!({"enabled": "no"}), json!({"id": "other"})]
    {
        problem(admin.patch("/api/v1/admin/tenants/default", &body), 422);
    }
    for wrong in
        ["limit=0", "limit=1001", "limit=x", "cursor=No%20Tenant", "page=2", "limit=1&limit=2", "limit=%zz"]
    {
        problem(admin.get(&format!("{TENANTS}?{wrong}")), 400);
    }
    for path in ["nobody", "%2e%2e", "..%2fdefault", "default%2fkeys", "DEFAULT", "%C3%A4", "*"] {
        problem(admin.get(&format!("{TENANTS}/{path}")), 404);
        problem(admin.patch(&format!("{TENANTS}/{path}"), &json!({"enabled": false})), 404);
        problem(admin.delete(&format!("{TENANTS}/{path}")), 404);
    }
    problem(admin.get(&format!("{TENANTS}/%zz")), 400);
    problem(admin.get("/api/v1/admin/nothing"), 404);
    let reply = admin.delete(TENANTS).expect(405);
    assert!(reply.header("Allow").contains("POST"), "{reply:?}");
    assert_eq!(admin.get(TENANTS).ok(), before);
}

#[test]
fn a_disabled_tenant_is_refused_by_every_way_in_before_the_answer() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    let admin = Admin::of(&server);
    let key = admin.tenant("acme");
    let client = server.client(&key);
    let grpc = Grpc::connect(server.base().trim_start_matches("http://"), &key);
    let way = |path: &str| admin.patch("/api/v1/admin/tenants/acme", &json!({"enabled": path == "on"})).ok();
    // The best of a few: a busy machine is not what is looked at.
    let (mut round, mut best) = (0, Duration::MAX);
    while round < 2 || best >= Duration::from_secs(1) {
        assert!(round < 5, "a stream went on for {best:?}");
        round += 1;
        client.batch(&native(&call(round))).expect(202);
        grpc.export(&otlp_protobuf(&call(round + 10))).expect(0);
        client.get(OVERVIEW).expect(200);
        let listening = Events::open(server.base(), &key, None);
        way("off");
        problem(client.get(OVERVIEW), 403);
        problem(client.batch(&native(&call(7))), 403);
        client.otlp_protobuf(&otlp_protobuf(&call(7))).expect(403);
        grpc.export(&otlp_protobuf(&call(7))).expect(7);
        let (said, time) = wait::timed(|| listening.end());
        assert_eq!(said, ["the tenant is disabled"]);
        best = best.min(time);
        way("on");
    }
    assert_eq!(u128::from(client.total_spans()), 6 * round, "and nothing of what was refused is kept");
}

/// Beside the server: whoever writes to the database is not waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_beside_the_server_is_acted_on_within_a_second() {
    let home = Home::new();
    let server = home.serve_with(&[OPEN]);
    Admin::of(&server).tenant("acme");
    let acme = "acme".parse().unwrap();
    let options = nexarch_store::Options::new(nexarch_store::Role::Guest, || wait::now_ns() / 1_000);
    let url = format!("sqlite://{}", home.database().display());
    let store = nexarch_store::open(&url, options).await.unwrap();
    let until = |client: &Client, status: u16, what: &str| {
        wait::timed(|| wait::until(what, || (client.get(OVERVIEW).status == status).then_some(()))).1
    };
    // The best of a few: a busy machine is not what is looked at.
    let (mut rounds, mut best) = (0, [Duration::MAX; 3]);
    while rounds < 2 || best.iter().any(|time| *time >= Duration::from_secs(1)) {
        assert!(rounds < 5, "disabled, enabled, revoked after {best:?}");
        rounds += 1;
        let scopes = [nexarch_store::Scope::Read, nexarch_store::Scope::Ingest];
        let (made, key) = nexarch::auth::create_key(&*store, &acme, "", &scopes, None).await.unwrap();
        let client = server.client(key.expose());
        client.get(OVERVIEW).expect(200);
        store.set_tenant_enabled(&acme, false).await.unwrap();
        let disabled = until(&client, 403, "a disabled tenant");
        client.batch(&native(&call(1))).expect(403);
        store.set_tenant_enabled(&acme, true).await.unwrap();
        let enabled = until(&client, 200, "an enabled tenant");
        store.revoke_key(&made.id).await.unwrap();
        let revoked = until(&client, 401, "a revoked key");
        for (best, time) in best.iter_mut().zip([disabled, enabled, revoked]) {
            *best = (*best).min(time);
        }
    }
    store.delete_tenant(&acme).await.unwrap();
    store.close().await;
}
