//! Cached reads: from headers to directives, from an answer of the cache to a response. No policy lives here.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use nexarch_cache::{Answer, Directives, Error as CacheError, Read};
use nexarch_store::Error as StoreError;

use super::error::ApiError;
use crate::{
    app::{self, App},
    auth::Caller,
    view::{self, View, ViewError},
};

/// The newest version that an answer surely contains.
pub(super) const NEXARCH_VERSION: HeaderName = HeaderName::from_static("nexarch-version");
/// The oldest version that a caller accepts.
pub(super) const NEXARCH_MIN_VERSION: HeaderName = HeaderName::from_static("nexarch-min-version");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, X-API-Key, Authorization");
const PRIVATE: HeaderValue = HeaderValue::from_static("private, no-cache");

/// Answers a cached read.
pub(super) async fn answer(
    app: &Arc<App>,
    caller: &Caller,
    view: View,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let directives = directives(headers)?;
    let media_type = view.media_type();
    let answer = read(app, caller, view, directives).await?;
    let not_modified = matches_etag(headers, answer.etag());
    let mut response = Response::new(Body::empty());
    if not_modified {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(answer.body().clone());
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    label(response.headers_mut(), &answer);
    Ok(response)
}

/// The answer of the cache itself, for pages that are not JSON.
pub(super) async fn read(
    app: &Arc<App>,
    caller: &Caller,
    view: View,
    directives: Directives,
) -> Result<Answer, ApiError> {
    let operation_name = view.operation().name();
    let (key, operation) = (view.key(), app.operations.get(view.operation()));
    let terms = Read::new(operation, &key).max_ttl(view.max_ttl()).directives(directives);
    let (store, tenant, objective) = (Arc::clone(&app.store), caller.tenant.clone(), app.latency_objective);
    let turns = app.turns();
    let compute = move |_fence| async move {
        let _turn = app::turn(&turns).await?;
        view::compute(&*store, &tenant, &view, objective).await
    };
    let started = app.cache.now();
    let answer = app.cache.get_or_compute(&caller.scope, terms, compute).await.map_err(problem)?;
    let micros = app.cache.now().since(started).as_micros();
    tracing::debug!(operation = operation_name, outcome = %answer.outcome().cache_status("nexarch"), micros, "cached read");
    Ok(answer)
}

fn label(headers: &mut HeaderMap, answer: &Answer) {
    let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("nexarch"));
    headers.insert(CACHE_STATUS, text(&answer.outcome().cache_status("nexarch").to_string()));
    headers.insert(header::ETAG, text(answer.etag()));
    headers.insert(header::AGE, HeaderValue::from(answer.age().as_secs()));
    headers.insert(header::VARY, VARY);
    headers.insert(header::CACHE_CONTROL, PRIVATE);
    headers.insert(NEXARCH_VERSION, HeaderValue::from(answer.version()));
}

/// RFC 9110 §13.1.2: weak comparison against every tag of the list.
fn matches_etag(headers: &HeaderMap, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let wanted = opaque(etag);
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .any(|tag| tag.trim() == "*" || opaque(tag) == wanted)
}

/// `Cache-Control` and `Nexarch-Min-Version` of a request. Directives that mean nothing here are ignored, as RFC 9111
/// asks; ours with a value that cannot be read are errors, because ignoring them would break a promise.
pub(super) fn directives(headers: &HeaderMap) -> Result<Directives, ApiError> {
    let mut directives = Directives::default();
    let lists = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    for directive in lists.flat_map(|list| list.split(',')) {
        let (name, value) =
            directive.split_once('=').map_or((directive, None), |(name, value)| (name, Some(value)));
        match (name.trim().to_ascii_lowercase().as_str(), value) {
            ("no-cache", _) => directives.no_cache = true,
            ("only-if-cached", _) => directives.only_if_cached = true,
            ("max-stale", Some(seconds)) => {
                let seconds = seconds.trim().trim_matches('"').parse().map_err(|_| {
                    ApiError::bad_request("Cache-Control: max-stale needs a whole number of seconds")
                })?;
                directives.max_stale = Some(Duration::from_secs(seconds));
            }
            // Without a number it would mean "however old": nobody is served that by accident.
            ("max-stale", None) => {
                return Err(ApiError::bad_request(
                    "Cache-Control: max-stale needs a number of seconds: max-stale=10",
                ));
            }
            _ => {}
        }
    }
    if let Some(value) = headers.get(NEXARCH_MIN_VERSION) {
        let version = value.to_str().ok().and_then(|text| text.trim().parse().ok());
        let wrong =
            || ApiError::bad_request("Nexarch-Min-Version must be the decimal integer of a Nexarch-Version");
        directives.min_version = version.ok_or_else(wrong)?;
    }
    Ok(directives)
}

/// Only the computation's own error, or one of the caller's making, reaches the caller.
fn problem(error: CacheError) -> ApiError {
    let shared = match error {
        CacheError::VersionUnknown { .. } => {
            let detail = format!("{error}; take it from a Nexarch-Version header of this server");
            return ApiError::new(StatusCode::PRECONDITION_FAILED, detail);
        }
        CacheError::NotCached => {
            return ApiError::new(
                StatusCode::GATEWAY_TIMEOUT,
                "not in the cache, and only-if-cached was asked for",
            );
        }
        CacheError::Compute(shared) | CacheError::Unverified(shared) => shared,
        other => return ApiError::internal(other),
    };
    if let Some(error) = shared.downcast_ref::<ViewError>() {
        return match error {
            ViewError::NotFound(what) => ApiError::not_found(what.clone()),
            ViewError::Store(error) => error.into(),
            ViewError::Corrupt(_) | ViewError::Internal(_) => ApiError::internal(error),
        };
    }
    match shared.downcast_ref::<StoreError>() {
        Some(error) => error.into(),
        None => ApiError::internal(shared),
    }
}
