//! A finding: what, how bad and why, on what evidence.

use std::collections::BTreeMap;

use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::view::ratio;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum IssueKind {
    /// Calls that take longer than the latency objective, or than is usual for them.
    HighLatencyEdge,
    /// A part that fails often.
    HighErrorRate,
    /// Requests that wait for requests that wait for requests.
    DeepSyncChain,
    /// One request calls very many others.
    FanOutOverload,
    /// Most requests fail when it fails.
    SinglePointOfFailure,
    /// Services that all depend on each other.
    CyclicDependency,
    /// Several services share one database.
    SharedDatabase,
    /// A service that does far more than the others.
    GodService,
    /// The same query again and again.
    NPlusOne,
    /// The same call of a service again and again.
    ChattyCalls,
    /// Failed calls are repeated so often that they are a load themselves.
    RetryStorm,
}

impl IssueKind {
    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HighLatencyEdge => "high_latency_edge",
            Self::HighErrorRate => "high_error_rate",
            Self::DeepSyncChain => "deep_sync_chain",
            Self::FanOutOverload => "fan_out_overload",
            Self::SinglePointOfFailure => "single_point_of_failure",
            Self::CyclicDependency => "cyclic_dependency",
            Self::SharedDatabase => "shared_database",
            Self::GodService => "god_service",
            Self::NPlusOne => "n_plus_one",
            Self::ChattyCalls => "chatty_calls",
            Self::RetryStorm => "retry_storm",
        }
    }
}

/// How bad it is. `low` is a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Costs time or freedom.
    Medium,
    /// Will fail, or fails some.
    High,
    /// Fails now.
    Critical,
}

/// A finding.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Issue {
    /// 16 hex digits, a hash of type and subject: the same finding has the same id in every run.
    pub id: String,
    /// What is wrong.
    #[serde(rename = "type")]
    pub kind: IssueKind,
    /// How bad it is.
    pub severity: Severity,
    /// Why it is that bad.
    pub severity_reason: String,
    /// In a few words.
    pub title: String,
    /// What was seen.
    pub description: String,
    /// The numbers that it rests on; names end in their unit (`_ms`), shares are 0…1.
    pub evidence: BTreeMap<&'static str, f64>,
    /// Ids of nodes: what it is about, then who feels it.
    pub affected: Vec<String>,
    /// Requests of the window that it touches, by sampling weight.
    pub affected_requests: u64,
    /// A trace that shows it, 32 hex digits; `null` when it is in no single trace.
    pub example_trace_id: Option<String>,
    /// `n/(n+30) · (1 − q)` for n observations, 0…1; q is the adjusted p-value where a test decided, else 0.
    pub confidence: f64,
}

/// A finding that could not be looked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NotChecked {
    /// What.
    #[serde(rename = "type")]
    pub kind: IssueKind,
    /// Why not.
    pub reason: &'static str,
}

impl Issue {
    /// A finding about some nodes, on n observations.
    pub(super) fn new(
        kind: IssueKind,
        (severity, reason): (Severity, String),
        subject: Vec<String>,
        observed: u64,
    ) -> Self {
        Self {
            id: id(kind, &subject),
            kind,
            severity,
            severity_reason: reason,
            title: String::new(),
            description: String::new(),
            evidence: BTreeMap::new(),
            affected: subject,
            affected_requests: 0,
            example_trace_id: None,
            confidence: ratio(Some(observed as f64 / (observed as f64 + 30.0))).unwrap_or(0.0),
        }
    }

    /// The same on a test with this adjusted p-value: the confidence is `n/(n+30) · (1 − q)`.
    pub(super) fn doubted(self, q_value: f64) -> Self {
        let confidence = ratio(Some(self.confidence * (1.0 - q_value))).unwrap_or(0.0);
        Self { confidence, ..self }
    }

    pub(super) fn titled(self, title: String, description: String) -> Self {
        Self { title, description, ..self }
    }

    pub(super) fn with<const N: usize>(self, evidence: [(&'static str, f64); N]) -> Self {
        let rounded = |value| ratio(Some(value)).unwrap_or(value);
        let evidence = evidence.into_iter().filter(|pair| pair.1.is_finite());
        Self { evidence: evidence.map(|(name, value)| (name, rounded(value))).collect(), ..self }
    }
}

/// Typed and led by lengths, so that no name can look like two.
fn id(kind: IssueKind, subject: &[String]) -> String {
    let mut sorted: Vec<&String> = subject.iter().collect();
    sorted.sort_unstable();
    let mut bytes = kind.as_str().as_bytes().to_vec();
    for part in sorted {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    format!("{:016x}", xxh3_64(&bytes))
}

/// Severity first, then how many requests it touches; then by type and subject, so that the order is one.
pub(super) fn sort(issues: &mut [Issue]) {
    let rank = |issue: &Issue| std::cmp::Reverse((issue.severity, issue.affected_requests));
    issues.sort_by(|a, b| (rank(a), a.kind, &a.affected, &a.id).cmp(&(rank(b), b.kind, &b.affected, &b.id)));
}
