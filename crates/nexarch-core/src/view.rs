//! What all answers share: what was asked, figures in milliseconds, and verdicts.

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    analysis::derived::{NO_INCIDENTS, NO_UPTIME, SloBurn},
    incident::Incident,
    rollup::Cell,
    season::Regressions,
    uptime::Uptime,
    window::{Range, WindowView},
};

/// What an answer is about. The same context and the same cells give the same bytes.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The minutes that the cells are of.
    pub range: Range,
    /// Only this environment (empty: spans that name none); `None` for all together.
    pub environment: Option<&'a str>,
    /// The data version: commit time of the newest data, microseconds since the Unix epoch; 0 for none.
    pub last_updated_us: u64,
    /// Start of the oldest and of the newest stored span, nanoseconds since the Unix epoch.
    pub stored_ns: Option<(u64, u64)>,
    /// The tenant's latency objective, milliseconds.
    pub latency_objective_ms: f64,
    /// What got worse lately, as the same hour of the weeks before tells; `None` where there are none.
    pub regressed: Option<&'a Regressions>,
    /// What is known of the window beside its cells.
    pub watched: Watched<'a>,
}

/// What is known of a window beside its cells; by default nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Watched<'a> {
    /// For how long it was up.
    pub uptime: Option<Uptime>,
    /// How fast the error budget burns at the end of the window.
    pub burn: Option<SloBurn>,
    /// Incidents that touch it, the newest first; `None` when nobody looks for any.
    pub incidents: Option<&'a [Incident]>,
}

impl Context<'_> {
    /// `last_updated` of an answer, RFC 3339; `None` when there never was any data.
    pub fn last_updated(&self) -> Option<String> {
        let us = i64::try_from(self.last_updated_us).ok().filter(|&us| us > 0)?;
        Timestamp::from_microsecond(us).ok().map(|time| time.to_string())
    }

    /// `window` of an answer.
    pub fn window(&self) -> WindowView {
        self.range.into()
    }

    /// Incidents that touch the window, of the environment asked for; `None` when nobody looks for any.
    pub fn incidents(&self) -> Option<impl Iterator<Item = &Incident>> {
        let incidents = self.watched.incidents?;
        Some(incidents.iter().filter(|incident| incident.is_in(self.environment)))
    }

    /// Those of them that are open at the end of the window: where the data end, if that is sooner.
    pub fn open_incidents(&self) -> Option<impl Iterator<Item = &Incident>> {
        let newest = self.stored_ns.map_or(u32::MAX, |(_, newest)| minute_after(newest));
        let end = self.range.minutes.to.min(newest);
        Some(self.incidents()?.filter(move |incident| incident.is_open_at(end)))
    }

    /// Why figures about time are not known, if they are not.
    pub fn not_known(&self) -> Vec<&'static str> {
        let why =
            [(self.watched.incidents.is_none(), NO_INCIDENTS), (self.watched.uptime.is_none(), NO_UPTIME)];
        why.into_iter().filter_map(|(unknown, words)| unknown.then_some(words)).collect()
    }

    /// The verdict on a service: by its requests, by what is usual for it, and by open incidents.
    pub fn health(&self, id: &str, requests: &Cell) -> Health {
        let by_requests = match Health::of(requests, self.latency_objective_ms) {
            Health::Healthy if self.regressed.is_some_and(|all| all.node(id).is_some()) => Health::Warning,
            health => health,
        };
        let takes_part = |incident: &&Incident| incident.services.iter().any(|(service, _)| service == id);
        let of = |incident: &Incident| if incident.root == id { Health::Critical } else { Health::Warning };
        let by_incidents = self.open_incidents().and_then(|open| open.filter(takes_part).map(of).max());
        by_requests.max(by_incidents.unwrap_or(Health::Unknown))
    }

    /// Is this environment asked for?
    pub fn includes(&self, environment: &str) -> bool {
        self.environment.is_none_or(|wanted| wanted == environment)
    }
}

/// The minute after the one in which something starts, since the Unix epoch.
fn minute_after(ns: u64) -> u32 {
    u32::try_from(ns / 60_000_000_000).unwrap_or(u32::MAX - 1) + 1
}

/// Milliseconds with microsecond digits, from microseconds.
pub fn milliseconds(us: Option<f64>) -> Option<f64> {
    us.map(|us| us.round() / 1000.0)
}

/// A ratio with six digits: more would be noise, and would differ between equal counts summed differently.
pub fn ratio(value: Option<f64>) -> Option<f64> {
    value.map(|value| (value * 1e6).round() / 1e6)
}

/// Counts, failures and latencies of requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Figures {
    /// Requests, by sampling weight.
    pub request_count: u64,
    /// Requests that were really observed; smaller than `request_count` when the sender samples.
    pub observed_count: u64,
    /// Requests per second of the window; `null` for an empty window.
    pub requests_per_second: Option<f64>,
    /// Share of failed requests, 0…1; `null` without requests.
    pub error_rate: Option<f64>,
    /// Mean; `null` when no duration is known.
    pub avg_latency_ms: Option<f64>,
    /// Median.
    pub p50_latency_ms: Option<f64>,
    /// 95 % are not slower.
    pub p95_latency_ms: Option<f64>,
    /// 99 % are not slower.
    pub p99_latency_ms: Option<f64>,
    /// The p99 stands on fewer than 100 durations.
    pub low_n: bool,
}

impl Figures {
    /// The figures of a cell over a time in seconds.
    pub fn of(cell: &Cell, seconds: u64) -> Self {
        let calls = cell.calls();
        Self {
            request_count: calls,
            observed_count: u64::try_from(cell.count).unwrap_or(0),
            requests_per_second: ratio((seconds > 0).then(|| calls as f64 / seconds as f64)),
            error_rate: ratio(cell.error_rate()),
            avg_latency_ms: milliseconds(cell.mean_us()),
            p50_latency_ms: milliseconds(cell.quantile_us(500)),
            p95_latency_ms: milliseconds(cell.quantile_us(950)),
            p99_latency_ms: milliseconds(cell.quantile_us(990)),
            low_n: cell.timed < 100,
        }
    }
}

/// How a service does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = HealthStatus))]
pub enum Health {
    /// No request in the window.
    Unknown,
    /// Nothing to say.
    Healthy,
    /// Over 5 % failed (at least 2), the p95 is over twice the latency objective, the last hour was far worse than the same
    /// hour of the weeks before, or it takes part in an open incident.
    Warning,
    /// Over 10 % failed (at least 2), or it is the root of an open incident.
    Critical,
}

impl Health {
    /// The verdict by the requests of a service alone. One error of three requests is no alarm, hence at least two.
    pub fn of(requests: &Cell, latency_objective_ms: f64) -> Self {
        let Some(errors) = requests.error_rate() else { return Self::Unknown };
        let slow = requests.quantile_us(950).is_some_and(|us| us > 2000.0 * latency_objective_ms);
        match requests.errors >= 2 {
            true if errors > 0.10 => Self::Critical,
            true if errors > 0.05 => Self::Warning,
            _ if slow => Self::Warning,
            _ => Self::Healthy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(good: u32, bad: u32, ms: u64) -> Cell {
        let mut cell = Cell::default();
        for at in 0..good + bad {
            cell.observe(256, at < bad, Some(ms * 1_000_000));
        }
        cell
    }

    #[test]
    fn health_needs_two_errors_and_knows_slowness() {
        let verdict = |good, bad, ms| Health::of(&requests(good, bad, ms), 1000.0);
        assert_eq!(verdict(0, 0, 1), Health::Unknown);
        assert_eq!(verdict(3, 0, 1), Health::Healthy);
        assert_eq!(verdict(2, 1, 1), Health::Healthy);
        assert_eq!(verdict(17, 3, 1), Health::Critical);
        assert_eq!(verdict(18, 2, 1), Health::Warning, "10 % is not over 10 %");
        assert_eq!(verdict(95, 5, 1), Health::Healthy, "5 % is not over 5 %");
        assert_eq!(verdict(9, 0, 2000), Health::Healthy);
        assert_eq!(verdict(9, 0, 2200), Health::Warning);
    }

    #[test]
    fn open_incidents_are_counted_where_the_window_or_the_data_end() {
        let incident = |from, to| Incident {
            id: String::new(),
            from,
            to,
            root: "pay".into(),
            services: vec![("pay".into(), "prod".into()), ("shop".into(), "prod".into())],
            signals: Vec::new(),
        };
        let incidents = [incident(1_000_050, None), incident(1_000_010, Some(1_000_020))];
        let context = Context {
            range: Range {
                name: "1h",
                minutes: crate::window::Minutes { from: 1_000_000, to: 1_000_060 },
                grain: 1,
            },
            environment: None,
            last_updated_us: 0,
            stored_ns: Some((0, 1_000_055 * 60_000_000_000)),
            latency_objective_ms: 1000.0,
            regressed: None,
            watched: Watched { incidents: Some(&incidents), ..Watched::default() },
        };
        let open = |context: &Context<'_>| context.open_incidents().map(Iterator::count);
        assert_eq!(open(&context), Some(1));
        assert_eq!(open(&Context { stored_ns: Some((0, 1_000_019 * 60_000_000_000)), ..context }), Some(1));
        assert_eq!(open(&Context { stored_ns: Some((0, 1_000_030 * 60_000_000_000)), ..context }), Some(0));
        assert_eq!(open(&Context { environment: Some("test"), ..context }), Some(0));
        assert_eq!(open(&Context { watched: Watched::default(), ..context }), None, "nobody looks");

        let good = requests(9, 0, 1);
        assert_eq!(context.health("pay", &good), Health::Critical, "the root");
        assert_eq!(context.health("shop", &good), Health::Warning, "it takes part");
        assert_eq!(context.health("mail", &good), Health::Healthy);
        assert_eq!(context.health("shop", &requests(0, 9, 1)), Health::Critical, "the worse one counts");
        assert_eq!(context.health("pay", &Cell::default()), Health::Critical, "not one request comes");
    }

    #[test]
    fn figures_without_data_are_null_not_zero() {
        let empty = serde_json::to_value(Figures::of(&Cell::default(), 0)).unwrap();
        assert_eq!(empty["request_count"], 0);
        for field in
            ["requests_per_second", "error_rate", "avg_latency_ms", "p50_latency_ms", "p99_latency_ms"]
        {
            assert!(empty[field].is_null(), "{field}");
        }
        let some = Figures::of(&requests(3, 1, 7), 60);
        assert_eq!(some.error_rate, Some(0.25));
        assert_eq!(some.requests_per_second, Some(0.066_667));
        assert_eq!((some.avg_latency_ms, some.low_n), (Some(7.0), true));
        let one = Figures::of(&requests(1, 0, 7), 60);
        assert_eq!(one.p99_latency_ms, Some(7.0), "one duration is exact");
    }

    #[test]
    fn a_sampled_request_counts_as_many() {
        let mut cell = Cell::default();
        cell.observe(10 * 256, false, None);
        let figures = Figures::of(&cell, 10);
        assert_eq!((figures.request_count, figures.observed_count), (10, 1));
        assert_eq!(figures.requests_per_second, Some(1.0));
    }
}
