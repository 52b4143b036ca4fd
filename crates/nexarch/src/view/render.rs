//! From a snapshot to the bytes of a view.

use std::time::Duration;

use bytes::Bytes;
use nexarch_cache::{BoxError, Computed};
use nexarch_core::{
    analysis::{Analysis, Options},
    diff::{self, Sources},
    export,
    graph::architecture_map,
    ids::TenantId,
    overview::overview,
    rollup::Rollup,
    service_detail::service_detail,
    services::services,
    trends::{service_series, trends},
    view::Context,
    window,
};
use nexarch_store::{Error as StoreError, Snapshot, Store};
use serde::Serialize;
use tokio::time::Instant;

use super::{LONGEST_CELL, View, ViewError, Windows};

/// Cells by their minute.
type Blobs = Vec<(u32, Vec<u8>)>;

/// Computes a view from one snapshot. Its data version is what the snapshot's first statement read. What does not exist
/// is an answer as well, negative, in words: it is as true until the data change, and no failure.
pub async fn compute(
    store: &dyn Store,
    tenant: &TenantId,
    view: &View,
    objective: Duration,
) -> Result<Computed, BoxError> {
    // Who called may have waited for a turn before.
    let began = Instant::now();
    let mut snapshot = store.snapshot(tenant).await.map_err(ViewError::from)?;
    let version = snapshot.data_version();
    let asked = view.range().window.range(snapshot.newest_ns());
    let cells = snapshot.cells(asked.minutes, view.longest_cell(asked)).await.map_err(ViewError::from)?;
    let (range, updated) = (asked.found(cells.minutes, cells.grain), snapshot.updated_us());
    let base = match view {
        View::Diff(windows) => {
            Some(base_cells(&mut *snapshot, windows, range).await.map_err(ViewError::from)?)
        }
        _ => None,
    };
    let stored_ns = snapshot.oldest_ns().zip(snapshot.newest_ns());
    drop(snapshot);
    let view = view.clone();
    let render = move || {
        let context = Context {
            range,
            environment: view.range().environment.as_deref(),
            last_updated_us: updated,
            stored_ns,
            latency_objective_ms: objective.as_secs_f64() * 1e3,
        };
        render(&view, &context, &cells.blobs, base.as_ref())
    };
    // Folding a month takes longer than other requests should wait for this thread.
    let rendered =
        tokio::task::spawn_blocking(render).await.map_err(|error| ViewError::Internal(error.to_string()))?;
    Ok(rendered?.with_data_version(version).took(began.elapsed()))
}

/// The cells of what a window is compared with.
async fn base_cells(
    snapshot: &mut dyn Snapshot,
    windows: &Windows,
    head: window::Range,
) -> Result<(window::Range, Blobs), StoreError> {
    let asked = windows.base.before(head.minutes.from);
    let cells = snapshot.cells(asked.minutes, LONGEST_CELL).await?;
    Ok((asked.found(cells.minutes, cells.grain), cells.blobs))
}

fn compare(
    context: &Context<'_>,
    head: &Rollup,
    (range, base): &(window::Range, Blobs),
) -> Result<Bytes, ViewError> {
    let base = Rollup::fold(base.iter().map(|(minute, blob)| (*minute, blob.as_slice())))?;
    let head = diff::Input { rollup: head, range: context.range };
    json(&diff::drift(diff::Input { rollup: &base, range: *range }, head, Sources::OneSet, context))
}

fn render(
    view: &View,
    context: &Context<'_>,
    head: &Blobs,
    base: Option<&(window::Range, Blobs)>,
) -> Result<Computed, ViewError> {
    let blobs = || head.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
    let rollup = || Rollup::fold(blobs());
    // Of the cells alone: what needs whole traces says in the answer that it was not looked for.
    let analysis = || rollup().map(|rollup| Analysis::of(&rollup, [], context, Options::default()));
    let body = match view {
        View::Overview(_) => json(&overview(&rollup()?, context)),
        View::Map(_) => json(&architecture_map(&rollup()?, context)),
        View::Export(_, format) => export::render(&architecture_map(&rollup()?, context), *format)
            .map(Bytes::from)
            .map_err(|error| ViewError::Internal(error.to_string())),
        View::Services(_) => json(&services(&rollup()?, context)),
        View::Service(_, name) => match service_detail(&rollup()?, context, name) {
            Some(detail) => json(&detail),
            None => return Ok(unknown(name)),
        },
        View::ServiceMetrics(_, name) => {
            let series = service_series(blobs(), context, name)?;
            if series.points.iter().all(|point| point.request_count == 0)
                && service_detail(&rollup()?, context, name).is_none()
            {
                return Ok(unknown(name));
            }
            json(&series)
        }
        View::Trends(_) => json(&trends(blobs(), context)?),
        View::Bottlenecks(_) => json(&analysis()?.bottlenecks()),
        View::Dependencies(_) => json(&analysis()?.dependencies()),
        View::Health(_) => json(&analysis()?.health()),
        View::Issues(_) => json(&analysis()?.issues()),
        View::Diff(_) => {
            let base = base.ok_or_else(|| ViewError::Internal("nothing to compare with".to_owned()))?;
            compare(context, &rollup()?, base)
        }
    };
    body.map(Computed::new)
}

fn unknown(name: &str) -> Computed {
    let shown: String = name.chars().take(100).collect();
    let detail = format!("no service {shown:?} in this window; GET /api/v1/dashboard/services lists them");
    Computed::new(detail).negative()
}

fn json(value: &impl Serialize) -> Result<Bytes, ViewError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| ViewError::Internal(error.to_string()))
}
