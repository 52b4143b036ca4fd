//! Secrets in Azure Key Vault, played by the test over HTTPS: challenge, token, secret; and what is said when it goes wrong.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use nexarch_testkit::{Certificates, RedisServer};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::support::{
    home::Home,
    identity::{HEADER, Identity, head, reply},
    wait,
};

/// A vault that holds `redis` and lets everybody read it who shows a token.
struct Vault {
    port: u16,
    /// Requests that showed a token.
    shown: Arc<Mutex<Vec<String>>>,
}

impl Vault {
    fn start(certificates: &Certificates, resource: &'static str) -> Self {
        let (chain, key) = certificates.server_files();
        let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shown = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&shown);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let mut stream =
                    StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), socket);
                let lines = head(&mut stream);
                let Some(first) = lines.first() else { continue };
                let token = lines.iter().find_map(|line| line.strip_prefix("authorization: bearer "));
                match token {
                    None => {
                        let challenge = format!(
                            "WWW-Authenticate: Bearer authorization=\"https://login.example/t\", resource=\"{resource}\"\r\n"
                        );
                        reply(&mut stream, "401 Unauthorized", &challenge, "{}");
                    }
                    Some(token) => {
                        seen.lock().unwrap().push(token.to_owned());
                        if first.starts_with("get /secrets/redis?")
                            || first.starts_with("get /secrets/redis/")
                        {
                            reply(
                                &mut stream,
                                "200 OK",
                                "",
                                r#"{"value":"hunter2","id":"https://x/secrets/redis/1"}"#,
                            );
                        } else {
                            let body = r#"{"error":{"code":"SecretNotFound","message":"hunter2"}}"#;
                            reply(&mut stream, "404 Not Found", "", body);
                        }
                    }
                }
                stream.conn.send_close_notify();
                let _ = stream.conn.complete_io(&mut stream.sock);
            }
        });
        Self { port, shown }
    }

    fn reference(&self, path: &str) -> String {
        format!("@Microsoft.KeyVault(SecretUri=https://localhost:{}/secrets/{path})", self.port)
    }
}

#[test]
fn a_reference_is_the_secret_that_it_names() {
    let certificates = Certificates::new(&["localhost"]);
    let vault = Vault::start(&certificates, "https://vault.azure.net");
    let identity = Identity::start(3600, |_, _| {});
    let redis = RedisServer::builder().password("hunter2").start();
    let (port, authority, secret) =
        (redis.port().to_string(), certificates.ca_file(), vault.reference("redis"));
    let settings = [
        ("REDIS_HOST", "127.0.0.1"),
        ("REDIS_PORT", port.as_str()),
        ("REDIS_SSL", "False"),
        ("REDIS_PASSWORD", secret.as_str()),
        ("KEYVAULT_ALLOWED_HOSTS", "vault.example.com, localhost"),
        ("SSL_CERT_FILE", authority.to_str().unwrap()),
        ("IDENTITY_ENDPOINT", identity.url.as_str()),
        ("IDENTITY_HEADER", HEADER),
    ];
    let (home, server, line) = Home::started(&settings);
    assert!(line.starts_with("cache: Redis initialized"), "{}", server.log());
    assert!(!server.log().contains("hunter2"));
    // Once for each start; the home is of the last one.
    let shown = vault.shown.lock().unwrap().len();
    assert!((1..=wait::ATTEMPTS).contains(&shown), "{shown}");
    let output = home.command(["serve", "--print-config"]).envs(settings).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains("REDIS_PASSWORD=****") && !text.contains("hunter2"), "{text}");

    // So is that of the admin API: what the vault holds is too short for it.
    let output = home.command(["serve"]).envs(settings).env("ADMIN_SECRET_KEY", &secret).output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    assert!(text.contains("ADMIN_SECRET_KEY") && text.contains("at least 12"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    // What cannot be had is told, and is no password.
    let nowhere = vault.reference("nowhere");
    for (name, value, says) in [
        ("REDIS_PASSWORD", nowhere.as_str(), "there is no such secret"),
        ("IDENTITY_HEADER", "other", "(system-assigned managed identity)"),
        ("KEYVAULT_ALLOWED_HOSTS", "example.com", "localhost is no host of Azure Key Vault"),
    ] {
        let output = home.command(["serve"]).envs(settings).env(name, value).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(64), "{text}");
        assert!(text.contains("REDIS_PASSWORD") && text.contains(says), "{says}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
        let output = home.command(["doctor"]).envs(settings).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}

/// A vault that asks for a token for something else gets none.
#[test]
fn a_vault_is_given_a_token_for_vaults_only() {
    let certificates = Certificates::new(&["localhost"]);
    let vault = Vault::start(&certificates, "https://redis.azure.com");
    let identity = Identity::start(3600, |_, _| {});
    let home = Home::new();
    let output = home
        .command(["serve"])
        .env("REDIS_HOST", "127.0.0.1")
        .env("REDIS_PASSWORD", vault.reference("redis"))
        .env("KEYVAULT_ALLOWED_HOSTS", "localhost")
        .env("SSL_CERT_FILE", certificates.ca_file())
        .env("IDENTITY_ENDPOINT", &identity.url)
        .env("IDENTITY_HEADER", HEADER)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert_eq!((identity.given(), vault.shown.lock().unwrap().len()), (0, 0));
}
