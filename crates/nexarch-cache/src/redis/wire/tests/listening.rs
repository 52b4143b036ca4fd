//! A wire that listens, and a server that says what it likes.

use super::*;
use std::sync::Mutex;
use tokio::sync::mpsc;

type Heard = mpsc::UnboundedReceiver<(Vec<u8>, Bytes)>;

/// A wire that listens, what it hears, and the peer that a test plays.
async fn listening() -> (Arc<Wire>, Heard, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (peer, _) = listener.accept().await.unwrap();
    let (sender, heard) = mpsc::unbounded_channel();
    let on_message: OnMessage =
        Arc::new(move |channel, body| sender.send((channel.to_vec(), body)).unwrap_or_default());
    let (wire, driver) = Wire::new(Either::Left(stream), Some(on_message));
    TaskTracker::new().spawn(driver);
    (Arc::new(wire), heard, peer)
}

fn subscribe(wire: &Arc<Wire>, channel: &str) -> tokio::task::JoinHandle<RedisResult<Value>> {
    let (wire, channel) = (Arc::clone(wire), channel.to_owned());
    TaskTracker::new().spawn(async move { wire.ask(cmd("SUBSCRIBE").arg(channel)).await })
}

const SUBSCRIBE_A: &str = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\na\r\n";
const SUBSCRIBE_B: &str = "*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nb\r\n";

/// A message as either protocol has it: `kind` is that of a list.
fn message(kind: char, channel: &str, body: &str) -> String {
    let (name, size) = (channel.len(), body.len());
    format!("{kind}3\r\n$7\r\nmessage\r\n${name}\r\n{channel}\r\n${size}\r\n{body}\r\n")
}

/// In both protocols, wherever a message comes between questions and answers.
#[tokio::test]
async fn messages_and_answers_are_told_apart() {
    for kind in ['>', '*'] {
        let (wire, mut heard, mut peer) = listening().await;
        let first = subscribe(&wire, "a");
        expect(&mut peer, SUBSCRIBE_A).await;
        let granted = |channel: &str| format!("{kind}3\r\n$9\r\nsubscribe\r\n$1\r\n{channel}\r\n:1\r\n");
        peer.write_all(granted("a").as_bytes()).await.unwrap();
        first.await.unwrap().unwrap();
        let second = subscribe(&wire, "b");
        expect(&mut peer, SUBSCRIBE_B).await;
        let both = [message(kind, "a", "before"), granted("b"), message(kind, "b", "after")].concat();
        peer.write_all(both.as_bytes()).await.unwrap();
        second.await.unwrap().unwrap();
        for (channel, body) in [("a", "before"), ("b", "after")] {
            let told = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
            assert_eq!(told, (channel.into(), body.into()), "{kind}");
        }
        let refused = subscribe(&wire, "a");
        expect(&mut peer, SUBSCRIBE_A).await;
        peer.write_all(b"-NOPERM no\r\n").await.unwrap();
        assert_eq!(refused.await.unwrap().unwrap_err().code(), Some("NOPERM"));
        assert!(!wire.is_flooded());
    }
}

/// A driver that has ended hears the peer no more.
async fn ends(wire: &Wire) {
    let ended = async {
        while lock(&wire.shared.queue).ended.is_none() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, ended).await.expect("the end of the connection");
}

/// What is announced is not waited for, and nothing is reserved for it.
#[tokio::test]
async fn a_message_that_will_be_too_long_ends_the_connection_at_once() {
    for announced in [">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$536870912\r\n", "$536870912\r\n", "*1000000\r\n"] {
        let (wire, mut heard, mut peer) = listening().await;
        peer.write_all(message('>', "a", "fine").as_bytes()).await.unwrap();
        peer.write_all(announced.as_bytes()).await.unwrap();
        ends(&wire).await;
        assert!(wire.is_flooded(), "{announced}");
        assert_eq!(timeout(PATIENCE, heard.recv()).await.unwrap().unwrap().1, "fine");
        assert!(matches!(wire.call(Request::head("a", 10), None).await, Err(Unanswered::Gone(_))));
    }
}

/// Bytes that never come to an end, as fast as the sockets take them: after the limit nobody takes them any more.
#[tokio::test]
async fn a_peer_that_never_stops_is_cut_off() {
    for begin in [">3\r\n$7\r\nmessage\r\n$1\r\na\r\n+", "$", ">60000\r\n"] {
        let (wire, _heard, peer) = listening().await;
        // The smallest buffer that there is, so that what was written was mostly read.
        SockRef::from(&peer).set_send_buffer_size(4096).unwrap();
        let written = Arc::new(Mutex::new(0usize));
        let count = Arc::clone(&written);
        let peer = TaskTracker::new().spawn(async move {
            let mut peer = peer;
            peer.write_all(begin.as_bytes()).await.unwrap();
            while let Ok(bytes) = peer.write(&b":1\r\n".repeat(1000)).await {
                *lock(&count) += bytes;
            }
        });
        ends(&wire).await;
        drop(wire);
        timeout(PATIENCE, peer).await.expect("a peer that notices").unwrap();
        let written = *lock(&written);
        assert!(written < 16 << 20, "{begin:?}: {written} bytes were taken");
    }
}
