//! Requests by route. A route is known by its template, never by what stands in its place: names of services and numbers of
//! traces are the tenants'.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::http::StatusCode;
use rustc_hash::FxBuildHasher;

use super::{
    family::{HTTP_DURATION, HTTP_REQUESTS},
    histogram::Histogram,
    page::Page,
};

/// Routes that the OpenAPI document does not describe.
const BESIDE: [&str; 7] = [
    "/",
    "/page.js",
    "/page.css",
    "/api/v1/openapi.json",
    "/v1/logs",
    "/v1/metrics",
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
];
/// What is none of them.
const OTHER: &str = "other";
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// What was answered, by route.
pub(crate) struct Requests {
    /// Paths without parameters, to their place.
    exact: HashMap<&'static str, usize, FxBuildHasher>,
    /// Places of those with parameters, and their segments; `None` is any text.
    open: Vec<(usize, Vec<Option<&'static str>>)>,
    routes: Box<[Route]>,
}

struct Route {
    template: &'static str,
    by_class: [AtomicU64; CLASSES.len()],
    times: Histogram,
}

impl Requests {
    /// Of these templates, and those beside them.
    pub(super) fn new(templates: impl IntoIterator<Item = String>) -> Self {
        // Made once for each process, or few times in a test.
        let described = templates.into_iter().map(|template| &*template.leak());
        let mut templates: Vec<&'static str> = described.chain(BESIDE).collect();
        templates.sort_unstable();
        templates.dedup();
        templates.push(OTHER);
        let (mut exact, mut open) = (HashMap::default(), Vec::new());
        for (at, template) in templates.iter().enumerate().filter(|(_, template)| template.starts_with('/')) {
            if template.contains('{') {
                let any = |segment: &'static str| (!segment.starts_with('{')).then_some(segment);
                open.push((at, template.split('/').map(any).collect()));
            } else {
                exact.insert(*template, at);
            }
        }
        let route = |template| Route { template, by_class: Default::default(), times: Histogram::of_times() };
        Self { exact, open, routes: templates.into_iter().map(route).collect() }
    }

    /// The place of a path's route.
    pub(crate) fn route(&self, path: &str) -> usize {
        match self.exact.get(path) {
            Some(at) => *at,
            None => self.open_route(path),
        }
    }

    /// The template of a place.
    pub(crate) fn template(&self, route: usize) -> &'static str {
        self.routes[route].template
    }

    fn open_route(&self, path: &str) -> usize {
        let fits = |wanted: &[Option<&str>]| {
            let mut segments = path.split('/');
            wanted.iter().all(|wanted| {
                segments.next().is_some_and(|found| wanted.is_none_or(|wanted| wanted == found))
            }) && segments.next().is_none()
        };
        self.open.iter().find(|(_, wanted)| fits(wanted)).map_or(self.routes.len() - 1, |(at, _)| *at)
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, route: usize, status: StatusCode, time: Duration) {
        let route = &self.routes[route];
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        route.by_class[class].fetch_add(1, Ordering::Relaxed);
        route.times.record_time(time);
    }

    pub(super) fn write(&self, page: &mut Page) {
        let used = || self.routes.iter().filter(|route| !route.times.is_empty());
        let mut counts = page.family(&HTTP_REQUESTS);
        for route in used() {
            for (class, count) in CLASSES.iter().zip(&route.by_class) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    counts.add(&[route.template, class], count);
                }
            }
        }
        let mut times = page.family(&HTTP_DURATION);
        for route in used() {
            times.histogram(&[route.template], &route.times.distribution());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_counted_under_its_template_and_a_strangers_under_none() {
        let templates = ["/api/v1/a", "/api/v1/services/{name}", "/api/v1/services/{name}/metrics"];
        let requests = Requests::new(templates.map(str::to_owned));
        let template = |path| requests.routes[requests.route(path)].template;
        for (path, expected) in [
            ("/", "/"),
            ("/api/v1/a", "/api/v1/a"),
            ("/api/v1/services/cart%2Fx", "/api/v1/services/{name}"),
            ("/api/v1/services/cart/metrics", "/api/v1/services/{name}/metrics"),
            ("/api/v1/services/cart/other", OTHER),
            ("/api/v1/a/", OTHER),
            ("/api/v1/services/{name}/x/y", OTHER),
            ("", OTHER),
            ("other", OTHER),
        ] {
            assert_eq!(template(path), expected, "{path}");
        }
    }
}
