use super::*;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::cmd;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: Duration = Duration::from_millis(50);

/// A wire, and the peer that a test plays.
async fn pair() -> (Arc<Wire>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    let (wire, driver) = Wire::new(Either::Left(stream));
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
    let hung_up = get(&wire, "a", Some(LIMIT));
    expect(&mut peer, HEAD_A).await;
    hung_up.abort();
    let late = get(&wire, "a", Some(LIMIT));
    expect(&mut peer, HEAD_A).await;
    assert!(matches!(late.await.unwrap(), Err(Unanswered::Late)));
    assert_eq!((wire.unheard(), wire.unheard()), (1, 0), "told once");
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
    let value = vec![7; 32 << 20];
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
