//! The server with Microsoft Entra ID in place of a key: a managed identity whose endpoint is played by the test, and a Redis
//! whose user is called as the identity and takes its newest two tokens only.

use std::sync::Arc;

use nexarch_testkit::{Certificates, RedisServer};

use crate::support::{
    client::Body,
    encode::native,
    figures::{self, Figures},
    home::Home,
    identity::{HEADER, Identity, OID},
    spans::call,
    wait,
};

/// How long a token is good (seconds).
const LIFE: u64 = 4;

/// Rotations under load.
const ROTATIONS: u64 = 4;

#[test]
fn tokens_of_a_managed_identity_are_renewed_and_no_read_fails() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let user = format!("user {OID} on >none ~nexarch:* &nexarch:* +@all");
    let redis = Arc::new(RedisServer::builder().tls(&certificates).password("admin").user(&user).start());
    let told = Arc::clone(&redis);
    let identity = Identity::start(LIFE, move |token, last| {
        told.cli(&["ACL", "SETUSER", OID, "resetpass", &format!(">{last}"), &format!(">{token}")]);
    });
    let home = Home::new();
    let (port, authority) = (redis.port().to_string(), certificates.ca_file());
    let settings = [
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", port.as_str()),
        ("REDIS_SSL", "True"),
        ("REDIS_CA_FILE", authority.to_str().unwrap()),
        ("REDIS_AUTH", "entra"),
        ("IDENTITY_ENDPOINT", identity.url.as_str()),
        ("IDENTITY_HEADER", HEADER),
        ("METRICS_ADDR", "127.0.0.1:0"),
    ];
    let mut server = home.serve_with(&settings);
    let figures = figures::door(&mut server);
    let client = server.first_client();
    let health = || client.get("/api/v1/cache/health").ok();
    wait::until("Redis", || (health()["status"] == "connected").then_some(()));
    client.batch(&native(&call(1))).expect(202);
    let first = identity.given();
    wait::until("rotations", || {
        client.get("/api/v1/dashboard/overview").expect(200);
        client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
        let health = health();
        assert_eq!(health["status"], "connected", "{health}");
        (identity.given() >= first + ROTATIONS).then_some(())
    });
    let stats = client.get("/api/v1/cache/stats").ok();
    assert_eq!(stats["redis"]["reconnects"], 0, "{stats}");
    let now = Figures::read(&figures);
    assert!(now.of(r#"nexarch_redis_token_renewals_total{result="ok"}"#) >= ROTATIONS as f64);
    let left = now.of("nexarch_redis_token_expires_timestamp_seconds") - wait::now_ns() as f64 / 1e9;
    assert!(left > -1.0 && left <= LIFE as f64, "{left} s");
    let log = server.log();
    assert!(!log.contains("hunter2") && !log.contains("e30."), "{log}");

    let output = home.command(["doctor", "--json"]).envs(settings).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("the token's user"), "{text}");

    let wrong =
        settings.map(|(name, value)| if name == "IDENTITY_HEADER" { (name, "other") } else { (name, value) });
    let output =
        home.command(["doctor"]).envs(wrong).env("REDIS_CONNECT_TIMEOUT_MS", "3000").output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("(system-assigned managed identity)"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
