//! The server with Microsoft Entra ID in place of a key: a managed identity whose endpoint is played by the test, and a Redis
//! whose user is called as the identity and takes its newest two tokens only.

use std::{os::unix::fs::PermissionsExt, sync::Arc};

use nexarch_testkit::{Certificates, RedisServer};

use crate::support::{
    client::Body,
    encode::native,
    figures::{self, Figures},
    home::Home,
    identity::{HEADER, Identity, OID, token},
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
    // The endpoint outlives the test; the server must not.
    let told = Arc::downgrade(&redis);
    let identity = Identity::start(LIFE, move |token, last| {
        let redis = told.upgrade().unwrap();
        redis.cli(&["ACL", "SETUSER", OID, "resetpass", &format!(">{last}"), &format!(">{token}")]);
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
        // A busy machine is not what is looked at.
        ("REDIS_TIMEOUT_MS", "30000"),
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
        // For its values; messages may come late, and are asked after.
        assert!(Figures::read(&figures).sum("nexarch_redis_losses_total{") < 1.0, "{}", health());
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

/// A developer's machine: whoever is signed in with `az` is whom Redis knows, when that is asked for, and only then.
#[test]
fn the_developer_tools_are_asked_where_they_are_asked_for() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let user = format!("user {OID} on >{} ~nexarch:* &nexarch:* +@all", token(1));
    let redis = RedisServer::builder().tls(&certificates).password("admin").user(&user).start();
    let home = Home::new();
    let tools = home.path().join("tools");
    std::fs::create_dir(&tools).unwrap();
    let install = |script: &str| {
        let az = tools.join("az");
        std::fs::write(&az, format!("#!/bin/sh\necho \"$@\" >> {}/asked\n{script}\n", tools.display()))
            .unwrap();
        std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let asked = || std::fs::read_to_string(tools.join("asked")).unwrap_or_default();
    let expires = wait::now_ns() / 1_000_000_000 + 3600;
    install(&format!(
        r#"echo '{{"accessToken":"{}","expires_on":{expires},"tokenType":"Bearer","tenant":"t"}}'"#,
        token(1)
    ));
    let (port, authority) = (redis.port().to_string(), certificates.ca_file());
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let settings = [
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", port.as_str()),
        ("REDIS_SSL", "True"),
        ("REDIS_CA_FILE", authority.to_str().unwrap()),
        ("REDIS_AUTH", "entra"),
        ("REDIS_CONNECT_TIMEOUT_MS", "20000"),
        ("PATH", path.as_str()),
        ("AZURE_TOKEN_CREDENTIALS", "dev"),
    ];
    let mut server = home.serve_with(&settings);
    let client = server.first_client();
    wait::until("Redis", || (client.get("/api/v1/cache/health").ok()["status"] == "connected").then_some(()));
    assert_eq!(asked().trim(), "account get-access-token -o json --scope https://redis.azure.com/.default");
    assert!(!server.log().contains("hunter2") && !server.log().contains("e30."), "{}", server.log());
    let output = home.command(["doctor"]).envs(settings).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    // Nobody is signed in. What the tool says may hold anything: it is not repeated.
    install("echo 'Please run az login hunter2' >&2; exit 1");
    let output = home.command(["doctor"]).envs(settings).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("neither az nor azd gives a token; sign in with az login"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    // Not asked for: a program is not run only because it is there.
    let before = asked();
    let identity = Identity::start(3600, |_, _| {});
    let output = home
        .command(["doctor"])
        .envs(settings)
        .env("AZURE_TOKEN_CREDENTIALS", "prod")
        .env("IDENTITY_ENDPOINT", &identity.url)
        .env("IDENTITY_HEADER", HEADER)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!((asked(), identity.given()), (before, 1));
}
