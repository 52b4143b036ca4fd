//! One connection, from its handshake to its end.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, rt::Executor, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time::{self, Instant, MissedTickBehavior},
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    CROWDED,
    patience::{CROWDED_IDLE, HEAD, IDLE, LOOK, Patience, Verdict},
    pulse::{Counted, Pulse},
};

/// Most bytes of a head and of what is read at once (HTTP/1.1); a longer head is answered with 431.
const HTTP1_BUFFER: usize = 128 * 1024;
/// Requests of one HTTP/2 connection at once.
const HTTP2_STREAMS: u32 = 128;
/// Bytes that a stream may send ahead of the reader: enough for 100 ms at 80 Mbit/s.
const HTTP2_STREAM_WINDOW: u32 = 1024 * 1024;
/// The same for all streams of a connection: what one peer can make us hold before the byte budget counts it.
const HTTP2_CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// Largest list of headers, unpacked.
const HTTP2_HEADERS: u32 = 16 * 1024;
/// Streams that were reset before they were served; more of them end the connection (CVE-2023-44487).
const HTTP2_PENDING_RESETS: usize = 20;
/// Streams that we had to reset for the peer's mistakes; more end the connection (CVE-2025-8671).
const HTTP2_LOCAL_RESETS: usize = 256;
/// Bytes of answers that wait for a slow reader, per stream.
const HTTP2_SEND_BUFFER: usize = 256 * 1024;
/// A peer that vanished without a word is asked for a sign of life after this time …
const HTTP2_PING: Duration = Duration::from_secs(30);
/// … and given up after this one.
const HTTP2_PING_LIMIT: Duration = Duration::from_secs(20);

/// How HTTP/2 begins (RFC 9113 §3.4); no method of HTTP/1.1 does.
const PREFACE: [u8; 3] = *b"PRI";
/// What TLS calls HTTP/2.
const ALPN: &[u8] = b"h2";
/// Between two looks at a beginning that is too short to tell: nothing wakes whoever looked and did not take.
const TOO_SHORT: Duration = Duration::from_millis(20);

/// What a connection needs to be served.
pub(super) struct Connection {
    pub(super) routes: Router,
    /// Cancelled when the door is closed.
    pub(super) closed: CancellationToken,
    pub(super) tracker: TaskTracker,
    /// Places of the door: few free ones make it impatient.
    pub(super) places: Arc<Semaphore>,
}

impl Connection {
    /// Serves until the peer leaves, the door is closed and every request answered, or patience ends.
    pub(super) async fn serve(self, stream: TcpStream, tls: Option<Arc<ServerConfig>>) {
        let Some(config) = tls else {
            if let Some(http2) = self.begins(&stream).await {
                // Boxed, so that a connection takes the room of what it is, not of the largest that it might be.
                Box::pin(self.speak(stream, http2)).await;
            }
            return;
        };
        match time::timeout(HEAD, Box::pin(TlsAcceptor::from(config).accept(stream))).await {
            Ok(Ok(stream)) => {
                let http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN);
                Box::pin(self.speak(stream, http2)).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// Does the peer speak HTTP/2? `None` when it says nothing in time, or leaves, or the door is closed.
    ///
    /// Looked at and not taken: what the library takes to tell, it puts before the rest again, and its buffer for the
    /// rest then grows to twice the size, for as long as the connection lives.
    async fn begins(&self, stream: &TcpStream) -> Option<bool> {
        let (start, mut begun) = (Instant::now(), None);
        let mut looks = time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut head = [0; PREFACE.len()];
        loop {
            tokio::select! {
                seen = stream.peek(&mut head) => match seen {
                    Ok(0) | Err(_) => return None,
                    Ok(len) if len == PREFACE.len() || head[..len] != PREFACE[..len] => {
                        return Some(head == PREFACE);
                    }
                    Ok(_) => {
                        begun.get_or_insert_with(Instant::now);
                        time::sleep(TOO_SHORT).await;
                    }
                },
                () = self.closed.cancelled() => return None,
                now = looks.tick() => {
                    let idle = if self.is_crowded() { CROWDED_IDLE } else { IDLE };
                    if now - start >= idle || begun.is_some_and(|since| now - since >= HEAD) {
                        return None;
                    }
                }
            }
        }
    }

    async fn speak<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(self, stream: S, http2: bool) {
        let pulse = Arc::new(Pulse::new(http2));
        let io = TokioIo::new(Counted { stream, pulse: Arc::clone(&pulse) });
        let builder = protocol(&self.tracker);
        let builder = if http2 { builder.http2_only() } else { builder.http1_only() };
        let (routes, requests) = (TowerToHyperService::new(self.routes.clone()), Arc::clone(&pulse));
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let open = requests.begin();
            let answer = routes.call(request);
            async move {
                let _open = open;
                answer.await
            }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut patience = Patience::new(Instant::now());
        let mut looks = time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked = false;
        loop {
            let end = tokio::select! {
                outcome = connection.as_mut() => {
                    if let Err(error) = outcome {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    return;
                }
                () = self.closed.cancelled(), if !asked => true,
                now = looks.tick() => match patience.look(pulse.seen(), self.is_crowded(), now) {
                    Verdict::Keep => false,
                    Verdict::Ask => true,
                    Verdict::Cut => return,
                },
            };
            if end {
                asked = true;
                patience.note_asked(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
        }
    }

    fn is_crowded(&self) -> bool {
        self.places.available_permits() < CROWDED
    }
}

/// HTTP/1.1 and HTTP/2 with every limit named. Time limits of heads are ours (`patience.rs`): hyper's own would count the
/// pause between two requests as part of the next head.
fn protocol(tracker: &TaskTracker) -> Builder<OnTracker> {
    let mut builder = Builder::new(OnTracker(tracker.clone()));
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HTTP1_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .initial_stream_window_size(HTTP2_STREAM_WINDOW)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
        .max_header_list_size(HTTP2_HEADERS)
        .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
        .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
        .max_send_buf_size(HTTP2_SEND_BUFFER)
        .keep_alive_interval(HTTP2_PING)
        .keep_alive_timeout(HTTP2_PING_LIMIT);
    builder
}

/// Runs the requests of HTTP/2 connections as tasks that somebody waits for.
#[derive(Clone)]
struct OnTracker(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> Executor<F> for OnTracker {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A client that opens early and waits: its preface is no head that drips, and at the end it is told.
    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_without_a_request_is_idle() {
        const GOAWAY: u8 = 7;
        let connection = Connection {
            routes: Router::new(),
            closed: CancellationToken::new(),
            tracker: TaskTracker::new(),
            places: Arc::new(Semaphore::new(CROWDED + 1)),
        };
        let (mut client, server) = tokio::io::duplex(1 << 16);
        let begun = Instant::now();
        let serving = async {
            connection.speak(server, true).await;
            begun.elapsed()
        };
        let talk = async {
            // The preface, and settings that say nothing.
            client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            let mut types = Vec::new();
            let mut rest = &answer[..];
            while let [a, b, c, kind, ..] = *rest {
                types.push(kind);
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                rest = rest.get(9 + length..).unwrap_or_default();
            }
            types
        };
        let (took, types) = tokio::join!(serving, talk);
        assert!(types.contains(&GOAWAY), "{types:?}");
        // This one answers no pings, so it is not kept as long as others.
        assert!(took >= HTTP2_PING + HTTP2_PING_LIMIT && took < IDLE, "{took:?}");
    }
}
