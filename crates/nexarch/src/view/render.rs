//! From a snapshot to the bytes of a view.

use std::sync::Arc;

use bytes::Bytes;
use nexarch_cache::{BoxError, Computed};
use nexarch_core::{
    analysis::{Analysis, Basis, DrawnOf, Options, saturation::knees},
    diff::{self, Sources},
    export,
    graph::{Graph, build},
    ids::TenantId,
    overview::overview_of,
    rollup::Rollup,
    season::Regressions,
    service_detail::service_detail_of,
    services::services_of,
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
    parts::{Parts, Shared},
};

/// Computes a view from one snapshot. Its data version is what the snapshot's first statement read. What does not exist
/// is an answer as well, negative, in words: it is as true until the data change, and no failure.
///
/// Of `parts` it uses those of that very version, and leaves what it makes to others; `None` reads and makes everything
/// itself, for who asked for that.
pub async fn compute(
    store: &dyn Store,
    tenant: &TenantId,
    view: &View,
    objectives: &Objectives,
    parts: Option<&Parts>,
) -> Result<Computed, BoxError> {
    // Who called may have waited for a turn before.
    let began = Instant::now();
    let mut snapshot = store.snapshot(tenant).await.map_err(ViewError::from)?;
    let (version, updated) = (snapshot.data_version(), snapshot.updated_us());
    let stored_ns = snapshot.oldest_ns().zip(snapshot.newest_ns());
    let shared = parts.map_or_else(|| Shared::alone(version), |parts| parts.at(tenant, version));
    let mut gathered = gather(&mut *snapshot, view, shared).await.map_err(ViewError::from)?;
    drop(snapshot);
    let (view, objectives) = (view.clone(), *objectives);
    let render = move || {
        let environment = view.range().environment();
        let regressed = regressed(&gathered, environment)?;
        let beside = std::mem::take(&mut gathered.beside);
        let known = beside.known(&gathered.cells.blobs, gathered.range.minutes, environment, &objectives)?;
        let context = Context {
            range: gathered.range,
            environment,
            last_updated_us: updated,
            stored_ns,
            latency_objective_ms: objectives.latency_ms(),
            regressed: regressed.as_deref(),
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
fn regressed(gathered: &Gathered, environment: Option<&str>) -> Result<Option<Arc<Regressions>>, ViewError> {
    let Some((to, season)) = &gathered.season else { return Ok(None) };
    let Some((head, weeks)) = &**season else { return Ok(None) };
    let compare = || {
        let weeks = weeks.iter().map(|week| Rollup::fold(blobs(week))).collect::<Result<Vec<_>, _>>()?;
        Ok(Regressions::of(&Rollup::fold(blobs(head))?, &weeks, environment))
    };
    gathered.shared.regressions.make((*to, environment.map(str::to_owned)), compare).map(Some)
}

fn compare(
    context: &Context<'_>,
    head: &Rollup,
    range: window::Range,
    base: &Blobs,
) -> Result<Bytes, ViewError> {
    let base = Rollup::fold(blobs(base))?;
    let head = diff::Input { rollup: head, range: context.range };
    json(&diff::drift(diff::Input { rollup: &base, range }, head, Sources::OneSet, context))
}

impl Gathered {
    /// The cells of the window, added up.
    fn rollup(&self) -> Result<Arc<Rollup>, ViewError> {
        let (minutes, longest, _) = self.cut;
        self.shared.rollups.make((minutes, longest), || Ok(Rollup::fold(blobs(&self.cells.blobs))?))
    }

    /// Their graph.
    fn graph(&self, rollup: &Rollup) -> Result<Arc<Graph>, ViewError> {
        self.shared.graphs.make(self.cut.clone(), || Ok(build(rollup, self.cut.2.as_deref())))
    }

    /// What the analysis of cells and sampled traces rests on.
    fn basis(&self, rollup: &Rollup) -> Result<Arc<Basis>, ViewError> {
        let graph = self.graph(rollup)?;
        let traces = self.sampled.as_ref().map_or(&[][..], |sampled| &sampled.traces);
        let traces = traces.iter().map(Vec::as_slice);
        let basis = || Ok(Basis::of(rollup, graph, traces, self.cut.2.as_deref()));
        self.shared.bases.make(self.cut.clone(), basis)
    }

    fn analysis<'c>(
        &self,
        rollup: &Rollup,
        context: &Context<'c>,
        options: Options,
    ) -> Result<Analysis<'c>, ViewError> {
        let drawn_of = |it: &Arc<_>| {
            let it: &nexarch_store::Sampled = it;
            DrawnOf { traces: it.estimated, hours: it.hours }
        };
        let all = self.sampled.as_ref().map(drawn_of).unwrap_or_default();
        Ok(Analysis::on(self.basis(rollup)?, context, options).drawn_of(all))
    }
}

fn render(
    view: &View,
    context: &Context<'_>,
    options: Options,
    gathered: &Gathered,
) -> Result<Computed, ViewError> {
    let blobs = || blobs(&gathered.cells.blobs);
    let rollup = || gathered.rollup();
    let analysis = || gathered.analysis(&*rollup()?, context, options);
    let detail = |name| {
        let rollup = rollup()?;
        Ok::<_, ViewError>(service_detail_of(&rollup, &*gathered.graph(&rollup)?, context, name))
    };
    let body = match view {
        View::Overview(_) => json(&overview_of(&*rollup()?, &analysis()?, context)),
        View::Map(_) => json(&analysis()?.architecture_map()),
        View::Export(_, format) => export::render(&analysis()?.architecture_map(), *format)
            .map(Bytes::from)
            .map_err(|error| ViewError::Internal(error.to_string())),
        View::Services(_) => json(&services_of(&*gathered.graph(&*rollup()?)?, context)),
        View::Service(_, name) => match detail(name)? {
            Some(detail) => json(&detail),
            None => return Ok(unknown(name)),
        },
        View::ServiceMetrics(_, name) => {
            let series = service_series(blobs(), context, name)?;
            if series.points.iter().all(|point| point.request_count == 0) && detail(name)?.is_none() {
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
            let (range, cells) =
                base.ok_or_else(|| ViewError::Internal("nothing to compare with".to_owned()))?;
            compare(context, &*rollup()?, *range, &cells.blobs)
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
