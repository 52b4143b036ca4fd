//! Computing what people will open next: the routes of an operation, by the code that a read uses.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};
use nexarch_cache::{BoxError, Computed, Fence, Read, Scope, StoredIn, Warmed};
use nexarch_core::{export::Format, ids::TenantId};
use serde::Serialize;

use crate::{
    app::App,
    audit::{self, By, Mutation, What},
    operation::Op,
    view::{self, Range, View},
};

/// Of how many services the details are computed: those with most requests.
const BUSIEST: usize = 20;

/// Computations of one warming at once; all together are bounded by the turns of the server.
const AT_ONCE: usize = 2;

/// What warming an operation did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Report {
    /// `success`.
    pub status: &'static str,
    /// The operation.
    pub operation: &'static str,
    /// Values computed.
    pub entries: usize,
    /// What computing them took, milliseconds, all together.
    pub compute_ms: f64,
    /// Bytes of them, all together.
    pub bytes: usize,
    /// The tiers that keep every one of them: `memory`, `redis`.
    #[schema(value_type = Vec<String>)]
    pub stored: Vec<StoredIn>,
    /// The newest version that every one of them surely contains; 0 without any.
    #[serde(skip)]
    pub version: u64,
}

/// Writes down what was warmed, all operations of one call together.
pub(crate) fn note(app: &App, tenant: &TenantId, by: By<'_>, reports: &[Report]) {
    let with_values = || reports.iter().filter(|report| report.entries > 0);
    let shared = with_values().all(|report| report.stored.contains(&StoredIn::Redis));
    let operations: Vec<String> = reports.iter().map(|report| report.operation.to_owned()).collect();
    let made = Mutation {
        by,
        tenant,
        what: What::Warmed {
            entries: reports.iter().map(|report| report.entries).sum(),
            bytes: reports.iter().map(|report| report.bytes).sum(),
        },
        operations: &operations,
        reach: if shared && with_values().next().is_some() { "cluster" } else { "node" },
        version: with_values().map(|report| report.version).min().unwrap_or(0),
    };
    audit::record(&app.streams, &made);
}

/// Which values are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// All of them.
    Anew,
    /// Those that no tier has, or that something changed since.
    UnlessFresh,
}

/// Computes every route of an operation for a range, and stores the values in every tier.
pub async fn operation(
    app: &Arc<App>,
    tenant: &TenantId,
    scope: &Scope,
    operation: Op,
    range: &Range,
    how: How,
) -> Result<Report, nexarch_cache::Error> {
    let views = match operation {
        Op::ServiceDetail => details(app, tenant, scope, range).await?,
        _ => routes(operation, range),
    };
    let warm = |view: View| one(app, tenant, scope, view, how);
    let warmed: Vec<Option<Warmed>> =
        stream::iter(views).map(warm).buffer_unordered(AT_ONCE).try_collect().await?;
    let warmed: Vec<Warmed> = warmed.into_iter().flatten().collect();
    let mut stored = vec![StoredIn::Memory, StoredIn::Redis];
    stored.retain(|tier| !warmed.is_empty() && warmed.iter().all(|one| one.stored().contains(tier)));
    Ok(Report {
        status: "success",
        operation: operation.name(),
        entries: warmed.len(),
        compute_ms: warmed.iter().map(|one| one.compute_time).sum::<Duration>().as_secs_f64() * 1e3,
        bytes: warmed.iter().map(|one| one.bytes).sum(),
        stored,
        version: warmed.iter().map(|one| one.version).min().unwrap_or(0),
    })
}

/// One value; `None` when it needed no computation, or there is nothing of the kind any more.
pub(crate) async fn one(
    app: &Arc<App>,
    tenant: &TenantId,
    scope: &Scope,
    view: View,
    how: How,
) -> Result<Option<Warmed>, nexarch_cache::Error> {
    let (key, max_ttl) = (view.key(), view.max_ttl());
    let read = Read::new(app.operations.get(view.operation()), &key).max_ttl(max_ttl);
    let compute = computation(app, tenant, view, how);
    let warmed = match how {
        How::Anew => Some(app.cache.warm(scope, read, compute).await?),
        How::UnlessFresh => app.cache.ensure(scope, read, compute).await?.warmed,
    };
    Ok(warmed.filter(|warmed| !warmed.negative))
}

type Computing = Pin<Box<dyn Future<Output = Result<Computed, BoxError>> + Send>>;

/// As a read computes it; one that was asked for rests on nothing kept.
fn computation(
    app: &Arc<App>,
    tenant: &TenantId,
    view: View,
    how: How,
) -> impl FnOnce(Fence) -> Computing + Send + 'static {
    let (app, tenant) = (Arc::clone(app), tenant.clone());
    move |_fence| {
        Box::pin(async move {
            let (computing, of) = (Arc::clone(&app), tenant.clone());
            let work = async move {
                let parts = (how == How::UnlessFresh).then_some(&computing.parts);
                view::compute(&*computing.store, &of, &view, &computing.objectives, parts).await
            };
            app.in_turn(&tenant, work).await
        })
    }
}

/// The routes of an operation that need no name.
fn routes(operation: Op, range: &Range) -> Vec<View> {
    let range = || range.clone();
    match operation {
        Op::DashboardOverview => vec![View::Overview(range())],
        Op::ArchitectureMap => {
            let exports = Format::ALL.into_iter().map(|format| View::Export(range(), format));
            [View::Map(range())].into_iter().chain(exports).collect()
        }
        Op::Services => vec![View::Services(range())],
        Op::Metrics => vec![View::Trends(range())],
        // A comparison is of two windows, for which there is no default.
        Op::GraphAnalysis => vec![
            View::Issues(range()),
            View::Bottlenecks(range()),
            View::Dependencies(range()),
            View::Health(range()),
        ],
        // Of a service: there is no default.
        Op::ServiceDetail => Vec::new(),
    }
}

/// Detail and metrics of the busiest services.
async fn details(
    app: &Arc<App>,
    tenant: &TenantId,
    scope: &Scope,
    range: &Range,
) -> Result<Vec<View>, nexarch_cache::Error> {
    #[derive(serde::Deserialize)]
    struct Service {
        name: String,
        request_count: u64,
    }
    let list = View::Services(range.clone());
    // Of another operation, so it is not computed anew where it is as it should be.
    let (key, max_ttl) = (list.key(), list.max_ttl());
    let read = Read::new(app.operations.get(list.operation()), &key).max_ttl(max_ttl);
    let body = app.cache.ensure(scope, read, computation(app, tenant, list, How::UnlessFresh)).await?.body;
    let failed = |error| nexarch_cache::Error::Compute(Arc::new(error));
    let mut all: Vec<Service> = serde_json::from_slice(&body).map_err(failed)?;
    all.sort_by(|a, b| b.request_count.cmp(&a.request_count).then_with(|| a.name.cmp(&b.name)));
    // A name that occurs in several environments is one route.
    let mut names: Vec<String> = Vec::new();
    for Service { name, .. } in all {
        if names.len() < BUSIEST && !names.contains(&name) {
            names.push(name);
        }
    }
    let views = |name: String| {
        [View::Service(range.clone(), name.clone()), View::ServiceMetrics(range.clone(), name)]
    };
    Ok(names.into_iter().flat_map(views).collect())
}
