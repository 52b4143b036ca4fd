//! The certificate and its key: read, checked as a pair, and read again when the files change.

use std::{fs, io::Read, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{sync::watch, time};
use tokio_util::sync::CancellationToken;

/// Largest file that is read: a chain of certificates, not somebody's disk image (bytes).
const MAX_FILE: u64 = 256 * 1024;
/// How often the files are looked at. Renewal comes days before an end; two small reads cost nothing.
const LOOK: Duration = Duration::from_secs(5);
/// What is offered to clients, best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Where certificate and key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// PEM: the server's certificate first, then those that lead to the root.
    pub cert: PathBuf,
    /// PEM: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key: PathBuf,
}

/// A file that cannot be used: which variable names it, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {path}: {why}", path = .path.display())]
pub struct Unusable {
    variable: &'static str,
    path: PathBuf,
    why: String,
}

/// Makes this program's one source of cryptography the process's default, so that no library has to choose.
/// ring and not aws-lc-rs: it needs no more than a C compiler and builds in a quarter of the time.
pub fn install_crypto() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Both files as bytes. Nothing here is ever printed.
#[derive(PartialEq, Eq)]
struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    /// Reads both files and checks that they belong together.
    pub fn load(&self) -> Result<Arc<ServerConfig>, Unusable> {
        self.build(&self.read()?)
    }

    fn read(&self) -> Result<Pair, Unusable> {
        let cert = read(&self.cert).map_err(|why| self.bad_cert(why))?;
        let key = read(&self.key).map_err(|why| self.bad_key(why))?;
        Ok(Pair { cert, key })
    }

    fn build(&self, pair: &Pair) -> Result<Arc<ServerConfig>, Unusable> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pair.cert)
            .collect::<Result<_, _>>()
            .map_err(|_| self.bad_cert("is not PEM"))?;
        if chain.is_empty() {
            return Err(self.bad_cert("holds no certificate (-----BEGIN CERTIFICATE-----)"));
        }
        // The library's errors about a key may quote it: none is passed on.
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|_| {
            self.bad_key("holds no private key in PEM (PKCS#8, SEC1 or PKCS#1, not encrypted)")
        })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|_| self.bad_key("holds a private key that is broken or of an unsupported kind"))?;
        let builder = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| self.bad_cert(error.to_string()))?
            .with_no_client_auth();
        let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                self.bad_key("is not the key of the certificate in TLS_CERT_FILE")
            }
            other => self.bad_cert(other.to_string()),
        })?;
        config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn bad_cert(&self, why: impl Into<String>) -> Unusable {
        Unusable { variable: "TLS_CERT_FILE", path: self.cert.clone(), why: why.into() }
    }

    fn bad_key(&self, why: impl Into<String>) -> Unusable {
        Unusable { variable: "TLS_KEY_FILE", path: self.key.clone(), why: why.into() }
    }

    /// Reads the files and hands out what they hold now; the second value keeps it current.
    pub fn watched(self) -> Result<(watch::Receiver<Arc<ServerConfig>>, Renewal), Unusable> {
        let pair = self.read()?;
        let (sender, receiver) = watch::channel(self.build(&pair)?);
        Ok((receiver, Renewal { files: self, pair, complaint: None, sender }))
    }
}

/// Follows the files.
pub struct Renewal {
    files: Files,
    /// What was read last, good or bad.
    pair: Pair,
    /// What was complained about last: once is enough.
    complaint: Option<Unusable>,
    sender: watch::Sender<Arc<ServerConfig>>,
}

impl Renewal {
    /// Looks at the files again and again until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut looks = time::interval(LOOK);
        while stop.run_until_cancelled(looks.tick()).await.is_some() {
            // Two small local files: a hop to another thread would cost more.
            self.look();
        }
    }

    /// Takes new files over. Unusable ones change nothing: half a renewal must not end the service.
    fn look(&mut self) {
        let outcome = self.files.read().and_then(|pair| {
            if pair == self.pair {
                return Ok(None);
            }
            let built = self.files.build(&pair);
            self.pair = pair;
            built.map(Some)
        });
        match outcome {
            Ok(None) => {}
            Ok(Some(config)) => {
                self.complaint = None;
                self.sender.send_replace(config);
                tracing::info!("TLS: new certificate in use");
            }
            Err(error) if self.complaint.as_ref() == Some(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "TLS: the old certificate stays in use");
                self.complaint = Some(error);
            }
        }
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("is larger than {MAX_FILE} bytes"));
    }
    Ok(bytes)
}
