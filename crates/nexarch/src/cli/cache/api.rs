//! The client: one request, one answer, and errors that say what to do.

use std::{fmt::Write as _, fs, io, path::Path, time::Duration};

use jiff::Timestamp;
use reqwest::{
    Certificate, Client, Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderValue},
    redirect::Policy,
};
use rustls::{CertificateError, Error as TlsError, InvalidMessage};
use serde::Deserialize;

use super::{ANSWER, Server};
use crate::{
    cli::{Misused, output::printable},
    config, lifecycle,
};

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest answer that is read: that of statistics is a few kilobytes.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Longest file of a key.
const MAX_KEY_BYTES: u64 = 4 << 10;
/// Every path begins so.
const ROUTE: [&str; 3] = ["api", "v1", "cache"];

/// A server, and who asks it.
pub(super) struct Api {
    client: Client,
    base: Url,
    key: Option<HeaderValue>,
}

/// A request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// What comes behind `/api/v1/cache/`, piece by piece.
    pub(super) path: &'a [&'a str],
    /// Parameters; those without a value are left out.
    pub(super) query: &'a [(&'a str, Option<&'a str>)],
    /// Longest wait for the whole answer.
    pub(super) limit: Duration,
}

/// A good answer.
pub(super) struct Answer {
    pub(super) body: String,
    /// When it was given, by the server's clock.
    pub(super) at: Timestamp,
}

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Nobody, or nobody who is trusted, answers.
    #[error("{url} does not answer: {why}")]
    Silent { url: String, why: String },
    /// It says no.
    #[error("{url} answers {status}: {detail}")]
    Refused { url: String, status: StatusCode, detail: String },
    /// It is something else.
    #[error("{url} answers {status}, and not as Nexarch does; does --url name the right server?")]
    Foreign { url: String, status: StatusCode },
}

impl Failure {
    /// Would it be the same however often it is tried: is it the key that is not taken?
    pub(super) fn is_final(&self) -> bool {
        use StatusCode as Code;
        matches!(self, Self::Refused { status: Code::UNAUTHORIZED | Code::FORBIDDEN, .. })
    }
}

/// Where a server listens: `http` or `https`, with a path where a proxy stands before it.
pub(super) fn base(text: &str) -> Result<Url, String> {
    let url: Url =
        text.parse().map_err(|_| "must be a URL, such as https://nexarch.example.com".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https:// and name a host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no user and no password: the API key comes from NEXARCH_API_KEY".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path".to_owned());
    }
    Ok(url)
}

impl<'a> Call<'a> {
    pub(super) fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], limit: ANSWER }
    }

    fn url(&self, base: &Url) -> Url {
        let mut url = base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(ROUTE).extend(self.path);
        }
        for (name, value) in self.query {
            if let Some(value) = value {
                url.query_pairs_mut().append_pair(name, value);
            }
        }
        url
    }
}

impl Api {
    /// With the key that the command or the environment names.
    pub(super) fn new(server: &Server) -> anyhow::Result<Self> {
        let text = match &server.api_key_file {
            Some(file) => Some(key_file(file).map_err(|why| Misused(format!("{}: {why}", file.display())))?),
            None => config::command::api_key(),
        };
        let text = text.ok_or_else(|| {
            Misused(
                "no API key: set NEXARCH_API_KEY, or name its file with --api-key-file; `nexarch key create --tenant TENANT \
                 --scope read,admin` makes one"
                    .to_owned(),
            )
        })?;
        let key = HeaderValue::try_from(format!("Bearer {text}"));
        let mut key = key.map_err(|_| Misused("the API key holds characters that no key has".to_owned()))?;
        key.set_sensitive(true);
        Ok(Self { key: Some(key), ..Self::without_key(server)? })
    }

    pub(super) fn without_key(server: &Server) -> anyhow::Result<Self> {
        let builder = Client::builder()
            .connect_timeout(CONNECT)
            .user_agent(concat!("nexarch/", env!("CARGO_PKG_VERSION")))
            // A key is for the server that was named, and for no other.
            .redirect(Policy::none());
        let builder = match &server.ca_file {
            Some(file) => {
                let wrong = |why: String| Misused(format!("--ca-file {}: {why}", file.display()));
                let text = fs::read(file).map_err(|error| wrong(error.to_string()))?;
                let trusted = Certificate::from_pem_bundle(&text).unwrap_or_default();
                if trusted.is_empty() {
                    return Err(wrong("holds no certificate in PEM".to_owned()).into());
                }
                builder.tls_certs_only(trusted)
            }
            // Without TLS nobody's certificate is looked at, and a system need not have any.
            None if server.url.scheme() == "http" => builder.tls_certs_only([]),
            None => builder,
        };
        Ok(Self { client: builder.build()?, base: server.url.clone(), key: None })
    }

    /// Sends a request, and reads its answer within the limits.
    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let request = self.client.request(call.method.clone(), call.url(&self.base)).timeout(call.limit);
        let request = match &self.key {
            Some(key) => request.header(header::AUTHORIZATION, key.clone()),
            None => request,
        };
        let response = request.send().await.map_err(|error| self.silent(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let at = date(&headers);
        let body = self.body(response).await?;
        match body {
            Some(body) if status == StatusCode::OK => Ok(Answer { body, at }),
            Some(body) => Err(self.refusal(status, &headers, &body)),
            None => Err(Failure::Foreign { url: self.url(), status }),
        }
    }

    fn url(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    fn silent(&self, error: &reqwest::Error) -> Failure {
        Failure::Silent { url: self.url(), why: why(error) }
    }

    /// `None` when it is not text, or more of it than any answer has.
    async fn body(&self, mut response: Response) -> Result<Option<String>, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.silent(&error))? {
            if body.len() + piece.len() > MAX_ANSWER_BYTES {
                return Ok(None);
            }
            body.extend_from_slice(&piece);
        }
        Ok(String::from_utf8(body).ok())
    }

    fn refusal(&self, status: StatusCode, headers: &HeaderMap, body: &str) -> Failure {
        #[derive(Deserialize)]
        struct Problem {
            detail: String,
        }
        let Ok(Problem { detail }) = serde_json::from_str(body) else {
            return Failure::Foreign { url: self.url(), status };
        };
        let mut detail = printable(&detail);
        let seconds =
            headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if let Some(seconds) = seconds {
            let _ = write!(detail, " (try again in {seconds} s)");
        }
        Failure::Refused { url: self.url(), status, detail }
    }
}

fn key_file(file: &Path) -> Result<String, String> {
    let size = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > MAX_KEY_BYTES {
        return Err(format!("has {size} bytes; an API key is one short line"));
    }
    let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
    let key = text.trim();
    if key.is_empty() || key.lines().count() > 1 {
        return Err("must hold an API key, in one line".to_owned());
    }
    Ok(key.to_owned())
}

/// When the answer was given. The clocks of two machines differ, and ages are by the server's.
fn date(headers: &HeaderMap) -> Timestamp {
    let text = headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let told = text.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|at| at.timestamp());
    told.unwrap_or_else(|| {
        let now = i64::try_from(lifecycle::now_us()).unwrap_or_default();
        Timestamp::from_microsecond(now).unwrap_or_default()
    })
}

/// The innermost cause, and what to do about those that a hand can mend.
fn why(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "it takes too long".to_owned();
    }
    let mut cause: &(dyn std::error::Error + 'static) = error;
    loop {
        if let Some(error) = tls(cause) {
            return with_advice(error);
        }
        match cause.source() {
            Some(source) => cause = source,
            None => break,
        }
    }
    match cause.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            "connection refused; is a server running there? (--url names another one)".to_owned()
        }
        _ => printable(&cause.to_string()),
    }
}

/// An error of TLS travels inside of one or two of input and output, which do not name it as their source.
fn tls<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a TlsError> {
    let mut inner = cause;
    while let Some(within) = inner.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        inner = within;
    }
    inner.downcast_ref()
}

fn with_advice(error: &TlsError) -> String {
    match error {
        // The second: of another authority with the name of a trusted one.
        TlsError::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            "its certificate is of an authority that is not trusted; --ca-file names one that is".to_owned()
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "it does not speak TLS; try http:// in place of https://".to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_cannot_leave_their_place() {
        let call = Call {
            method: Method::DELETE,
            path: &["invalidate", "../stats?a/b%2F#"],
            query: &[("pattern", Some("a&b=*")), ("window", None)],
            limit: ANSWER,
        };
        let text = "http://h/api/v1/cache/invalidate/..%2Fstats%3Fa%2Fb%252F%23?pattern=a%26b%3D*";
        assert_eq!(call.url(&base("http://h").unwrap()).as_str(), text);
        let behind = Call::get(&["stats"]).url(&base("https://h/nexarch/").unwrap());
        assert_eq!(behind.as_str(), "https://h/nexarch/api/v1/cache/stats");
    }

    #[test]
    fn a_url_is_http_with_a_host_and_without_secrets() {
        for wrong in
            ["", "h:80", "ftp://h", "http://", "http://u@h", "http://:p@h", "http://h?a", "http://h#a"]
        {
            assert!(base(wrong).is_err(), "{wrong}");
        }
        assert!(base("https://[::1]:8443").is_ok());
    }
}
