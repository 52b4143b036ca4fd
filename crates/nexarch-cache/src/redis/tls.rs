//! TLS to the server: system roots or a private authority, 1.2 at least, names always checked.

use super::config::{RedisConfig, RedisConfigError, TlsVersions};
use super::failure::Failure;
use crate::remote::Reason;
use crate::sync::lock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Whom to trust, and what was made of it.
#[derive(Clone)]
pub(super) struct Tls {
    authorities: Authorities,
    versions: TlsVersions,
    /// Made when first needed; a server that is not trusted by it may be by what the file says now.
    ready: Arc<Mutex<Option<TlsConnector>>>,
}

#[derive(Clone)]
enum Authorities {
    Pem(Arc<[u8]>),
    File(PathBuf),
    System,
}

impl Tls {
    /// `None` when TLS is off. Of what is outside of the program nothing is read yet: it may come later, and a cache without
    /// its shared tier is a cache. An authority that was given as it is has to be one.
    pub(super) fn new(config: &RedisConfig) -> Result<Option<Self>, RedisConfigError> {
        if !config.effective_tls() {
            return Ok(None);
        }
        let authorities = match (&config.ca_pem, &config.ca_file) {
            (Some(pem), _) => Authorities::Pem(pem.as_slice().into()),
            (None, Some(path)) => Authorities::File(path.clone()),
            (None, None) => Authorities::System,
        };
        let tls = Self { authorities, versions: config.tls_versions, ready: Arc::default() };
        if let Authorities::Pem(_) = &tls.authorities {
            tls.connector()?;
        }
        Ok(Some(tls))
    }

    /// As [`Tls::new`], read now.
    pub(super) fn loaded(config: &RedisConfig) -> Result<Option<Self>, RedisConfigError> {
        let tls = Self::new(config)?;
        tls.as_ref().map(Self::connector).transpose()?;
        Ok(tls)
    }

    /// What was made of the authorities; reads them if that was not done, some milliseconds for those of a system.
    fn connector(&self) -> Result<TlsConnector, RedisConfigError> {
        if let Some(connector) = &*lock(&self.ready) {
            return Ok(connector.clone());
        }
        // Not under the lock: a file may take for ever.
        let roots = match &self.authorities {
            Authorities::Pem(pem) => private_roots(pem)?,
            Authorities::File(path) => private_roots(&read(path)?)?,
            Authorities::System => system_roots()?,
        };
        // The provider is named: with two linked, rustls would refuse to choose and panic.
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&versions(self.versions));
        let builder = builder.map_err(|error| RedisConfigError::new("TLS", error.to_string()))?;
        let client = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(lock(&self.ready).insert(TlsConnector::from(Arc::new(client))).clone())
    }

    /// Shakes hands with a server that has to prove that it is `name`.
    pub(super) async fn connect(
        &self,
        name: &str,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Failure> {
        let connected = self.handshake(name, socket).await;
        connected.map_err(|error| {
            if let Some(wrong) = error.get_ref().and_then(|inner| inner.downcast_ref::<RedisConfigError>()) {
                return Failure::new(Reason::Tls, wrong.to_string());
            }
            let failure = Failure::new(Reason::Tls, format!("TLS handshake: {}", hint(&error)));
            if ended(&error) { failure.wordless() } else { failure }
        })
    }

    /// As [`Tls::connect`], with the error of the library.
    pub(super) async fn handshake(&self, name: &str, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let server = ServerName::try_from(name.to_owned());
        let server = server.map_err(|_| io::Error::other("the host is no name for a certificate"))?;
        let made = self.clone();
        let connector = tokio::task::spawn_blocking(move || made.connector()).await?;
        let connected = connector.map_err(io::Error::other)?.connect(server, socket).await;
        if let Err(error) = &connected
            && matches!(library_error(error), Some(rustls::Error::InvalidCertificate(_)))
        {
            *lock(&self.ready) = None;
        }
        connected
    }
}

fn read(path: &Path) -> Result<Vec<u8>, RedisConfigError> {
    std::fs::read(path)
        .map_err(|error| RedisConfigError::new("CA file", format!("cannot read {}: {error}", path.display())))
}

fn versions(versions: TlsVersions) -> Vec<&'static SupportedProtocolVersion> {
    match versions {
        TlsVersions::Both => vec![&TLS13, &TLS12],
        TlsVersions::Only12 => vec![&TLS12],
        TlsVersions::Only13 => vec![&TLS13],
    }
}

/// What rustls says, and for a peer that does not speak TLS what that means.
pub(super) fn hint(error: &io::Error) -> String {
    match library_error(error) {
        Some(rustls::Error::InvalidMessage(_)) => "the port answers without TLS".into(),
        Some(inner) => inner.to_string(),
        None if !ended(error) => error.to_string(),
        None => "the server ended the connection; does this port speak TLS?".into(),
    }
}

/// Whether the socket ended, without a word of the library's.
fn ended(error: &io::Error) -> bool {
    library_error(error).is_none() && error.kind() != io::ErrorKind::Other
}

/// What the library says, when it is its error and not that of the socket.
pub(super) fn library_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn private_roots(pem: &[u8]) -> Result<RootCertStore, RedisConfigError> {
    let wrong = |problem: &str| RedisConfigError::new("CA file", problem);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| wrong("not a PEM file of certificates"))?;
        roots.add(certificate).map_err(|_| wrong("a certificate in it cannot be used as an authority"))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate in it; expected -----BEGIN CERTIFICATE-----"));
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, RedisConfigError> {
    let mut roots = RootCertStore::empty();
    // A certificate of the system that rustls cannot read is of no use to anybody; the others are.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        let problem = "the system has no certificate authorities; install ca-certificates or name a CA file";
        return Err(RedisConfigError::new("TLS", problem));
    }
    Ok(roots)
}
