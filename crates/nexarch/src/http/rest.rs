//! What is left of a body when the answer is known early.
//!
//! Most clients send a whole body before they read. If nobody took the rest, the connection would break while they
//! send, and they would never learn why they were refused, nor when to come back. So the rest is read and thrown away,
//! beside the answer, within limits.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    Error,
    body::{Body, Bytes, HttpBody},
    extract::Request,
};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

use crate::app::App;

/// How long a client may take to send what nobody wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Lets the rest of a request's body be taken off the connection when its handler did not.
pub(super) fn watched(request: Request) -> (Request, Rest) {
    let rest = Rest::default();
    let request = request.map(|body| Body::new(Watched { body, rest: Arc::clone(&rest) }));
    (request, rest)
}

/// Throws away what was left of a body when its answer was known.
pub(super) fn throw_away(app: &App, rest: &Rest) {
    let left = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(body) = left {
        // Ended by its patience, so a stop need not know it.
        app.lifecycle.tracker().spawn(tokio::time::timeout(PATIENCE, read_out(body, app.max_body_bytes)));
    }
}

async fn read_out(mut body: Body, limit: usize) {
    let mut seen = 0_usize;
    while let Some(Ok(frame)) = body.frame().await {
        seen = seen.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        if seen > limit {
            return;
        }
    }
}

/// Where a body goes that was dropped before its end.
pub(super) type Rest = Arc<Mutex<Option<Body>>>;

struct Watched {
    body: Body,
    rest: Rest,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if !self.body.is_end_stream() {
            let body = std::mem::take(&mut self.body);
            *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
        }
    }
}
