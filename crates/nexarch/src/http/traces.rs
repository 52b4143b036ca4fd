//! One trace by its id.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, Uri, header},
    response::{IntoResponse, Response},
};
use nexarch_core::{
    ids::TraceId,
    trace::{Extent, Trace},
};
use nexarch_store::Scope;

use super::{
    caller::caller,
    error::ApiError,
    params::{Params, segment},
};
use crate::app::App;

/// All spans of a trace, parents before children. The id has 16 or 32 hex digits.
#[utoipa::path(get, path = "/api/v1/traces/{trace_id}", tag = "traces", params(("trace_id" = String, Path)), responses((status = 200, body = Trace), (status = 404)))]
pub(super) async fn trace(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    Params::parse(&uri, &[])?;
    let text = segment(&uri, "/api/v1/traces/", "")?;
    let wrong = || ApiError::bad_request("a trace id has 16 or 32 hex digits and is not all zero");
    let id = TraceId::from_hex_lenient(&text).ok_or_else(wrong)?;
    let _turn = app.turn().await?;
    let found = app.store.snapshot(&caller.tenant).await?.trace(id, Extent::ANSWER).await?;
    if found.span_count == 0 {
        return Err(ApiError::not_found(format!("no trace {id} is stored for this tenant")));
    }
    // 10,000 spans take longer than other requests should wait for this thread.
    let render = move || serde_json::to_vec(&Trace::new(id, &found));
    let body = tokio::task::spawn_blocking(render).await.map_err(ApiError::internal)?;
    let body = body.map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
