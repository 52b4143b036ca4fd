//! How it all does.

use std::collections::HashMap;

use serde::Serialize;

use super::Sampled;
use crate::{
    analysis::{
        Analysis, Severity,
        derived::{
            SloBurn, apdex, architecture_score, burn_rate, error_score, health_score, latency_score,
            scale_score,
        },
    },
    incident::IncidentView,
    view::{Health, ratio},
    window::WindowView,
};

/// Most incidents listed.
const LISTED: usize = 100;

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
    /// Incidents open at the end of the window; `null` when nobody looks for any, see `not_known`.
    pub active_incidents: Option<u64>,
    /// `100·up/(up + down)` over the minutes with requests: down are those in which over 5 % of the entry requests (at
    /// least 2) failed or took over four times the latency objective; `null` without requests.
    pub uptime_percentage: Option<f64>,
    /// Share of the minutes of the window that had requests, 0…1; `null` for an empty window.
    pub uptime_coverage: Option<f64>,
    /// Why figures are `null`.
    pub not_known: Vec<&'static str>,
    /// Incidents that touch the window, the newest first; at most 100.
    pub incidents: Vec<IncidentView>,
    /// How fast the error budget burns at the end of the window; `null` when it was not looked at.
    pub slo_burn: Option<SloBurn>,
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

/// What overview and health say alike.
pub(crate) struct Summary {
    pub(crate) health_score: Option<u64>,
    pub(crate) critical_issues: usize,
    pub(crate) warnings: usize,
    pub(crate) architecture_complexity: Option<f64>,
    pub(crate) active_incidents: Option<u64>,
    pub(crate) uptime_percentage: Option<f64>,
    pub(crate) uptime_coverage: Option<f64>,
    pub(crate) not_known: Vec<&'static str>,
}

impl Analysis<'_> {
    /// In short how it all does.
    pub(crate) fn summary(&self) -> Summary {
        let (context, slo) = (&self.context, self.options.availability_objective);
        let critical = self.count(Severity::Critical);
        Summary {
            health_score: health_score(&self.entries, context.latency_objective_ms, slo, critical),
            critical_issues: critical,
            warnings: self.count(Severity::High) + self.count(Severity::Medium),
            architecture_complexity: ratio(self.complexity()),
            active_incidents: context.open_incidents().map(|open| open.count() as u64),
            uptime_percentage: context.watched.uptime.and_then(|uptime| uptime.percentage),
            uptime_coverage: context.watched.uptime.and_then(|uptime| uptime.coverage),
            not_known: context.not_known(),
        }
    }

    /// How it all does.
    pub fn health(&self) -> HealthAnswer {
        let (context, slo) = (&self.context, self.options.availability_objective);
        let objective = context.latency_objective_ms;
        let scores = self.scores(self.count(Severity::Critical), self.count(Severity::High));
        let summary = self.summary();
        HealthAnswer {
            overall_score: scores.mean(),
            scores,
            health_score: summary.health_score,
            critical_issues: summary.critical_issues,
            warnings: summary.warnings,
            architecture_complexity: summary.architecture_complexity,
            active_incidents: summary.active_incidents,
            uptime_percentage: summary.uptime_percentage,
            uptime_coverage: summary.uptime_coverage,
            not_known: summary.not_known,
            incidents: context.incidents().into_iter().flatten().take(LISTED).map(Into::into).collect(),
            slo_burn: context.watched.burn,
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
