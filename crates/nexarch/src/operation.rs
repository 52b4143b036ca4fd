//! The cache policy of every cached read, as ONE table.
//!
//! | operation | default TTL | refreshed by new data |
//! |---|---|---|
//! | `dashboard_overview` | 120 s | yes |
//! | `architecture_map`, `services`, `service_detail`, `metrics`, `graph_analysis` | `CACHE_TTL_SECONDS` (300 s) | yes |
//!
//! The effective TTL of an entry is the smaller of this and a sixtieth of its window.

use std::{collections::BTreeMap, time::Duration};

use nexarch_cache::{Cache, Operation, OperationId};

/// A cached kind of read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// `GET /api/v1/dashboard/overview`.
    DashboardOverview,
    /// `GET /api/v1/dashboard/architecture-map` and its other forms.
    ArchitectureMap,
    /// `GET /api/v1/dashboard/services`.
    Services,
    /// `GET /api/v1/dashboard/services/{name}` and `…/metrics`.
    ServiceDetail,
    /// `GET /api/v1/dashboard/trends`.
    Metrics,
    /// `GET /api/v1/architecture/diff`, `/issues`; `GET /api/v1/dashboard/bottlenecks`, `/dependencies`, `/health`.
    GraphAnalysis,
}

/// Names of all operations, in the order of [`Op`].
pub const NAMES: [&str; 6] =
    ["dashboard_overview", "architecture_map", "services", "service_detail", "metrics", "graph_analysis"];

/// Names of the product that this build does not have yet: their settings are no mistake.
pub const LATER: [&str; 2] = ["ai_insights", "workflows"];

impl Op {
    /// All, in the order of [`NAMES`].
    pub const ALL: [Self; NAMES.len()] = [
        Self::DashboardOverview,
        Self::ArchitectureMap,
        Self::Services,
        Self::ServiceDetail,
        Self::Metrics,
        Self::GraphAnalysis,
    ];

    /// The name in keys, statistics and routes.
    pub fn name(self) -> &'static str {
        NAMES[self as usize]
    }
}

/// The overview is what people keep open: two minutes of a dead cache cost nothing, an hour of it would.
const OVERVIEW_TTL: Duration = Duration::from_mins(2);

/// The table with the configured TTLs.
pub fn table(default_ttl: Duration, own: &BTreeMap<String, Duration>) -> Vec<Operation> {
    let ttl = |name: &str| {
        let usual = if name == Op::DashboardOverview.name() { OVERVIEW_TTL } else { default_ttl };
        own.get(name).copied().unwrap_or(usual)
    };
    NAMES.iter().map(|name| Operation::new(name, ttl(name))).collect()
}

/// The operations as a cache knows them, looked up once.
pub struct Ids([OperationId; NAMES.len()]);

impl Ids {
    /// The ids in a cache that was built with [`table`].
    pub fn of(cache: &Cache) -> Result<Self, nexarch_cache::Error> {
        let mut ids = Vec::with_capacity(NAMES.len());
        for name in NAMES {
            ids.push(cache.operation(name)?);
        }
        let wrong =
            |_| nexarch_cache::Error::Configuration("the table of operations is not whole".to_owned());
        ids.try_into().map(Self).map_err(wrong)
    }

    /// The id of an operation.
    pub fn get(&self, operation: Op) -> OperationId {
        self.0[operation as usize]
    }
}
