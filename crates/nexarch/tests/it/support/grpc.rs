//! A gRPC client without comfort: one HTTP/2 connection, frames as the test wants them, everything of the answer shown.

use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use hyper::{HeaderMap, Request, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, runtime::Runtime};

use super::wait::PATIENCE;

pub(crate) const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// One connection, without TLS.
pub(crate) struct Grpc {
    runtime: Runtime,
    sender: SendRequest<Body>,
    key: String,
}

/// An answer: the status and what came with it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: u32,
    /// `grpc-message`, still percent-encoded.
    pub(crate) text: String,
    pub(crate) headers: HeaderMap,
    /// The frame of the message, its header too; empty when only a status came.
    pub(crate) frame: Vec<u8>,
    /// `grpc-status-details-bin`, decoded.
    pub(crate) details: Vec<u8>,
}

impl Grpc {
    pub(crate) fn connect(addr: &str, key: &str) -> Self {
        // One worker of its own, so that the connection lives between calls.
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let sender = runtime.block_on(async {
            let stream = TcpStream::connect(addr).await.unwrap();
            let io = TokioIo::new(stream);
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
            runtime.handle().spawn(connection);
            sender
        });
        Self { runtime, sender, key: key.to_owned() }
    }

    /// Calls a method with a body that is framed already. A header of the list replaces one that is sent by default; an
    /// empty value leaves it out.
    pub(crate) fn call(&self, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Outcome {
        let mut request = Request::post(format!("http://x{path}"));
        let defaults =
            [("content-type", "application/grpc"), ("te", "trailers"), ("x-api-key", self.key.as_str())];
        for (name, value) in defaults.iter().filter(|(name, _)| !headers.iter().any(|(n, _)| n == name)) {
            request = request.header(*name, *value);
        }
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).unwrap();
        let mut sender = self.sender.clone();
        let answer = async move {
            let response = sender.send_request(request).await.unwrap();
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap();
            let trailers = body.trailers().cloned().unwrap_or_default();
            (head, trailers, body.to_bytes())
        };
        let (head, trailers, frame): (_, HeaderMap, Bytes) = self
            .runtime
            .block_on(async { tokio::time::timeout(PATIENCE, answer).await })
            .expect("an answer in time");
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.headers["content-type"], "application/grpc", "{head:?}");
        let find = |name: &str| trailers.get(name).or_else(|| head.headers.get(name)).cloned();
        let status = find("grpc-status").unwrap_or_else(|| panic!("no grpc-status: {head:?} {trailers:?}"));
        let details =
            find("grpc-status-details-bin").map(|value| unpad(value.as_bytes())).unwrap_or_default();
        Outcome {
            code: status.to_str().unwrap().parse().unwrap(),
            text: find("grpc-message").map_or_else(String::new, |text| text.to_str().unwrap().to_owned()),
            headers: head.headers,
            frame: frame.to_vec(),
            details,
        }
    }

    /// Sends one message, plain.
    pub(crate) fn export(&self, message: &[u8]) -> Outcome {
        self.call(EXPORT, &[], framed(0, message))
    }
}

impl Outcome {
    /// Asserts the status code.
    #[track_caller]
    pub(crate) fn expect(self, code: u32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Do the details hold a `RetryInfo`?
    pub(crate) fn says_when_to_retry(&self) -> bool {
        let name = b"type.googleapis.com/google.rpc.RetryInfo";
        self.details.windows(name.len()).any(|window| window == name)
    }
}

/// A message in its frame.
pub(crate) fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    [&[flag][..], &u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
}

fn unpad(text: &[u8]) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    STANDARD_NO_PAD.decode(text).unwrap()
}
