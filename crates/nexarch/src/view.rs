//! From a read to its bytes: the one place that reads, warming and commands share.
//!
//! A [`View`] is a route with its parameters; [`View::key`] is its canonical text, [`compute`] its answer from one
//! snapshot of the store.

mod beside;
mod gather;
mod objectives;
mod parts;
mod render;

use std::{fmt, time::Duration};

use nexarch_core::{
    export::Format,
    rollup::Corrupt,
    trends::longest_cell,
    window::{self, Window},
};
use nexarch_store::Error as StoreError;

pub use self::{objectives::Objectives, parts::Parts, render::compute};

use crate::{
    http::{ApiError, Params},
    operation::Op,
};

/// What is added up over the whole window can be made of the longest cells that there are: an hour, in minutes.
const LONGEST_CELL: u32 = 60;

/// Up to this long, in minutes, a window is made of minutes where there are any: when a service was last seen is as exact
/// as its cells.
const SHORT: u32 = 120;

/// Which span of time, and which environment; by default what a read without parameters gets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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

    /// The environment asked for; `None` for all.
    pub fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The minutes asked for, when the newest span starts at `newest_ns`.
    pub fn minutes(&self, newest_ns: Option<u64>) -> window::Minutes {
        self.window.range(newest_ns).minutes
    }

    /// How an answer names it, when it is about these minutes.
    pub fn window_of(&self, minutes: window::Minutes) -> window::WindowView {
        self.window.range(None).found(minutes, 1).into()
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

/// Which two spans of time are compared, and in which environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windows {
    /// What is looked at; a named window ends at the newest accepted time.
    head: Range,
    /// What it is compared with; a named window ends where the head begins.
    base: Window,
}

impl Windows {
    /// From `base` and `head`, each the name of a window or `from/to`, and `environment`.
    pub fn parse(params: &Params) -> Result<Self, ApiError> {
        let window = |name: &str| {
            let text = params.get(name).ok_or_else(|| {
                ApiError::bad_request(format!(
                    "{name} is missing: the name of a window (1h), or two times (2026-01-31T12:00:00Z/2026-01-31T13:00:00Z)"
                ))
            })?;
            text.parse().map_err(|error| ApiError::bad_request(format!("{name}: {error}")))
        };
        let environment = params.get("environment").map(str::to_owned);
        Ok(Self { base: window("base")?, head: Range { window: window("head")?, environment } })
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
    /// `dashboard/bottlenecks`.
    Bottlenecks(Range),
    /// `dashboard/dependencies`.
    Dependencies(Range),
    /// `dashboard/health`.
    Health(Range),
    /// `architecture/issues`.
    Issues(Range),
    /// `architecture/diff`.
    Diff(Windows),
}

/// Why a view could not be computed.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
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
            Self::Diff(_)
            | Self::Bottlenecks(_)
            | Self::Dependencies(_)
            | Self::Health(_)
            | Self::Issues(_) => Op::GraphAnalysis,
        }
    }

    fn range(&self) -> &Range {
        match self {
            Self::Overview(range)
            | Self::Map(range)
            | Self::Services(range)
            | Self::Trends(range)
            | Self::Bottlenecks(range)
            | Self::Dependencies(range)
            | Self::Health(range)
            | Self::Issues(range)
            | Self::Export(range, _)
            | Self::Service(range, _)
            | Self::ServiceMetrics(range, _) => range,
            Self::Diff(windows) => &windows.head,
        }
    }

    /// Canonical text of the route and its parameters: equal reads have equal keys, different ones never.
    pub fn key(&self) -> String {
        let range = self.range();
        let quoted = |name: &str| serde_json::Value::from(name);
        match self {
            Self::Overview(_) => format!("overview?{range}"),
            Self::Map(_) => format!("map?{range}"),
            Self::Export(_, format) => format!("export/{}?{range}", format.as_str()),
            Self::Services(_) => format!("services?{range}"),
            Self::Service(_, name) => format!("service/{}?{range}", quoted(name)),
            Self::ServiceMetrics(_, name) => format!("service-metrics/{}?{range}", quoted(name)),
            Self::Trends(_) => format!("trends?{range}"),
            Self::Bottlenecks(_) => format!("bottlenecks?{range}"),
            Self::Dependencies(_) => format!("dependencies?{range}"),
            Self::Health(_) => format!("health?{range}"),
            Self::Issues(_) => format!("issues?{range}"),
            Self::Diff(windows) => format!("diff/{}?{range}", windows.base),
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

    /// Would a browser show it as a page?
    pub fn is_document(&self) -> bool {
        matches!(self, Self::Export(_, Format::Html | Format::Svg))
    }

    /// Of its bytes.
    pub fn media_type(&self) -> &'static str {
        match self {
            Self::Export(_, format) => format.media_type(),
            _ => "application/json",
        }
    }
}
