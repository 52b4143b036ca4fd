//! What was read and waits for the store: batches of a good size, bounded in bytes.

use std::sync::Arc;

use nexarch_core::span::Span;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};

use super::{request::Request, shift::Offset};

/// Spans are handed on once this many are together: the store writes a chunk of about 1,000 spans, and one
/// transaction pays for several …
const BATCH_SPANS: usize = 2_000;
/// … or once the requests that they stood in are this large together (16 MiB): a span keeps the text of its whole request
/// in memory.
const BATCH_BYTES: usize = 16 << 20;
/// Never more spans than this at once, however large one request was.
const MAX_BATCH_SPANS: usize = 5_000;
/// Batches that wait while the store writes: reading goes on meanwhile.
const WAITING_BATCHES: usize = 2;
/// Most text that batches on their way keep in memory (128 MiB), the one that is being stored included; a single larger
/// one travels alone. Beside it there is what is being read.
const WAITING_BYTES: usize = 128 << 20;

/// Text is counted in pieces of this many bytes, so that its amount fits what a semaphore counts.
const PIECE: usize = 1 << 10;

/// Spans for the store. As long as it lives, there is less room for others.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) spans: Vec<Span>,
    room: OwnedSemaphorePermit,
}

impl Batch {
    /// Its spans, and the room that they take.
    pub(super) fn into_parts(self) -> (Vec<Span>, OwnedSemaphorePermit) {
        (self.spans, self.room)
    }
}

/// Nobody listens any more.
#[derive(Debug)]
pub(super) struct Closed;

/// The reading end: puts batches together.
pub(super) struct Batches {
    /// By how much spans are moved.
    pub(super) offset: Option<Offset>,
    waiting: Vec<Span>,
    bytes: usize,
    sender: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
}

/// Both ends of the way to the store.
pub(super) fn channel() -> (Batches, mpsc::Receiver<Batch>) {
    let (sender, receiver) = mpsc::channel(WAITING_BATCHES);
    let room = Arc::new(Semaphore::new(WAITING_BYTES / PIECE));
    (Batches { offset: None, waiting: Vec::new(), bytes: 0, sender, room }, receiver)
}

impl Batches {
    /// Takes the spans of a request; hands on what is enough. Blocks while too much is on its way.
    pub(super) fn add(&mut self, request: Request) -> Result<(), Closed> {
        if request.decoded.spans.is_empty() {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(request.bytes);
        self.waiting.extend(request.decoded.spans);
        if self.waiting.len() >= BATCH_SPANS || self.bytes >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    /// Hands on all that waits.
    pub(super) fn flush(&mut self) -> Result<(), Closed> {
        let pieces = self.bytes.min(WAITING_BYTES).div_ceil(PIECE).max(1);
        let pieces = u32::try_from(pieces).unwrap_or(u32::MAX);
        while !self.waiting.is_empty() {
            let rest = self.waiting.split_off(self.waiting.len().min(MAX_BATCH_SPANS));
            let mut spans = std::mem::replace(&mut self.waiting, rest);
            if let Some(offset) = self.offset {
                for span in &mut spans {
                    offset.shift(span);
                }
            }
            // Each part may be the last that keeps the text.
            let room = Handle::current().block_on(Arc::clone(&self.room).acquire_many_owned(pieces));
            let batch = Batch { spans, room: room.map_err(|_| Closed)? };
            self.sender.blocking_send(batch).map_err(|_| Closed)?;
        }
        self.bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nexarch_core::otlp::{Rules, decode_json};

    use super::*;
    use crate::import::Place;

    fn request(bytes: usize) -> Request {
        let text = r#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"00000000000000000000000000000001","spanId":"0000000000000001"}]}]}]}"#;
        let decoded = decode_json(&text.into(), &Rules::default()).unwrap();
        Request { place: Place::Line(1), decoded, bytes, rejected_at: None }
    }

    #[tokio::test]
    async fn a_batch_takes_room_until_it_is_stored() {
        let all = WAITING_BYTES / PIECE;
        for (bytes, taken) in [(60 << 20, (60 << 20) / PIECE), (1 << 30, all)] {
            let (mut batches, mut receiver) = channel();
            let room = Arc::clone(&batches.room);
            let reading = tokio::task::spawn_blocking(move || {
                (0..5).for_each(|_| batches.add(request(bytes)).unwrap());
            });
            let mut stored = 0;
            while let Some(batch) = receiver.recv().await {
                let left = room.available_permits();
                assert!(left <= all - taken, "{left} are left beside a batch of {taken}");
                stored += batch.spans.len();
            }
            reading.await.unwrap();
            assert_eq!((stored, room.available_permits()), (5, all));
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_for_room_ends_when_nobody_listens() {
        let (mut batches, mut receiver) = channel();
        let reading = tokio::task::spawn_blocking(move || {
            (0..5).map(|_| batches.add(request(1 << 30)).is_err()).collect::<Vec<_>>()
        });
        let first = receiver.recv().await.unwrap();
        drop((receiver, first));
        assert!(reading.await.unwrap().iter().skip(1).all(|closed| *closed));
    }
}
