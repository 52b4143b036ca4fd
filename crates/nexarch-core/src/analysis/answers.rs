//! What the API shows of an analysis.

mod bottlenecks;
mod dependencies;
mod health;

use serde::Serialize;

pub use bottlenecks::{Bottleneck, Bottlenecks, CriticalPath, Frame, PathStep};
pub use dependencies::{
    Amplification, Bridge, Company, CycleView, Dependencies, DependencyNode, UnstableEdge,
};
pub use health::{HealthAnswer, Scores, ServiceHealth};

use super::{Analysis, Issue, NotChecked, Severity, rules};
use crate::window::WindowView;

/// Most findings listed: the worst.
const LISTED: usize = 500;

/// How many traces an answer rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Sampled {
    /// Traces looked at as a whole.
    pub traces: u64,
    /// Their spans.
    pub spans: u64,
    /// Their entry requests.
    pub entry_requests: u64,
    /// About how many traces the hours have that were looked at; absent when all traces were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_traces: Option<u64>,
    /// Hours with traces that were looked at: of a long window some, in even distances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hours: Option<u64>,
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

    pub(super) fn sampled(&self) -> Sampled {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count; saturates")]
        let of_traces = self.drawn_of.map(|all| all.traces.round() as u64);
        Sampled {
            traces: self.totals.traces,
            spans: self.totals.spans,
            entry_requests: self.totals.entries,
            of_traces,
            hours: self.drawn_of.map(|all| all.hours),
        }
    }
}
