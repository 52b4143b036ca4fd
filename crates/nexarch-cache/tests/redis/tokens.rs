//! Tokens in place of a password: rotated under load, refused, late, and gone.

use crate::support::{Log, Rig, connected, eventually, rig};
use nexarch_cache::{
    Reason, RedisConfig, RedisMistake, RedisStep, RedisToken, RedisTokens, Remote, RemoteError, Verdict,
};
use nexarch_testkit::{Certificates, PATIENCE, RedisServer};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

const OID: &str = "11111111-2222-3333-4444-555555555555";

/// How long a token is good here: long enough for a busy machine, short enough to see many.
const LIFE: Duration = Duration::from_millis(600);

/// Who gives tokens, and tells the server, as Entra ID and Azure do: the newest two are good.
struct Identity {
    server: Arc<RedisServer>,
    certificates: Arc<Certificates>,
    given: AtomicU64,
    /// It has none to give.
    away: AtomicBool,
    /// It gives what the server does not know.
    foreign: AtomicBool,
    turn: Mutex<()>,
}

impl Identity {
    fn start() -> Arc<Self> {
        let certificates = Arc::new(Certificates::new(&["localhost"]));
        let user = format!("user {OID} on >hunter2-0 ~test:* &test:* +@all");
        let server = RedisServer::builder().tls(&certificates).password("admin").user(&user).start();
        Arc::new(Self {
            server: Arc::new(server),
            certificates,
            given: AtomicU64::new(0),
            away: AtomicBool::new(false),
            foreign: AtomicBool::new(false),
            turn: Mutex::new(()),
        })
    }

    fn give(&self) -> Result<RedisToken, String> {
        let _turn = self.turn.lock().unwrap();
        if self.away.load(Ordering::SeqCst) {
            return Err("the endpoint is away".to_owned());
        }
        let n = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        if !self.foreign.load(Ordering::SeqCst) {
            let (new, last) = (format!(">hunter2-{n}"), format!(">hunter2-{}", n - 1));
            self.server.cli(&["ACL", "SETUSER", OID, "resetpass", &last, &new]);
        }
        Ok(RedisToken::new(OID, format!("hunter2-{n}"), now() + LIFE))
    }

    fn config(self: &Arc<Self>) -> RedisConfig {
        let this = Arc::clone(self);
        let tokens = RedisTokens::new(move || {
            let given = this.give();
            async move { given }
        });
        RedisConfig::new("localhost")
            .port(self.server.port())
            .tls(true)
            .ca_pem(self.certificates.ca_pem())
            .namespace("test")
            // A busy machine is not what is looked at.
            .command_timeout(PATIENCE)
            .tokens(tokens)
    }

    /// Logins that the server took and refused.
    fn logins(&self) -> (u64, u64) {
        let stats = self.server.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_auth:")).unwrap_or_default();
        let number = |name: &str| {
            let value = line.split([':', ',']).find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            value.map_or(0, |value| value.trim().parse().unwrap())
        };
        (number("calls"), number("failed_calls"))
    }
}

#[expect(clippy::disallowed_methods, reason = "a token expires in real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Reads until `done`; every read has to be answered.
async fn read_until(rig: &Rig, done: impl Fn() -> bool) {
    let mut turns = tokio::time::interval(Duration::from_millis(5));
    while !done() {
        turns.tick().await;
        assert_eq!(rig.remote.get("test:a:b:c", 9).await, Ok(Some("kept".into())));
    }
}

#[tokio::test]
async fn twenty_rotations_cost_no_call_and_no_connection() {
    let identity = Identity::start();
    let log = Log::start();
    let rig = connected(&identity.config()).await;
    rig.remote.set("test:a:b:c", "kept".into(), PATIENCE).await.unwrap();
    read_until(&rig, || identity.given.load(Ordering::SeqCst) > 20).await;
    let status = rig.status();
    assert_eq!((status.reconnects, status.reason, status.messages), (0, None, true));
    let (calls, failed) = identity.logins();
    assert!(calls >= 3 * 18 && failed == 0, "{calls} logins, {failed} refused");
    assert!(!log.text().contains("hunter2") && !format!("{rig:?}", rig = rig.remote).contains("hunter2"));
    assert_eq!(log.text(), "", "rotation is no news");
    rig.end().await;
}

/// The server ends what has an old token; whoever comes anew has the newest one.
#[tokio::test]
async fn connections_that_are_ended_come_back_with_the_token_that_is_good_then() {
    let identity = Identity::start();
    let rig = connected(&identity.config()).await;
    rig.remote.set("test:a:b:c", "kept".into(), PATIENCE).await.unwrap();
    for _ in 0..5 {
        let mut status = rig.remote.status();
        status.mark_unchanged();
        identity.server.cli(&["CLIENT", "KILL", "USER", OID]);
        tokio::time::timeout(PATIENCE, status.changed()).await.unwrap().unwrap();
        rig.until("the return", |status| status.values && status.messages).await;
    }
    rig.end().await;
}

/// A token that the server refuses ends connections; the next good one brings them back.
#[tokio::test]
async fn a_refused_token_is_no_end() {
    let identity = Identity::start();
    let rig = connected(&identity.config()).await;
    rig.remote.set("test:a:b:c", "kept".into(), PATIENCE).await.unwrap();
    identity.foreign.store(true, Ordering::SeqCst);
    rig.until("the loss", |status| status.reason == Some(Reason::Auth) && !status.values).await;
    assert!(rig.remote.problem().unwrap().contains("WRONGPASS"));
    assert_eq!(rig.remote.get("test:a:b:c", 9).await, Err(RemoteError::Away));
    identity.foreign.store(false, Ordering::SeqCst);
    rig.until("the return", |status| status.values && status.messages && status.reason.is_none()).await;
    assert_eq!(rig.remote.get("test:a:b:c", 9).await, Ok(Some("kept".into())));
    rig.end().await;
}

#[tokio::test]
async fn without_a_token_it_waits_says_why_and_goes_on_when_there_is_one() {
    let identity = Identity::start();
    identity.away.store(true, Ordering::SeqCst);
    let log = Log::start();
    let rig = rig(&identity.config().connect_timeout(Duration::from_millis(200)));
    rig.until("the reason", |status| status.reason == Some(Reason::Auth)).await;
    eventually("the words", || {
        rig.remote.problem().is_some_and(|problem| problem == "no token: the endpoint is away")
    })
    .await;
    assert_eq!(log.lines("no token for Redis: the endpoint is away").len(), 1, "{}", log.text());
    identity.away.store(false, Ordering::SeqCst);
    rig.until("all of it", |status| status.values && status.messages).await;
    // What is held stays good while nobody gives another; then it ends, and is told.
    assert_eq!(log.lines("tokens for Redis are back").len(), 1, "{}", log.text());
    rig.end().await;
}

/// The token's user is not always whom the server knows: the one that is configured counts.
#[tokio::test]
async fn a_user_that_is_configured_takes_the_place_of_the_tokens() {
    let identity = Identity::start();
    let rotates = identity.config().username("alias");
    identity.server.cli(&["ACL", "SETUSER", "alias", "on", "nopass", "~test:*", "&test:*", "+@all"]);
    let rig = connected(&rotates).await;
    rig.remote.set("test:a:b:c", "kept".into(), PATIENCE).await.unwrap();
    read_until(&rig, || identity.given.load(Ordering::SeqCst) > 3).await;
    let clients = identity.server.cli(&["CLIENT", "LIST"]);
    assert_eq!(clients.matches("user=alias").count(), 3, "{clients}");
    assert!(!clients.contains(OID), "{clients}");
    rig.end().await;
}

#[tokio::test]
async fn a_checkup_tells_a_missing_token_from_a_refused_one() {
    let identity = Identity::start();
    let look = async |config: &RedisConfig| {
        let findings = config.check_up(&tokio_util::task::TaskTracker::new()).await;
        assert!(!format!("{findings:?}").contains("hunter2"));
        findings.into_iter().find(|finding| finding.step == RedisStep::Login).unwrap()
    };
    let config = identity.config().connect_timeout(Duration::from_millis(300));
    assert_eq!(look(&config).await.verdict, Verdict::Good);
    identity.foreign.store(true, Ordering::SeqCst);
    assert_eq!(look(&config).await.mistake, Some(RedisMistake::WrongToken));
    identity.away.store(true, Ordering::SeqCst);
    let login = look(&config).await;
    assert_eq!(login.mistake, Some(RedisMistake::NoToken));
    assert_eq!(login.detail, "no token: the endpoint is away");
}

#[test]
fn tokens_need_tls_and_no_password() {
    let tokens = || RedisTokens::new(|| async { Err(String::new()) });
    let error = |config: RedisConfig| config.tokens(tokens()).checked().unwrap_err().to_string();
    assert!(error(RedisConfig::new("localhost")).starts_with("Redis TLS: tokens"));
    assert!(error(RedisConfig::new("cache.example.com").password("p")).starts_with("Redis password: given"));
    assert!(RedisConfig::new("cache.example.com").username("u").tokens(tokens()).checked().is_ok());
}
