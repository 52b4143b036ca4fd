//! The doors: sockets that listen, and the one accept loop behind all of them.
//!
//! Every door speaks HTTP/1.1 and HTTP/2 (with TLS by ALPN, without it by what the client says first), so that gRPC and
//! HTTP meet the same limits. What a connection may cost is bounded here: their number, the time of a handshake and of
//! a request's head, the time without any request, and everything that HTTP/2 lets a peer ask for.

mod connection;
mod files;
mod patience;
mod pulse;
pub mod tls;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::rustls::ServerConfig;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::connection::Connection;
pub use self::files::raise_limit;

/// Connections of one door at once. A peer beyond it waits in the kernel's queue until another one leaves: its requests
/// are late, not lost. An idle connection costs some 16 KiB.
const MAX_CONNECTIONS: usize = 2_048;
/// When fewer places than this are free, idle connections are closed after [`patience::CROWDED_IDLE`].
const CROWDED: usize = MAX_CONNECTIONS / 4;
/// Pause after a failed accept, most likely for want of file descriptors: trying at once would only burn a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The certificate of a door, as it is now; `None` = no TLS.
pub type Tls = Option<watch::Receiver<Arc<ServerConfig>>>;

/// How many connections a door has.
pub struct Connections(Arc<Semaphore>);

impl Connections {
    /// Open ones, and the one that is waited for.
    pub fn count(&self) -> usize {
        // Its place is taken before it comes.
        (MAX_CONNECTIONS - self.0.available_permits()).saturating_sub(1)
    }
}

/// A socket that listens and what it serves.
pub struct Door {
    listener: TcpListener,
    routes: Router,
    tls: Tls,
    places: Arc<Semaphore>,
}

impl Door {
    /// Puts routes behind a bound socket.
    pub fn new(listener: TcpListener, routes: Router, tls: Tls) -> Self {
        Self { listener, routes, tls, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }

    /// Its connections, to be counted from elsewhere.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.places))
    }

    /// Accepts until `closed`, then returns; connections end by themselves after their requests, tracked by `tracker`.
    pub async fn run(self, closed: CancellationToken, tracker: TaskTracker) {
        while let Some(Some((stream, place))) = closed.run_until_cancelled(self.next()).await {
            let tls = self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow()));
            let connection = Connection {
                routes: self.routes.clone(),
                closed: closed.clone(),
                tracker: tracker.clone(),
                places: Arc::clone(&self.places),
            };
            tracker.spawn(async move {
                connection.serve(stream, tls).await;
                drop(place);
            });
        }
    }

    /// The next connection and its place; a place first, so that nothing is accepted that cannot be served.
    async fn next(&self) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    no_delay(&stream);
                    return Some((stream, place));
                }
                Err(error) if is_of_peer(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The peer was gone before it was accepted: no fault of ours and no reason to wait.
fn is_of_peer(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Answers are small and whole: waiting to fill a packet only costs time.
fn no_delay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

/// Binds a port beside the main one. A default that is taken is a warning, one that was asked for is an error.
pub async fn bind(
    name: &'static str,
    listener: &crate::config::Listener,
) -> anyhow::Result<Option<(TcpListener, SocketAddr)>> {
    use anyhow::Context;
    let Some(addr) = listener.addr else { return Ok(None) };
    match TcpListener::bind(addr).await {
        Ok(bound) => {
            let addr = bound.local_addr()?;
            Ok(Some((bound, addr)))
        }
        Err(error) if listener.asked_for => {
            Err(error).with_context(|| format!("cannot listen on {name}={addr}"))
        }
        Err(error) => {
            tracing::warn!(%addr, %error, "{name}: its default is not available; set another one, or off");
            Ok(None)
        }
    }
}
