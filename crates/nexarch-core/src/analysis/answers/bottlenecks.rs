//! Where the time of requests goes.

use serde::Serialize;

use super::Sampled;
use crate::{
    analysis::{
        Analysis,
        saturation::Knee,
        traces::{Route, weighted_quantile},
    },
    graph::NodeType,
    view::{milliseconds, ratio},
    window::WindowView,
};

/// Most nodes listed.
const LISTED: usize = 50;
/// Most operations of a node, and steps of a path.
const STEPS: usize = 20;
/// Entry operations with a flame graph.
const FLAMES: usize = 10;
/// Frames below this share of a request cannot be seen in it.
const VISIBLE: f64 = 0.005;
/// Nodes and entry operations that the map lists, and steps of each.
const ON_MAP: usize = 10;
/// A node with this share of all critical paths is a bottleneck, whatever its traffic.
const BOTTLENECK: f64 = 0.20;

/// The answer of `dashboard/bottlenecks`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bottlenecks {
    /// Nodes on critical paths, by score.
    pub bottlenecks: Vec<Bottleneck>,
    /// Entry operations, the one with the most total time first, with the steps on their critical paths.
    pub critical_paths: Vec<CriticalPath>,
    /// Why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// What it rests on.
    pub sample: Sampled,
    /// Commit time of the newest data, RFC 3339; `null` without data.
    pub last_updated: Option<String>,
    /// What the figures are of.
    pub window: WindowView,
}

/// A node on critical paths. `score = critical_path_share · load_factor · fan_in_factor` only sorts.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Bottleneck {
    /// Id on the map.
    pub id: String,
    /// Type.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// The product of the three factors.
    pub score: f64,
    /// Part of the time of all entry requests that it spent on their critical paths itself, 0…1.
    pub critical_path_share: f64,
    /// `1 + log10(1 + requests per second)`.
    pub load_factor: f64,
    /// `1 + log2(1 + callers)`.
    pub fan_in_factor: f64,
    /// Requests per second of the window; `null` for an empty one.
    pub requests_per_second: Option<f64>,
    /// Distinct callers.
    pub fan_in: usize,
    /// Requests inside at the same time, on average (Little: rate · mean duration); `null` when no duration is known.
    pub in_flight: Option<f64>,
    /// What more requests at a time did to it, when they did it no good: it is saturated, or waits for something that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub knee: Option<Knee>,
    /// Holds at least a fifth of all critical paths.
    pub is_bottleneck: bool,
    /// Its operations on critical paths, the largest share first.
    pub operations: Vec<PathStep>,
}

/// One operation on critical paths.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PathStep {
    /// Id of the node on the map.
    pub id: String,
    /// Name of the spans.
    pub operation: String,
    /// Part of the time of the requests, 0…1.
    pub share: f64,
    /// Median of its own time on the path, over the requests on whose path it is.
    pub p50_ms: Option<f64>,
    /// 95 % of them are not longer.
    pub p95_ms: Option<f64>,
    /// Mean self time of its spans, on the path or not.
    pub self_time_ms: Option<f64>,
}

/// Where the time of one entry operation goes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CriticalPath {
    /// Id of the entry service on the map.
    pub id: String,
    /// Its operation.
    pub operation: String,
    /// Requests of the sample.
    pub requests: u64,
    /// Median of their durations.
    pub p50_ms: Option<f64>,
    /// 95 % of them are not slower.
    pub p95_ms: Option<f64>,
    /// The largest share first; shares are of this operation's time. Up to 20.
    pub steps: Vec<PathStep>,
    /// The slowest one, 32 hex digits.
    pub example_trace_id: Option<String>,
    /// The same by stack of calls, as a flame graph is drawn; of the first ten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flame: Option<Frame>,
}

/// An operation in a flame graph, under its callers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = FlameFrame))]
pub struct Frame {
    /// Id of the node on the map.
    pub id: String,
    /// Name of the spans.
    pub operation: String,
    /// Mean time on the critical path of a request, what it calls included, milliseconds: the width.
    pub value_ms: f64,
    /// Part of it that it spent itself.
    pub self_ms: f64,
    /// What it calls there, the widest first; what is narrower than 0.5 % of the whole is left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub children: Vec<Frame>,
}

impl Analysis<'_> {
    /// Where the time of requests goes.
    pub fn bottlenecks(&self) -> Bottlenecks {
        Bottlenecks {
            bottlenecks: self.first_bottlenecks(LISTED),
            critical_paths: self.critical_paths(LISTED, FLAMES),
            reason: self
                .path_share
                .is_none()
                .then_some("no timed trace of the window was looked at as a whole"),
            sample: self.sampled(),
            last_updated: self.context.last_updated(),
            window: self.context.window(),
        }
    }

    /// The first bottlenecks and critical paths, as the map lists them.
    pub(crate) fn on_map(&self) -> (Vec<Bottleneck>, Vec<CriticalPath>) {
        let mut critical_paths = self.critical_paths(ON_MAP, 0);
        for path in &mut critical_paths {
            path.steps.truncate(ON_MAP);
        }
        (self.first_bottlenecks(ON_MAP), critical_paths)
    }

    /// How many nodes hold at least a fifth of all critical paths.
    pub(super) fn bottleneck_count(&self) -> Option<usize> {
        let shares = self.path_share.as_ref()?;
        Some(self.inner().filter(|&at| shares[at] >= BOTTLENECK).count())
    }

    fn first_bottlenecks(&self, most: usize) -> Vec<Bottleneck> {
        let mut bottlenecks = self.all_bottlenecks();
        bottlenecks.truncate(most);
        for bottleneck in &mut bottlenecks {
            bottleneck.operations = self.steps_of(&bottleneck.id);
        }
        bottlenecks
    }

    fn all_bottlenecks(&self) -> Vec<Bottleneck> {
        let Some(shares) = &self.path_share else { return Vec::new() };
        let mut found: Vec<Bottleneck> = self
            .inner()
            .filter(|&at| shares[at] > 0.0 && self.is_shown(at))
            .map(|at| self.bottleneck(at, shares[at]))
            .collect();
        found.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.id.cmp(&b.id)));
        found
    }

    fn bottleneck(&self, at: usize, share: f64) -> Bottleneck {
        let node = &self.graph.nodes[at];
        let seconds = self.context.range.seconds();
        let rate = (seconds > 0).then(|| node.requests.calls() as f64 / seconds as f64);
        let fan_in = self.net.callers(at).len();
        let load = 1.0 + (1.0 + rate.unwrap_or(0.0)).log10();
        let leaning = 1.0 + (1.0 + fan_in as f64).log2();
        let rounded = |value| ratio(Some(value)).unwrap_or(0.0);
        Bottleneck {
            id: node.id.clone(),
            kind: node.kind,
            score: rounded(share * load * leaning),
            critical_path_share: rounded(share),
            load_factor: rounded(load),
            fan_in_factor: rounded(leaning),
            requests_per_second: ratio(rate),
            fan_in,
            in_flight: ratio(rate.zip(node.requests.mean_us()).map(|(rate, us)| rate * us / 1e6)),
            knee: self.knees.get(&node.id).copied(),
            is_bottleneck: share >= BOTTLENECK,
            operations: Vec::new(),
        }
    }

    fn steps_of(&self, id: &str) -> Vec<PathStep> {
        let all = self.totals.path.iter().filter(|(step, _)| self.id(step.0) == id);
        self.steps(all.map(|(&step, on_path)| (step, on_path.weighted_ns)), self.totals.root_ns)
    }

    fn steps(&self, of: impl Iterator<Item = ((usize, u32), u128)>, all: u128) -> Vec<PathStep> {
        let mut steps: Vec<((usize, u32), u128)> = of.collect();
        steps.sort_by_key(|&((node, name), ns)| (std::cmp::Reverse(ns), node, self.name(name)));
        steps.truncate(STEPS);
        let step = |((node, name), ns): ((usize, u32), u128)| {
            let samples = self.totals.path.get(&(node, name)).map_or(&[][..], |on_path| &on_path.samples);
            let own = self.totals.own.get(&(node, name)).filter(|own| own.1 > 0);
            PathStep {
                id: self.id(node).into(),
                operation: self.name(name).into(),
                share: ratio((all > 0).then(|| ns as f64 / all as f64)).unwrap_or(0.0),
                p50_ms: of_ns(weighted_quantile(samples, 500)),
                p95_ms: of_ns(weighted_quantile(samples, 950)),
                self_time_ms: milliseconds(own.map(|&(ns, weight)| ns as f64 / weight as f64 / 1e3)),
            }
        };
        steps.into_iter().map(step).collect()
    }

    /// Those that take most time, with the flame graphs of the first of them.
    fn critical_paths(&self, most: usize, flames: usize) -> Vec<CriticalPath> {
        let routes = self.totals.routes.iter().filter(|(_, route)| route.root_ns > 0);
        let mut routes: Vec<_> = routes.filter(|(step, _)| self.is_shown(step.0)).collect();
        routes.sort_by_key(|&(step, route)| (std::cmp::Reverse(route.root_ns), step.0, self.name(step.1)));
        routes.truncate(most);
        let path = |(nth, (&(node, name), route)): (usize, (&(usize, u32), &Route))| CriticalPath {
            id: self.id(node).into(),
            operation: self.name(name).into(),
            requests: route.entries,
            p50_ms: of_ns(weighted_quantile(&route.durations, 500)),
            p95_ms: of_ns(weighted_quantile(&route.durations, 950)),
            steps: self.steps(route.steps.iter().map(|(&step, &ns)| (step, ns)), route.root_ns),
            example_trace_id: route.slowest.trace().map(|trace| trace.to_string()),
            flame: (nth < flames).then(|| self.flame(route)).flatten(),
        };
        routes.into_iter().enumerate().map(path).collect()
    }

    fn flame(&self, route: &Route) -> Option<Frame> {
        let weight: u64 = route.durations.iter().map(|duration| u64::from(duration.1)).sum();
        let totals = route.flame.totals();
        (weight > 0).then(|| self.frame(route, &totals, 0, weight)).flatten()
    }

    /// Frames are not deeper than a flame may be.
    fn frame(&self, route: &Route, totals: &[u128], at: usize, weight: u64) -> Option<Frame> {
        let (frame, children) = route.flame.frame(at)?;
        if (totals[at] as f64) < VISIBLE * totals[0] as f64 {
            return None;
        }
        let mean = |ns: u128| of_ns_mean(ns, weight);
        let mut children: Vec<Frame> =
            children.filter_map(|child| self.frame(route, totals, child, weight)).collect();
        children.sort_by(|a, b| {
            b.value_ms.total_cmp(&a.value_ms).then_with(|| (&a.id, &a.operation).cmp(&(&b.id, &b.operation)))
        });
        Some(Frame {
            id: self.id(frame.step.0).into(),
            operation: self.name(frame.step.1).into(),
            value_ms: mean(totals[at]),
            self_ms: mean(frame.own),
            children,
        })
    }
}

fn of_ns(ns: Option<u64>) -> Option<f64> {
    milliseconds(ns.map(|ns| ns as f64 / 1e3))
}

/// Mean of a weighted sum of nanoseconds, milliseconds.
fn of_ns_mean(sum: u128, weight: u64) -> f64 {
    milliseconds(Some(sum as f64 / weight as f64 / 1e3)).unwrap_or(0.0)
}
