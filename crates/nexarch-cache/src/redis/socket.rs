//! From a name to a byte stream: DNS, TCP, TLS. Each step fails under its own word.

use super::failure::{Failure, of_io};
use super::tls::Tls;
use crate::remote::Reason;
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

/// Idle time before the kernel asks whether the peer is there, between questions, and how many go unanswered.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(15), Duration::from_secs(5), 3);

/// How long sent bytes may stay unacknowledged before the kernel gives the connection up. Without it a cut without a
/// word is noticed after 13 minutes or more.
#[cfg(target_os = "linux")]
const USER_TIMEOUT: Duration = Duration::from_secs(10);

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

/// Opens a connection. The name is resolved each time, because addresses change behind it.
pub(super) async fn open(target: &Target, tls: Option<&Tls>) -> Result<Stream, Failure> {
    let socket = connect(target).await?;
    match tls {
        None => Ok(Either::Left(socket)),
        Some(tls) => Ok(Either::Right(tls.connect(&target.certificate_name, socket).await?)),
    }
}

async fn connect(target: &Target) -> Result<TcpStream, Failure> {
    let addresses = lookup_host((target.host.as_str(), target.port)).await;
    let addresses =
        addresses.map_err(|_| Failure::new(Reason::Dns, format!("{target:?} does not resolve")))?;
    let mut failure = Failure::new(Reason::Dns, format!("{target:?} resolves to no address"));
    for address in addresses {
        match TcpStream::connect(address).await.and_then(tuned) {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Failure::new(of_io(&error), format!("{target:?} ({address}): {error}")),
        }
    }
    Err(failure)
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
