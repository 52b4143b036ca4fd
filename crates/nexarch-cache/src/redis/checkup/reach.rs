//! From the name to an encrypted connection.

use super::Patient;
use super::finding::{RedisMistake, Told};
use crate::redis::failure::of_io;
use crate::redis::tls::{Tls, hint, library_error};
use crate::remote::Reason;
use rustls::CertificateError;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long it is tried whether the other kind of port answers.
const TRY: Duration = Duration::from_secs(1);

/// Addresses that are listed; behind a name there are few.
const LISTED: usize = 4;

pub(super) async fn resolve(patient: &Patient<'_>) -> (Told, Option<Vec<SocketAddr>>) {
    let (host, port) = (patient.endpoint.host.as_str(), patient.endpoint.port);
    let unknown = |what: &str| (Told::bad(RedisMistake::UnknownName, format!("{host} {what}")), None);
    let Ok(answer) = timeout(patient.dialer.timeout, lookup_host((host, port))).await else {
        return unknown("is not answered by DNS in time");
    };
    let Ok(addresses) = answer else { return unknown("does not resolve") };
    let addresses: Vec<_> = addresses.collect();
    if addresses.is_empty() {
        return unknown("resolves to no address");
    }
    let list: Vec<_> = addresses.iter().take(LISTED).map(|address| address.ip().to_string()).collect();
    let detail = if host.parse::<IpAddr>().is_ok() {
        format!("{host} is an address")
    } else {
        format!("{host} is {}", list.join(", "))
    };
    (Told::good(detail), Some(addresses))
}

pub(super) async fn connect(patient: &Patient<'_>, addresses: &[SocketAddr]) -> (Told, Option<TcpStream>) {
    let port = patient.endpoint.port;
    let mut told = Told::bad(RedisMistake::Dropped, format!("port {port}: no address"));
    for address in addresses {
        told = match timeout(patient.dialer.timeout, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return (Told::good(format!("port {port} is open")), Some(socket)),
            Ok(Err(error)) if of_io(&error) == Reason::Refused => Told::bad(
                RedisMistake::NobodyListens,
                format!("{address} refuses the connection: nobody listens on port {port}"),
            ),
            Ok(Err(error)) => Told::bad(RedisMistake::Dropped, format!("{address}: {error}")),
            Err(_) => Told::bad(
                RedisMistake::Dropped,
                format!("{address} does not answer within {:?}: not even a refusal", patient.dialer.timeout),
            ),
        };
    }
    (told, None)
}

pub(super) async fn handshake(patient: &Patient<'_>, socket: TcpStream) -> (Told, Option<()>) {
    let Some(tls) = &patient.tls else {
        return (Told::good("off, as configured"), Some(()));
    };
    let name = &patient.endpoint.certificate_name;
    let limit = patient.dialer.timeout;
    match timeout(limit, tls.handshake(name, socket)).await {
        Ok(Ok(stream)) => {
            let version = stream.get_ref().1.protocol_version().and_then(|version| version.as_str());
            let version = version.unwrap_or("TLS").replace("TLSv1_", "TLS 1.");
            (Told::good(format!("{version}, the certificate is good for {name}")), Some(()))
        }
        Ok(Err(error)) => (why(patient, &error).await, None),
        // A plain Redis takes the first bytes of TLS for the beginning of a line, and waits for its end.
        Err(_) if speaks_plainly(patient).await => (plain_port(patient), None),
        Err(_) => {
            let detail = format!("the handshake is not answered within {limit:?}");
            (Told::bad(RedisMistake::Dropped, detail), None)
        }
    }
}

/// Why a handshake failed.
async fn why(patient: &Patient<'_>, error: &io::Error) -> Told {
    let name = &patient.endpoint.certificate_name;
    match library_error(error) {
        Some(rustls::Error::InvalidCertificate(wrong)) => of_certificate(wrong, name),
        Some(rustls::Error::InvalidMessage(_)) | None if speaks_plainly(patient).await => plain_port(patient),
        _ => Told::bad(RedisMistake::Tls, format!("TLS handshake: {}", hint(error))),
    }
}

fn plain_port(patient: &Patient<'_>) -> Told {
    Told::bad(RedisMistake::PlainPort, format!("port {} speaks Redis without TLS", patient.endpoint.port))
}

fn of_certificate(wrong: &CertificateError, name: &str) -> Told {
    match wrong {
        CertificateError::NotValidForName => {
            Told::bad(RedisMistake::WrongName, format!("the certificate is not for {name}"))
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            // As rustls writes them: DnsName("a"), IpAddress(1.2.3.4).
            let names = presented.iter().take(LISTED).map(|name| name.replace("DnsName", ""));
            let names = names.collect::<Vec<_>>().join(", ");
            Told::bad(RedisMistake::WrongName, format!("the certificate is for {names}, not for {name}"))
        }
        CertificateError::UnknownIssuer => {
            Told::bad(RedisMistake::Authority, "the certificate's authority is not trusted".to_owned())
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            Told::bad(RedisMistake::Clock, format!("by this machine's clock: {wrong}"))
        }
        other => Told::bad(RedisMistake::Tls, format!("the certificate cannot be used: {other}")),
    }
}

/// Whether the endpoint answers Redis's protocol without TLS.
async fn speaks_plainly(patient: &Patient<'_>) -> bool {
    let asking = async {
        let mut socket = TcpStream::connect((patient.endpoint.host.as_str(), patient.endpoint.port)).await?;
        socket.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
        let mut first = [0];
        socket.read_exact(&mut first).await?;
        io::Result::Ok(matches!(first[0], b'+' | b'-'))
    };
    matches!(timeout(TRY, asking).await, Ok(Ok(true)))
}

/// Whether the endpoint speaks TLS, whoever it is.
pub(super) async fn speaks_tls(patient: &Patient<'_>) -> bool {
    let config = patient.config.clone().tls(true);
    let Ok(Some(tls)) = Tls::new(&config) else { return false };
    let asking = async {
        let socket = TcpStream::connect((patient.endpoint.host.as_str(), patient.endpoint.port)).await?;
        tls.handshake(&patient.endpoint.certificate_name, socket).await.map(drop)
    };
    match timeout(TRY, asking).await {
        Ok(Ok(())) => true,
        // It showed a certificate, or an alert of TLS: trusted or not does not matter here.
        Ok(Err(error)) => matches!(
            library_error(&error),
            Some(rustls::Error::InvalidCertificate(_) | rustls::Error::AlertReceived(_))
        ),
        Err(_) => false,
    }
}
