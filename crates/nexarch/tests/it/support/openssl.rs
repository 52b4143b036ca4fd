//! Certificates of a private authority, made by OpenSSL: not by the library that reads them.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

/// How a private key is written down.
#[derive(Debug, Clone, Copy)]
pub(crate) enum KeyForm {
    /// `BEGIN PRIVATE KEY`, P-256.
    Pkcs8,
    /// `BEGIN EC PRIVATE KEY`.
    Sec1,
    /// `BEGIN RSA PRIVATE KEY`.
    Pkcs1,
    /// `BEGIN ENCRYPTED PRIVATE KEY`: of no use to a server that starts by itself.
    Encrypted,
}

/// An authority that nobody trusts unless told to, with one certificate for 127.0.0.1 and its key.
pub(crate) struct Authority {
    dir: TempDir,
}

impl Authority {
    pub(crate) fn new(form: KeyForm) -> Self {
        let this = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(this.dir.path().join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
        let kind = match form {
            KeyForm::Pkcs1 => "-newkey rsa:2048",
            _ => "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1",
        };
        let last = match form {
            KeyForm::Pkcs8 => "cp made.pem key.pem",
            KeyForm::Sec1 => "openssl ec -in made.pem -out key.pem",
            KeyForm::Pkcs1 => "openssl rsa -in made.pem -traditional -out key.pem",
            KeyForm::Encrypted => "openssl pkcs8 -topk8 -in made.pem -passout pass:opensesame -out key.pem",
        };
        this.shell(&format!(
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 2 -subj '/CN=private authority'
             openssl req {kind} -nodes -keyout made.pem -out request.pem -subj /CN=localhost
             openssl x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem
             {last}"
        ));
        this
    }

    fn shell(&self, script: &str) {
        let output =
            Command::new("bash").args(["-euc", script]).current_dir(self.dir.path()).output().unwrap();
        assert!(output.status.success(), "is the Debian package openssl there?\n{output:?}");
    }

    /// What a client must trust.
    pub(crate) fn ca(&self) -> String {
        self.file("ca.pem")
    }

    pub(crate) fn cert(&self) -> String {
        self.file("cert.pem")
    }

    pub(crate) fn key(&self) -> String {
        self.file("key.pem")
    }

    fn file(&self, name: &str) -> String {
        let path: PathBuf = self.dir.path().join(name);
        path.to_str().unwrap().to_owned()
    }
}
