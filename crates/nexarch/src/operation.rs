//! The cache policy of every cached read, as ONE table: [`TABLE`]. `docs/cache.md` shows it; a test compares both.
//!
//! The effective TTL of an entry is the smaller of that of its operation and a sixtieth of its window.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use nexarch_cache::{Cache, Cause, Operation, OperationId};

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

    /// Its line of the table.
    pub fn policy(self) -> &'static Policy {
        &TABLE[self as usize]
    }
}

/// How an operation is kept, and what makes its values old.
#[derive(Debug, PartialEq, Eq)]
pub struct Policy {
    /// The operation.
    pub operation: Op,
    /// Its own TTL; `None` = `CACHE_TTL_SECONDS`.
    pub ttl: Option<Duration>,
    /// What makes its values old before their TTL. A restored database does so with everything, whatever stands here.
    pub refreshed_by: &'static [Cause],
}

/// What follows the data of a tenant, and can be invalidated by hand.
const BY_DATA: &[Cause] = &[Cause::Ingest, Cause::Settle, Cause::Retention, Cause::Manual];

/// The table, in the order of [`Op`].
pub const TABLE: [Policy; NAMES.len()] = [
    Policy { operation: Op::DashboardOverview, ttl: Some(OVERVIEW_TTL), refreshed_by: BY_DATA },
    Policy { operation: Op::ArchitectureMap, ttl: None, refreshed_by: BY_DATA },
    Policy { operation: Op::Services, ttl: None, refreshed_by: BY_DATA },
    Policy { operation: Op::ServiceDetail, ttl: None, refreshed_by: BY_DATA },
    Policy { operation: Op::Metrics, ttl: None, refreshed_by: BY_DATA },
    Policy { operation: Op::GraphAnalysis, ttl: None, refreshed_by: BY_DATA },
];

/// The overview is what people keep open: two minutes of a dead cache cost nothing, an hour of it would.
const OVERVIEW_TTL: Duration = Duration::from_mins(2);

/// How long "there is no such service" is served at most; a new span ends it earlier.
const NOTHING_TTL: Duration = Duration::from_secs(30);

/// How long a computation is waited for where an expired value can be served in its place. It takes some 10 ms mostly; what
/// takes a second waits for the disk, or for its turn.
const PATIENCE: Duration = Duration::from_secs(1);

/// What bodies depend on beside data, window and environment: this program, the shape of its answers, and the
/// objectives that figures are judged by. A value in Redis that was computed under another one is none.
pub fn schema(latency_objective: Duration, availability_objective: f64) -> String {
    // A body whose shape changed is of another program, whatever its version says.
    let mut shape = DefaultHasher::new();
    include_str!("../../../docs/openapi.json").hash(&mut shape);
    let latency = latency_objective.as_micros();
    format!("{}/{:016x}/{latency}/{availability_objective}", env!("CARGO_PKG_VERSION"), shape.finish())
}

/// The operations of a cache, with the configured TTLs and the [`schema`] of their bodies.
pub fn table(default_ttl: Duration, own: &BTreeMap<String, Duration>, schema: &str) -> Vec<Operation> {
    let operation = |policy: &Policy| {
        let name = policy.operation.name();
        let ttl = own.get(name).copied().or(policy.ttl).unwrap_or(default_ttl);
        // What has expired and was not made old lacks nothing that is in the database: better than an error, for as long
        // again.
        let operation = Operation::new(name, ttl).with_grace(ttl).with_soft_timeout(PATIENCE);
        let operation = operation.with_negative_ttl(NOTHING_TTL).with_schema(schema);
        let follows_data = policy.refreshed_by.contains(&Cause::Ingest);
        if follows_data { operation } else { operation.independent_of_data() }
    };
    TABLE.iter().map(operation).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A shared tier holds what earlier versions of this program computed.
    #[test]
    fn a_value_is_of_a_version_and_a_shape() {
        let schema = schema(Duration::from_secs(1), 0.99);
        let parts: Vec<&str> = schema.split('/').collect();
        assert_eq!((parts.len(), parts[0]), (4, env!("CARGO_PKG_VERSION")), "{schema}");
        let mut shape = DefaultHasher::new();
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
        std::fs::read_to_string(document).unwrap().hash(&mut shape);
        assert_eq!(parts[1], format!("{:016x}", shape.finish()));
    }

    /// A service that begins to send is not missed for long, whatever is configured.
    #[test]
    fn that_there_is_nothing_is_believed_for_half_a_minute_at_most() {
        for ttl in [Duration::from_secs(10), Duration::from_hours(1)] {
            let own = NAMES.map(|name| (name.to_owned(), ttl)).into();
            for operation in table(ttl, &own, "") {
                let most = Duration::from_secs(30);
                assert!(operation.negative_ttl > Duration::ZERO && operation.negative_ttl <= most);
            }
        }
    }

    #[test]
    fn what_is_computed_by_other_objectives_is_another_value() {
        let of = |ms, share| schema(Duration::from_millis(ms), share);
        assert_eq!(of(1_000, 0.99), of(1_000, 0.990));
        assert_ne!(of(1_000, 0.99), of(1_001, 0.99));
        assert_ne!(of(1_000, 0.99), of(1_000, 0.999));
    }

    /// The table in the words of the documentation.
    fn markdown() -> String {
        let causes = [Cause::Ingest, Cause::Settle, Cause::Retention, Cause::Manual, Cause::Workflow];
        let word = |cause: &Cause| serde_json::to_value(cause).unwrap().as_str().unwrap().to_owned();
        let mut lines = vec![
            format!(
                "| operation | TTL | {} |",
                causes.iter().map(|c| format!("`{}`", word(c))).collect::<Vec<_>>().join(" | ")
            ),
            format!("|---|---|{}", "---|".repeat(causes.len())),
        ];
        for policy in &TABLE {
            let ttl =
                policy.ttl.map_or("`CACHE_TTL_SECONDS`".to_owned(), |ttl| format!("{} s", ttl.as_secs()));
            let cells =
                causes.iter().map(|cause| if policy.refreshed_by.contains(cause) { "yes" } else { "no" });
            let cells: Vec<_> = cells.collect();
            lines.push(format!("| `{}` | {ttl} | {} |", policy.operation.name(), cells.join(" | ")));
        }
        lines.join("\n")
    }

    #[test]
    fn the_documentation_shows_the_table() {
        let page = include_str!("../../../docs/cache.md");
        let table = markdown();
        assert!(page.contains(&format!("\n{table}\n\n")), "docs/cache.md does not have:\n{table}");
    }

    #[test]
    fn every_operation_has_its_line_and_the_cache_follows_it() {
        let operations = table(
            Duration::from_secs(9),
            &BTreeMap::from([("metrics".to_owned(), Duration::from_secs(5))]),
            "a",
        );
        for (op, operation) in Op::ALL.into_iter().zip(&operations) {
            assert_eq!((op.policy().operation, &*operation.name), (op, op.name()));
            assert_eq!(
                operation.depends_on_data,
                op.policy().refreshed_by.contains(&Cause::Ingest),
                "{op:?}"
            );
            // A change of data is one version, whatever its cause: it cannot pass by some of these operations.
            let by_data = [Cause::Ingest, Cause::Settle, Cause::Retention]
                .map(|cause| op.policy().refreshed_by.contains(&cause));
            assert!(by_data.iter().all(|is| *is == by_data[0]), "{op:?}");
            assert!(op.policy().refreshed_by.contains(&Cause::Manual), "{op:?}");
        }
        assert_eq!(
            operations.iter().map(|operation| operation.ttl.as_secs()).collect::<Vec<_>>(),
            [120, 9, 9, 9, 5, 9]
        );
    }
}
