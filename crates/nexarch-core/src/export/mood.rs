//! How bad something is, as colours say it.

use crate::{graph::MapNode, view::Health};

/// How bad a share of failures is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mood {
    /// Under 1 %, or unknown.
    Good,
    /// Under 5 %.
    Fair,
    /// From 5 %.
    Bad,
}

impl Mood {
    pub(crate) fn of(error_rate: Option<f64>) -> Self {
        match error_rate {
            Some(rate) if rate >= 0.05 => Self::Bad,
            Some(rate) if rate >= 0.01 => Self::Fair,
            _ => Self::Good,
        }
    }

    /// A service has a verdict of its own; of others the share of failures is all that is known.
    pub(crate) fn of_node(node: &MapNode) -> Self {
        match node.health_status {
            Some(Health::Critical) => Self::Bad,
            Some(Health::Warning) => Self::Fair,
            Some(Health::Healthy | Health::Unknown) => Self::Good,
            None => Self::of(node.metrics.error_rate),
        }
    }

    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }
}
