//! A Redis as Azure has it, at its worst: tokens rotate and end under the connections that logged in with them, and the
//! primary is replaced behind its name again and again. Meanwhile no request fails, and none is answered with less than was
//! acknowledged before it began.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use nexarch_testkit::{Certificates, FaultProxy, RedisServer, until};

use crate::support::{
    client::{Body, Client},
    encode::native,
    home::Home,
    identity::{HEADER, Identity, OID},
    map::Map,
    server::Server,
    spans::{SERVER, Span, call},
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

/// How long a token is good (seconds): a new one is asked for after half to three quarters of it.
const LIFE: u64 = 3;

/// At every so many rotations Redis ends the connections of the user, as Azure does with those whose token has expired.
const ENDING: u64 = 3;

/// Services of the tenant whose data stand still: many enough that its answers do not fit into the memory tier, so that
/// they come from Redis.
const SERVICES: u64 = 150;

/// Rotations and failovers; `NEXARCH_PROOF` asks for the longer run.
#[expect(clippy::disallowed_methods, reason = "asked for by `cargo xtask proof`")]
fn size() -> (u64, usize) {
    if std::env::var_os("NEXARCH_PROOF").is_some() { (20, 5) } else { (3, 2) }
}

/// Two servers behind one name: the first is the primary, the second its replica. Neither knows a token by itself.
struct Pair {
    servers: [RedisServer; 2],
    name: FaultProxy,
    /// The one before the newest, and the newest: these are good.
    tokens: (String, String),
    rotations: u64,
}

impl Pair {
    fn start(certificates: &Arc<Certificates>) -> Self {
        let server = || {
            RedisServer::builder()
                .tls(certificates)
                .password("admin")
                .user(&format!("user {OID} on >none ~nexarch:* &nexarch:* +@all"))
                .arg("--tls-replication", "yes")
                .arg("--masterauth", "admin")
                .start()
        };
        let servers = [server(), server()];
        servers[1].replicate(&servers[0]);
        let name = FaultProxy::start(servers[0].address());
        Self { servers, name, tokens: ("none".to_owned(), "none".to_owned()), rotations: 0 }
    }

    fn admit(&self, server: &RedisServer) {
        let (last, newest) = (format!(">{}", self.tokens.0), format!(">{}", self.tokens.1));
        server.cli(&["ACL", "SETUSER", OID, "resetpass", &last, &newest]);
    }

    /// A new token is good, and the one before the last no longer.
    fn rotate(&mut self, newest: &str, last: &str) {
        self.tokens = (last.to_owned(), newest.to_owned());
        self.rotations += 1;
        self.servers.iter().for_each(|server| self.admit(server));
        if self.rotations.is_multiple_of(ENDING) {
            self.servers[0].cli(&["CLIENT", "KILL", "USER", OID]);
        }
    }

    /// The replica takes over, and the name leads to it. The old primary is dead before, or goes on until it is left, so that
    /// what it took last is lost; then it comes back, empty, as the replica.
    fn fail_over(&mut self, dead: bool) {
        if dead {
            self.servers[0].kill();
        }
        self.servers[1].promote();
        self.name.redirect(self.servers[1].address());
        self.name.cut();
        self.servers.swap(0, 1);
        self.servers[1].restart();
        self.admit(&self.servers[1]);
        self.servers[1].replicate(&self.servers[0]);
    }
}

/// Ends the load also when the test does.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

/// What was acknowledged, and how much was answered.
#[derive(Default)]
struct Truth {
    rounds: AtomicU64,
    version: AtomicU64,
    /// Rounds that were begun: no answer has more.
    begun: AtomicU64,
    reads: AtomicU64,
    from_redis: AtomicU64,
    done: AtomicBool,
}

impl Truth {
    fn is_done(&self) -> bool {
        self.done.load(SeqCst)
    }

    /// Sends one call after the other, and takes away the cache's entries now and then.
    fn write(&self, client: &Client) {
        for round in 1.. {
            if self.is_done() {
                return;
            }
            self.begun.store(round, SeqCst);
            let version = client.batch(&native(&call(round.into()))).expect(202).version();
            self.version.store(version, SeqCst);
            self.rounds.store(round, SeqCst);
            if round.is_multiple_of(7) {
                let version = client.send("DELETE", "/api/v1/cache/invalidate", &[], &Body::None).expect(200);
                self.version.store(version.version(), SeqCst);
            }
        }
    }

    /// Reads what is written: all that was acknowledged has to be in it, and nothing that was not sent.
    fn read(&self, client: &Client) {
        while !self.is_done() {
            let (rounds, version) = (self.rounds.load(SeqCst), self.version.load(SeqCst));
            let reply = client.get(OVERVIEW).expect(200);
            assert!(reply.version() >= version, "version {} after {version}", reply.version());
            let total = reply.json()["total_spans"].as_u64().unwrap();
            assert!(total >= 3 * rounds, "{total} spans after {rounds} rounds were acknowledged");
            assert!(total <= 3 * self.begun.load(SeqCst), "{total} spans, more than were sent");
            let rounds = self.rounds.load(SeqCst);
            let calls: u64 = Map::read(client).calls().into_values().sum();
            assert!(calls >= rounds, "{calls} calls after {rounds} rounds were acknowledged");
            self.reads.fetch_add(2, SeqCst);
        }
    }

    /// Reads what stands still, over and over: each answer is the first one, to the byte, whichever tier it comes from.
    fn read_again(&self, client: &Client) {
        let routes = ["architecture-map", "services", "dependencies", "overview"];
        let windows = ["1h", "6h", "24h", "7d", "30d"];
        let paths: Vec<_> = routes
            .iter()
            .flat_map(|route| windows.map(|window| format!("/api/v1/dashboard/{route}?window={window}")))
            .collect();
        let first: Vec<_> = paths.iter().map(|path| client.get(path).expect(200).body).collect();
        while !self.is_done() {
            for (path, first) in paths.iter().zip(&first) {
                let reply = client.get(path).expect(200);
                assert!(reply.body == *first, "{path}: {}", reply.header("Cache-Status"));
                self.reads.fetch_add(1, SeqCst);
                if reply.header("Cache-Status").contains("detail=redis") {
                    self.from_redis.fetch_add(1, SeqCst);
                }
            }
        }
    }
}

fn serve(home: &Home, pair: &Mutex<Pair>, certificates: &Certificates, identity: &Identity) -> Server {
    let port = pair.lock().unwrap().name.port().to_string();
    home.serve_with(&[
        ("REDIS_HOST", "localhost"),
        ("REDIS_PORT", &port),
        ("REDIS_SSL", "True"),
        ("REDIS_CA_FILE", certificates.ca_file().to_str().unwrap()),
        ("REDIS_AUTH", "entra"),
        ("IDENTITY_ENDPOINT", &identity.url),
        ("IDENTITY_HEADER", HEADER),
        ("CACHE_MAX_MEMORY_MB", "1"),
    ])
}

#[test]
fn no_request_fails_or_is_stale_while_tokens_rotate_and_primaries_fail_over() {
    let (rotations, failovers) = size();
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    let pair = Arc::new(Mutex::new(Pair::start(&certificates)));
    let told = Arc::clone(&pair);
    let identity = Identity::start(LIFE, move |token, last| told.lock().unwrap().rotate(token, last));
    let home = Home::new();
    let (moving, still) = (home.tenant("moving"), home.tenant("still"));
    let server = serve(&home, &pair, &certificates, &identity);
    let quiet: Vec<_> =
        (1..=SERVICES).map(|n| Span::new(1, n, &format!("service-with-a-name-{n}"), SERVER)).collect();
    server.client(&still).batch(&native(&quiet)).expect(202);

    let watch = server.client(&moving);
    let connected = || {
        until("Redis", || (watch.get("/api/v1/cache/health").ok()["status"] == "connected").then_some(()));
    };
    connected();
    let truth = Truth::default();
    thread::scope(|scope| {
        let done = Done(&truth.done);
        scope.spawn(|| truth.write(&server.client(&moving)));
        scope.spawn(|| truth.read(&server.client(&moving)));
        scope.spawn(|| truth.read(&server.client(&moving)));
        scope.spawn(|| truth.read_again(&server.client(&still)));
        let first = identity.given();
        for failover in 0..failovers {
            connected();
            let before = truth.from_redis.load(SeqCst);
            until("values of Redis", || (truth.from_redis.load(SeqCst) > before + 10).then_some(()));
            pair.lock().unwrap().fail_over(failover.is_multiple_of(2));
        }
        for rotation in 1..=rotations {
            until("a rotation", || (identity.given() >= first + rotation).then_some(()));
        }
        connected();
        let reads = truth.reads.load(SeqCst);
        until("reads after all of it", || (truth.reads.load(SeqCst) > reads + 50).then_some(()));
        drop(done);
    });
    let stats = watch.get("/api/v1/cache/stats").ok();
    assert!(stats["redis"]["reconnects"].as_u64().unwrap() >= 2 * failovers as u64, "{stats}");
    let log = server.log();
    assert!(!log.contains("hunter2") && !log.contains("e30."), "{log}");
    println!(
        "{} reads, {} of them from Redis, {} rounds, {} rotations, {failovers} failovers: none failed, none stale",
        truth.reads.load(SeqCst),
        truth.from_redis.load(SeqCst),
        truth.rounds.load(SeqCst),
        pair.lock().unwrap().rotations,
    );
}
