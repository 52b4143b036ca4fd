//! From a snapshot to the bytes of a view.

use bytes::Bytes;
use nexarch_cache::{BoxError, Computed};
use nexarch_core::{
    analysis::{Analysis, DrawnOf, Options, saturation::knees},
    diff::{self, Sources},
    export,
    ids::TenantId,
    overview::overview_of,
    rollup::Rollup,
    season::Regressions,
    service_detail::service_detail,
    services::services,
    trends::{service_series, trends},
    view::Context,
    window,
};
use nexarch_store::Store;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Objectives, View, ViewError,
    gather::{Blobs, Gathered, gather},
};

/// Computes a view from one snapshot. Its data version is what the snapshot's first statement read. What does not exist
/// is an answer as well, negative, in words: it is as true until the data change, and no failure.
pub async fn compute(
    store: &dyn Store,
    tenant: &TenantId,
    view: &View,
    objectives: &Objectives,
) -> Result<Computed, BoxError> {
    // Who called may have waited for a turn before.
    let began = Instant::now();
    let mut snapshot = store.snapshot(tenant).await.map_err(ViewError::from)?;
    let (version, updated) = (snapshot.data_version(), snapshot.updated_us());
    let stored_ns = snapshot.oldest_ns().zip(snapshot.newest_ns());
    let mut gathered = gather(&mut *snapshot, view).await.map_err(ViewError::from)?;
    drop(snapshot);
    let (view, objectives) = (view.clone(), *objectives);
    let render = move || {
        let environment = view.range().environment();
        let regressed = regressed(&gathered, environment)?;
        let beside = std::mem::take(&mut gathered.beside);
        let known = beside.known(&gathered.cells, gathered.range.minutes, environment, &objectives)?;
        let context = Context {
            range: gathered.range,
            environment,
            last_updated_us: updated,
            stored_ns,
            latency_objective_ms: objectives.latency_ms(),
            regressed: regressed.as_ref(),
            watched: known.watched(),
        };
        render(&view, &context, objectives.options(), &gathered)
    };
    // Folding a month takes longer than other requests should wait for this thread.
    let rendered =
        tokio::task::spawn_blocking(render).await.map_err(|error| ViewError::Internal(error.to_string()))?;
    Ok(rendered?.with_data_version(version).took(began.elapsed()))
}

fn blobs(cells: &Blobs) -> impl Iterator<Item = (u32, &[u8])> {
    cells.iter().map(|(minute, blob)| (*minute, blob.as_slice()))
}

/// What the last hour is worse in than the same hour of the weeks before.
fn regressed(gathered: &Gathered, environment: Option<&str>) -> Result<Option<Regressions>, ViewError> {
    let Some((head, weeks)) = &gathered.season else { return Ok(None) };
    let weeks = weeks.iter().map(|week| Rollup::fold(blobs(week))).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(Regressions::of(&Rollup::fold(blobs(head))?, &weeks, environment)))
}

fn compare(
    context: &Context<'_>,
    head: &Rollup,
    (range, base): &(window::Range, Blobs),
) -> Result<Bytes, ViewError> {
    let base = Rollup::fold(blobs(base))?;
    let head = diff::Input { rollup: head, range: context.range };
    json(&diff::drift(diff::Input { rollup: &base, range: *range }, head, Sources::OneSet, context))
}

/// The analysis of cells and sampled traces.
fn analyse<'c>(
    rollup: &Rollup,
    gathered: &Gathered,
    context: &Context<'c>,
    options: Options,
) -> Analysis<'c> {
    let sampled = gathered.sampled.as_ref();
    let traces = sampled.map_or(&[][..], |sampled| &sampled.traces).iter().map(Vec::as_slice);
    let all = sampled.map_or_else(DrawnOf::default, |it| DrawnOf { traces: it.estimated, hours: it.hours });
    Analysis::of(rollup, traces, context, options).drawn_of(all)
}

fn render(
    view: &View,
    context: &Context<'_>,
    options: Options,
    gathered: &Gathered,
) -> Result<Computed, ViewError> {
    let blobs = || blobs(&gathered.cells);
    let rollup = || Rollup::fold(blobs());
    let analysis = || rollup().map(|rollup| analyse(&rollup, gathered, context, options));
    let body = match view {
        View::Overview(_) => {
            let rollup = rollup()?;
            json(&overview_of(&rollup, &analyse(&rollup, gathered, context, options), context))
        }
        View::Map(_) => json(&analysis()?.architecture_map()),
        View::Export(_, format) => export::render(&analysis()?.architecture_map(), *format)
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
        View::Bottlenecks(_) => {
            let knees = knees(blobs(), context)?;
            json(&analysis()?.with_knees(knees).bottlenecks())
        }
        View::Dependencies(_) => json(&analysis()?.dependencies()),
        View::Health(_) => json(&analysis()?.health()),
        View::Issues(_) => json(&analysis()?.issues()),
        View::Diff(_) => {
            let base = gathered.base.as_ref();
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
