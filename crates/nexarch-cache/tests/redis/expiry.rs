//! Tokens that expire at the server: each is a user of its own, who is deleted when it has expired. That ends every
//! connection that has not logged in anew, and before that, the server says who they are.

use crate::support::{Rig, connected, eventually};
use nexarch_cache::{RedisConfig, RedisToken, RedisTokens, Remote};
use nexarch_testkit::{Certificates, PATIENCE, RedisServer};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// How long a token is good. The next one comes after half of it to three quarters.
const LIFE: Duration = Duration::from_millis(1200);

/// Between looks.
const AWHILE: Duration = Duration::from_millis(50);

/// Tokens that are seen to come and go.
const ROTATIONS: u64 = 6;

/// A connection, as the server lists it.
#[derive(Clone, Debug, PartialEq)]
struct Client {
    id: String,
    user: String,
    listens: bool,
    protocol: String,
}

struct Identity {
    server: RedisServer,
    certificates: Arc<Certificates>,
    given: AtomicU64,
    /// Connections whose token expired while they used it.
    late: Mutex<Vec<Client>>,
    turn: Mutex<()>,
}

fn user(n: u64) -> String {
    format!("identity-{n}")
}

impl Identity {
    fn start(knows_hello: bool) -> Arc<Self> {
        let certificates = Arc::new(Certificates::new(&["localhost"]));
        let server = RedisServer::builder().tls(&certificates).password("admin").user("user other on nopass");
        let server = if knows_hello { server } else { server.without(&["HELLO"]) };
        Arc::new(Self {
            server: server.start(),
            certificates,
            given: AtomicU64::new(0),
            late: Mutex::default(),
            turn: Mutex::default(),
        })
    }

    fn config(self: &Arc<Self>) -> RedisConfig {
        let this = Arc::clone(self);
        let tokens = RedisTokens::new(move || {
            let token = this.give();
            async move { Ok(token) }
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

    /// A new token. The one before the last has expired by now.
    fn give(&self) -> RedisToken {
        let _turn = self.turn.lock().unwrap();
        let n = self.given.fetch_add(1, Ordering::SeqCst) + 1;
        self.server.cli(&["ACL", "SETUSER", &user(n), "on", ">secret", "~test:*", "&test:*", "+@all"]);
        if n > 2 {
            let expired = user(n - 2);
            self.late.lock().unwrap().extend(self.clients().into_iter().filter(|c| c.user == expired));
            self.server.cli(&["ACL", "DELUSER", &expired]);
        }
        RedisToken::new(user(n), "secret", now() + LIFE)
    }

    /// The connections of ours. It takes a while, and the thread.
    fn clients(&self) -> Vec<Client> {
        let list = self.server.cli(&["CLIENT", "LIST"]);
        let clients = list.lines().map(|line| {
            let field = |name: &str| {
                let value = line.split_whitespace().find_map(|pair| pair.strip_prefix(&format!("{name}=")));
                value.unwrap_or_default().to_owned()
            };
            Client {
                id: field("id"),
                user: field("user"),
                listens: field("sub") == "1",
                protocol: field("resp"),
            }
        });
        clients.filter(|client| client.user.starts_with("identity-")).collect()
    }

    /// The connection on which messages come.
    fn listener(&self) -> Option<Client> {
        let clients = self.clients();
        clients.into_iter().find(|client| client.listens)
    }
}

#[expect(clippy::disallowed_methods, reason = "a token expires in real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Publishes until what was published comes back: a message that falls into the change of connections is lost.
async fn is_heard(rig: &Rig) {
    let mut messages = rig.remote.messages();
    let heard = async {
        loop {
            // Refused or not: the next one may be heard.
            let _ = rig.remote.publish("hello".into()).await;
            if let Ok(message) = tokio::time::timeout(AWHILE, messages.recv()).await {
                return message.unwrap();
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, heard).await.unwrap(), "hello");
}

/// Values and messages alike: when a token expires, nobody uses it any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_connection_outlives_its_token() {
    for knows_hello in [true, false] {
        let identity = Identity::start(knows_hello);
        let rig = connected(&identity.config()).await;
        let first = identity.listener().unwrap();
        assert_eq!(first.protocol, if knows_hello { "3" } else { "2" });
        let rotated = || identity.given.load(Ordering::SeqCst) > ROTATIONS;
        let mut looks = tokio::time::interval(AWHILE);
        while !rotated() {
            looks.tick().await;
            let status = rig.status();
            assert!(status.values, "{status:?}");
            assert!(status.messages || !knows_hello, "{status:?}");
            is_heard(&rig).await;
        }
        assert_eq!(*identity.late.lock().unwrap(), [], "HELLO known: {knows_hello}");
        let newest = || user(identity.given.load(Ordering::SeqCst));
        eventually("all of them to use the newest token", || {
            let clients = identity.clients();
            clients.len() >= 3 && clients.iter().all(|client| client.user == newest())
        })
        .await;
        let last = identity.listener().unwrap();
        assert_eq!(rig.status().reconnects, 0, "values keep their connections");
        if knows_hello {
            // A connection on which messages are pushes logs in anew as it is.
            assert_eq!(last.id, first.id);
        } else {
            // In the old protocol it cannot, and is made anew.
            assert_ne!(last.id, first.id);
        }
        is_heard(&rig).await;
        rig.end().await;
    }
}

/// The server ends the connection for messages alone: it comes back with the token that is good then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_are_ended_come_back_with_the_token_that_is_good_then() {
    for knows_hello in [true, false] {
        let identity = Identity::start(knows_hello);
        let rig = connected(&identity.config()).await;
        let began_with = identity.given.load(Ordering::SeqCst);
        eventually("another token", || identity.given.load(Ordering::SeqCst) > began_with).await;
        for _ in 0..3 {
            rig.until("messages", |status| status.messages).await;
            let before = identity.listener();
            identity.server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            eventually("another connection that listens", || {
                let listener = identity.listener();
                listener.is_some() && listener.map(|l| l.id) != before.as_ref().map(|l| l.id.clone())
            })
            .await;
            let status = rig.until("messages", |status| status.messages).await;
            assert!(status.values);
            is_heard(&rig).await;
        }
        assert_eq!(rig.status().reconnects, 0, "values are not touched");
        rig.end().await;
    }
}
