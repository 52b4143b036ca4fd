//! One trace by its id.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use nexarch_core::{
    facts::Facts,
    ids::TraceId,
    trace::{Excerpt, Extent, Trace, Waterfall},
};
use nexarch_store::Scope;

use super::{
    caller::caller,
    error::ApiError,
    params::{Params, segment},
};
use crate::{app::App, auth::Caller};

const TRACES: &str = "/api/v1/traces/";

/// A trace as rows, callers above what they call: when, how long, how much of it itself, and what of it is on the critical
/// path. Five and more equal siblings are one row, unless `fold=false`. Times are by one clock: spans that began before
/// their callers were moved, and say so.
#[utoipa::path(get, path = "/api/v1/traces/{trace_id}/waterfall", tag = "traces", params(("trace_id" = String, Path), ("fold" = Option<bool>, Query)), responses((status = 200, body = Waterfall), (status = 400), (status = 404)))]
pub(super) async fn waterfall(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    let params = Params::parse(&uri, &["fold"])?;
    let fold = match params.get("fold") {
        None | Some("true") => true,
        Some("false") => false,
        Some(_) => return Err(ApiError::bad_request("fold must be true or false")),
    };
    render(&app, &caller, &segment(&uri, TRACES, "/waterfall")?, move |id, found| {
        let mut waterfall = Waterfall::new(id, &Facts::of_all(&found.spans), fold);
        // Of a larger trace the first spans were read.
        waterfall.truncated |= found.span_count > found.spans.len() as u64;
        serde_json::to_vec(&waterfall)
    })
    .await
}

/// All spans of a trace, parents before children. The id has 16 or 32 hex digits.
#[utoipa::path(get, path = "/api/v1/traces/{trace_id}", tag = "traces", params(("trace_id" = String, Path)), responses((status = 200, body = Trace), (status = 404)))]
pub(super) async fn trace(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    Params::parse(&uri, &[])?;
    let json = |id, found: &Excerpt| serde_json::to_vec(&Trace::new(id, found));
    render(&app, &caller, &segment(&uri, TRACES, "")?, json).await
}

/// The caller's trace with an id, as far as an answer lists it.
async fn excerpt(app: &App, caller: &Caller, id: TraceId) -> Result<Excerpt, ApiError> {
    let found = app.store.snapshot(&caller.tenant).await?.trace(id, Extent::ANSWER).await?;
    if found.span_count == 0 {
        return Err(ApiError::not_found(format!("no trace {id} is stored for this tenant")));
    }
    Ok(found)
}

/// Reads a trace and makes an answer of it, in a turn. 10,000 spans take longer than other requests should wait for this
/// thread.
async fn render(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    text: &str,
    json: impl FnOnce(TraceId, &Excerpt) -> serde_json::Result<Vec<u8>> + Send + 'static,
) -> Result<Response, ApiError> {
    let wrong = || ApiError::bad_request("a trace id has 16 or 32 hex digits and is not all zero");
    let id = TraceId::from_hex_lenient(text).ok_or_else(wrong)?;
    let (reading, by) = (Arc::clone(app), Arc::clone(caller));
    let work = async move {
        let found = excerpt(&reading, &by, id).await?;
        let made = tokio::task::spawn_blocking(move || json(id, &found)).await.map_err(ApiError::internal)?;
        made.map_err(ApiError::internal)
    };
    let body = app.answer_in_turn(&caller.tenant, work).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
