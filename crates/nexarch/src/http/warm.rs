//! Warming: `POST /api/v1/cache/warm` and `…/warm/{operation}`.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use nexarch_cache::Error as CacheError;
use nexarch_store::Scope;
use serde::Serialize;

use super::{
    caller::caller,
    error::ApiError,
    finish,
    params::{Params, segment},
};
use crate::{
    app::App,
    audit::By,
    auth::Caller,
    operation::Op,
    view::Range,
    warm::{self, How, Report},
};

const ROUTE: &str = "/api/v1/cache/warm/";

/// What warming every operation did.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct All {
    /// `success`.
    status: &'static str,
    /// One for each operation.
    operations: Vec<Report>,
}

/// Computes all operations of the tenant anew and stores them.
#[utoipa::path(post, path = "/api/v1/cache/warm", tag = "cache", params(super::openapi::RangeParams), responses((status = 200, body = All), (status = 409)))]
pub(super) async fn all(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<All>, ApiError> {
    let caller = caller(&app, &headers, Scope::Admin).await?;
    let range = Range::parse(&Params::parse(&uri, super::dashboard::RANGE)?)?;
    let operations = these(&app, &caller, Op::ALL.to_vec(), range).await?;
    Ok(Json(All { status: "success", operations }))
}

/// Warms one operation after the other and writes it down, whether or not the caller waits for the answer.
async fn these(
    app: &Arc<App>,
    caller: &Arc<Caller>,
    operations: Vec<Op>,
    range: Range,
) -> Result<Vec<Report>, ApiError> {
    let (own, by) = (Arc::clone(app), Arc::clone(caller));
    finish(app, async move {
        let mut reports = Vec::with_capacity(operations.len());
        let mut outcome = Ok(());
        for operation in operations {
            match one(&own, &by, operation, &range).await {
                Ok(report) => reports.push(report),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        // What was done before something failed was done.
        if !reports.is_empty() {
            warm::note(&own, &by.tenant, By::Key(&by.key_id), &reports);
        }
        outcome.map(|()| reports)
    })
    .await
}

/// Computes every route of one operation anew and stores the values.
#[utoipa::path(post, path = "/api/v1/cache/warm/{operation}", tag = "cache", params(("operation" = String, Path), super::openapi::RangeParams), responses((status = 200, body = Report), (status = 404), (status = 409)))]
pub(super) async fn operation(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Report>, ApiError> {
    let caller = caller(&app, &headers, Scope::Admin).await?;
    let range = Range::parse(&Params::parse(&uri, super::dashboard::RANGE)?)?;
    let name = segment(&uri, ROUTE, "")?;
    let Some(operation) = Op::ALL.into_iter().find(|operation| operation.name() == name) else {
        // Its words list those that there are.
        let unknown = app.cache.operation(&name).err().map(|error| error.to_string());
        return Err(ApiError::not_found(unknown.unwrap_or_default()));
    };
    let reports = these(&app, &caller, vec![operation], range).await?;
    reports.into_iter().next().map(Json).ok_or_else(|| ApiError::internal("nothing was warmed"))
}

async fn one(app: &Arc<App>, caller: &Arc<Caller>, operation: Op, range: &Range) -> Result<Report, ApiError> {
    let report = warm::operation(app, &caller.tenant, &caller.scope, operation, range, How::Anew).await;
    report.map_err(|error| match error {
        CacheError::Disabled => ApiError::new(
            StatusCode::CONFLICT,
            "the cache is disabled (CACHE_ENABLED): nothing can be warmed",
        ),
        other => other.into(),
    })
}
