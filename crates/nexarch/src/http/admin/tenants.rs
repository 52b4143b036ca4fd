//! Tenants: list, create, show, change, delete.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use nexarch_core::ids::TenantId;
use nexarch_store::TenantChange;
use serde::{Deserialize, Serialize};

use super::{
    super::{error::ApiError, params::Params},
    Page, ROOT, admit,
    doc::{BodyErrors, Conflict, Errors, PageParams},
    done, finish, invalid, json, tenant_of,
};
use crate::{
    accounts::{self, TenantView},
    app::App,
    audit::Changed,
    gone::{self, Leaving},
};

/// How long a deletion is waited for. What takes longer goes on without the caller.
const PATIENCE: Duration = Duration::from_secs(10);

/// A page of tenants.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct TenantPage {
    /// By id.
    tenants: Vec<TenantView>,
    /// For the next page; `null`: this is the last one.
    next_cursor: Option<String>,
}

/// A tenant to be created.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewTenant {
    /// `[a-z0-9][a-z0-9_-]{0,62}`.
    #[schema(pattern = "^[a-z0-9][a-z0-9_-]{0,62}$")]
    id: String,
    /// Display name, at most 200 characters; the id when left out.
    #[serde(default)]
    #[schema(max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
}

/// What to change of a tenant.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct TenantPatch {
    /// Its display name.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    name: Option<String>,
    /// Whether it may read and write. Disabling takes effect before the answer here, and within a second elsewhere.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = bool, required = false)]
    enabled: Option<bool>,
}

/// A field that is there must not be `null`: nothing of a tenant can be taken away.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// What became of a deletion. The tenant and its keys are gone in any case.
#[derive(Serialize, utoipa::ToSchema)]
pub(in crate::http) struct TenantDeleted {
    /// `success`.
    status: &'static str,
    /// Its id.
    tenant_id: String,
    /// Is the database rid of its spans and rollups? Else they are out of sight, and the server goes on removing them.
    purged: bool,
    /// Its values in Redis: `none` (no Redis), `removed`, or `pending`: nobody can read them, and they go when Redis
    /// answers, or when their time is over.
    redis: &'static str,
}

/// All tenants, page by page.
#[utoipa::path(get, path = "/api/v1/admin/tenants", operation_id = "list_tenants", tag = "admin", security(("admin" = [])), params(PageParams), responses((status = 200, body = TenantPage), Errors))]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<TenantPage>, ApiError> {
    admit(&app, &headers)?;
    let page = Page::parse(&uri)?;
    let mut found = app.store.tenants_after(page.tenant()?.as_ref(), page.one_more()).await?;
    let next_cursor = page.cut(&mut found, |tenant| tenant.id.to_string());
    Ok(Json(TenantPage { tenants: found.iter().map(TenantView::from).collect(), next_cursor }))
}

/// Creates a tenant. A deleted one that comes back begins with nothing.
#[utoipa::path(post, path = "/api/v1/admin/tenants", operation_id = "create_tenant", tag = "admin", security(("admin" = [])), request_body = NewTenant, responses((status = 201, body = TenantView, headers(("Location" = String, description = "Where it is."))), Errors, BodyErrors, Conflict))]
pub(in crate::http) async fn create(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, ApiError> {
    admit(&app, request.headers())?;
    Params::parse(request.uri(), &[])?;
    let NewTenant { id, name } = json(&app, request).await?;
    let id: TenantId = id.parse().map_err(|error| invalid(format!("id: {error}")))?;
    let name = display_name(name.as_deref().unwrap_or(id.as_str()))?;
    let own = Arc::clone(&app);
    let tenant = finish(&app, async move {
        let tenant = own.store.create_tenant(&id, &name).await?;
        done(&own, &id, Changed::Tenant(Some(&name)), "tenant created").await;
        Ok(tenant)
    });
    let tenant = tenant.await?;
    let mut response = (StatusCode::CREATED, Json(TenantView::from(&tenant))).into_response();
    if let Ok(place) = HeaderValue::try_from(format!("{ROOT}/{}", tenant.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// One tenant.
#[utoipa::path(get, path = "/api/v1/admin/tenants/{id}", operation_id = "get_tenant", tag = "admin", security(("admin" = [])), params(("id" = String, Path)), responses((status = 200, body = TenantView), Errors))]
pub(in crate::http) async fn one(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<TenantView>, ApiError> {
    admit(&app, &headers)?;
    Params::parse(&uri, &[])?;
    Ok(Json(TenantView::from(&app.store.tenant(&tenant_of(&uri)?).await?)))
}

/// Renames, disables or enables a tenant.
#[utoipa::path(patch, path = "/api/v1/admin/tenants/{id}", operation_id = "change_tenant", tag = "admin", security(("admin" = [])), params(("id" = String, Path)), request_body = TenantPatch, responses((status = 200, body = TenantView), Errors, BodyErrors))]
pub(in crate::http) async fn change(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<TenantView>, ApiError> {
    admit(&app, request.headers())?;
    Params::parse(request.uri(), &[])?;
    let id = tenant_of(request.uri())?;
    let TenantPatch { name, enabled } = json(&app, request).await?;
    let name = name.as_deref().map(display_name).transpose()?;
    if name.is_none() && enabled.is_none() {
        return Ok(Json(TenantView::from(&app.store.tenant(&id).await?)));
    }
    let (own, renamed) = (Arc::clone(&app), name.is_some());
    let tenant = finish(&app, async move {
        let tenant = own.store.change_tenant(&id, TenantChange { name, enabled }).await?;
        let what = match (enabled, renamed) {
            (None, _) => "tenant renamed",
            (Some(true), false) => "tenant enabled",
            (Some(true), true) => "tenant renamed and enabled",
            (Some(false), false) => "tenant disabled",
            (Some(false), true) => "tenant renamed and disabled",
        };
        done(&own, &id, Changed::Tenant(renamed.then_some(tenant.name.as_str())), what).await;
        Ok(tenant)
    });
    Ok(Json(TenantView::from(&tenant.await?)))
}

/// Deletes a tenant with its keys, spans and rollups, and what caches hold of it. This cannot be undone.
#[utoipa::path(delete, path = "/api/v1/admin/tenants/{id}", operation_id = "delete_tenant", tag = "admin", security(("admin" = [])), params(("id" = String, Path)), responses((status = 200, description = "All of it is gone.", body = TenantDeleted), (status = 202, description = "It is deleted; the rest of its data goes behind.", body = TenantDeleted), Errors))]
pub(in crate::http) async fn delete(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    admit(&app, &headers)?;
    Params::parse(&uri, &[])?;
    let id = tenant_of(&uri)?;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let (own, tenant) = (Arc::clone(&app), id.clone());
    let leaving = finish(&app, async move {
        own.store.delete_tenant(&tenant).await?;
        let gone = done(&own, &tenant, Changed::Tenant(None), "tenant deleted").await;
        // The beat may have been faster; then it has begun to remove the values, and once more does no harm.
        let leaving = gone.into_iter().find(|(gone, _)| *gone == tenant).map(|(_, leaving)| leaving);
        Ok(leaving.or_else(|| gone::leave(&own, &tenant)))
    });
    let leaving = leaving.await?;
    let own = Arc::clone(&app);
    let purge = app.lifecycle.tracker().spawn(async move { purge(&own).await });
    let purged =
        tokio::time::timeout_at(deadline, purge).await.is_ok_and(|outcome| matches!(outcome, Ok(true)));
    let redis = match leaving {
        None => "none",
        Some(leaving) => tokio::time::timeout_at(deadline, left(leaving)).await.unwrap_or("pending"),
    };
    let status = if purged && redis != "pending" { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = TenantDeleted { status: "success", tenant_id: id.to_string(), purged, redis };
    Ok((status, Json(answer)).into_response())
}

/// Removes what deleted tenants left, unless the server stops; upkeep goes on with what is left then.
async fn purge(app: &App) -> bool {
    let steps = async {
        loop {
            match app.store.purge().await {
                Ok(step) if step.next.is_some() => {}
                Ok(_) => return true,
                Err(error) => {
                    tracing::warn!(%error, "a deleted tenant is purged later");
                    return false;
                }
            }
        }
    };
    app.lifecycle.stop().run_until_cancelled(steps).await.unwrap_or(false)
}

/// Waits for the first attempt: one that failed is repeated when Redis may be back, and nobody waits for that.
async fn left(mut leaving: Leaving) -> &'static str {
    let first = leaving.wait_for(|removal| removal.done || removal.error.is_some()).await;
    if first.is_ok_and(|removal| removal.done) { "removed" } else { "pending" }
}

fn display_name(text: &str) -> Result<String, ApiError> {
    accounts::name(text).map_err(|why| invalid(format!("name {why}")))
}
