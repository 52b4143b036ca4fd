//! Who calls: from headers to a [`Caller`], once per request.

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use nexarch_store::Scope;

use super::{error::ApiError, limits};
use crate::{accounts, app::App, auth::Caller, lifecycle};

/// The caller, if its key holds `scope` and its tenant may ask for something now.
pub(super) async fn caller(
    app: &Arc<App>,
    headers: &HeaderMap,
    scope: Scope,
) -> Result<Arc<Caller>, ApiError> {
    let key = key_of(headers)?;
    let caller = app.auth.authenticate(key, lifecycle::now_us()).await?;
    // Before its scopes: what is refused was asked for as well.
    limits::asked(app, &caller.tenant, scope);
    let limited = app.limits.request(&caller.tenant, tokio::time::Instant::now());
    if limited.is_err() && scope == Scope::Ingest {
        app.ingest.refused.note(&caller.tenant, |counts| counts.rate += 1);
    }
    limited?;
    if caller.may(scope) {
        Ok(caller)
    } else {
        let wanted = accounts::word(scope);
        let detail = format!(
            "the API key has no scope {wanted}; create one with: nexarch key create --scope {wanted}"
        );
        Err(ApiError::new(axum::http::StatusCode::FORBIDDEN, detail))
    }
}

/// The one key of a request.
fn key_of(headers: &HeaderMap) -> Result<&str, ApiError> {
    let malformed = || ApiError::unauthorized("the API key is malformed");
    let plain = headers.get_all("x-api-key").iter().map(|value| value.to_str().ok().map(str::trim));
    let bearer =
        headers.get_all(header::AUTHORIZATION).iter().map(|value| bearer_token(value.to_str().ok()?));
    let mut found: Option<&str> = None;
    for key in plain.chain(bearer) {
        let key = key.ok_or_else(malformed)?;
        if found.replace(key).is_some_and(|other| other != key) {
            return Err(ApiError::bad_request("two different API keys in one request; send one"));
        }
    }
    found.filter(|key| !key.is_empty()).ok_or_else(|| {
        ApiError::unauthorized("no API key; send it as X-API-Key: nex_… or Authorization: Bearer nex_…")
    })
}

fn bearer_token(text: &str) -> Option<&str> {
    let (scheme, token) = text.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
