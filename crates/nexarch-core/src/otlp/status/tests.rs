//! The answers, read by messages derived from their definitions.

use prost::Message;
use serde_json::{Value as Json, json};

use super::{Code, MAX_MESSAGE_BYTES, Status, export_response};
use crate::otlp::Encoding;

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes, tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Duration>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "2")]
    description: String,
}

#[derive(Clone, PartialEq, Message)]
struct Duration {
    #[prost(int64, tag = "1")]
    seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

fn parse(json: &[u8]) -> Json {
    serde_json::from_slice(json).unwrap()
}

#[test]
fn success_says_nothing() {
    assert_eq!(export_response(0, "", Encoding::Protobuf), b"");
    assert_eq!(export_response(0, "", Encoding::Json), b"{}");
}

#[test]
fn partial_success_and_warnings() {
    for (rejected, message) in [(3, "3 of 10 spans rejected"), (0, "a \"warning\"")] {
        let body = export_response(rejected, message, Encoding::Protobuf);
        let partial = ExportTraceServiceResponse::decode(body.as_slice()).unwrap().partial_success.unwrap();
        assert_eq!((partial.rejected_spans, &*partial.error_message), (rejected.cast_signed(), message));
        let expected =
            json!({"partialSuccess": {"rejectedSpans": rejected.to_string(), "errorMessage": message}});
        assert_eq!(parse(&export_response(rejected, message, Encoding::Json)), expected);
    }
}

#[test]
fn a_status_in_both_encodings() {
    let status = Status::new(Code::NotFound, "no");
    let read = RpcStatus::decode(status.encode(Encoding::Protobuf).as_slice()).unwrap();
    assert_eq!(read, RpcStatus { code: 5, message: "no".into(), details: vec![] });
    assert_eq!(parse(&status.encode(Encoding::Json)), json!({"code": 5, "message": "no"}));
}

#[test]
fn a_bad_request_says_so_in_its_details() {
    let status = Status::new(Code::InvalidArgument, "no");
    let read = RpcStatus::decode(status.encode(Encoding::Protobuf).as_slice()).unwrap();
    assert_eq!((read.code, read.details.len()), (3, 1));
    assert_eq!(read.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let bad_request = BadRequest::decode(read.details[0].value.as_slice()).unwrap();
    assert_eq!(bad_request.field_violations, [FieldViolation { description: "no".into() }]);
    let json = parse(&status.encode(Encoding::Json));
    assert_eq!(json["details"][0]["@type"], "type.googleapis.com/google.rpc.BadRequest");
    assert_eq!(json["details"][0]["fieldViolations"], json!([{"description": "no"}]));
}

#[test]
fn retry_info_tells_when_to_come_back() {
    let status = Status { retry_after_s: Some(300), ..Status::new(Code::Unavailable, "busy") };
    let read = RpcStatus::decode(status.encode(Encoding::Protobuf).as_slice()).unwrap();
    assert_eq!((read.code, read.details.len()), (14, 1));
    assert_eq!(read.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
    let retry_info = RetryInfo::decode(read.details[0].value.as_slice()).unwrap();
    assert_eq!(retry_info.retry_delay, Some(Duration { seconds: 300 }));
    let json = parse(&status.encode(Encoding::Json));
    assert_eq!(json["details"][0]["retryDelay"], "300s");
    assert_eq!(json["details"][0]["@type"], "type.googleapis.com/google.rpc.RetryInfo");
}

#[test]
fn messages_are_cut_at_a_character() {
    let long = "é".repeat(10_000_000);
    for encoding in [Encoding::Protobuf, Encoding::Json] {
        assert!(export_response(1, &long, encoding).len() < MAX_MESSAGE_BYTES + 100);
        assert!(Status::new(Code::Internal, long.clone()).encode(encoding).len() < MAX_MESSAGE_BYTES + 100);
    }
    let body = export_response(1, &long, Encoding::Json);
    let message = parse(&body)["partialSuccess"]["errorMessage"].as_str().unwrap().to_owned();
    assert!(message.ends_with("é…") && message.len() <= MAX_MESSAGE_BYTES);
    let exact = "x".repeat(MAX_MESSAGE_BYTES);
    assert_eq!(parse(&export_response(1, &exact, Encoding::Json))["partialSuccess"]["errorMessage"], exact);
}
