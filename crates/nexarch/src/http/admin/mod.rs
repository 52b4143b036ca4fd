//! The admin API: tenants, keys and the caches of all tenants, for who holds `ADMIN_SECRET_KEY`.
//!
//! Without that secret there is nothing here: its paths are answered like any other that does not exist.

mod doc;
pub(super) mod keys;
pub(super) mod stats;
pub(super) mod tenants;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, StatusCode, Uri, header},
    routing::{get, post},
};
use bytes::Bytes;
use nexarch_cache::Reach;
use nexarch_core::ids::TenantId;
use serde::de::DeserializeOwned;

use super::{
    error::ApiError,
    finish,
    params::{Params, percent_decode},
};
use crate::{
    app::App,
    audit::{self, Administered, Changed},
    authority, gone,
    ingest::body::{self, Encoding},
    lifecycle,
};

/// Where everything here lies.
const ROOT: &str = "/api/v1/admin/tenants";
/// Largest body: a name and a few words.
const MAX_BODY: usize = 16 << 10;
/// Longest part of serde's words that is repeated, in bytes: they quote what was sent.
const MAX_WHY: usize = 200;
/// Items of a page, unless asked for otherwise …
const USUAL: u32 = 100;
/// … and at most.
const MOST: u32 = 1_000;
/// One line of the log for so many seconds, however often a wrong secret is tried.
const WARN_EVERY_S: u64 = 10;

/// The routes, if there is a secret that opens them.
pub(super) fn routes(app: &App) -> Router<Arc<App>> {
    if app.admin.is_none() {
        return Router::new();
    }
    Router::new()
        .route("/api/v1/admin/tenants", get(tenants::list).post(tenants::create))
        .route("/api/v1/admin/tenants/{id}", get(tenants::one).patch(tenants::change).delete(tenants::delete))
        .route("/api/v1/admin/tenants/{id}/keys", get(keys::list).post(keys::create))
        .route("/api/v1/admin/tenants/{id}/keys/{key_id}", get(keys::one).delete(keys::revoke))
        .route("/api/v1/admin/tenants/{id}/keys/{key_id}/rotate", post(keys::rotate))
        .route("/api/v1/admin/cache/stats", get(stats::stats))
}

/// Lets in who holds the secret. Missing and wrong are one answer.
fn admit(app: &App, headers: &HeaderMap) -> Result<(), ApiError> {
    let mut given = headers.get_all("x-admin-key").iter();
    let (first, second) = (given.next(), given.next());
    let right = match (&app.admin, first, second) {
        (Some(secret), Some(text), None) => secret.is(text.as_bytes()),
        _ => false,
    };
    if right {
        return Ok(());
    }
    if first.is_some() {
        warn_of_a_wrong_secret(lifecycle::now_us() / 1_000_000);
    }
    Err(ApiError::challenged(
        "X-Admin-Key realm=\"nexarch-admin\"",
        "the admin API needs a valid X-Admin-Key",
    ))
}

fn warn_of_a_wrong_secret(now_s: u64) {
    static LAST_S: AtomicU64 = AtomicU64::new(0);
    let last = LAST_S.load(Ordering::Relaxed);
    let due = now_s.abs_diff(last) >= WARN_EVERY_S;
    if due && LAST_S.compare_exchange(last, now_s, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
        tracing::warn!("a wrong X-Admin-Key was refused; further ones are told of once in {WARN_EVERY_S} s");
    }
}

/// The parts of the path behind [`ROOT`]: a tenant, and a key of it. What is no id names nothing.
fn tenant_of(uri: &Uri) -> Result<TenantId, ApiError> {
    let text = part(uri, 0)?;
    text.parse().map_err(|_| ApiError::not_found(format!("tenant {} does not exist", super::shorten(&text))))
}

fn key_of(uri: &Uri) -> Result<String, ApiError> {
    let text = part(uri, 2)?;
    let known = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if text.len() <= 64 && text.chars().all(known) {
        return Ok(text);
    }
    Err(ApiError::not_found(format!("key {} does not exist", super::shorten(&text))))
}

/// From the raw path: a part may hold an encoded slash, and a broken escape is told of as everywhere else.
fn part(uri: &Uri, nth: usize) -> Result<String, ApiError> {
    let rest = uri.path().strip_prefix(ROOT).unwrap_or_default();
    percent_decode(rest.split('/').nth(nth + 1).unwrap_or_default(), false)
}

/// Which page of a list.
struct Page {
    limit: u32,
    cursor: Option<String>,
}

impl Page {
    fn parse(uri: &Uri) -> Result<Self, ApiError> {
        let params = Params::parse(uri, &["limit", "cursor"])?;
        let limit = match params.get("limit").map(str::parse) {
            None => USUAL,
            Some(Ok(limit @ 1..=MOST)) => limit,
            Some(_) => return Err(ApiError::bad_request(format!("limit must be from 1 to {MOST}"))),
        };
        Ok(Self { limit, cursor: params.get("cursor").map(str::to_owned) })
    }

    /// One more than a page has: whether there is a next one.
    fn one_more(&self) -> u32 {
        self.limit + 1
    }

    /// Cuts a list of [`Page::one_more`] down to the page, and gives the place of its last item if another page follows.
    fn cut<T>(&self, items: &mut Vec<T>, place: impl Fn(&T) -> String) -> Option<String> {
        let limit = self.limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        items.last().filter(|_| more).map(place)
    }

    /// The cursor as a tenant.
    fn tenant(&self) -> Result<Option<TenantId>, ApiError> {
        let parsed = self.cursor.as_deref().map(str::parse).transpose();
        parsed.map_err(|_| ApiError::bad_request("cursor must be the next_cursor of an earlier page"))
    }
}

/// The JSON body of a request. Broken JSON is 400, another shape than expected 422.
async fn json<T: DeserializeOwned>(app: &App, request: Request) -> Result<T, ApiError> {
    if !is_json(request.headers()) {
        let detail = "Content-Type must be application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let bytes = receive(app, request.into_body()).await?;
    let parsed: Result<T, _> = serde_json::from_slice(&bytes);
    // An array would be taken for the fields in their order.
    if parsed.is_ok() && !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(invalid("the body must be a JSON object"));
    }
    parsed.map_err(|error| {
        let why = error.to_string();
        let why = why.get(..why.floor_char_boundary(MAX_WHY)).unwrap_or_default();
        if error.is_data() {
            invalid(format!("the body is not what is expected: {why}"))
        } else {
            ApiError::bad_request(format!("the body is not valid JSON: {why}"))
        }
    })
}

async fn receive(app: &App, body: Body) -> Result<Bytes, ApiError> {
    let mut held = app.ingest.hold_for_operator();
    Ok(body::read(body, Encoding::Identity, MAX_BODY, &mut held).await?)
}

fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || media_type.ends_with("+json")
}

/// 422.
fn invalid(detail: impl Into<String>) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// After a change was committed and before it is answered: this server acts by it, and the audit has it. A change that
/// could not be taken notice of now is made all the same; the beat comes back to it.
async fn done(
    app: &App,
    tenant: &TenantId,
    changed: Changed<'_>,
    what: &'static str,
) -> Vec<(TenantId, gone::Leaving)> {
    let noticed = authority::notice(app, matches!(changed, Changed::Tenant(_))).await;
    let reach = if noticed.is_ok() { super::cache::reach(app, Reach::Node) } else { audit::PENDING };
    audit::administered(&Administered { tenant, what, changed, reach });
    noticed.unwrap_or_else(|error| {
        tracing::warn!(%error, "a change of tenants or keys is taken notice of later");
        Vec::new()
    })
}
