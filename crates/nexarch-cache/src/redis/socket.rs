//! From a name to a byte stream: DNS, TCP, TLS. Each step fails under its own word.

use super::failure::{Failure, of_io};
use super::tls::Tls;
use crate::remote::Reason;
use futures_util::stream::{FuturesUnordered, StreamExt};
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// Idle time before the kernel asks whether the peer is there, between questions, and how many go unanswered.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// How long sent bytes may stay unacknowledged before the kernel gives the connection up. Without it a cut without a
/// word is noticed after 13 minutes or more.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// As RFC 8305 has it ("Connection Attempt Delay").
const HEAD_START: Duration = Duration::from_millis(250);

pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// A server: where it is, and the name that its certificate has to show.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) certificate_name: String,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A name and a port, and where they lead.
type Lead = dyn Fn(&str, u16) -> Vec<SocketAddr> + Send + Sync;

/// Where names lead: as the system says, or as a test does.
#[derive(Clone, Default)]
pub(super) struct Names(Option<Arc<Lead>>);

impl Names {
    /// They lead where `lead` says at each question.
    #[cfg(feature = "testing")]
    pub(super) fn leading(lead: impl Fn(&str, u16) -> Vec<SocketAddr> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(lead)))
    }

    async fn of(&self, target: &Target) -> io::Result<Vec<SocketAddr>> {
        match &self.0 {
            Some(lead) => Ok(lead(&target.host, target.port)),
            None => Ok(lookup_host((target.host.as_str(), target.port)).await?.collect()),
        }
    }
}

/// Opens a connection. The name is resolved each time, because addresses change behind it.
pub(super) async fn open(target: &Target, tls: Option<&Tls>, names: &Names) -> Result<Stream, Failure> {
    let socket = connect(target, names).await?;
    match tls {
        None => Ok(Either::Left(socket)),
        Some(tls) => Ok(Either::Right(tls.connect(&target.certificate_name, socket).await?)),
    }
}

async fn connect(target: &Target, names: &Names) -> Result<TcpStream, Failure> {
    let addresses = names.of(target).await;
    let addresses =
        addresses.map_err(|_| Failure::new(Reason::Dns, format!("{target:?} does not resolve")))?;
    fastest(target, addresses).await
}

/// The first connection that comes about. Each address has a head start before the next: one that swallows what is sent to
/// it costs that, and not the whole time.
async fn fastest(target: &Target, addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    let mut failure = Failure::new(Reason::Dns, format!("{target:?} resolves to no address"));
    let mut next = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        if let Some(address) = next.next() {
            attempts.push(async move { (address, TcpStream::connect(address).await.and_then(tuned)) });
        }
        let more = next.len() > 0;
        tokio::select! {
            attempt = attempts.next() => match attempt {
                Some((_, Ok(socket))) => return Ok(socket),
                Some((address, Err(error))) => {
                    failure = Failure::new(of_io(&error), format!("{target:?} ({address}): {error}"));
                }
                None => return Err(failure),
            },
            () = sleep(HEAD_START), if more => {}
        }
    }
}

fn tuned(socket: TcpStream) -> io::Result<TcpStream> {
    socket.set_nodelay(true)?;
    let options = SockRef::from(&socket);
    let (idle, interval, retries) = KEEPALIVE;
    let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
    options.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(USER_TIMEOUT))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::{Domain, Socket, Type};
    use std::net::TcpListener;

    /// An address that answers nobody: its queue of one is full, and what comes is dropped.
    fn black_hole() -> (Socket, Vec<Socket>, SocketAddr) {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&any.into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let fill = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&address);
            socket
        };
        let held = (0..4).map(|_| fill()).collect();
        (listener, held, address.as_socket().unwrap())
    }

    /// What a call waits for, and how a cut without a word is noticed.
    #[tokio::test]
    async fn a_socket_waits_for_nothing_and_notices_silence() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = server.local_addr().unwrap();
        let target = Target { host: "two".into(), port: 1, certificate_name: "two".into() };
        let socket = fastest(&target, vec![there]).await.unwrap();
        let options = SockRef::from(&socket);
        assert!(options.tcp_nodelay().unwrap() && options.keepalive().unwrap());
        assert_eq!(options.tcp_keepalive_time().unwrap(), KEEPALIVE.0);
        #[cfg(target_os = "linux")]
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(USER_TIMEOUT));
    }

    #[tokio::test]
    async fn an_address_that_swallows_everything_holds_the_next_up_for_its_head_start() {
        let (_listener, _held, hole) = black_hole();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = server.local_addr().unwrap();
        let target = Target { host: "two".into(), port: 1, certificate_name: "two".into() };
        let limit = Duration::from_millis(200);
        tokio::time::timeout(limit, fastest(&target, vec![hole])).await.expect_err("a black hole");
        let connected = fastest(&target, vec![hole, there]);
        let socket = tokio::time::timeout(Duration::from_mins(1), connected).await.expect("in time").unwrap();
        assert_eq!(socket.peer_addr().unwrap(), there);
        assert_eq!(fastest(&target, vec![]).await.unwrap_err().reason, Reason::Dns);
    }
}
