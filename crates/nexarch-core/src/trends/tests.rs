use super::*;
use crate::{
    facts::Facts,
    graph::tests::context,
    infer::{contribution, testing::*},
    rollup::Delta,
    window::{Named, Window},
};

const MINUTE_NS: u64 = 60_000_000_000;

fn blobs(traces: &[Facts]) -> Vec<(u32, Vec<u8>)> {
    let mut sum = Delta::default();
    for span in traces {
        sum.add(&contribution(std::slice::from_ref(span)));
    }
    sum.encode()
}

fn at(minutes: u64, id: u64, span: Facts) -> Facts {
    Facts { start_ns: START_NS + minutes * MINUTE_NS, span_id: server("x", id, 0).span_id, ..span }
}

fn over(window: Window, newest_minutes: u64) -> Context<'static> {
    Context { range: window.range(Some(START_NS + newest_minutes * MINUTE_NS)), ..context() }
}

fn input(blobs: &[(u32, Vec<u8>)]) -> impl Iterator<Item = (u32, &[u8])> {
    blobs.iter().map(|(minute, blob)| (*minute, &**blob))
}

#[test]
fn every_window_has_a_readable_number_of_points() {
    let counts: Vec<(u64, usize)> = Named::ALL
        .into_iter()
        .map(|named| {
            let series = trends(std::iter::empty(), &over(Window::Newest(named), 0)).unwrap();
            (series.bucket_seconds / 60, series.points.len())
        })
        .collect();
    assert_eq!(counts, [(1, 16), (1, 61), (5, 73), (15, 97), (120, 85), (720, 61)]);
    let longest = Window::Fixed(Minutes { from: 0, to: 400 * 1440 });
    assert_eq!(trends(std::iter::empty(), &over(longest, 0)).unwrap().points.len(), 80);
    let nothing =
        trends(std::iter::empty(), &Context { range: Window::default().range(None), ..context() }).unwrap();
    assert!(nothing.points.is_empty());
}

#[test]
fn points_lie_where_the_requests_began() {
    let spans = [
        at(0, 1, server("a", 1, 0)),
        at(0, 2, Facts { error: true, ..server("a", 1, 0) }),
        at(3, 3, Facts { duration_ns: Some(5_000_000), ..server("b", 1, 0) }),
    ];
    let stored = blobs(&spans);
    let context = over(Window::Newest(Named::Minutes15), 3);
    let series = trends(input(&stored), &context).unwrap();
    let busy: Vec<(&str, u64, Option<f64>, Option<f64>)> = series
        .points
        .iter()
        .filter(|point| point.request_count > 0)
        .map(|point| (&*point.time, point.request_count, point.error_rate, point.avg_latency_ms))
        .collect();
    assert_eq!(
        busy,
        [
            ("1971-11-26T10:40:00Z", 2, Some(0.5), Some(1.0)),
            ("1971-11-26T10:43:00Z", 1, Some(0.0), Some(5.0))
        ]
    );
    let quiet = &series.points[0];
    assert_eq!((quiet.request_count, quiet.error_rate, quiet.p95_latency_ms), (0, None, None));
    assert_eq!(quiet.requests_per_second, Some(0.0));

    let only_b = service_series(input(&stored), &context, "b").unwrap();
    assert_eq!(only_b.points.iter().map(|point| point.request_count).sum::<u64>(), 1);
    assert_eq!(only_b.name.as_deref(), Some("b"));
    assert_eq!(only_b.points.len(), series.points.len());
}

#[test]
fn the_points_of_a_series_add_up_to_its_overview() {
    let spans: Vec<Facts> = (1..200).map(|id| at(id % 60, id, server("a", id, 0))).collect();
    let stored = blobs(&spans);
    for named in [Named::Hour, Named::Hours6, Named::Hours24, Named::Days7] {
        let context = over(Window::Newest(named), 59);
        let series = trends(input(&stored), &context).unwrap();
        let points: u64 = series.points.iter().map(|point| point.request_count).sum();
        let whole = crate::overview::overview(
            &Rollup::fold(input(&stored)).unwrap(),
            &context,
            crate::analysis::Options::default(),
        );
        assert_eq!(points, whole.total_requests);
    }
}

#[test]
fn cells_outside_the_window_are_no_points() {
    let stored = blobs(&[at(0, 1, server("a", 1, 0)), at(100, 2, server("a", 2, 0))]);
    let series = trends(input(&stored), &over(Window::Newest(Named::Minutes15), 100)).unwrap();
    assert_eq!((series.points.len(), series.points.iter().map(|p| p.request_count).sum::<u64>()), (16, 1));
}
