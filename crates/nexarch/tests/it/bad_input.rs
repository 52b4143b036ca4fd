//! What no client should send: each route says what is wrong, in the same form, and does nothing.

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    home::Home,
    routes::CACHED,
    spans::call,
};

/// Routes that manage the cache, with their method.
const MANAGEMENT: [(&str, &str); 6] = [
    ("GET", "/api/v1/cache/stats"),
    ("GET", "/api/v1/cache/health"),
    ("DELETE", "/api/v1/cache/invalidate"),
    ("DELETE", "/api/v1/cache/invalidate/services"),
    ("POST", "/api/v1/cache/warm"),
    ("POST", "/api/v1/cache/warm/services"),
];

fn send(client: &Client, method: &str, path: &str) -> Reply {
    client.send(method, path, &[], &Body::None)
}

/// A problem of one of these statuses, in words that end and that do not repeat a long input.
#[track_caller]
fn problem(reply: &Reply, what: &str, statuses: &[u16]) -> String {
    assert!(
        statuses.contains(&reply.status),
        "{what}: {} {}",
        reply.status,
        String::from_utf8_lossy(&reply.body)
    );
    assert_eq!(reply.header("Content-Type"), "application/problem+json", "{what}");
    let body = reply.json();
    assert_eq!(body["status"], reply.status, "{what}");
    let detail = body["detail"].as_str().unwrap_or_default().to_owned();
    assert!(!detail.is_empty() && detail.len() < 1_500, "{what}: {} bytes", detail.len());
    detail
}

fn with(path: &str, query: &str) -> String {
    format!("{path}{}{query}", if path.contains('?') { '&' } else { '?' })
}

#[test]
fn parameters_that_are_wrong_are_named_on_every_route() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let long = format!("window={}", "x".repeat(10_000));
    let unknown = format!("{}=1", "y".repeat(10_000));
    let ranged = |path: &str| !path.contains("base=");
    let cached = CACHED.iter().map(|cached| ("GET", cached.path));
    for (method, path) in cached.chain(MANAGEMENT) {
        for query in ["windw=1h", "limit=1", "%2A=1", "%77indow=1h&nope=1", "=1", "window%00=1h", &unknown] {
            let detail = problem(&send(&client, method, &with(path, query)), &with(path, query), &[400]);
            assert!(detail.contains("unknown query parameter"), "{path}: {detail}");
        }
        for query in ["window=%f", "window=%", "%zz=1", "window=%ff%fe", "%c3%28=1", "environment=%ed%a0%80"]
        {
            problem(&send(&client, method, &with(path, query)), &with(path, query), &[400]);
        }
        let takes_range =
            path.contains("warm") || (method == "GET" && !path.contains("cache") && ranged(path));
        if !takes_range {
            continue;
        }
        for (query, says) in [
            ("window=1h&window=1h", "twice"),
            ("window=1h&%77indow=6h", "twice"),
            ("environment=a&environment=b", "twice"),
            ("window=1h&from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00Z", "window"),
            ("window=1h&from=2026-01-01T00:00:00Z", "window"),
            ("from=2026-01-01T00:00:00Z", "to"),
            ("to=2026-01-01T00:00:00Z", "from"),
            ("from=2026-01-01T01:00:00Z&to=2026-01-01T00:00:00Z", "from"),
            ("from=yesterday&to=today", "from"),
            ("window=2h", "window"),
            ("window=1h%20", "window"),
            ("window=-1h", "window"),
            ("window=*", "window"),
            ("window=..", "window"),
            (long.as_str(), "longer"),
        ] {
            let detail = problem(&send(&client, method, &with(path, query)), &with(path, query), &[400]);
            assert!(detail.contains(says), "{path}?{query}: {detail}");
        }
        // No environment that nobody has is an error: there is just nothing in it.
        let empty = [200, 404];
        let reply = send(&client, method, &with(path, "environment=%2A%2F..%00%E2%80%AE"));
        assert!(empty.contains(&reply.status), "{path}: {}", reply.status);
    }
    // Nothing of it was computed, invalidated or kept but that.
    assert_eq!(client.get("/api/v1/cache/stats").ok()["operations"]["services"]["invalidations"], 1);
}

#[test]
fn names_in_paths_are_one_name_or_nothing() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    client.batch(&native(&call(1))).expect(202);
    let long = "z".repeat(10_000);
    let names = [
        "%2A",
        "*",
        "..",
        ".",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "a%2Fb",
        "services%2F",
        "%2Fservices",
        "services%00",
        "SERVICES",
        "services%20",
        "serv%69cesx",
        "architecture_map%7Cx",
        "nexarch:acme:services:0",
        "%E2%80%AE",
        "'--",
        "🦀",
        &long,
    ];
    for name in names {
        let encoded = name.replace('🦀', "%F0%9F%A6%80");
        for (method, prefix, suffix) in [
            ("DELETE", "/api/v1/cache/invalidate/", ""),
            ("POST", "/api/v1/cache/warm/", ""),
            ("GET", "/api/v1/dashboard/services/", ""),
            ("GET", "/api/v1/dashboard/services/", "/metrics"),
        ] {
            let path = format!("{prefix}{encoded}{suffix}");
            problem(&send(&client, method, &path), &path[..path.len().min(120)], &[400, 404, 414]);
        }
    }
    for broken in ["%", "%2", "%zz", "%ff", "a%C3%28"] {
        for (method, prefix) in [
            ("DELETE", "/api/v1/cache/invalidate/"),
            ("POST", "/api/v1/cache/warm/"),
            ("GET", "/api/v1/dashboard/services/"),
        ] {
            let path = format!("{prefix}{broken}");
            problem(&send(&client, method, &path), &path, &[400]);
        }
    }
    // A name is exact: one that is spelt in another way by encoding is the same name.
    assert_eq!(
        send(&client, "DELETE", "/api/v1/cache/invalidate/%73ervices").ok()["operations"][0],
        "services"
    );
    for path in
        ["/api/v1/cache/invalidate/", "/api/v1/cache/invalidate/services/", "/api/v1/cache//invalidate"]
    {
        problem(&send(&client, "DELETE", path), path, &[404]);
    }
    let stats = client.get("/api/v1/cache/stats").ok();
    assert_eq!(
        stats["operations"]["services"]["invalidations"], 2,
        "one ingest, one invalidation that was meant"
    );
    assert_eq!(stats["operations"]["metrics"]["invalidations"], 1, "only the ingest");
}

#[test]
fn patterns_match_names_and_nothing_else() {
    let home = Home::new();
    let mut server = home.serve();
    let client = server.first_client();
    let invalidate =
        |pattern: &str| send(&client, "DELETE", &format!("/api/v1/cache/invalidate?pattern={pattern}"));
    for (pattern, matching) in [
        ("%2A", 6),
        ("*", 6),
        ("**", 6),
        ("?*", 6),
        ("services", 1),
        ("serv%3Fces", 1),
        ("s*", 2),
        ("*_*_*", 0),
        ("", 0),
        ("..", 0),
        ("%2F*", 0),
        ("[a-z]*", 0),
        ("{services,metrics}", 0),
        (".*", 0),
        ("^services$", 0),
        ("SERVICES", 0),
        ("services%00", 0),
        ("nexarch:*", 0),
        ("acme*", 0),
        ("%5C*", 0),
        ("%F0%9F%A6%80*", 0),
    ] {
        let answer = invalidate(pattern).ok();
        let operations = answer["operations"].as_array().unwrap();
        assert_eq!(operations.len(), matching, "{pattern}: {answer}");
        assert_eq!(answer["scope"], "pattern", "{pattern}");
    }
    assert_eq!(invalidate(&"*".repeat(128)).status, 200);
    for long in ["*".repeat(129), "a".repeat(1_024)] {
        problem(&invalidate(&long), "a long pattern", &[400]);
    }
    problem(&invalidate(&"a".repeat(10_000)), "a longer pattern", &[400]);
    problem(&invalidate("%ff"), "no UTF-8", &[400]);
    problem(&invalidate("a&pattern=b"), "two patterns", &[400]);
}
