//! A private certificate authority, and a server certificate of it.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Files in a directory of their own; gone with it.
#[derive(Debug)]
pub struct Certificates {
    dir: TempDir,
    ca_pem: String,
}

impl Certificates {
    /// A new authority, and a certificate for exactly these names and addresses.
    ///
    /// The certificate is good for clients, too: the bus of a Redis cluster asks for that.
    pub fn new(names: &[&str]) -> Self {
        Self::made(names, false)
    }

    /// As [`Certificates::new`], but the server's certificate has expired years ago.
    pub fn expired(names: &[&str]) -> Self {
        Self::made(names, true)
    }

    fn made(names: &[&str], expired: bool) -> Self {
        let authority_key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::default();
        // Each authority has a name of its own, and no server has its name: OpenSSL would take it for self-signed.
        authority.distinguished_name.push(DnType::CommonName, serial(&authority_key));
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_pem = authority.self_signed(&authority_key).expect("an authority").pem();
        let issuer = Issuer::new(authority, authority_key);

        let mut server = CertificateParams::default();
        server.distinguished_name.push(DnType::CommonName, "server");
        server.subject_alt_names = names.iter().map(|name| alt_name(name)).collect();
        server.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if expired {
            (server.not_before, server.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
        }
        let key = KeyPair::generate().expect("a key");
        let certificate = server.signed_by(&key, &issuer).expect("a certificate");

        let dir = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("a file in a temporary directory");
        };
        write("ca.crt", &ca_pem);
        write("server.crt", &certificate.pem());
        write("server.key", &key.serialize_pem());
        Self { dir, ca_pem }
    }

    /// The authority, PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The authority's file.
    pub fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.crt")
    }

    /// The server's certificate and its key, PEM.
    pub fn server_files(&self) -> (PathBuf, PathBuf) {
        (self.dir.path().join("server.crt"), self.dir.path().join("server.key"))
    }

    pub(crate) fn directory(&self) -> &Path {
        self.dir.path()
    }
}

fn serial(key: &KeyPair) -> String {
    let tail = key.public_key_raw().iter().rev().take(8);
    tail.fold(String::from("test ca "), |name, byte| name + &format!("{byte:02x}"))
}

fn alt_name(name: &str) -> SanType {
    match name.parse::<IpAddr>() {
        Ok(address) => SanType::IpAddress(address),
        Err(_) => SanType::DnsName(name.try_into().expect("an ASCII name")),
    }
}
