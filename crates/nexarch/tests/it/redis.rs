//! The server with a real Redis behind its memory: what the start says, what a loss costs (nothing), how it comes back,
//! and what another database on the same Redis sees (nothing).

use std::{fs, sync::Arc};

use nexarch_testkit::{Certificates, FaultProxy, RedisCluster, RedisServer};
use serde_json::Value;

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    home::Home,
    server::Server,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

/// No call to Redis is given up because the machine is busy.
const PATIENT: (&str, &str) = ("REDIS_TIMEOUT_MS", "30000");

fn tier(reply: &Reply) -> &str {
    let text = reply.header("Cache-Status");
    text.split("; ttl=").next().unwrap_or(text)
}

fn health(client: &Client) -> Value {
    client.get("/api/v1/cache/health").ok()
}

/// Waits until health has these words.
fn until_health(client: &Client, backend: &str, status: &str) -> Value {
    wait::until(&format!("the cache to be {backend}, {status}"), || {
        let health = health(client);
        (health["backend"] == backend && health["status"] == status).then_some(health)
    })
}

/// Waits until Redis holds values of the tenant: they are written behind the answer.
fn until_stored(redis: &RedisServer, pattern: &str) -> Vec<String> {
    wait::until("a value in Redis", || {
        let keys = redis.cli(&["--scan", "--pattern", pattern]);
        let keys: Vec<String> = keys.lines().map(str::to_owned).filter(|key| !key.is_empty()).collect();
        (!keys.is_empty()).then_some(keys)
    })
}

#[test]
fn the_start_says_where_values_are_kept() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let (_home, mut server, line) = Home::started(&[("REDIS_URL", &url)]);
    assert_eq!(line, format!("cache: Redis initialized (127.0.0.1:{}, no TLS, standalone)", redis.port()));
    let client = server.first_client();
    let health = until_health(&client, "redis", "connected");
    assert_eq!(health["mode"], "pubsub");
    assert_eq!(health["healthy"], true);
    assert_eq!(health["reason"], Value::Null);
    assert_eq!(health["staleness_bound_ms"], 0, "one server for a file");
    let stats = client.get("/api/v1/cache/stats").ok();
    assert_eq!((&stats["backend"], &stats["status"]), (&"redis".into(), &"connected".into()));
    assert_eq!(stats["redis"]["coherence"], "pubsub");
    assert_eq!(stats["redis"]["breaker"], "closed");
}

#[test]
fn what_is_wrong_with_redis_is_said_in_one_word_and_costs_no_start() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let with_password = RedisServer::builder().password("right").start();
    let with_tls = RedisServer::builder().tls(&certificates).start();
    let nobody = FaultProxy::start(with_password.address());
    nobody.refuse();
    let wrong_password = format!("redis://:wrong@{}", with_password.address());
    let wrong_ca = format!("rediss://localhost:{}", with_tls.port());
    let wrong_port = format!("redis://{}", nobody.address());
    for (url, reason) in [(&wrong_password, "auth"), (&wrong_ca, "tls"), (&wrong_port, "refused")] {
        let (_home, mut server, line) = Home::started(&[("REDIS_URL", url)]);
        let expected = format!("cache: In-memory cache initialized (fallback: {reason})");
        assert_eq!(line, expected, "{}", server.log());
        let client = server.first_client();
        let health = until_health(&client, "memory", "degraded");
        assert_eq!((&health["reason"], &health["mode"]), (&reason.into(), &"local".into()));
        client.batch(&native(&call(1))).expect(202);
        assert_eq!(tier(&client.get(OVERVIEW)), "nexarch; fwd=miss; stored");
        assert_eq!(tier(&client.get(OVERVIEW)), "nexarch; hit; detail=memory");
        assert!(!server.log().contains("wrong@"), "no secret in the log");
    }
}

/// An image without certificates, and a bundle that is mounted a moment later: there is a server all the same, and it
/// connects as soon as it can.
#[test]
fn without_anybody_to_trust_the_server_starts_and_goes_on_trying() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let redis = RedisServer::builder().password("hunter2").tls(&certificates).start();
    let url = format!("rediss://:hunter2@localhost:{}", redis.port());
    let later = Home::new();
    let bundle = later.path().join("ca.pem");
    let bundle = bundle.to_str().unwrap();
    let none: &[(&str, &str)] = &[("SSL_CERT_FILE", bundle), ("SSL_CERT_DIR", "/no/such/directory")];
    let cases = [(none, "certificate authorities"), (&[("REDIS_CA_FILE", bundle)], "cannot read")];
    for (settings, says) in cases {
        let _ = fs::remove_file(bundle);
        let (_home, mut server, line) = Home::started(&[&[("REDIS_URL", url.as_str())], settings].concat());
        assert_eq!(line, "cache: In-memory cache initialized (fallback: tls)");
        let client = server.first_client();
        assert_eq!(until_health(&client, "memory", "degraded")["reason"], "tls");
        client.batch(&native(&call(1))).expect(202);
        let log = server.log_with(says);
        assert!(!log.contains("hunter2"), "{log}");
        fs::write(bundle, certificates.ca_pem()).unwrap();
        until_health(&client, "redis", "connected");
    }
}

#[test]
fn a_private_authority_and_an_acl_user_work_by_parts() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let redis = RedisServer::builder()
        .tls(&certificates)
        .user("user nexarch on >p@ss ~nexarch:* &nexarch:* +@all -@dangerous")
        .start();
    let port = redis.port().to_string();
    let ca = certificates.ca_file();
    let (_home, server, line) = Home::started(&[
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", &port),
        ("REDIS_USERNAME", "nexarch"),
        ("REDIS_PASSWORD", "p@ss"),
        ("REDIS_SSL", "True"),
        ("REDIS_CA_FILE", ca.to_str().unwrap()),
    ]);
    let expected = format!("cache: Redis initialized (localhost:{port}, TLS, standalone)");
    assert_eq!(line, expected, "{}", server.log());
}

#[test]
fn a_value_outlives_its_server_and_is_sealed_when_a_key_is_given() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let home = Home::new();
    let sealed = [
        PATIENT,
        ("REDIS_URL", url.as_str()),
        ("CACHE_ENCRYPTION_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
    ];
    let mut server = home.serve_with(&sealed);
    let key = server.first_key();
    let client = server.client(&key);
    until_health(&client, "redis", "connected");
    client.batch(&native(&call(1))).expect(202);
    let first = client.get(OVERVIEW).expect(200);
    let keys = until_stored(&redis, "nexarch:default:dashboard_overview:*");
    assert_eq!(keys.len(), 1);
    let stored = redis.cli(&["--no-raw", "GET", &keys[0]]);
    assert!(!stored.contains("total_spans"), "sealed: {stored}");
    assert!(server.terminate().success());

    let server = home.serve_with(&sealed);
    let client = server.client(&key);
    until_health(&client, "redis", "connected");
    let again = client.get(OVERVIEW).expect(200);
    assert_eq!(tier(&again), "nexarch; hit; detail=redis");
    assert_eq!((again.body.as_slice(), again.header("ETag")), (first.body.as_slice(), first.header("ETag")));
    let stats = client.get("/api/v1/cache/stats").ok();
    let overview = &stats["operations"]["dashboard_overview"];
    assert_eq!((overview["requests"].as_u64(), overview["hits_redis"].as_u64()), (Some(1), Some(1)));

    // New data: the value there is old now, whatever Redis says.
    let mut traces: u64 = 1;
    let fresh = wait::promptly(|| {
        traces += 1;
        client.batch(&native(&call(traces.into()))).expect(202);
        client.get(OVERVIEW).expect(200)
    });
    assert_eq!(tier(&fresh), "nexarch; fwd=miss; stored");
    assert_eq!(fresh.ok()["total_spans"], 3 * traces);
}

/// What an answer depends on beside the data is a part of its name: nobody is served what another setting made of them.
#[test]
fn a_value_of_another_objective_is_none() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let home = Home::new();
    let mut key = String::new();
    for (objective, expected) in [
        ("1000", "nexarch; fwd=miss; stored"),
        ("1000", "nexarch; hit; detail=redis"),
        ("200", "nexarch; fwd=miss; stored"),
    ] {
        let mut server =
            home.serve_with(&[PATIENT, ("REDIS_URL", &url), ("LATENCY_OBJECTIVE_MS", objective)]);
        if key.is_empty() {
            key = server.first_key();
            server.client(&key).batch(&native(&call(1))).expect(202);
        }
        let client = server.client(&key);
        until_health(&client, "redis", "connected");
        let health = client.get("/api/v1/dashboard/health").expect(200);
        assert_eq!(tier(&health), expected, "{objective}");
        let told = health.json()["latency_objective_ms"].as_f64();
        assert_eq!(told, objective.parse().ok());
        until_stored(&redis, "nexarch:default:graph_analysis:*");
        assert!(server.terminate().success());
    }
}

#[test]
fn redis_lost_and_back_costs_no_request_and_no_freshness() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let home = Home::new();
    let url = format!("redis://{}", proxy.address());
    let mut server = home.serve_with(&[("REDIS_URL", &url)]);
    let client = server.first_client();
    until_health(&client, "redis", "connected");
    let mut sent: u64 = 0;
    let mut round = || {
        sent += 1;
        client.batch(&native(&call(sent.into()))).expect(202);
        assert_eq!(client.get(OVERVIEW).ok()["total_spans"], 3 * sent);
        let invalidated = client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).ok();
        assert_eq!(invalidated["reach"], "cluster", "this is the only server of its database");
        assert_eq!(client.get(OVERVIEW).ok()["total_spans"], 3 * sent);
    };
    round();
    for fault in [FaultProxy::freeze_all as fn(&FaultProxy), FaultProxy::refuse, FaultProxy::cut] {
        fault(&proxy);
        for _ in 0..20 {
            round();
        }
        proxy.pass();
        until_health(&client, "redis", "connected");
        round();
    }
    redis.cli(&["FLUSHALL"]);
    round();
    let log = server.log_with("cache: Redis back after ");
    assert!(log.contains("cache: Redis lost ("), "{log}");
}

#[test]
fn two_databases_on_one_redis_never_meet() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let homes = [Home::new(), Home::new()];
    let mut servers = homes.each_ref().map(|home| home.serve_with(&[PATIENT, ("REDIS_URL", &url)]));
    let clients = servers.each_mut().map(Server::first_client);
    for (client, spans) in clients.iter().zip([1_u128, 2]) {
        until_health(client, "redis", "connected");
        for id in 1..=spans {
            client.batch(&native(&call(id))).expect(202);
        }
        assert_eq!(tier(&client.get(OVERVIEW)), "nexarch; fwd=miss; stored");
        assert_eq!(client.get(OVERVIEW).ok()["total_spans"], 3 * u64::try_from(spans).unwrap());
    }
    wait::until("a value of each", || {
        (redis.cli(&["--scan", "--pattern", "nexarch:default:dashboard_overview:*"]).lines().count() == 2)
            .then_some(())
    });
    clients[0].send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
    assert_eq!(tier(&clients[1].get(OVERVIEW)), "nexarch; hit; detail=memory", "its entry is still good");
}

#[test]
fn a_deleted_tenant_leaves_nothing_in_redis() {
    let redis = RedisServer::start();
    let url = format!("redis://{}", redis.address());
    let home = Home::new();
    let keys = ["gone", "late", "kept"].map(|tenant| home.tenant(tenant));
    let server = home.serve_with(&[PATIENT, ("REDIS_URL", &url)]);
    for key in &keys {
        let client = server.client(key);
        until_health(&client, "redis", "connected");
        client.batch(&native(&call(1))).expect(202);
        client.get(OVERVIEW).expect(200);
    }
    let held =
        |tenant: &str| redis.cli(&["--scan", "--pattern", &format!("nexarch:{tenant}:*")]).contains(tenant);
    for tenant in ["gone", "late", "kept"] {
        until_stored(&redis, &format!("nexarch:{tenant}:*"));
    }
    // The command knows of no Redis: the server does it.
    assert!(home.output(["tenant", "delete", "gone", "--yes"]).status.success());
    wait::until("the end of its values", || (!held("gone")).then_some(()));
    // There is no server: the command does it.
    drop(server);
    let deleted =
        home.command(["tenant", "delete", "late", "--yes"]).env("REDIS_URL", &url).output().unwrap();
    let said = String::from_utf8_lossy(&deleted.stderr);
    assert!(deleted.status.success() && !said.contains("until it expires"), "{deleted:?}");
    assert!(!held("late") && held("kept"));
    // It cannot: it says so, and deletes the tenant all the same.
    drop(redis);
    let deleted =
        home.command(["tenant", "delete", "kept", "--yes"]).env("REDIS_URL", &url).output().unwrap();
    assert!(deleted.status.success(), "{deleted:?}");
    assert!(String::from_utf8_lossy(&deleted.stderr).contains("until it expires"), "{deleted:?}");
}

/// Redis is away when the tenant is deleted: the server goes on until it is back.
#[test]
fn a_tenant_deleted_while_redis_is_away_leaves_nothing_in_it() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::start(redis.address());
    let url = format!("redis://{}", proxy.address());
    let home = Home::new();
    let key = home.tenant("gone");
    let server = home.serve_with(&[PATIENT, ("REDIS_URL", &url)]);
    let client = server.client(&key);
    until_health(&client, "redis", "connected");
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    let pattern = "nexarch:gone:*";
    until_stored(&redis, pattern);
    proxy.refuse();
    until_health(&client, "memory", "degraded");
    assert!(home.output(["tenant", "delete", "gone", "--yes"]).status.success());
    wait::until("the end of its key", || (client.get(OVERVIEW).status == 401).then_some(()));
    assert!(redis.cli(&["--scan", "--pattern", pattern]).contains("gone"), "out of reach");
    proxy.pass();
    wait::until("the end of its values", || {
        (!redis.cli(&["--scan", "--pattern", pattern]).contains("gone")).then_some(())
    });
}

/// A command has just begun to connect when the first node of a cluster answers.
#[test]
fn a_command_clears_every_node_of_a_cluster() {
    let cluster = RedisCluster::start();
    let home = Home::new();
    home.tenant("gone");
    let ca = cluster.certificates().ca_file();
    let url = format!("rediss://:{}@localhost:{}", cluster.password(), cluster.port());
    let keys: Vec<_> = (0..60).map(|n| format!("nexarch:gone:overview:{n}")).collect();
    let mut on = [0; 3];
    for key in &keys {
        let holder = RedisCluster::holder(cluster.slot(key));
        on[holder] += 1;
        assert_eq!(cluster.node(holder).cli(&["SET", key, "value"]), "OK");
    }
    assert!(on.iter().all(|keys| *keys > 0), "{on:?}");
    let settings = [("REDIS_URL", url.as_str()), ("REDIS_CA_FILE", ca.to_str().unwrap())];
    let deleted = home.command(["tenant", "delete", "gone", "--yes"]).envs(settings).output().unwrap();
    let said = String::from_utf8_lossy(&deleted.stderr);
    assert!(deleted.status.success() && !said.contains("until it expires"), "{deleted:?}");
    for node in 0..3 {
        assert_eq!(cluster.node(node).cli(&["DBSIZE"]), "0", "node {node}");
    }
}
