//! The identity endpoint of App Service and Container Apps, played over HTTP.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// The object id of the identity.
pub(crate) const OID: &str = "11111111-2222-3333-4444-555555555555";

/// What the endpoint wants as `X-IDENTITY-HEADER`.
pub(crate) const HEADER: &str = "the-header";

/// An endpoint that gives numbered tokens.
pub(crate) struct Identity {
    /// For `IDENTITY_ENDPOINT`.
    pub(crate) url: String,
    given: Arc<AtomicU64>,
}

impl Identity {
    /// One whose tokens are good for `life` seconds; `before` hears of each token, with the one before it, before it is given.
    pub(crate) fn start(life: u64, before: impl Fn(&str, &str) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/msi/token", listener.local_addr().unwrap());
        let given = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&given);
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let head = head(&mut stream);
                let asked = head.first().is_some_and(|first| {
                    first.starts_with("get /msi/token?") && first.contains("api-version=2019-08-01")
                });
                if !asked || !head.contains(&format!("x-identity-header: {HEADER}")) {
                    reply(&mut stream, "400 Bad Request", "", r#"{"error":"hunter2"}"#);
                    continue;
                }
                let n = count.fetch_add(1, Ordering::SeqCst) + 1;
                let token = token(n);
                before(&token, &self::token(n - 1));
                #[expect(clippy::disallowed_methods, reason = "a token expires in real time")]
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
                let body = format!(
                    r#"{{"access_token":"{token}","expires_on":"{}","token_type":"Bearer","resource":"r"}}"#,
                    now + life
                );
                reply(&mut stream, "200 OK", "", &body);
            }
        });
        Self { url, given }
    }

    /// Tokens given so far.
    pub(crate) fn given(&self) -> u64 {
        self.given.load(Ordering::SeqCst)
    }
}

/// A token whose claims name the identity.
pub(crate) fn token(n: u64) -> String {
    let claims = format!(r#"{{"aud":"https://redis.azure.com","oid":"{OID}","jti":"hunter2-{n}"}}"#);
    format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims))
}

/// The lines of a request's head, in lower case.
pub(crate) fn head(stream: &mut impl Read) -> Vec<String> {
    let mut lines = Vec::new();
    // Byte by byte: nothing behind the head is taken.
    let mut reader = BufReader::with_capacity(1, stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            return lines;
        }
        lines.push(line.trim().to_ascii_lowercase());
    }
}

/// Answers a request and closes.
pub(crate) fn reply(stream: &mut impl Write, status: &str, headers: &str, body: &str) {
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\n{headers}Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let _ = stream.flush();
}
