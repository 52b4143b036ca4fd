//! A blocking HTTP client that shows everything and hides nothing: no retry, no redirect, no error for a status.

use std::time::Duration;

use serde_json::Value;
use ureq::{
    Agent, SendBody,
    http::{HeaderMap, Request},
};

use super::wait::PATIENCE;

/// One connection to the server, kept alive between requests, with one key.
pub(crate) struct Client {
    agent: Agent,
    base: String,
    key: Option<String>,
}

/// What is sent.
pub(crate) enum Body<'a> {
    /// Nothing, not even a length.
    None,
    /// Bytes with a `Content-Length`.
    Sized(&'a [u8]),
    /// Bytes in chunks without a `Content-Length`, as clients that stream do.
    Chunked(&'a [u8]),
}

impl Client {
    pub(crate) fn new(base: &str, key: Option<&str>) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .max_idle_connections_per_host(1)
            .max_idle_age(Duration::from_mins(10))
            .timeout_global(Some(PATIENCE))
            .build();
        Self { agent: config.into(), base: base.to_owned(), key: key.map(str::to_owned) }
    }

    /// Sends one request; an error is a broken connection, never a status.
    pub(crate) fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Body<'_>,
    ) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.header("X-API-Key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = match body {
            Body::None => self.agent.run(request.body(()).unwrap()),
            Body::Sized(bytes) => self.agent.run(request.body(*bytes).unwrap()),
            Body::Chunked(bytes) => {
                let mut reader = *bytes;
                self.agent.run(request.body(SendBody::from_reader(&mut reader)).unwrap())
            }
        }?;
        let (head, mut body) = reply.into_parts();
        let body = body.with_config().limit(256 << 20).read_to_vec()?;
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    /// Sends one request over a connection that must hold.
    pub(crate) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &Body<'_>) -> Reply {
        self.try_send(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], &Body::None)
    }

    pub(crate) fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", path, headers, &Body::None)
    }

    /// Posts OTLP as JSON.
    pub(crate) fn otlp_json(&self, body: &Value) -> Reply {
        let headers = [("Content-Type", "application/json")];
        self.send("POST", "/v1/traces", &headers, &Body::Sized(&serde_json::to_vec(body).unwrap()))
    }

    /// Posts OTLP as protobuf.
    pub(crate) fn otlp_protobuf(&self, body: &[u8]) -> Reply {
        self.send("POST", "/v1/traces", &[("Content-Type", "application/x-protobuf")], &Body::Sized(body))
    }

    /// Posts JSON to a route of the API.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Reply {
        let headers = [("Content-Type", "application/json")];
        self.send("POST", path, &headers, &Body::Sized(&serde_json::to_vec(body).unwrap()))
    }

    /// Posts an array of native spans.
    pub(crate) fn batch(&self, spans: &Value) -> Reply {
        self.post("/api/v1/ingest/batch", spans)
    }

    /// The field `total_spans` of the overview: all spans of the last day.
    pub(crate) fn total_spans(&self) -> u64 {
        let overview = self.get("/api/v1/dashboard/overview").ok();
        overview["total_spans"].as_u64().unwrap_or_else(|| panic!("no total_spans: {overview}"))
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Asserts the status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}\n{}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }

    /// The body of a 200 as JSON.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        self.expect(200).json()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header's text; empty when absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `Nexarch-Version`, which must be there and a decimal integer.
    #[track_caller]
    pub(crate) fn version(&self) -> u64 {
        let text = self.header("Nexarch-Version");
        text.parse().unwrap_or_else(|_| panic!("Nexarch-Version: {text:?} in {:?}", self.headers))
    }
}
