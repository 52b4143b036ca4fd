//! A peer that reads slowly, or answers what it has not read.

use super::super::tests::{PATIENCE, pair};
use super::super::{Queue, Request, Wire};
use super::*;
use futures_util::task::AtomicWaker;
use redis::cmd;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::timeout;
use tokio_util::either::Either;
use tokio_util::task::TaskTracker;

/// Much more than sockets hold between them.
const STUCK: usize = 12 << 20;

fn set(wire: &Arc<Wire>, bytes: usize) -> JoinHandle<Result<Value, Unanswered>> {
    let wire = Arc::clone(wire);
    TaskTracker::new().spawn(async move {
        let mut set = cmd("SET");
        set.arg("k").arg(vec![7u8; bytes]);
        wire.call(Request::of(&set), None).await
    })
}

/// Commands that the socket does not take are refused beyond a number of bytes, and taken again when it does.
#[tokio::test]
async fn what_waits_for_the_socket_has_a_size() {
    let (wire, mut peer) = pair().await;
    let stuck = [(); 6].map(|()| set(&wire, STUCK));
    let refused = async {
        loop {
            let call = wire.call(Request::head("a", 10), Some(Duration::ZERO));
            if matches!(call.await, Err(Unanswered::Full)) {
                return;
            }
        }
    };
    timeout(PATIENCE, refused).await.unwrap();
    let read = async {
        let mut bytes = vec![0; 1 << 20];
        let mut all = 0;
        while all < 6 * STUCK {
            all += peer.read(&mut bytes).await.unwrap();
        }
    };
    timeout(PATIENCE, read).await.unwrap();
    let taken = async {
        while matches!(wire.call(Request::head("a", 10), Some(Duration::ZERO)).await, Err(Unanswered::Full)) {
            yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.unwrap();
    drop(peer);
    for stuck in stuck {
        assert!(matches!(stuck.await.unwrap(), Err(Unanswered::Gone(_))));
    }
}

/// What was written is not kept while something is always behind it: here, of 64 MB, never more than the part that the
/// peer has not read, and as much again.
#[tokio::test]
async fn a_peer_that_is_always_behind_costs_no_memory() {
    const PIECE: usize = 64 << 10;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut peer, _) = listener.accept().await.unwrap();
    let queue = Mutex::new(Queue::default());
    let shared = Arc::new(Shared { queue, driver: AtomicWaker::new(), unheard: AtomicU64::new(0) });
    let wire = Arc::new(Wire { shared: Arc::clone(&shared) });
    let mut driver = Driver::new(Either::Left(ours), shared, None);
    let mut bytes = vec![0; PIECE];
    let mut largest = 0;
    let _stuck = set(&wire, STUCK);
    for _ in 0..1000 {
        let _next = set(&wire, PIECE);
        yield_now().await;
        driver.take();
        let written = poll_fn(|cx| Poll::Ready(driver.poll_write(cx))).await;
        assert!(written.is_pending());
        assert!(driver.written < driver.outbox.len(), "always behind");
        largest = largest.max(driver.outbox.len());
        timeout(PATIENCE, peer.read_exact(&mut bytes)).await.unwrap().unwrap();
    }
    assert!(largest < 2 * STUCK + (4 << 20), "{largest}");
}

/// The answer cannot be of a command that is not out: the two are out of step, or it is the server's last word.
#[tokio::test]
async fn an_answer_to_what_was_not_written_is_the_end() {
    for (word, code) in [(&b"+OK\r\n"[..], None), (b"-ERR max number of clients reached\r\n", Some("ERR"))] {
        let (wire, mut peer) = pair().await;
        let stuck = set(&wire, STUCK);
        let mut first = [0; 8];
        timeout(PATIENCE, peer.read_exact(&mut first)).await.unwrap().unwrap();
        peer.write_all(word).await.unwrap();
        let Err(Unanswered::Gone(error)) = timeout(PATIENCE, stuck).await.unwrap().unwrap() else { panic!() };
        assert_eq!(error.code(), code);
        assert!(code.is_some() || error.kind() == ErrorKind::Parse, "{error:?}");
    }
}
