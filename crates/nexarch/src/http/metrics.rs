//! The page of figures, on a door of its own: it needs no key, so it stands where only the operator comes.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, header},
    response::{IntoResponse, Response},
};

use super::accept;
use crate::{
    app::App,
    metrics::{self, Format},
};

/// What can be given; the first is given where all are equally welcome.
const OFFERED: [(&str, Format); 2] =
    [("text/plain", Format::Text), ("application/openmetrics-text", Format::OpenMetrics)];

/// `GET /metrics`.
pub(super) async fn page(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    // A client that takes neither gets text all the same: a page that can be read is better than 406.
    let format = accept::media_type(&headers, &OFFERED).unwrap_or(Format::Text);
    let page = metrics::page(&app, format).await;
    ([(header::CONTENT_TYPE, format.media_type())], page).into_response()
}

/// Everything else on this door.
pub(super) async fn elsewhere() -> Response {
    super::ApiError::not_found(
        "the figures of this server are at /metrics; everything else is at its main port",
    )
    .into_response()
}
