//! The frame around a message: one byte that says whether it is compressed, four that say how long it is.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
};
use bytes::{Buf, BytesMut};
use http_body::Frame;
use http_body_util::BodyExt;

use crate::ingest::body::{BodyError, Encoding};

/// Bytes before the message.
pub(super) const HEADER: usize = 5;
/// How long the header may take to come; the message behind it has limits of its own.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message that may be read.
pub(super) struct Message {
    /// How it is packed: what the call said, if the frame says that this message is.
    pub(super) encoding: Encoding,
    /// Its bytes, and nothing else: too few or too many are an error.
    pub(super) message: Body,
}

/// Reads the header. A message that says that it is too long is refused before any of it is read.
pub(super) async fn open(mut body: Body, encoding: Encoding, limit: usize) -> Result<Message, BodyError> {
    let mut first = BytesMut::new();
    let header = async {
        while first.len() < HEADER {
            let frame = body.frame().await.ok_or(BodyError::Frame)?.map_err(|_| BodyError::Cut)?;
            if let Ok(data) = frame.into_data() {
                first.extend_from_slice(&data);
            }
        }
        Ok::<(), BodyError>(())
    };
    tokio::time::timeout(PATIENCE, header).await.map_err(|_| BodyError::Slow)??;
    let encoding = match (first.get_u8(), encoding) {
        (0, _) => Encoding::Identity,
        // Compressed, though the call named no way to unpack it.
        (1, Encoding::Identity) => return Err(BodyError::Frame),
        (1, encoding) => encoding,
        _ => return Err(BodyError::Frame),
    };
    let length = usize::try_from(first.get_u32()).map_err(|_| BodyError::TooLarge(limit))?;
    if length > limit {
        return Err(BodyError::TooLarge(limit));
    }
    let message = Body::new(Framed { first: first.freeze(), body, missing: length });
    Ok(Message { encoding, message })
}

/// The bytes of one message.
struct Framed {
    /// What came with the header.
    first: Bytes,
    body: Body,
    /// Bytes that are still to come.
    missing: usize,
}

impl Framed {
    fn take(&mut self, data: Bytes) -> Result<Frame<Bytes>, Error> {
        self.missing =
            self.missing.checked_sub(data.len()).ok_or_else(|| Error::new("more than one message"))?;
        Ok(Frame::data(data))
    }
}

impl HttpBody for Framed {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(self.take(first)));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None if self.missing > 0 => {
                    return Poll::Ready(Some(Err(Error::new("the message ended early"))));
                }
                None => return Poll::Ready(None),
            };
            match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(self.take(data))),
                // Trailers of a request mean nothing here.
                Err(_) => {}
            }
        }
    }
}
