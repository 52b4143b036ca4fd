//! From a read to its bytes: the one place that reads, warming and commands share.
//!
//! A [`View`] is a route with its parameters; [`View::key`] is its canonical text, [`compute`] its answer from one
//! snapshot of the store.

use std::{fmt, time::Duration};

use bytes::Bytes;
use nexarch_cache::{BoxError, Computed};
use nexarch_core::{
    export,
    graph::architecture_map,
    ids::TenantId,
    overview::overview,
    rollup::{Corrupt, Rollup},
    service_detail::service_detail,
    services::services,
    trends::{longest_cell, service_series, trends},
    view::Context,
    window::{self, Window},
};
use nexarch_store::{Error as StoreError, Store};
use serde::Serialize;

use crate::{
    http::{ApiError, Params},
    operation::Op,
};

/// What is added up over the whole window can be made of the longest cells that there are: an hour, in minutes.
const LONGEST_CELL: u32 = 60;

/// Up to this long, in minutes, a window is made of minutes where there are any: when a service was last seen is as exact
/// as its cells.
const SHORT: u32 = 120;

/// Which span of time, and which environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    window: Window,
    environment: Option<String>,
}

impl Range {
    /// From `window` or `from` and `to`, and `environment`.
    pub fn parse(params: &Params) -> Result<Self, ApiError> {
        let window = Window::parse(params.get("window"), params.get("from"), params.get("to"))
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        Ok(Self { window, environment: params.get("environment").map(str::to_owned) })
    }
}

/// Canonical: a default equals its explicit form.
impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.window)?;
        match &self.environment {
            // JSON, so that no name can look like another parameter.
            Some(name) => write!(f, "&environment={}", serde_json::Value::from(name.as_str())),
            None => Ok(()),
        }
    }
}

/// Form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The answer of the map route.
    Json,
    /// A picture.
    Svg,
}

impl Format {
    /// From the `format` parameter.
    pub fn parse(text: Option<&str>) -> Result<Self, ApiError> {
        match text {
            Some("json") => Ok(Self::Json),
            Some("svg") => Ok(Self::Svg),
            _ => Err(ApiError::bad_request("format must be json or svg")),
        }
    }
}

/// A cached route with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum View {
    /// `dashboard/overview`.
    Overview(Range),
    /// `dashboard/architecture-map`.
    Map(Range),
    /// `architecture/export`.
    Export(Range, Format),
    /// `dashboard/services`.
    Services(Range),
    /// `dashboard/services/{name}`.
    Service(Range, String),
    /// `dashboard/services/{name}/metrics`.
    ServiceMetrics(Range, String),
    /// `dashboard/trends`.
    Trends(Range),
}

/// Why a view could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// What was asked for is not in the window.
    #[error("{0}")]
    NotFound(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Stored rollups cannot be read.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// A bug.
    #[error("{0}")]
    Internal(String),
}

impl View {
    /// Its policy.
    pub fn operation(&self) -> Op {
        match self {
            Self::Overview(_) => Op::DashboardOverview,
            Self::Map(_) | Self::Export(..) => Op::ArchitectureMap,
            Self::Services(_) => Op::Services,
            Self::Service(..) | Self::ServiceMetrics(..) => Op::ServiceDetail,
            Self::Trends(_) => Op::Metrics,
        }
    }

    fn range(&self) -> &Range {
        match self {
            Self::Overview(range)
            | Self::Map(range)
            | Self::Services(range)
            | Self::Trends(range)
            | Self::Export(range, _)
            | Self::Service(range, _)
            | Self::ServiceMetrics(range, _) => range,
        }
    }

    /// Canonical text of the route and its parameters: equal reads have equal keys, different ones never.
    pub fn key(&self) -> String {
        let range = self.range();
        let quoted = |name: &str| serde_json::Value::from(name);
        match self {
            Self::Overview(_) => format!("overview?{range}"),
            Self::Map(_) => format!("map?{range}"),
            Self::Export(_, Format::Json) => format!("export/json?{range}"),
            Self::Export(_, Format::Svg) => format!("export/svg?{range}"),
            Self::Services(_) => format!("services?{range}"),
            Self::Service(_, name) => format!("service/{}?{range}", quoted(name)),
            Self::ServiceMetrics(_, name) => format!("service-metrics/{}?{range}", quoted(name)),
            Self::Trends(_) => format!("trends?{range}"),
        }
    }

    /// A sixtieth of the window: an entry of a short window is old sooner.
    pub fn max_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.range().window.minutes()).max(1))
    }

    /// The longest cells, in minutes, that it can be made of.
    fn longest_cell(&self, range: window::Range) -> u32 {
        match self {
            Self::Trends(_) | Self::ServiceMetrics(..) => longest_cell(range),
            _ if range.minutes.len() <= SHORT => 1,
            _ => LONGEST_CELL,
        }
    }

    /// Of its bytes.
    pub fn media_type(&self) -> &'static str {
        if matches!(self, Self::Export(_, Format::Svg)) { "image/svg+xml" } else { "application/json" }
    }
}

/// Computes a view from one snapshot. Its data version is what the snapshot's first statement read.
pub async fn compute(
    store: &dyn Store,
    tenant: &TenantId,
    view: &View,
    objective: Duration,
) -> Result<Computed, BoxError> {
    let mut snapshot = store.snapshot(tenant).await.map_err(ViewError::from)?;
    let version = snapshot.data_version();
    let asked = view.range().window.range(snapshot.newest_ns());
    let cells = snapshot.cells(asked.minutes, view.longest_cell(asked)).await.map_err(ViewError::from)?;
    let (range, updated) = (asked.found(cells.minutes, cells.grain), snapshot.updated_us());
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
        render(&view, &context, &cells.blobs)
    };
    // Folding a month takes longer than other requests should wait for this thread.
    let body = tokio::task::spawn_blocking(render)
        .await
        .map_err(|error| ViewError::Internal(error.to_string()))??;
    Ok(Computed::new(body).with_data_version(version))
}

fn render(view: &View, context: &Context<'_>, blobs: &[(u32, Vec<u8>)]) -> Result<Bytes, ViewError> {
    let blobs = || blobs.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
    let rollup = || Rollup::fold(blobs());
    match view {
        View::Overview(_) => json(&overview(&rollup()?, context)),
        View::Map(_) | View::Export(_, Format::Json) => json(&architecture_map(&rollup()?, context)),
        View::Export(_, Format::Svg) => {
            Ok(export::svg::render(&architecture_map(&rollup()?, context)).into())
        }
        View::Services(_) => json(&services(&rollup()?, context)),
        View::Service(_, name) => {
            json(&service_detail(&rollup()?, context, name).ok_or_else(|| unknown(name))?)
        }
        View::ServiceMetrics(_, name) => {
            let series = service_series(blobs(), context, name)?;
            if series.points.iter().all(|point| point.request_count == 0)
                && service_detail(&rollup()?, context, name).is_none()
            {
                return Err(unknown(name));
            }
            json(&series)
        }
        View::Trends(_) => json(&trends(blobs(), context)?),
    }
}

fn unknown(name: &str) -> ViewError {
    let shown: String = name.chars().take(100).collect();
    ViewError::NotFound(format!(
        "no service {shown:?} in this window; GET /api/v1/dashboard/services lists them"
    ))
}

fn json(value: &impl Serialize) -> Result<Bytes, ViewError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| ViewError::Internal(error.to_string()))
}
