//! "Why is my map empty?": what the spans of a tenant lack, and what was refused (rule R12).

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, Uri},
};
use nexarch_core::{
    diagnostics::Missing,
    rollup::Rollup,
    window::{Window, WindowView},
};
use nexarch_store::{DROPPED_UPDATES, LATE, Scope, UNFOLLOWED_LINKS, UNREADABLE};
use serde::Serialize;

use super::{caller::caller, error::ApiError, openapi::WindowParams, params::Params};
use crate::app::App;

/// Longest cells of rollups that are wanted, minutes: none are longer.
const LONGEST_CELL: u32 = 60;

/// What the spans of a tenant lack.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Diagnostics {
    /// The caller's tenant.
    tenant_id: String,
    /// What `missing` is of.
    window: WindowView,
    /// Counts of the spans of the window.
    missing: Missing,
    /// Traces whose newest spans are counted chunk by chunk until they fall quiet.
    unsettled_traces: u64,
    /// Counts since the tenant was created.
    since_creation: SinceCreation,
    /// What the tenant may send, and what it was refused for it.
    limits: Limits,
}

/// What a tenant may send.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Limits {
    /// Most spans that it may have stored on a UTC day; `null` = any number.
    quota_spans_per_day: Option<u64>,
    /// Spans stored on this UTC day; better versions of known ones count.
    used_today: u64,
    /// Batches that this node refused since its start: over a rate limit.
    refused_rate: u64,
    /// Over the quota.
    refused_quota: u64,
    /// Because it had no room for more of this tenant, or of all.
    refused_busy: u64,
}

/// Counts since a tenant was created. They only grow.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct SinceCreation {
    /// Stored spans.
    spans: u64,
    /// Spans that were known when they came.
    duplicates: u64,
    /// Spans that started more than two hours before they came.
    late: u64,
    /// Better versions of spans of which the 16 versions that are kept at most were stored already.
    dropped_updates: u64,
    /// Pairs of traces whose links are not followed when spans come for one of the two later: more than 1,024 traces link into
    /// one, or one into as many.
    unfollowed_links: u64,
    /// How often stored spans were found to be damaged and passed over.
    unreadable: u64,
    /// Spans that were refused.
    rejected: RejectedSpans,
    /// What was odd and accepted all the same, by name: `no_name`, `end_before_start`, `unknown_kind`, `self_parent`,
    /// `repeated_key`, `unnamed_event`, `invalid_link`, `replaced_text`, and `cut`: attributes, events and links left out
    /// and texts shortened.
    odd: BTreeMap<&'static str, u64>,
}

/// Spans that were refused, by reason.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct RejectedSpans {
    /// All.
    total: u64,
    /// A trace, span or parent id that is none.
    invalid_id: u64,
    /// They start more than an hour from now.
    future: u64,
    /// They are older than the retention of spans.
    too_old: u64,
    /// Anything else about them.
    malformed: u64,
}

/// What the spans of a tenant lack, and what was refused.
#[utoipa::path(get, path = "/api/v1/ingest/diagnostics", tag = "ingest", params(WindowParams), responses((status = 200, body = Diagnostics)))]
pub(super) async fn diagnostics(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<Diagnostics>, ApiError> {
    let caller = caller(&app, &headers, Scope::Read).await?;
    let params = Params::parse(&uri, &["window", "from", "to"])?;
    let window = Window::parse(params.get("window"), params.get("from"), params.get("to"))
        .map_err(|error| ApiError::bad_request(error.to_string()))?;
    let turn = app.turn(Some(&caller.tenant)).await?;
    let (waiting, mut snapshot) = app.noted.beside(&*app.store, &caller.tenant).await?;
    let asked = window.range(snapshot.newest_ns());
    // Sums only: the longest cells that fit say the same with less to read.
    let cells = snapshot.cells(asked.minutes, LONGEST_CELL).await?;
    let (range, blobs) = (asked.found(cells.minutes, cells.grain), cells.blobs);
    let (totals, kept) = (snapshot.totals().await?, snapshot.diagnostics().await?);
    let (used_today, refused) = (snapshot.used_today().await?, app.ingest.refused.of(&caller.tenant));
    drop(snapshot);
    // Folding a month takes longer than other requests should wait for this thread.
    let fold = move || {
        let _turn = turn;
        Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, blob.as_slice())))
    };
    let rollup = tokio::task::spawn_blocking(fold).await.map_err(ApiError::internal)?;
    let missing = Missing::of(&rollup.map_err(ApiError::internal)?);
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    for (name, waiting) in waiting.counts() {
        counts.insert(name, kept.count(name) + waiting);
    }
    let mut take = |name| counts.remove(name).unwrap_or(0);
    let mut rejected = RejectedSpans {
        total: 0,
        invalid_id: take("rejected_id"),
        future: take("rejected_future"),
        too_old: take("rejected_expired"),
        malformed: take("rejected_malformed"),
    };
    rejected.total = rejected.invalid_id + rejected.future + rejected.too_old + rejected.malformed;
    Ok(Json(Diagnostics {
        tenant_id: caller.tenant.to_string(),
        window: range.into(),
        missing,
        unsettled_traces: kept.unsettled_traces,
        since_creation: SinceCreation {
            spans: totals.spans,
            duplicates: totals.duplicates,
            late: kept.count(LATE),
            dropped_updates: kept.count(DROPPED_UPDATES),
            unfollowed_links: kept.count(UNFOLLOWED_LINKS),
            unreadable: kept.count(UNREADABLE),
            rejected,
            odd: counts,
        },
        limits: Limits {
            quota_spans_per_day: app.shares.spans_per_day,
            used_today,
            refused_rate: refused.rate,
            refused_quota: refused.quota,
            refused_busy: refused.busy,
        },
    }))
}
