//! What the API shows of an analysis.

mod bottlenecks;
mod dependencies;
mod health;

use serde::Serialize;

pub use bottlenecks::{Bottleneck, Bottlenecks, CriticalPath, PathStep};
pub use dependencies::{Amplification, Bridge, CycleView, Dependencies, DependencyNode, UnstableEdge};
pub use health::{HealthAnswer, Scores, ServiceHealth};

use super::{Analysis, Issue, NotChecked, Severity, rules};
use crate::window::WindowView;

/// Most findings listed: the worst.
const LISTED: usize = 500;

/// How many traces an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sampled {
    /// Traces looked at as a whole.
    pub traces: u64,
    /// Their spans.
    pub spans: u64,
    /// Their entry requests.
    pub entry_requests: u64,
}

/// The answer of `architecture/issues`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Issues {
    /// The worst first, then the one that touches most requests.
    pub issues: Vec<Issue>,
    /// Number of all; larger than the list, when that is cut.
    pub total_issues: usize,
    /// Number of critical ones.
    pub critical_issues: usize,
    /// Number of high and medium ones.
    pub warnings: usize,
    /// What could not be looked for.
    pub not_checked: Vec<NotChecked>,
    /// What it rests on, beside the cells of the window.
    pub sample: Sampled,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

impl Analysis<'_> {
    /// The findings.
    pub fn issues(&self) -> Issues {
        Issues {
            critical_issues: self.count(Severity::Critical),
            warnings: self.count(Severity::High) + self.count(Severity::Medium),
            not_checked: rules::not_checked(self),
            issues: self.issues.iter().take(LISTED).cloned().collect(),
            total_issues: self.issues.len(),
            sample: self.sampled(),
            last_updated: self.context.last_updated(),
            window: self.context.window(),
        }
    }

    fn sampled(&self) -> Sampled {
        Sampled { traces: self.totals.traces, spans: self.totals.spans, entry_requests: self.totals.entries }
    }
}
