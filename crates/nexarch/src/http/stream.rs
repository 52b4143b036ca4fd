//! Server-sent events: what changes, told while a request stays open.

use std::{convert::Infallible, sync::Arc};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header},
    response::Response,
};
use futures_util::stream;
use nexarch_store::Scope;

use super::{caller::caller, error::ApiError, params::Params};
use crate::{app::App, ingest::IngestError};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("text/event-stream");
/// Asks nginx, and what is made of it, not to hold events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What changes, as it changes: server-sent events `version`, `invalidation`, `warm`, `incident`, `cache` and
/// `reset`.
#[utoipa::path(get, path = "/api/v1/stream", tag = "stream", params(
    ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event that was seen: the stream goes on after it, or says by `reset` that it cannot."),
), responses((status = 200, description = "Events until either side ends it.", body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(app): State<Arc<App>>,
    method: Method,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    Params::parse(&uri, &[])?;
    if app.lifecycle.drain().is_cancelled() {
        return Err(IngestError::Stopping.into());
    }
    if method == Method::HEAD {
        return Ok(opened(Body::empty()));
    }
    let known = app.cache.version(&caller.scope).await?;
    // What is no text is no id of ours, and is told like any other that is not.
    let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str().unwrap_or_default());
    let subscription = app.streams.subscribe(&caller, known, last)?;
    let drain = app.lifecycle.drain().clone();
    let events = stream::unfold((subscription, drain), async |(mut subscription, drain)| {
        let text = subscription.next(&drain).await?;
        Some((Ok::<_, Infallible>(text), (subscription, drain)))
    });
    Ok(opened(Body::from_stream(events)))
}

fn opened(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
