//! Who may do what: the key decides, and nothing else.

use serde_json::json;

use crate::support::{
    client::{Body, Reply},
    encode::native,
    home::Home,
    spans::call,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

/// Asserts a status with a body as RFC 9457 has it.
#[track_caller]
fn problem(reply: Reply, status: u16) -> Reply {
    let reply = reply.expect(status);
    assert_eq!(reply.header("Content-Type"), "application/problem+json");
    let body = reply.json();
    assert_eq!(body["status"], status, "{body}");
    for field in ["type", "title", "detail"] {
        assert!(body[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {body}");
    }
    assert_eq!(!reply.header("WWW-Authenticate").is_empty(), status == 401);
    reply
}

#[test]
fn a_key_is_needed_and_one_is_enough() {
    let home = Home::new();
    let (acme, other) = (home.tenant("acme"), home.tenant("other"));
    let server = home.serve();
    let stranger = server.stranger();
    let bearer = |key: &str| format!("Bearer {key}");

    problem(stranger.get(OVERVIEW), 401);
    problem(stranger.get_with(OVERVIEW, &[("X-API-Key", "")]), 401);
    problem(stranger.get_with(OVERVIEW, &[("X-API-Key", "nex_unknown")]), 401);
    problem(stranger.get_with(OVERVIEW, &[("Authorization", "Basic YTpi")]), 401);
    problem(stranger.get_with(OVERVIEW, &[("X-API-Key", &acme[..acme.len() - 1])]), 401);

    stranger.get_with(OVERVIEW, &[("X-API-Key", &acme)]).expect(200);
    stranger.get_with(OVERVIEW, &[("Authorization", &bearer(&acme))]).expect(200);
    stranger.get_with(OVERVIEW, &[("Authorization", &format!("bearer {acme}"))]).expect(200);
    stranger.get_with(OVERVIEW, &[("X-API-Key", &acme), ("Authorization", &bearer(&acme))]).expect(200);

    let two = problem(
        stranger.get_with(OVERVIEW, &[("X-API-Key", &acme), ("Authorization", &bearer(&other))]),
        400,
    );
    let two = String::from_utf8(two.body).unwrap();
    assert!(!two.contains(&acme) && !two.contains(&other), "a secret in {two}");
    problem(stranger.get_with(OVERVIEW, &[("X-API-Key", &acme), ("X-API-Key", &other)]), 400);
    problem(
        stranger.get_with(OVERVIEW, &[("X-API-Key", &acme), ("Authorization", "Bearer nex_unknown")]),
        400,
    );

    for path in ["/api/v1/health", "/api/v1/health/ready", "/api/v1/cache/health"] {
        stranger.get(path).expect(200);
    }
    assert!(!server.log().contains(&acme), "a secret in the log");
}

#[test]
fn a_scope_opens_its_own_routes_only() {
    let home = Home::new();
    home.tenant("acme");
    let server = home.serve();
    let [ingest, read, admin] =
        ["ingest", "read", "admin"].map(|scope| server.client(&home.key("acme", scope)));
    let spans = native(&call(1));

    ingest.batch(&spans).expect(202);
    problem(read.batch(&spans), 403);
    problem(admin.batch(&spans), 403);

    for path in [OVERVIEW, "/api/v1/ingest/stats", "/api/v1/cache/stats"] {
        read.get(path).expect(200);
        problem(ingest.get(path), 403);
        problem(admin.get(path), 403);
    }
    let path = "/api/v1/cache/invalidate";
    admin.send("DELETE", path, &[], &Body::None).expect(200);
    problem(read.send("DELETE", path, &[], &Body::None), 403);
    problem(ingest.send("DELETE", path, &[], &Body::None), 403);
}

#[test]
fn a_revoked_key_and_a_disabled_tenant_are_refused_when_the_command_returns() {
    let home = Home::new();
    let server = home.serve();
    // Both are created beside the running server.
    let key = home.tenant("acme");
    let made = home.json(["key", "create", "--tenant", "acme", "--scope", "read", "--json"]);
    let doomed = server.client(made["key"].as_str().unwrap());
    let client = server.client(&key);
    doomed.get(OVERVIEW).expect(200);
    client.get(OVERVIEW).expect(200);

    let output = home.output(["key", "revoke", made["key_id"].as_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    problem(doomed.get(OVERVIEW), 401);
    client.get(OVERVIEW).expect(200);

    assert!(home.output(["tenant", "disable", "acme"]).status.success());
    problem(client.get(OVERVIEW), 403);
    problem(client.batch(&native(&call(1))), 403);
    assert!(home.output(["tenant", "enable", "acme"]).status.success());
    assert_eq!(client.total_spans(), 0);
}

#[test]
fn a_tenant_cannot_be_chosen_by_anything_but_the_key() {
    let home = Home::new();
    let (acme, other) = (home.tenant("acme"), home.tenant("other"));
    let server = home.serve();
    let (acme, other) = (server.client(&acme), server.client(&other));
    acme.batch(&native(&call(1))).expect(202);

    let headers = [("X-Tenant-ID", "acme"), ("X-Tenant", "acme"), ("Nexarch-Tenant", "acme")];
    assert_eq!(other.get_with(OVERVIEW, &headers).ok()["total_spans"], 0);
    problem(other.get("/api/v1/dashboard/overview?tenant=acme"), 400);
    problem(other.get("/api/v1/dashboard/overview?tenant_id=acme"), 400);
    let trace = format!("/api/v1/traces/{:032x}", 1);
    problem(other.get(&trace), 404);
    acme.get(&trace).expect(200);
    assert_eq!(other.get("/api/v1/cache/stats").ok()["tenant_id"], json!("other"));
}

#[test]
fn wrong_addresses_and_parameters_are_named() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    for route in ["overview", "architecture-map", "services"] {
        let path = |query: &str| format!("/api/v1/dashboard/{route}?{query}");
        client.get(&path("window=1h")).expect(200);
        for wrong in [
            "windw=1h",
            "window=90m",
            "window=1h&window=1h",
            "window=1h&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z",
            "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
            "from=2026-01-01T00:00:00Z",
            "from=soon&to=later",
            "environment=%zz",
        ] {
            problem(client.get(&path(wrong)), 400);
        }
        let named = problem(client.get(&path("windw=1h")), 400);
        assert!(String::from_utf8(named.body).unwrap().contains("windw"));
    }
    problem(client.get("/api/v1/ingest/stats?x=1"), 400);
    problem(client.get("/api/v1/cache/stats?x=1"), 400);
    problem(client.get("/api/v1/nothing"), 404);
    problem(client.get("/api/v1/traces/xyz"), 400);
    problem(client.get("/api/v1/traces/0123456789abcdef"), 404);
    let reply = problem(client.send("DELETE", OVERVIEW, &[], &Body::None), 405);
    assert!(reply.header("Allow").contains("GET"), "{:?}", reply.headers);
}
