//! What a checkup finds: a real server in each wrong state, each recognised, and never a secret in what is said.

use crate::support::config;
use nexarch_cache::{
    RedisConfig, RedisFinding, RedisMistake as Mistake, RedisMode, RedisStep as Step, Verdict,
};
use nexarch_testkit::{Certificates, ClosedPort, FaultProxy, RedisCluster, RedisServer, Stranger};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::TaskTracker;

const SECRET: &str = "hunter2";

/// The findings, of which there is one for each step, in order, without the secret.
async fn findings(config: &RedisConfig) -> Vec<RedisFinding> {
    let tracker = TaskTracker::new();
    let findings = config.check_up(&tracker).await;
    tracker.close();
    tracker.wait().await;
    let steps: Vec<_> = findings.iter().map(|finding| finding.step).collect();
    assert_eq!(steps, Step::ALL, "every connection is closed and every step told");
    let text = format!("{findings:?}");
    assert!(!text.contains(SECRET), "{text}");
    findings
}

fn of(findings: &[RedisFinding], step: Step) -> &RedisFinding {
    findings.iter().find(|finding| finding.step == step).expect("every step")
}

/// Nothing to complain of but that a busy machine is slow.
fn is_fine(finding: &RedisFinding) -> bool {
    finding.verdict == Verdict::Good || is_slow(finding) && finding.verdict == Verdict::Warning
}

fn is_slow(finding: &RedisFinding) -> bool {
    finding.step == Step::Latency && finding.mistake == Some(Mistake::Slow)
}

/// All is well but for one step, which has this verdict, mistake and words; what follows a bad one that all need is
/// skipped.
async fn only(config: &RedisConfig, step: Step, verdict: Verdict, mistake: Mistake, words: &str) {
    let findings = findings(config).await;
    let found = of(&findings, step);
    assert_eq!((found.verdict, found.mistake), (verdict, Some(mistake)), "{findings:#?}");
    assert!(found.detail.contains(words), "{words:?} is not in {:?}", found.detail);
    for other in findings.iter().filter(|finding| finding.step != step) {
        let before = (other.step as u8) < (step as u8);
        let fine = is_fine(other) || (!before && other.verdict == Verdict::Skipped);
        assert!(fine, "{other:?}");
    }
}

/// The same, where nothing can go on.
async fn stops(config: &RedisConfig, step: Step, mistake: Mistake, words: &str) {
    only(config, step, Verdict::Bad, mistake, words).await;
    let findings = findings(config).await;
    let after = findings.iter().filter(|finding| finding.step as u8 > step as u8);
    assert!(after.clone().all(|finding| finding.verdict == Verdict::Skipped), "{findings:#?}");
}

#[tokio::test]
async fn a_healthy_server_is_good_in_every_step() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let server = RedisServer::builder()
        .tls(&certificates)
        .max_memory(1 << 30, "allkeys-lru")
        .user("user app on >hunter2 ~test:* &test:* +@all")
        .start();
    let config = RedisConfig::new("localhost")
        .port(server.port())
        .tls(true)
        .ca_pem(certificates.ca_pem())
        .username("app")
        .password(SECRET)
        .namespace("test");
    let mut findings = findings(&config).await;
    // The best of a few: a busy machine is slow now and then.
    for _ in 1..5 {
        if !is_slow(of(&findings, Step::Latency)) {
            break;
        }
        findings = self::findings(&config).await;
    }
    assert!(findings.iter().all(|finding| finding.verdict == Verdict::Good), "{findings:#?}");
    let says = |step, words: &str| {
        let detail = &of(&findings, step).detail;
        assert!(detail.contains(words), "{words:?} is not in {detail:?}");
    };
    says(Step::Dns, "localhost is ");
    says(Step::Tls, "TLS 1.3, the certificate is good for localhost");
    says(Step::Login, "user app, RESP3");
    says(Step::Server, "Redis ");
    says(Step::Cluster, "one server");
    says(Step::Memory, "allkeys-lru, ");
    says(Step::Messages, "test:versions comes back");
    nexarch_testkit::until("the end of the canary", || (server.cli(&["DBSIZE"]) == "0").then_some(()));
}

#[tokio::test]
async fn a_name_a_port_and_a_silence_are_told_apart() {
    let nowhere = RedisConfig::new("nowhere.invalid").tls(false).namespace("test");
    stops(&nowhere, Step::Dns, Mistake::UnknownName, "nowhere.invalid").await;
    let closed = ClosedPort::new();
    stops(&config(closed.port()).password(SECRET), Step::Tcp, Mistake::NobodyListens, "nobody listens").await;
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    proxy.freeze_all();
    let silent = config(proxy.port()).connect_timeout(Duration::from_millis(200));
    stops(&silent, Step::Login, Mistake::Dropped, "did not answer within").await;
    let silent = silent.tls(true).ca_pem(Certificates::new(&["localhost"]).ca_pem());
    stops(&silent, Step::Tls, Mistake::Dropped, "not answered within").await;
}

#[tokio::test]
async fn tls_on_a_plain_port_and_the_reverse_are_recognised() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let encrypted = RedisServer::builder().tls(&certificates).start();
    stops(&config(encrypted.port()).password(SECRET), Step::Login, Mistake::TlsPort, "speaks TLS only").await;
    let plain = RedisServer::start();
    let with_tls = config(plain.port()).tls(true).ca_pem(certificates.ca_pem());
    let with_tls = with_tls.connect_timeout(Duration::from_millis(500));
    stops(&with_tls, Step::Tls, Mistake::PlainPort, "without TLS").await;
    let stranger = Stranger::saying(b"220 mail ready\r\n");
    stops(&config(stranger.port()), Step::Login, Mistake::NotRedis, "").await;
    let with_tls = config(stranger.port()).tls(true).ca_pem(certificates.ca_pem());
    stops(&with_tls, Step::Tls, Mistake::Tls, "").await;
}

#[tokio::test]
async fn a_certificate_is_told_by_what_is_wrong_with_it() {
    let certificates = Arc::new(Certificates::new(&["cache.example.com", "localhost"]));
    let server = RedisServer::builder().tls(&certificates).start();
    let config = |host: &str| RedisConfig::new(host).port(server.port()).namespace("test").tls(true);
    let by_address = config("127.0.0.1").ca_pem(certificates.ca_pem());
    stops(&by_address, Step::Tls, Mistake::WrongName, "cache.example.com").await;
    stops(&config("localhost"), Step::Tls, Mistake::Authority, "not trusted").await;
    let old = Arc::new(Certificates::expired(&["localhost"]));
    let expired = RedisServer::builder().tls(&old).start();
    let by_our_clock = RedisConfig::new("localhost").port(expired.port()).namespace("test").tls(true);
    stops(&by_our_clock.ca_pem(old.ca_pem()), Step::Tls, Mistake::Clock, "by this machine's clock").await;
    let no_file = config("localhost").ca_pem("not a certificate");
    stops(&no_file, Step::Tls, Mistake::Authority, "CA file").await;
}

#[tokio::test]
async fn passwords_are_told_by_what_is_wrong_with_them() {
    let server = RedisServer::builder().password("right=").start();
    let config = |password: &str| config(server.port()).password(password);
    stops(&config(SECRET), Step::Login, Mistake::WrongPassword, "WRONGPASS").await;
    stops(&config("right%3D"), Step::Login, Mistake::EncodedPassword, "WRONGPASS").await;
    stops(&crate::support::config(server.port()), Step::Login, Mistake::NoPassword, "NOAUTH").await;
    stops(&config("right=").db(99), Step::Login, Mistake::Database, "database number").await;
}

#[tokio::test]
async fn a_server_with_no_place_left_says_so() {
    let server = RedisServer::builder().arg("--maxclients", "8").start();
    let taken: Vec<_> =
        (0..8).map(|_| std::net::TcpStream::connect(server.address()).expect("a place")).collect();
    // The server counts a client when it comes to it: whoever asks is told only then.
    crate::support::eventually("no place", || server_is_full(&server)).await;
    stops(&config(server.port()), Step::Login, Mistake::TooManyClients, "").await;
    drop(taken);
}

fn server_is_full(server: &RedisServer) -> bool {
    use std::io::Read;
    let mut socket = std::net::TcpStream::connect(server.address()).expect("a connection");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut said = [0; 4];
    socket.read(&mut said).is_ok_and(|read| said[..read].starts_with(b"-ERR"))
}

#[tokio::test]
async fn a_cluster_is_reached_in_all_its_parts_or_told() {
    let mut cluster = RedisCluster::start();
    let config = RedisConfig::new("localhost")
        .port(cluster.port())
        .password(cluster.password())
        .tls(true)
        .ca_pem(cluster.certificates().ca_pem())
        .namespace("test");
    let all = findings(&config).await;
    assert!(all.iter().all(is_fine), "{all:#?}");
    assert!(of(&all, Step::Cluster).detail.contains("3 primaries, all reached"), "{all:#?}");
    let one = config.clone().mode(RedisMode::Standalone);
    stops(&one, Step::Cluster, Mistake::ClusterAsOne, "one of 3 of a cluster").await;
    let database = RedisConfig::from_url(&config.url()).unwrap().db(0).mode(RedisMode::Cluster);
    let insisted = findings(&database.ca_pem(cluster.certificates().ca_pem()).namespace("test")).await;
    assert!(insisted.iter().all(is_fine), "{insisted:#?}");
    cluster.nodes()[2].kill();
    only(&config, Step::Cluster, Verdict::Bad, Mistake::NodeAway, "1 of 3 primaries").await;
    let server = RedisServer::start();
    let none = crate::support::config(server.port()).mode(RedisMode::Cluster);
    stops(&none, Step::Cluster, Mistake::NoCluster, "server is none").await;
}

#[tokio::test]
async fn rights_are_told_by_command_and_key() {
    let base = "on >hunter2 ~test:* &test:* +hello +ping +info +cluster|slots";
    let server = RedisServer::builder()
        .user(&format!("user blind {base} +set +unlink +scan +publish +subscribe"))
        .user(&format!("user elsewhere {} +@all", base.replace("~test:*", "~other:*")))
        .user(&format!("user alone {} +@all", base.replace("~test:*", "~test:acme:* ~test:canary*")))
        .user(&format!("user keeps {base} +getrange +set +publish +subscribe"))
        .user(&format!("user deaf {base} +getrange +set +unlink +scan"))
        .start();
    let config = |user: &str| config(server.port()).username(user).password(SECRET);
    let rights = |user: &'static str, verdict, mistake, words: &'static str| {
        let config = config(user);
        async move { only(&config, Step::Rights, verdict, mistake, words).await }
    };
    rights("blind", Verdict::Bad, Mistake::NeededCommand, "refuses GETRANGE test:canary0: NOPERM").await;
    rights("elsewhere", Verdict::Bad, Mistake::NeededCommand, "refuses GETRANGE test:canary0: NOPERM").await;
    rights("alone", Verdict::Bad, Mistake::NeededCommand, "refuses SET test:{test:canary0}:lease:").await;
    rights("keeps", Verdict::Warning, Mistake::OptionalCommand, "UNLINK, SCAN may not").await;
    only(
        &config("deaf"),
        Step::Messages,
        Verdict::Warning,
        Mistake::NoMessages,
        "SUBSCRIBE test:versions: NOPERM",
    )
    .await;
}

#[tokio::test]
async fn memory_that_is_full_or_will_be_is_told() {
    let server = RedisServer::builder().max_memory(64 << 20, "noeviction").start();
    let config = config(server.port());
    only(&config, Step::Memory, Verdict::Warning, Mistake::NoEviction, "noeviction, ").await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let findings = findings(&config).await;
    assert_eq!(of(&findings, Step::Rights).mistake, Some(Mistake::Full), "{findings:#?}");
    assert_eq!(of(&findings, Step::Memory).mistake, Some(Mistake::Full), "{findings:#?}");
    let large = RedisServer::builder().max_memory(1 << 30, "noeviction").start();
    let config = crate::support::config(large.port());
    only(&config, Step::Memory, Verdict::Warning, Mistake::NoEviction, "when it is full, writes fail").await;
    let replica = RedisServer::builder().arg("--replicaof", "127.0.0.1 1").start();
    let findings = self::findings(&crate::support::config(replica.port())).await;
    assert_eq!(of(&findings, Step::Rights).mistake, Some(Mistake::ReadOnly), "{findings:#?}");
}

/// What passes by itself is told apart from what somebody has to change.
#[tokio::test]
async fn a_server_that_is_not_ready_or_nearly_full_of_clients_says_so() {
    let waiting = RedisServer::builder()
        .arg("--replicaof", "127.0.0.1 1")
        .arg("--replica-serve-stale-data", "no")
        .start();
    let findings = self::findings(&config(waiting.port())).await;
    let rights = of(&findings, Step::Rights);
    assert_eq!((rights.verdict, rights.mistake), (Verdict::Bad, Some(Mistake::NotReady)), "{findings:#?}");
    assert!(rights.detail.contains("MASTERDOWN"), "{findings:#?}");
    let crowded = RedisServer::builder().arg("--maxclients", "20").start();
    let taken: Vec<_> =
        (0..17).map(|_| std::net::TcpStream::connect(crowded.address()).expect("a place")).collect();
    let clients = || crowded.cli(&["INFO", "clients"]).contains("connected_clients:18");
    crate::support::eventually("all of them, and who asks", clients).await;
    only(
        &config(crowded.port()),
        Step::Server,
        Verdict::Warning,
        Mistake::TooManyClients,
        " of 20 connections",
    )
    .await;
    drop(taken);
}

/// A configuration that cannot work is told before anything is asked.
#[tokio::test]
async fn a_configuration_that_cannot_work_is_the_first_finding() {
    let config = config(1).username("app");
    stops(&config, Step::Dns, Mistake::Configuration, "a user needs a password").await;
}

/// What Azure hides is no fault.
#[tokio::test]
async fn what_cannot_be_seen_is_said_and_no_mistake() {
    let server = RedisServer::builder().without(&["INFO", "CLUSTER", "CONFIG"]).start();
    let findings = findings(&config(server.port())).await;
    assert!(findings.iter().all(is_fine), "{findings:#?}");
    for step in [Step::Server, Step::Memory] {
        assert!(of(&findings, step).detail.contains("not visible"), "{findings:#?}");
    }
    let old = RedisServer::builder().without(&["HELLO"]).start();
    let findings = self::findings(&config(old.port())).await;
    assert_eq!(of(&findings, Step::Messages).verdict, Verdict::Good, "{findings:#?}");
}

#[tokio::test]
async fn slow_answers_are_told_and_too_slow_ones_are_bad() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    proxy.delay(Duration::from_millis(10));
    only(&config(proxy.port()), Step::Latency, Verdict::Warning, Mistake::Slow, "PING ").await;
    let hasty = config(proxy.port()).command_timeout(Duration::from_millis(5));
    only(&hasty, Step::Latency, Verdict::Bad, Mistake::Slow, "given up after 5 ms").await;
}
