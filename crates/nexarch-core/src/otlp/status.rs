//! What OTLP answers: `ExportTraceServiceResponse` for what was read, `google.rpc.Status` for what was not.
//!
//! Both exist in the encoding of the request. Messages are cut to [`MAX_MESSAGE_BYTES`], so that no answer comes near
//! the 4 MiB that OTLP allows.

#[cfg(test)]
mod tests;

use serde_json::json;

use super::{Encoding, wire::Writer};

/// Longest message in an answer, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4096;

/// The codes of `google.rpc.Code` that an OTLP server uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// The body cannot be decoded.
    InvalidArgument = 3,
    /// The body did not arrive in time.
    DeadlineExceeded = 4,
    /// No such path.
    NotFound = 5,
    /// The key may not ingest.
    PermissionDenied = 7,
    /// Too large. Never for "busy": clients take it as final unless it carries `RetryInfo`.
    ResourceExhausted = 8,
    /// Method, content type or encoding not known.
    Unimplemented = 12,
    /// A fault of the server.
    Internal = 13,
    /// Busy, draining, or the database is away: try again.
    Unavailable = 14,
    /// No key, or an unknown one.
    Unauthenticated = 16,
}

/// A `google.rpc.Status`: the body of every 4xx and 5xx answer, and `grpc-status-details-bin` of a gRPC error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What went wrong.
    pub code: Code,
    /// For developers, in English.
    pub message: String,
    /// When to try again, seconds: becomes a `google.rpc.RetryInfo` in `details`.
    pub retry_after_s: Option<u32>,
}

impl Status {
    /// A status without `RetryInfo`.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after_s: None }
    }

    /// The bytes of the message.
    pub fn encode(&self, encoding: Encoding) -> Vec<u8> {
        let message = shortened(&self.message);
        match encoding {
            Encoding::Protobuf => {
                let mut out = Writer::default();
                out.varint_field(1, self.code as u64);
                out.text(2, &message);
                if let Some(seconds) = self.retry_after_s {
                    out.message(3, |any| {
                        any.text(1, RETRY_INFO);
                        any.message(2, |retry_info| {
                            retry_info.message(1, |duration| duration.varint_field(1, u64::from(seconds)));
                        });
                    });
                }
                if self.code == Code::InvalidArgument {
                    out.message(3, |any| {
                        any.text(1, BAD_REQUEST);
                        any.message(2, |bad_request| {
                            bad_request.message(1, |violation| violation.text(2, &message));
                        });
                    });
                }
                out.0
            }
            Encoding::Json => {
                let mut status = json!({ "code": self.code as u8, "message": message });
                if let Some(seconds) = self.retry_after_s {
                    status["details"] = json!([{ "@type": RETRY_INFO, "retryDelay": format!("{seconds}s") }]);
                } else if self.code == Code::InvalidArgument {
                    let violations = json!([{ "description": message }]);
                    status["details"] = json!([{ "@type": BAD_REQUEST, "fieldViolations": violations }]);
                }
                status.to_string().into_bytes()
            }
        }
    }
}

/// What OTLP asks for in the details of a 400.
const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// An `ExportTraceServiceResponse`. Without rejected spans and without a message `partial_success` is unset: the body
/// is empty in protobuf and `{}` in JSON. A message without rejected spans is a warning.
pub fn export_response(rejected_spans: u64, message: &str, encoding: Encoding) -> Vec<u8> {
    let message = shortened(message);
    let success = rejected_spans == 0 && message.is_empty();
    match encoding {
        Encoding::Protobuf if success => Vec::new(),
        Encoding::Protobuf => {
            let mut out = Writer::default();
            out.message(1, |partial| {
                partial.varint_field(1, rejected_spans);
                partial.text(2, &message);
            });
            out.0
        }
        Encoding::Json if success => b"{}".to_vec(),
        // 64-bit integers are strings in protobuf's JSON.
        Encoding::Json => json!({
            "partialSuccess": { "rejectedSpans": rejected_spans.to_string(), "errorMessage": message }
        })
        .to_string()
        .into_bytes(),
    }
}

fn shortened(message: &str) -> String {
    if message.len() <= MAX_MESSAGE_BYTES {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(MAX_MESSAGE_BYTES - '…'.len_utf8());
    format!("{}…", &message[..end])
}
