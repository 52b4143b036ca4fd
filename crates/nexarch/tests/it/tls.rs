//! HTTPS and gRPC over TLS, as clients that trust one private authority see them.

use std::{fs, process::Command};

use crate::support::{
    home::Home,
    openssl::{Authority, KeyForm},
    sender::{Sdk, Sender, assert_holds},
    server::Server,
    wait,
};

fn serve(home: &Home, authority: &Authority) -> Server {
    home.serve_with(&[("TLS_CERT_FILE", &authority.cert()), ("TLS_KEY_FILE", &authority.key())])
}

/// Runs curl and returns its exit code and what it printed.
fn curl(args: &[&str]) -> (i32, String) {
    let output = Command::new("curl").args(["-s", "-m", "60"]).args(args).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

/// curl's exit code when it does not trust the certificate.
const NOT_TRUSTED: i32 = 60;

#[test]
fn both_protocols_are_spoken_to_those_who_trust_the_authority() {
    for form in [KeyForm::Pkcs8, KeyForm::Sec1, KeyForm::Pkcs1] {
        let (home, authority) = (Home::new(), Authority::new(form));
        let mut server = serve(&home, &authority);
        let (base, key) = (server.base().to_owned(), server.first_key());
        assert!(base.starts_with("https://"), "{base}");
        let health = format!("{base}/api/v1/health");
        for (version, flag) in [("2", "--http2"), ("1.1", "--http1.1")] {
            let args =
                ["--cacert", &authority.ca(), flag, "-w", "%{http_version} ", "-o", "/dev/null", &health];
            assert_eq!(curl(&args), (0, format!("{version} ")), "{form:?}");
        }
        let header = format!("X-API-Key: {key}");
        let stats = format!("{base}/api/v1/ingest/stats");
        let (_, stats) = curl(&["--cacert", &authority.ca(), "-H", &header, &stats]);
        assert!(stats.contains("total_spans"), "{stats}");
        assert_eq!(curl(&[&health]).0, NOT_TRUSTED);
        let (code, answer) = curl(&[&health.replace("https", "http")]);
        assert!(code != 0 && !answer.contains("ok"), "nothing is said in the clear: {code} {answer}");
        assert_eq!(server.terminate().code(), Some(0), "{}", server.log());
    }
}

#[test]
fn grpc_and_http_exporters_deliver_over_tls() {
    let (home, authority) = (Home::new(), Authority::new(KeyForm::Pkcs8));
    let mut server = serve(&home, &authority);
    let key = server.first_key();
    let trust = [("OTEL_EXPORTER_OTLP_CERTIFICATE", authority.ca())];
    let trust = trust.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut sent = crate::support::sender::Ids::new();
    for sdk in [Sdk::PythonGrpc, Sdk::PythonHttp] {
        let mut sender = Sender::start(sdk, server.base(), &key, &trust);
        sender.make(50);
        assert!(sender.flush(), "{sdk:?}: {}", sender.log());
        sent.extend(sender.finish());
    }
    assert_eq!(server.terminate().code(), Some(0));
    // Read back without TLS: what was sent is what is kept.
    let plain = home.serve();
    assert_holds(&plain.client(&key), &sent);
}

#[test]
fn files_that_cannot_be_used_are_told_by_the_name_of_their_variable() {
    let (home, authority) = (Home::new(), Authority::new(KeyForm::Pkcs8));
    let (other, locked) = (Authority::new(KeyForm::Pkcs8), Authority::new(KeyForm::Encrypted));
    let garbage = home.path().join("garbage.pem");
    fs::write(&garbage, "-----BEGIN PRIVATE KEY-----\nopensesame\n-----END PRIVATE KEY-----\n").unwrap();
    let garbage = garbage.to_str().unwrap();
    let (cert, key) = (authority.cert(), authority.key());
    let cases: [(&str, &str, &str); 9] = [
        ("/nonexistent", &key, "TLS_CERT_FILE"),
        (&cert, "/nonexistent", "TLS_KEY_FILE"),
        (garbage, &key, "TLS_CERT_FILE"),
        (&cert, garbage, "TLS_KEY_FILE"),
        (&cert, &other.key(), "TLS_KEY_FILE"),
        (&cert, &cert, "TLS_KEY_FILE"),
        (&locked.cert(), &locked.key(), "TLS_KEY_FILE"),
        ("", &key, "TLS_CERT_FILE"),
        (&cert, "", "TLS_KEY_FILE"),
    ];
    for (cert, key, name) in cases {
        let output = home
            .command(["serve"])
            .envs([("TLS_CERT_FILE", cert), ("TLS_KEY_FILE", key), ("PORT", "eighty")])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(64), "{output:?}");
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(text.contains(&format!("- {name}")), "{name} in {text}");
        assert!(text.contains("PORT"), "told together with the rest: {text}");
        assert!(!text.contains("opensesame"), "{text}");
        for line in fs::read_to_string(authority.key()).unwrap().lines().filter(|line| line.len() > 40) {
            assert!(!text.contains(line), "the key is shown: {text}");
        }
    }
    assert!(!home.database().exists());
}

#[test]
fn a_renewed_certificate_is_taken_over_and_a_broken_one_is_not() {
    let (home, first, second) = (Home::new(), Authority::new(KeyForm::Pkcs8), Authority::new(KeyForm::Sec1));
    let server = serve(&home, &first);
    let health = format!("{}/api/v1/health", server.base());
    let trusted = |authority: &Authority| curl(&["--cacert", &authority.ca(), &health]).0 == 0;
    assert!(trusted(&first) && !trusted(&second));
    fs::write(first.cert(), "half a file").unwrap();
    wait::until("the warning", || server.log().contains("the old certificate stays in use").then_some(()));
    assert!(trusted(&first));
    fs::copy(second.key(), first.key()).unwrap();
    fs::copy(second.cert(), first.cert()).unwrap();
    wait::until("the new certificate", || trusted(&second).then_some(()));
    assert!(!trusted(&first));
}
