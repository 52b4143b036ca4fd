//! What Azure's Redis refuses, announces and hides, through the server: each blocked command alone, clusters that announce
//! addresses or names, silence at the start, and what the log says of a short loss.

use std::sync::Arc;

use nexarch_testkit::{Certificates, FaultProxy, RedisCluster, RedisServer};
use serde_json::Value;

use crate::support::{
    client::{Body, Client},
    encode::native,
    home::Home,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

fn until_status(client: &Client, status: &str) -> Value {
    wait::until(&format!("the cache to be {status}"), || {
        let health = client.get("/api/v1/cache/health").ok();
        (health["status"] == status).then_some(health)
    })
}

/// Writes and reads; every request is answered, and with what was written.
fn use_it(client: &Client, rounds: std::ops::Range<u64>) {
    for round in rounds {
        client.batch(&native(&call(u128::from(round) + 1))).expect(202);
        assert_eq!(client.get(OVERVIEW).ok()["total_spans"], 3 * (round + 1));
        client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
        assert_eq!(client.get(OVERVIEW).ok()["total_spans"], 3 * (round + 1));
    }
}

/// One after the other is renamed to nothing, as the services have it: none is needed, for values, messages, the
/// administrator's look or the doctor.
#[test]
fn no_blocked_command_is_missed() {
    let blocked =
        ["CONFIG", "KEYS", "SELECT", "FLUSHALL", "SCRIPT", "EVAL", "CLIENT", "CLUSTER", "INFO", "HELLO"];
    for command in blocked {
        let redis = RedisServer::builder().password("secret").without(&[command]).start();
        let string = format!("{},password=secret,name=nexarch,abortConnect=False", redis.address());
        let settings = [
            ("REDIS_URL", string.as_str()),
            ("REDIS_TIMEOUT_MS", "30000"),
            ("ADMIN_SECRET_KEY", "correct horse battery staple"),
        ];
        let (home, mut server, line) = Home::started(&settings);
        assert!(line.starts_with("cache: Redis initialized ("), "{command}: {line}\n{}", server.log());
        let client = server.first_client();
        let health = until_status(&client, "connected");
        assert_eq!((&health["mode"], &health["reason"]), (&"pubsub".into(), &Value::Null), "{command}");
        use_it(&client, 0..3);
        wait::until("a value in Redis", || {
            (redis.cli(&["--scan", "--pattern", "nexarch:default:*"]).contains("overview")).then_some(())
        });
        let admin = [("X-Admin-Key", "correct horse battery staple")];
        server.stranger().get_with("/api/v1/admin/cache/stats", &admin).expect(200);
        let doctor = home.command(["doctor"]).envs(settings).output().unwrap();
        let said = String::from_utf8_lossy(&doctor.stdout).into_owned();
        assert!(doctor.status.success() && !said.contains("failed"), "{command}: {said}");
        let health = until_status(&client, "connected");
        assert_eq!(health["reason"], Value::Null, "{command}");
        assert!(!server.log().contains("WARN cache") && !server.log().contains("lost"), "{}", server.log());
    }
}

/// As Azure Managed Redis with the OSS policy: three primaries behind TLS, whose certificate names the endpoint alone.
#[test]
fn a_cluster_is_used_whether_it_announces_addresses_or_names() {
    for announced in [None, Some("localhost")] {
        let mut cluster = match announced {
            None => RedisCluster::start(),
            Some(name) => RedisCluster::start_announcing("localhost", name),
        };
        let (authority, port) = (cluster.certificates().ca_file(), cluster.port());
        let string = format!("localhost:{port},password={},ssl=True,abortConnect=False", cluster.password());
        let settings = [("REDIS_URL", string.as_str()), ("REDIS_CA_FILE", authority.to_str().unwrap())];
        let (_home, mut server, line) = Home::started(&settings);
        let expected = format!("cache: Redis initialized (localhost:{port}, TLS, cluster)");
        assert_eq!(line, expected, "{announced:?}");
        let client = server.first_client();
        until_status(&client, "connected");
        let breaker = |is: &str| {
            wait::until(is, || {
                (client.get("/api/v1/cache/stats").ok()["redis"]["breaker"] == is).then_some(())
            });
        };
        breaker("closed");
        use_it(&client, 0..20);
        let routes = ["overview", "services", "architecture-map", "dependencies", "trends", "health"];
        for window in ["15m", "1h", "6h", "24h", "7d", "30d"] {
            for route in routes {
                client.get(&format!("/api/v1/dashboard/{route}?window={window}")).expect(200);
            }
        }
        for node in 0..3 {
            let holds = || (cluster.node(node).cli(&["DBSIZE"]) != "0").then_some(());
            wait::until(&format!("values in node {node}, {announced:?}"), holds);
        }
        // A node dies: its keys are computed, health is still true, and the breaker tells.
        cluster.nodes()[1].kill();
        use_it(&client, 20..40);
        wait::until("the breaker to tell", || {
            (client.get("/api/v1/cache/stats").ok()["redis"]["breaker"] != "closed").then_some(())
        });
        let health = client.get("/api/v1/cache/health").ok();
        assert_eq!((&health["backend"], &health["healthy"]), (&"redis".into(), &true.into()), "{health}");
        cluster.nodes()[0].kill();
        cluster.nodes()[2].kill();
        use_it(&client, 40..45);
        let health = until_status(&client, "degraded");
        assert_eq!((&health["backend"], &health["mode"]), (&"memory".into(), &"local".into()), "{health}");
        use_it(&client, 45..50);
    }
}

/// A Redis that lets in and says nothing costs the start its second and no more.
#[test]
fn a_silent_redis_does_not_keep_the_server_from_being_ready() {
    let redis = RedisServer::start();
    let silent = FaultProxy::start(redis.address());
    silent.freeze_all();
    let url = format!("redis://{}", silent.address());
    let start = || {
        let home = Home::new();
        let (mut server, took) = wait::timed(|| {
            let server = home.serve_with(&[("REDIS_URL", &url)]);
            let ready = server.stranger().get("/api/v1/health/ready").ok();
            assert_eq!(ready["status"], "ready", "{ready}");
            server
        });
        assert_eq!(server.line_with("cache: "), "cache: In-memory cache initialized (fallback: connecting)");
        use_it(&server.first_client(), 0..1);
        took
    };
    // The best of a few: a busy machine is not what is looked at.
    let limit = std::time::Duration::from_millis(1500);
    let mut took = Vec::new();
    while took.iter().all(|took| *took >= limit) {
        assert!(took.len() < 8, "ready after {took:?}");
        took.push(start());
    }
}

/// A process that stops for a moment: the breaker opens and closes, and the log has it as one pair of lines.
#[test]
fn a_pause_of_redis_is_one_line_for_the_loss_and_one_for_the_return() {
    let mut redis = RedisServer::start();
    let home = Home::new();
    let url = format!("redis://{}", redis.address());
    let mut server = home.serve_with(&[("REDIS_URL", &url)]);
    let client = server.first_client();
    until_status(&client, "connected");
    use_it(&client, 0..3);
    redis.pause();
    let mut round = 3;
    let ((), took) = wait::timed(|| {
        wait::until("the loss", || {
            use_it(&client, round..round + 1);
            round += 1;
            (client.get("/api/v1/cache/health").ok()["status"] == "degraded").then_some(())
        });
    });
    let ((), rest) = wait::timed(|| {
        wait::until("two seconds of it", || {
            use_it(&client, round..round + 1);
            round += 1;
            // Probes that were not answered tell the time that goes by.
            (server.log().contains("lost (timeout)") && redis_was_away(&client)).then_some(())
        });
    });
    redis.resume();
    until_status(&client, "connected");
    use_it(&client, round..round + 3);
    let log = server.log_with("cache: Redis back after ");
    let lines = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(lines("cache: Redis lost (timeout), using memory"), 1, "{took:?} {rest:?}\n{log}");
    assert_eq!(lines("cache: Redis back after "), 1, "{log}");
    assert_eq!(lines("cache: Redis"), 2, "{log}");
}

/// Whether it has been so for two seconds, by the server's own account.
fn redis_was_away(client: &Client) -> bool {
    let health = client.get("/api/v1/cache/health").ok();
    let since: jiff::Timestamp = health["since"].as_str().unwrap().parse().unwrap();
    let now = jiff::Timestamp::from_nanosecond(i128::from(wait::now_ns())).unwrap();
    now.duration_since(since).as_secs() >= 2
}

/// What is wrong at the start is told once in the log, in words.
#[test]
fn a_start_without_redis_is_one_line_in_the_log() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let right = RedisServer::builder().password("right").start();
    let tls = RedisServer::builder().tls(&certificates).start();
    let wrong_password = format!("redis://:hunter2@{}", right.address());
    let wrong_authority = format!("rediss://localhost:{}", tls.port());
    for (url, reason, words) in
        [(&wrong_password, "auth", "WRONGPASS"), (&wrong_authority, "tls", "UnknownIssuer")]
    {
        let (_home, mut server, line) = Home::started(&[("REDIS_URL", url)]);
        assert_eq!(line, format!("cache: In-memory cache initialized (fallback: {reason})"));
        use_it(&server.first_client(), 0..3);
        let log = server.log_with("cache: Redis not reached");
        let told: Vec<_> = log.lines().filter(|line| line.contains("Redis")).collect();
        assert_eq!(told.len(), 1, "{log}");
        let expected = format!("cache: Redis not reached ({reason}), using memory");
        assert!(told[0].contains(&expected) && told[0].contains(words), "{log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}
