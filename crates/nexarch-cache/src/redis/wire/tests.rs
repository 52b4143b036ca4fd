mod listening;

use super::*;
use crate::redis::config::RedisConfig;
use crate::redis::tls::Tls;
use futures_util::stream::{FuturesUnordered, StreamExt};
use nexarch_testkit::Certificates;
use redis::cmd;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::SockRef;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, timeout};
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_millis(50);

/// A wire, and the peer that a test plays.
pub(super) async fn pair() -> (Arc<Wire>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    let (wire, driver) = Wire::new(Either::Left(stream), None);
    TaskTracker::new().spawn(driver);
    (Arc::new(wire), peer)
}

fn get(
    wire: &Arc<Wire>,
    key: &str,
    limit: Option<Duration>,
) -> tokio::task::JoinHandle<Result<Value, Unanswered>> {
    let (wire, key) = (Arc::clone(wire), key.to_owned());
    TaskTracker::new().spawn(async move { wire.call(Request::head(&key, 10), limit).await })
}

async fn expect(peer: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    timeout(PATIENCE, peer.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

fn value(text: &str) -> Value {
    Value::BulkString(text.into())
}

const HEAD_A: &str = "*4\r\n$8\r\nGETRANGE\r\n$1\r\na\r\n$1\r\n0\r\n$1\r\n9\r\n";
const GET_A: &str = "*2\r\n$3\r\nGET\r\n$1\r\na\r\n";

#[tokio::test]
async fn commands_are_those_of_the_protocol() {
    let (wire, mut peer) = pair().await;
    let key = "k".repeat(123);
    let long = get(&wire, &key, None);
    expect(&mut peer, &format!("*4\r\n$8\r\nGETRANGE\r\n$123\r\n{key}\r\n$1\r\n0\r\n$1\r\n9\r\n")).await;
    peer.write_all(b"$-1\r\n").await.unwrap();
    assert_eq!(long.await.unwrap().unwrap(), Value::Nil);
    let asking = {
        let wire = Arc::clone(&wire);
        TaskTracker::new()
            .spawn(async move { wire.call(Request::of(cmd("GET").arg("a")).asking(), None).await })
    };
    expect(&mut peer, &format!("*1\r\n$6\r\nASKING\r\n{GET_A}")).await;
    peer.write_all(b"+OK\r\n$1\r\nv\r\n").await.unwrap();
    assert_eq!(
        asking.await.unwrap().unwrap(),
        Value::BulkString(b"v".to_vec()),
        "the second answer is its own"
    );
}

/// Who gave up, by itself or by its deadline, keeps its place: its answer is not taken for that of the next.
#[tokio::test]
async fn answers_are_those_of_their_calls_whoever_gave_up() {
    let (wire, mut peer) = pair().await;
    // Long enough to hang up before it is over, on a busy machine too.
    let hung_up = get(&wire, "a", Some(LIMIT * 20));
    expect(&mut peer, HEAD_A).await;
    hung_up.abort();
    let late = get(&wire, "a", Some(LIMIT));
    expect(&mut peer, HEAD_A).await;
    assert!(matches!(late.await.unwrap(), Err(Unanswered::Late)));
    let mut look = interval(LIMIT / 10);
    let unheard = async {
        loop {
            look.tick().await;
            let unheard = wire.unheard();
            if unheard > 0 {
                return unheard;
            }
        }
    };
    assert_eq!((timeout(PATIENCE, unheard).await.unwrap(), wire.unheard()), (1, 0), "told once");
    let (large, patient) = (get(&wire, "a", None), get(&wire, "a", Some(PATIENCE)));
    expect(&mut peer, &HEAD_A.repeat(2)).await;
    peer.write_all(b"$1\r\n1\r\n$1\r\n2\r\n$11\r\n12345678901\r\n$1\r\n4\r\n").await.unwrap();
    assert!(matches!(large.await.unwrap(), Err(Unanswered::TooLarge)));
    assert_eq!(patient.await.unwrap().unwrap(), Value::BulkString(b"4".to_vec()));
}

/// Also while the socket takes nothing, and whatever comes meanwhile.
#[tokio::test]
async fn a_call_ends_in_time_when_the_peer_reads_nothing() {
    let (wire, peer) = pair().await;
    let value = vec![7u8; 12 << 20];
    let mut set = cmd("SET");
    set.arg("k").arg(&value);
    let began = Instant::now();
    let (stuck, after) = tokio::join!(wire.call(Request::of(&set), Some(LIMIT)), async {
        tokio::task::yield_now().await;
        get(&wire, "a", Some(LIMIT)).await.unwrap()
    });
    assert!(matches!((stuck, after), (Err(Unanswered::Late), Err(Unanswered::Late))));
    assert!(began.elapsed() >= LIMIT);
    drop(peer);
    assert!(matches!(wire.call(Request::head("a", 10), None).await, Err(Unanswered::Gone(_))));
}

#[tokio::test]
async fn those_who_wait_have_a_number_and_learn_of_the_end() {
    let (wire, peer) = pair().await;
    let mut calls: FuturesUnordered<_> =
        (0..=MAX_WAITING).map(|_| wire.call(Request::head("a", 10), None)).collect();
    let first = timeout(PATIENCE, calls.next()).await.unwrap().unwrap();
    assert!(matches!(first, Err(Unanswered::Full)), "{first:?}");
    drop(peer);
    let mut gone = 0;
    while let Some(answer) = timeout(PATIENCE, calls.next()).await.unwrap() {
        assert!(matches!(answer, Err(Unanswered::Gone(_))), "{answer:?}");
        gone += 1;
    }
    assert_eq!(gone, MAX_WAITING);
}

/// Those whose commands were sent count like those that wait to be sent.
#[tokio::test]
async fn those_who_wait_for_answers_are_counted_too() {
    let (wire, mut peer) = pair().await;
    let mut calls: FuturesUnordered<_> =
        (0..MAX_WAITING).map(|_| wire.call(Request::head("a", 10), None)).collect();
    let sent = async {
        let mut rest = HEAD_A.len() * MAX_WAITING;
        let mut bytes = vec![0; 1 << 20];
        while rest > 0 {
            rest -= timeout(PATIENCE, peer.read(&mut bytes)).await.unwrap().unwrap();
        }
    };
    tokio::select! {
        biased;
        first = calls.next() => panic!("{first:?}"),
        () = sent => {}
    }
    let turned_away = timeout(PATIENCE, wire.call(Request::head("a", 10), None)).await.expect("at once");
    assert!(matches!(turned_away, Err(Unanswered::Full)), "{turned_away:?}");
    peer.write_all(b"$1\r\nv\r\n").await.unwrap();
    assert_eq!(timeout(PATIENCE, calls.next()).await.unwrap().unwrap().unwrap(), value("v"));
    let again = get(&wire, "a", None);
    expect(&mut peer, HEAD_A).await;
    assert!(!again.is_finished(), "there is room for one again");
}

/// Also those whose commands nobody has taken yet.
#[tokio::test]
async fn those_who_wait_learn_of_the_end_of_a_driver_that_never_ran() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (wire, driver) = Wire::new(Either::Left(stream), None);
    let call = get(&Arc::new(wire.clone()), "a", None);
    tokio::task::yield_now().await;
    drop(driver);
    assert!(matches!(timeout(PATIENCE, call).await.unwrap().unwrap(), Err(Unanswered::Gone(_))));
    assert!(matches!(wire.call(Request::head("a", 10), None).await, Err(Unanswered::Gone(_))));
}

/// Whatever the others have: a short one that comes after a long one, and a long one that outlives a short one.
#[tokio::test]
async fn each_call_ends_by_its_own_deadline() {
    let (wire, mut peer) = pair().await;
    let began = Instant::now();
    let patient = get(&wire, "a", Some(PATIENCE));
    expect(&mut peer, HEAD_A).await;
    let (long, short) = (get(&wire, "a", Some(LIMIT * 4)), get(&wire, "a", Some(LIMIT)));
    expect(&mut peer, &HEAD_A.repeat(2)).await;
    for (call, limit) in [(short, LIMIT), (long, LIMIT * 4)] {
        let answer = timeout(PATIENCE / 2, call).await.expect("in time").unwrap();
        assert!(matches!(answer, Err(Unanswered::Late)), "{answer:?}");
        assert!(began.elapsed() >= limit);
    }
    assert!(!patient.is_finished());
    peer.write_all(b"$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n").await.unwrap();
    assert_eq!(patient.await.unwrap().unwrap(), value("1"));
}

/// What TLS keeps back when the socket is full leaves when there is room, though nobody asks for anything more.
#[tokio::test]
async fn what_a_stream_keeps_back_leaves_in_the_end() {
    let certificates = Certificates::new(&["localhost"]);
    let (certificate, key) = certificates.server_files();
    let chain = CertificateDer::pem_file_iter(certificate).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let server = server.unwrap().with_no_client_auth();
    let server = server.with_single_cert(chain, PrivateKeyDer::from_pem_file(key).unwrap()).unwrap();
    let config = RedisConfig::new("localhost").tls(true).ca_pem(certificates.ca_pem());
    let tls = Tls::new(&config).unwrap().unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    // The least there is: far less than TLS takes at once.
    SockRef::from(&stream).set_send_buffer_size(1).unwrap();
    SockRef::from(&peer).set_recv_buffer_size(1).unwrap();
    let accept = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(peer);
    let (peer, stream) = tokio::join!(accept, tls.connect("localhost", stream));
    let (Ok(mut peer), Ok(stream)) = (peer, stream) else { panic!("no TLS") };
    let (wire, driver) = Wire::new(Either::Right(stream), None);
    TaskTracker::new().spawn(driver);

    let value = vec![7; 50 << 10];
    let mut set = cmd("SET");
    set.arg("k").arg(&value);
    let arrives = async {
        let mut bytes = vec![0; set.get_packed_command().len()];
        timeout(PATIENCE, peer.read_exact(&mut bytes)).await.expect("all of it").unwrap();
        assert_eq!(bytes, set.get_packed_command());
        peer.write_all(b"+OK\r\n").await.unwrap();
    };
    let (answer, ()) = tokio::join!(wire.call(Request::of(&set), None), arrives);
    assert_eq!(answer.unwrap(), Value::Okay);
}

/// Many callers at once, each with a key of its own, and answers that come in pieces: everybody gets his own.
#[tokio::test]
async fn answers_that_come_in_pieces_are_those_of_their_calls() {
    const CALLS: usize = 500;
    let (wire, peer) = pair().await;
    let (mut commands, mut answers) = peer.into_split();
    // Says what was asked for, seven bytes at a time.
    let server = async move {
        let mut received = Vec::new();
        let mut sent = 0;
        while sent < CALLS {
            let count = commands.read_buf(&mut received).await.unwrap();
            assert!(count > 0);
            let text = String::from_utf8(received.clone()).unwrap();
            let keys: Vec<_> = text
                .split("GETRANGE\r\n")
                .skip(1)
                .filter_map(|rest| {
                    let (key, _) = rest.split_once("\r\n")?.1.split_once("\r\n$1\r\n0\r\n$1\r\n9\r\n")?;
                    Some(key.to_owned())
                })
                .collect();
            for key in &keys[sent..] {
                let answer = format!("${}\r\n{key}\r\n", key.len());
                for piece in answer.as_bytes().chunks(7) {
                    answers.write_all(piece).await.unwrap();
                    answers.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            sent = keys.len();
        }
        answers
    };
    let calls = async {
        let calls = (0..CALLS).map(|n| {
            let wire = Arc::clone(&wire);
            async move {
                let key = format!("key{n}");
                let answer = wire.call(Request::head(&key, 10), Some(PATIENCE)).await.unwrap();
                assert_eq!(answer, value(&key));
            }
        });
        futures_util::future::join_all(calls).await
    };
    let both = async { tokio::join!(server, calls) };
    timeout(PATIENCE, both).await.unwrap();
}

#[tokio::test]
async fn a_last_word_is_the_reason_and_other_words_that_nobody_asked_for_are_nonsense() {
    for (word, code, kind) in [
        (&b"-ERR max number of clients reached\r\n"[..], Some("ERR"), None),
        (b":1\r\n", None, Some(ErrorKind::Parse)),
        (b"HTTP/1.1 400 Bad Request\r\n", None, Some(ErrorKind::Parse)),
    ] {
        let (wire, mut peer) = pair().await;
        peer.write_all(word).await.unwrap();
        let ended = async {
            while lock(&wire.shared.queue).ended.is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, ended).await.unwrap();
        let Err(Unanswered::Gone(error)) = wire.call(Request::head("a", 10), None).await else { panic!() };
        assert_eq!(error.code(), code);
        assert!(kind.is_none_or(|kind| error.kind() == kind), "{error:?}");
    }
}
