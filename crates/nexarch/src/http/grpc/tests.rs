use axum::body::Bytes;
use http_body_util::BodyExt;

use super::{frame, reply, *};
use crate::ingest::body::BodyError;

/// A body that comes in the given pieces.
fn body(pieces: &[&[u8]]) -> Body {
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn read(pieces: &[&[u8]], encoding: Encoding, limit: usize) -> Result<(Encoding, Bytes), BodyError> {
    let opened = frame::open(body(pieces), encoding, limit).await?;
    let message = opened.message.collect().await.map_err(|_| BodyError::Cut)?.to_bytes();
    Ok((opened.encoding, message))
}

#[tokio::test]
async fn a_message_comes_out_of_its_frame_however_it_was_cut() {
    let framed = [&[0, 0, 0, 0, 6][..], b"abcdef"].concat();
    for at in 0..framed.len() {
        let (first, second) = framed.split_at(at);
        let (encoding, message) = read(&[first, second], Encoding::Gzip, 6).await.unwrap();
        assert_eq!((encoding, &message[..]), (Encoding::Identity, &b"abcdef"[..]), "cut at {at}");
    }
    let (encoding, message) = read(&[&[1, 0, 0, 0, 0]], Encoding::Gzip, 6).await.unwrap();
    assert_eq!((encoding, message.len()), (Encoding::Gzip, 0));
}

#[tokio::test]
async fn a_wrong_frame_is_refused() {
    let header = [0, 0, 0, 0, 6];
    assert_eq!(read(&[&header, b"abcdef"], Encoding::Identity, 5).await, Err(BodyError::TooLarge(5)));
    assert_eq!(read(&[&header, b"abcde"], Encoding::Identity, 6).await, Err(BodyError::Cut), "too short");
    assert_eq!(read(&[&header, b"abcdefg"], Encoding::Identity, 6).await, Err(BodyError::Cut), "too long");
    assert_eq!(read(&[&header, b"abcdef", &header], Encoding::Identity, 6).await, Err(BodyError::Cut), "two");
    assert_eq!(read(&[&header[..4]], Encoding::Identity, 6).await, Err(BodyError::Frame));
    assert_eq!(read(&[], Encoding::Identity, 6).await, Err(BodyError::Frame), "no message at all");
    assert_eq!(read(&[&[1, 0, 0, 0, 0]], Encoding::Identity, 6).await, Err(BodyError::Frame), "packed, how?");
    assert_eq!(read(&[&[2, 0, 0, 0, 0]], Encoding::Gzip, 6).await, Err(BodyError::Frame), "no such flag");
}

#[test]
fn messages_travel_as_printable_ascii() {
    assert_eq!(reply::escape("50% of \u{fc}\n"), "50%25 of %C3%BC%0A");
    let long = reply::status(Code::InvalidArgument, &"\u{fc}".repeat(5_000), None);
    let size: usize = long.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    assert!(size < 8_000, "clients refuse larger headers: {size}");
}

#[test]
fn content_types_are_told_apart() {
    let is = |value: &'static str| {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]);
        subtype(&headers).map(str::to_owned)
    };
    assert_eq!(is("application/grpc").as_deref(), Some(""));
    assert_eq!(is("application/grpc+proto; x=y").as_deref(), Some("proto"));
    assert_eq!(is("application/grpc+json").as_deref(), Some("json"));
    for other in ["application/grpc-web", "application/grpcx", "application/x-protobuf"] {
        assert_eq!(is(other), None, "{other}");
    }
}
