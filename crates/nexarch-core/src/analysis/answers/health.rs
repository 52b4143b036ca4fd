//! How it all does.

use std::collections::HashMap;

use serde::Serialize;

use super::Sampled;
use crate::{
    analysis::{
        Analysis, Severity,
        derived::{
            NO_INCIDENTS, NO_UPTIME, apdex, architecture_score, burn_rate, error_score, health_score,
            latency_score, scale_score,
        },
    },
    view::{Health, ratio},
    window::WindowView,
};

/// The answer of `dashboard/health`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HealthAnswer {
    /// The mean of the scores, 0…100; `null` without requests.
    pub overall_score: Option<f64>,
    /// What it is the mean of.
    pub scores: Scores,
    /// 100 − 30·errors − 20·slow requests − 10·critical causes, see the documentation; `null` without requests.
    pub health_score: Option<u64>,
    /// Findings of severity critical.
    pub critical_issues: usize,
    /// Findings of severity high or medium.
    pub warnings: usize,
    /// Mean number of other nodes that a node depends on; `null` without nodes.
    pub architecture_complexity: Option<f64>,
    /// Incidents open at the end of the window; `null`, see `not_known`.
    pub active_incidents: Option<u64>,
    /// Share of the minutes with traffic in which requests succeeded; `null`, see `not_known`.
    pub uptime_percentage: Option<f64>,
    /// Share of the window with enough traffic to tell; `null`, see `not_known`.
    pub uptime_coverage: Option<f64>,
    /// Why figures are `null`.
    pub not_known: Vec<&'static str>,
    /// Apdex of the entry requests, 0…1; `null` when no duration is known.
    pub apdex: Option<f64>,
    /// How fast the error budget burns, 1 uses it up exactly; `null` without requests.
    pub burn_rate: Option<f64>,
    /// Share of requests that should succeed.
    pub availability_objective: f64,
    /// A request should not take longer.
    pub latency_objective_ms: f64,
    /// By id.
    pub services: Vec<ServiceHealth>,
    /// What it rests on, beside the cells of the window.
    pub sample: Sampled,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// Four views of one system, each 0…100.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Scores {
    /// Of the p95 of the entry requests; `null` when no duration is known.
    pub latency: Option<f64>,
    /// Of their error rate; `null` without any.
    pub errors: Option<f64>,
    /// Of the findings.
    pub architecture: f64,
    /// Of cycles and bottlenecks.
    pub scalability: f64,
}

/// How one service does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ServiceHealth {
    /// Id on the map.
    pub id: String,
    /// The verdict.
    pub health_status: Health,
    /// Apdex of its requests, 0…1; `null` when no duration is known.
    pub apdex: Option<f64>,
    /// How fast it burns the error budget; `null` without requests.
    pub burn_rate: Option<f64>,
    /// Ids of the findings about it, or that it feels.
    pub issues: Vec<String>,
}

impl Analysis<'_> {
    /// How it all does.
    pub fn health(&self) -> HealthAnswer {
        let (context, slo) = (&self.context, self.options.availability_objective);
        let objective = context.latency_objective_ms;
        let critical = self.count(Severity::Critical);
        let high = self.count(Severity::High);
        let scores = self.scores(critical, high);
        HealthAnswer {
            overall_score: scores.mean(),
            scores,
            health_score: health_score(&self.entries, objective, slo, critical),
            critical_issues: critical,
            warnings: high + self.count(Severity::Medium),
            architecture_complexity: ratio(self.complexity()),
            active_incidents: None,
            uptime_percentage: None,
            uptime_coverage: None,
            not_known: vec![NO_INCIDENTS, NO_UPTIME],
            apdex: apdex(&self.entries, objective),
            burn_rate: burn_rate(&self.entries, slo),
            availability_objective: slo,
            latency_objective_ms: objective,
            services: self.service_healths(),
            sample: self.sampled(),
            last_updated: context.last_updated(),
            window: context.window(),
        }
    }

    fn scores(&self, critical: usize, high: usize) -> Scores {
        let rounded = |score: f64| (score * 10.0).round() / 10.0;
        Scores {
            latency: self.entries.quantile_us(950).map(|us| rounded(latency_score(us / 1e3))),
            errors: self.entries.error_rate().map(|rate| rounded(error_score(rate))),
            architecture: rounded(architecture_score(critical, high)),
            scalability: rounded(scale_score(self.cycles.len(), self.bottleneck_count().unwrap_or(0))),
        }
    }

    fn service_healths(&self) -> Vec<ServiceHealth> {
        let mut about: HashMap<&str, Vec<String>> = HashMap::new();
        for issue in &self.issues {
            for part in &issue.affected {
                about.entry(part).or_default().push(issue.id.clone());
            }
        }
        self.services()
            .map(|at| self.service_health(at, about.remove(self.id(at)).unwrap_or_default()))
            .collect()
    }

    fn service_health(&self, at: usize, issues: Vec<String>) -> ServiceHealth {
        let (id, requests) = (self.id(at), &self.graph.nodes[at].requests);
        ServiceHealth {
            id: id.into(),
            health_status: self.context.health(id, requests),
            apdex: apdex(requests, self.context.latency_objective_ms),
            burn_rate: burn_rate(requests, self.options.availability_objective),
            issues,
        }
    }
}

impl Scores {
    /// `None` without requests: the shape alone is no health.
    fn mean(&self) -> Option<f64> {
        let errors = self.errors?;
        let known: Vec<f64> = [self.latency, Some(errors), Some(self.architecture), Some(self.scalability)]
            .into_iter()
            .flatten()
            .collect();
        Some((known.iter().sum::<f64>() / known.len() as f64 * 10.0).round() / 10.0)
    }
}
