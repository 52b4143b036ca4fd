//! A database that takes questions and answers none: whoever asks is told to come back, and does not wait for ever.

use std::{
    io::{self, Write as _},
    net::TcpStream,
    sync::{Arc, Mutex, OnceLock, atomic::Ordering::SeqCst},
    thread,
    time::Duration,
};

use crate::support::{
    client::{Body, Client, Reply},
    encode::native,
    events::Events,
    inside::Inside,
    spans::call,
    wait,
};

const OVERVIEW: &str = "/api/v1/dashboard/overview";

fn come_back(reply: Reply) {
    let reply = reply.expect(503);
    assert_eq!(reply.header("Content-Type"), "application/problem+json");
    assert!(!reply.header("Retry-After").is_empty(), "{reply:?}");
}

fn invalidate(client: &Client) -> Reply {
    invalidate_what(client, "")
}

fn invalidate_what(client: &Client, what: &str) -> Reply {
    client.send("DELETE", &format!("/api/v1/cache/invalidate{what}"), &[], &Body::None)
}

#[test]
fn a_silent_database_is_a_503_that_says_when_to_come_back() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.batch(&native(&call(1))).expect(202);
    client.get(OVERVIEW).expect(200);
    server.gate.silence(true);
    // What is held is served as long as it is known to be current.
    let refused =
        wait::until("nothing to be known", || Some(client.get(OVERVIEW)).filter(|reply| reply.status != 200));
    come_back(refused);
    come_back(client.get_with(OVERVIEW, &[("Nexarch-Min-Version", "1")]));
    come_back(client.get("/api/v1/stream"));
    come_back(invalidate(&client));
    server.gate.silence(false);
    wait::until("it to answer", || (client.get(OVERVIEW).status == 200).then_some(()));
    invalidate(&client).expect(200);
}

#[test]
fn a_key_is_not_looked_for_for_ever() {
    let server = Inside::start(&[]);
    server.client().get(OVERVIEW).expect(200);
    let unknown = Client::new(server.base(), Some("nex_unknown"));
    server.gate.silence(true);
    come_back(unknown.get(OVERVIEW));
    server.gate.silence(false);
    unknown.get(OVERVIEW).expect(401);
}

/// Work that nothing can stop goes on without them, and another in its place would be one more.
#[test]
fn callers_who_hang_up_leave_their_turns_to_the_work_they_asked_for() {
    let server = Inside::start(&[]);
    let client = server.client();
    client.get(OVERVIEW).expect(200);
    server.gate.stop_snapshots(true);
    let asked = server.gate.asked.load(SeqCst);
    let turns = 2 * thread::available_parallelism().unwrap().get();
    for nth in 1..=turns {
        let mut stream = TcpStream::connect(server.base().trim_start_matches("http://")).unwrap();
        write!(stream, "GET /api/v1/traces HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\n\r\n", server.key())
            .unwrap();
        wait::until("its turn", || (server.gate.asked.load(SeqCst) == asked + nth).then_some(()));
    }
    come_back(client.get("/api/v1/traces"));
    assert_eq!(server.gate.asked.load(SeqCst), asked + turns);
    server.gate.stop_snapshots(false);
    client.get("/api/v1/traces").expect(200);
}

/// What this process logs: of all tests that run in it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn get() -> &'static Self {
        static LOG: OnceLock<Log> = OnceLock::new();
        LOG.get_or_init(|| {
            let log = Self::default();
            let copy = log.clone();
            let subscriber =
                tracing_subscriber::fmt().with_writer(move || copy.clone()).with_ansi(false).finish();
            tracing::subscriber::set_global_default(subscriber).unwrap();
            log
        })
    }

    /// The lines of audit about the key of a server.
    fn audits(&self, server: &Inside) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let of = |line: &&str| line.contains("audit: ") && line.contains(&server.key_id);
        text.lines().filter(of).map(str::to_owned).collect()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_invalidation_in_doubt_is_written_down_and_none_where_nothing_is_in_scope() {
    let log = Log::get();
    let server = Inside::start(&[]);
    let client = server.client();
    // Once the first look is over, its key is remembered.
    wait::until("a second look", || (server.gate.looks.load(SeqCst) > 1).then_some(()));
    client.get(OVERVIEW).expect(200);
    server.gate.away(true);
    let refused = wait::until("nothing to be known", || {
        Some(invalidate_what(&client, "?pattern=nothing*")).filter(|reply| reply.status != 200)
    });
    assert!(!String::from_utf8_lossy(&refused.body).contains("may have been made"), "{refused:?}");
    come_back(refused);
    let doubts = || log.audits(&server).iter().filter(|line| line.contains("not confirmed")).count();
    assert_eq!(doubts(), 0, "nothing was in scope");
    let doubted = invalidate(&client);
    assert!(String::from_utf8_lossy(&doubted.body).contains("may have been made"), "{doubted:?}");
    come_back(doubted);
    assert_eq!(doubts(), 1);
}

#[test]
fn an_invalidation_that_is_confirmed_late_is_told_and_written_down_all_the_same() {
    let log = Log::get();
    let server = Inside::start(&[]);
    let client = server.client();
    client.get(OVERVIEW).expect(200);
    let mut events = Events::open(server.base(), server.key(), None);
    server.gate.hold_invalidations(true);
    come_back(invalidate(&client));
    let audits = wait::until("the doubt", || Some(log.audits(&server)).filter(|lines| !lines.is_empty()));
    assert!(audits.len() == 1 && audits[0].contains("outcome=\"unknown\""), "{audits:?}");
    server.gate.hold_invalidations(false);
    let told = events.expect("invalidation").data;
    assert_eq!(told["scope"], "tenant", "{told}");
    let version = told["version"].as_u64().unwrap();
    let audits = wait::until("the line", || Some(log.audits(&server)).filter(|lines| lines.len() > 1));
    let is_whole =
        audits[1].contains("cache invalidated") && audits[1].contains(&format!("version={version}"));
    assert!(audits.len() == 2 && is_whole, "{audits:?}");
    assert!(client.get(OVERVIEW).expect(200).version() >= version);
}

/// Longer than a look may take, shorter than a read of versions may: it is answered too late for its look each time.
#[test]
fn a_revoked_key_is_refused_however_slow_the_looks_are() {
    let server = Inside::start(&[]);
    let other = Client::new(server.base(), Some(&server.tenant("other")));
    other.get(OVERVIEW).expect(200);
    server.gate.slow_versions(Duration::from_millis(450));
    server.beside(async |store| {
        let keys = store.keys(&"other".parse().unwrap()).await.unwrap();
        store.revoke_key(&keys[0].id).await.unwrap();
    });
    wait::until("the refusal", || (other.get("/api/v1/cache/stats").status == 401).then_some(()));
}
