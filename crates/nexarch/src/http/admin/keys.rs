//! Keys of a tenant: list, create, show, rotate, revoke.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use nexarch_store::{Key, Scope};
use serde::{Deserialize, Serialize};

use super::{
    super::{error::ApiError, params::Params},
    Page, ROOT, admit,
    doc::{BodyErrors, Conflict, Errors, PageParams},
    done, finish, invalid, json, key_of, tenant_of,
};
use crate::{
    accounts::{self, KeyView, SecretView},
    app::App,
    audit::Changed,
    auth, lifecycle,
};

/// A page of keys.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct KeyPage {
    /// Oldest first; those that ended, too.
    keys: Vec<KeyView>,
    /// For the next page; `null`: this is the last one.
    next_cursor: Option<String>,
}

/// What a key may do.
#[derive(Clone, Copy, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum ScopeName {
    /// Send spans.
    Ingest,
    /// Read everything of the tenant.
    Read,
    /// Manage the tenant's cache.
    Admin,
}

impl From<ScopeName> for Scope {
    fn from(name: ScopeName) -> Self {
        match name {
            ScopeName::Ingest => Self::Ingest,
            ScopeName::Read => Self::Read,
            ScopeName::Admin => Self::Admin,
        }
    }
}

/// A key to be created.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewKey {
    /// What it may do; `ingest` and `read` when left out.
    #[serde(default)]
    #[schema(min_items = 1)]
    scopes: Option<Vec<ScopeName>>,
    /// Display name, at most 200 characters.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
    /// Its life, such as `90d`, `12h` or `30m`, or the RFC 3339 time of its end; without it, it does not end.
    #[serde(default)]
    #[schema(pattern = "^([0-9]+[dhms]|[0-9]{4}-[0-9]{2}-[0-9]{2}T.*)$")]
    expires: Option<String>,
}

/// How to rotate a key.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewSecret {
    /// How long the secret that is replaced stays good, such as `24h`; `0`: not at all. No earlier one outlives it.
    #[schema(pattern = "^(0|[0-9]+[dhms])$")]
    grace: String,
    /// A new end of the key, as when it is created; without it, its end stays.
    #[serde(default)]
    #[schema(pattern = "^([0-9]+[dhms]|[0-9]{4}-[0-9]{2}-[0-9]{2}T.*)$")]
    expires: Option<String>,
}

/// The keys of a tenant, page by page; never a secret.
#[utoipa::path(get, path = "/api/v1/admin/tenants/{id}/keys", operation_id = "list_keys", tag = "admin", security(("admin" = [])), params(("id" = String, Path), PageParams), responses((status = 200, body = KeyPage), Errors))]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<KeyPage>, ApiError> {
    admit(&app, &headers)?;
    let page = Page::parse(&uri)?;
    let tenant = tenant_of(&uri)?;
    let mut found = app.store.keys_after(&tenant, page.cursor.as_deref(), page.one_more()).await?;
    let next_cursor = page.cut(&mut found, |key| key.id.clone());
    Ok(Json(KeyPage { keys: found.iter().map(|key| shown(&app, key)).collect(), next_cursor }))
}

/// Creates a key. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/admin/tenants/{id}/keys", operation_id = "create_key", tag = "admin", security(("admin" = [])), params(("id" = String, Path)), request_body = NewKey, responses((status = 201, body = SecretView, headers(("Location" = String, description = "Where it is."))), Errors, BodyErrors))]
pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    admit(&app, request.headers())?;
    Params::parse(request.uri(), &[])?;
    let tenant = tenant_of(request.uri())?;
    let NewKey { scopes, name, expires } = json(&app, request).await?;
    let mut scopes: Vec<Scope> = match scopes {
        None => vec![Scope::Ingest, Scope::Read],
        Some(names) => names.into_iter().map(Scope::from).collect(),
    };
    scopes.sort_unstable();
    scopes.dedup();
    if scopes.is_empty() {
        return Err(invalid("scopes must name at least one of ingest, read, admin"));
    }
    let name = accounts::name(&name.unwrap_or_default()).map_err(|why| invalid(format!("name {why}")))?;
    let now_us = lifecycle::now_us();
    let expires_us = expires.as_deref().map(|text| end(text, now_us)).transpose()?;
    let own = Arc::clone(&app);
    let made = finish(&app, async move {
        let (key, secret) = auth::create_key(&*own.store, &tenant, &name, &scopes, expires_us).await?;
        done(&own, &tenant, Changed::Key(&key), "key created").await;
        Ok((key, secret))
    });
    let (key, secret) = made.await?;
    let answer = Json(SecretView::new(&key, &secret, now_us));
    let mut response = (StatusCode::CREATED, answer).into_response();
    if let Ok(place) = HeaderValue::try_from(format!("{ROOT}/{}/keys/{}", key.tenant, key.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// One key, without its secret.
#[utoipa::path(get, path = "/api/v1/admin/tenants/{id}/keys/{key_id}", operation_id = "get_key", tag = "admin", security(("admin" = [])), params(("id" = String, Path), ("key_id" = String, Path)), responses((status = 200, body = KeyView), Errors))]
pub(in crate::http) async fn one(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<KeyView>, ApiError> {
    admit(&app, &headers)?;
    Params::parse(&uri, &[])?;
    Ok(Json(shown(&app, &app.store.key(&tenant_of(&uri)?, &key_of(&uri)?).await?)))
}

/// Revokes a key; it stays listed. The first revocation counts.
#[utoipa::path(delete, path = "/api/v1/admin/tenants/{id}/keys/{key_id}", operation_id = "revoke_key", tag = "admin", security(("admin" = [])), params(("id" = String, Path), ("key_id" = String, Path)), responses((status = 200, body = KeyView), Errors))]
pub(in crate::http) async fn revoke(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<KeyView>, ApiError> {
    admit(&app, &headers)?;
    Params::parse(&uri, &[])?;
    let (tenant, key_id) = (tenant_of(&uri)?, key_of(&uri)?);
    let own = Arc::clone(&app);
    let key = finish(&app, async move {
        // Another tenant's key is none.
        own.store.key(&tenant, &key_id).await?;
        let key = own.store.revoke_key(&key_id).await?;
        done(&own, &tenant, Changed::Key(&key), "key revoked").await;
        Ok(key)
    });
    Ok(Json(shown(&app, &key.await?)))
}

/// Gives a key a new secret, which is in this answer and nowhere else. Its id, scopes and name stay.
#[utoipa::path(post, path = "/api/v1/admin/tenants/{id}/keys/{key_id}/rotate", operation_id = "rotate_key", tag = "admin", security(("admin" = [])), params(("id" = String, Path), ("key_id" = String, Path)), request_body = NewSecret, responses((status = 200, body = SecretView), Errors, BodyErrors, Conflict))]
pub(in crate::http) async fn rotate(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<SecretView>, ApiError> {
    admit(&app, request.headers())?;
    Params::parse(request.uri(), &[])?;
    let (tenant, key_id) = (tenant_of(request.uri())?, key_of(request.uri())?);
    let NewSecret { grace, expires } = json(&app, request).await?;
    let grace_us = accounts::length(&grace).map_err(|why| invalid(format!("grace {why}")))?;
    let now_us = lifecycle::now_us();
    let expires_us = expires.as_deref().map(|text| end(text, now_us)).transpose()?;
    let own = Arc::clone(&app);
    let rotated = finish(&app, async move {
        own.store.key(&tenant, &key_id).await?;
        let rotated = auth::rotate_key(&*own.store, &key_id, grace_us, expires_us).await?;
        done(&own, &tenant, Changed::Key(&rotated.0), "key rotated").await;
        Ok(rotated)
    });
    let (key, secret) = rotated.await?;
    Ok(Json(SecretView::new(&key, &secret, now_us)))
}

/// A key with its latest use: this server's own may not be stored yet.
fn shown(app: &App, key: &Key) -> KeyView {
    KeyView::new(key, lifecycle::now_us(), app.auth.uses.last_us(&key.id))
}

fn end(text: &str, now_us: u64) -> Result<u64, ApiError> {
    accounts::end(text, now_us).map_err(|why| invalid(format!("expires {why}")))
}
