//! Configurations that cannot work: said exactly, tried for ever, without a secret in any text.

use crate::support::{Log, config, connected, rig};
use nexarch_cache::{Reason, RedisConfig, RedisRemote, Remote, RemoteError};
use nexarch_testkit::{Certificates, ClosedPort, FaultProxy, RedisServer, Stranger};
use std::sync::Arc;
use std::time::Duration;

const SECRET: &str = "hunter2";

/// Waits for the reason and checks that nothing secret is in the words.
async fn fails(config: &RedisConfig, reason: Reason, words: &str) {
    let log = Log::start();
    let rig = rig(config);
    rig.until("the reason", |status| status.reason == Some(reason)).await;
    let problem = rig.remote.problem().unwrap();
    assert!(problem.contains(words), "{problem}");
    assert_eq!(rig.remote.get("test:a:b:c", 9).await, Err(RemoteError::Away));
    rig.end().await;
    let told = log.lines("cache: Redis not reached");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("({reason}), using memory")), "{told:?}");
    assert!(!log.text().contains(SECRET), "{}", log.text());
}

#[tokio::test]
async fn a_wrong_password_is_auth() {
    let server = RedisServer::builder().password("right").start();
    fails(&config(server.port()).password(SECRET), Reason::Auth, "WRONGPASS").await;
    fails(&config(server.port()), Reason::Auth, "NOAUTH").await;
    fails(&config(server.port()).username("nobody").password(SECRET), Reason::Auth, "WRONGPASS").await;
}

#[tokio::test]
async fn a_server_without_hello_is_spoken_to_in_the_old_way() {
    let server = RedisServer::builder().password("right").without(&["HELLO"]).start();
    let proxy = FaultProxy::start(server.address());
    let rig = connected(&config(proxy.port()).password("right")).await;
    let mut heard = rig.remote.messages();
    rig.remote.publish("hello".into()).await.unwrap();
    let message = tokio::time::timeout(nexarch_testkit::PATIENCE, heard.recv()).await.unwrap().unwrap();
    assert_eq!(message, "hello");
    // It is remembered: a connection that is made anew, for values or messages, is one connection.
    rig.remote.set("test:a:b:c", "value".into(), nexarch_testkit::PATIENCE).await.unwrap();
    crate::support::eventually("three connections", || proxy.open() == 3).await;
    let accepted = proxy.accepted();
    proxy.cut();
    rig.until("the loss", |status| !(status.values && status.messages)).await;
    rig.until("the return", |status| status.values && status.messages).await;
    crate::support::eventually("three connections again", || proxy.open() == 3).await;
    // One may be made once more, when it came while the loss was being noticed; each twice would be six.
    let made = proxy.accepted() - accepted;
    assert!((3..6).contains(&made), "{made}");
    fails(&config(server.port()).password(SECRET), Reason::Auth, "refuses the connection").await;
}

#[tokio::test]
async fn a_wrong_authority_or_name_is_tls() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let server = RedisServer::builder().tls(&certificates).start();
    let config = |host: &str| RedisConfig::new(host).port(server.port()).namespace("test").tls(true);
    let other = Certificates::new(&["localhost"]);
    fails(&config("localhost").ca_pem(other.ca_pem()), Reason::Tls, "UnknownIssuer").await;
    fails(&config("localhost"), Reason::Tls, "UnknownIssuer").await;
    fails(&config("127.0.0.1").ca_pem(certificates.ca_pem()), Reason::Tls, "not valid for name").await;
    connected(&config("localhost").ca_file(&certificates.ca_file())).await.end().await;
}

/// A bundle that is mounted a moment later, and one that is replaced while the server's certificate is.
#[tokio::test]
async fn an_authority_that_comes_later_or_changes_is_read_again() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let server = RedisServer::builder().tls(&certificates).start();
    let other = Certificates::new(&["localhost"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.pem");
    let rig = rig(&config(server.port()).tls(true).certificate_name("localhost").ca_file(&path));
    let problem = async |part: &str| {
        rig.until("trouble with TLS", |status| status.reason == Some(Reason::Tls)).await;
        crate::support::eventually(part, || {
            rig.remote.problem().is_some_and(|problem| problem.contains(part))
        })
        .await;
    };
    problem("cannot read").await;
    std::fs::write(&path, "nothing").unwrap();
    problem("no certificate in it").await;
    std::fs::write(&path, other.ca_pem()).unwrap();
    problem("UnknownIssuer").await;
    std::fs::write(&path, certificates.ca_pem()).unwrap();
    rig.until("values and messages", |status| status.values && status.messages).await;
    rig.end().await;
}

#[tokio::test]
async fn tls_to_a_plain_port_and_the_reverse_are_told_apart_from_silence() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let tls = RedisServer::builder().tls(&certificates).start();
    fails(&config(tls.port()).password(SECRET), Reason::Protocol, "does this port want TLS").await;
    let plain = Stranger::saying(b"-ERR unknown command\r\n");
    let config = config(plain.port()).tls(true).ca_pem(certificates.ca_pem());
    fails(&config, Reason::Tls, "without TLS").await;
}

#[tokio::test]
async fn nobody_there_is_refused_and_no_name_is_dns() {
    let closed = ClosedPort::new();
    fails(&config(closed.port()).password(SECRET), Reason::Refused, "refused").await;
    let nowhere = RedisConfig::new("nowhere.invalid").namespace("test").tls(false);
    fails(&nowhere, Reason::Dns, "does not resolve").await;
}

#[tokio::test]
async fn what_is_not_redis_is_protocol() {
    for bytes in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x46", b"220 mail ready\r\n"]
    {
        let stranger = Stranger::saying(bytes);
        fails(&config(stranger.port()).password(SECRET), Reason::Protocol, "").await;
    }
}

/// A server that is full says so with the same code as one that does not know a command: it is asked once, not twice.
#[tokio::test]
async fn a_server_that_is_full_is_not_taken_for_an_old_one() {
    let stranger = Stranger::saying(b"-ERR max number of clients reached\r\n");
    let proxy = FaultProxy::start(("127.0.0.1", stranger.port()));
    let config = config(proxy.port()).connections(1);
    let rig = rig(&config);
    rig.until("the reason", |status| status.reason == Some(Reason::Refused)).await;
    assert_eq!(proxy.accepted(), 1);
    rig.end().await;
}

/// A black hole: the handshake is never answered. The limit is that of connecting, and nobody waits for it.
#[tokio::test]
async fn silence_from_the_start_is_a_timeout() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    proxy.freeze_all();
    let config = config(proxy.port()).connect_timeout(Duration::from_millis(200));
    fails(&config, Reason::Timeout, "did not answer within").await;
}

#[tokio::test]
async fn a_healthy_start_is_silent_and_a_loss_is_told_once_and_so_is_the_return() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let log = Log::start();
    let rig = connected(&config(proxy.port())).await;
    assert_eq!(log.text(), "");
    proxy.refuse();
    rig.until("the loss", |status| status.reason == Some(Reason::Refused)).await;
    let accepted = proxy.accepted();
    proxy.pass();
    rig.until("the return", |status| status.values && status.messages).await;
    assert!(proxy.accepted() > accepted);
    let text = log.text();
    // Also where the door that closes lets the first attempt in and sends it away.
    assert_eq!(log.lines("cache: Redis lost (refused), using memory").len(), 1, "{text}");
    assert_eq!(log.lines("cache: Redis back after ").len(), 1, "{text}");
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn a_configuration_that_cannot_work_is_refused_at_the_start() {
    let (tasks, stop) = Default::default();
    let start = |config: RedisConfig| RedisRemote::start(&config, &tasks, &stop).unwrap_err().to_string();
    let new = || RedisConfig::new("localhost");
    assert!(start(new().tls(true).ca_pem("nothing")).starts_with("Redis CA file: no certificate"));
    assert!(start(new().ca_pem("x")).starts_with("Redis CA file: given, but TLS is off"));
    assert!(start(new().connections(0)).starts_with("Redis connections: "));
    assert!(start(new().namespace("a:b")).starts_with("Redis namespace: "));
    assert!(start(new().username("app")).starts_with("Redis username: "));
    assert!(
        start(new().ca_file("/no/such/file".as_ref())).starts_with("Redis CA file: given, but TLS is off")
    );
}
