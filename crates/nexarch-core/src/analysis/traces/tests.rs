//! Critical paths and loops on hand-made traces.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    facts::Facts,
    infer::testing::{START_NS, client, local, query, server, span},
    rollup::Table,
    span::Kind,
};

/// A span from one time to another, microseconds after the start.
fn timed(span: Facts, from: u64, to: u64) -> Facts {
    Facts { start_ns: START_NS + from * 1000, duration_ns: Some((to - from) * 1000), ..span }
}

/// The path of the first top as `id: from-to`, in microseconds.
fn path(spans: &[Facts]) -> Vec<String> {
    let tree = Tree::new(spans, &mut Table::default());
    let shown = |at: u64| (at - START_NS) / 1000;
    critical_path(&tree, tree.tops[0])
        .iter()
        .map(|segment| {
            let id = u64::from_be_bytes(tree.spans[segment.span].span_id.to_bytes());
            format!("{id}: {}-{}", shown(segment.from), shown(segment.to))
        })
        .collect()
}

#[test]
fn the_path_goes_back_from_the_end() {
    let root = timed(server("a", 1, 0), 0, 1000);
    let first = timed(local("a", 2, 1), 100, 400);
    // Overlap: the one that finished last was waited for.
    let short = timed(local("a", 3, 1), 450, 600);
    let long = timed(local("a", 4, 1), 450, 900);
    let inside = timed(local("a", 5, 4), 500, 800);
    assert_eq!(
        path(&[root.clone(), first, short, long, inside]),
        ["1: 0-100", "2: 100-400", "1: 400-450", "4: 450-500", "5: 500-800", "4: 800-900", "1: 900-1000"]
    );
    assert_eq!(path(std::slice::from_ref(&root)), ["1: 0-1000"]);
    // A child that outlives its parent is cut; one outside of it is nothing.
    let beyond = timed(local("a", 2, 1), 900, 5000);
    let outside = timed(local("a", 3, 1), 2000, 5000);
    assert_eq!(path(&[root, beyond, outside]), ["1: 0-900", "2: 900-1000"]);
}

#[test]
fn small_overlaps_are_one_after_the_other() {
    let root = timed(server("a", 1, 0), 0, 1000);
    let earlier = timed(local("a", 2, 1), 100, 509);
    let later = timed(local("a", 3, 1), 500, 900);
    assert_eq!(
        path(&[root.clone(), earlier, later.clone()]),
        ["1: 0-100", "2: 100-500", "3: 500-900", "1: 900-1000"]
    );
    let beside = timed(local("a", 2, 1), 100, 520);
    assert_eq!(path(&[root, beside, later]), ["1: 0-500", "3: 500-900", "1: 900-1000"]);
}

#[test]
fn nobody_waits_for_a_message() {
    let root = timed(server("a", 1, 0), 0, 1000);
    let send = timed(span("a", Kind::Producer, 2, 1), 100, 200);
    let process = timed(span("b", Kind::Consumer, 3, 2), 120, 190);
    let trace = [root, send, process];
    assert_eq!(path(&trace), ["1: 0-100", "2: 100-200", "1: 200-1000"]);
    let tree = Tree::new(&trace, &mut Table::default());
    assert_eq!(depths(&tree), [1, 1, 1]);
}

#[test]
fn a_server_whose_clock_is_wrong_is_moved_into_its_client() {
    let on = |host, span: Facts| span.with(|it| it.instance = host);
    let root = on(1, timed(client("a", 1, 0), 1000, 2000));
    // Takes 600, and seems to begin 500 before it was called, or 100 after it was answered.
    for begin in [500, 2100] {
        let answer = on(2, timed(server("b", 2, 1), begin, begin + 600));
        let inside = on(2, timed(local("b", 3, 2), begin + 100, begin + 200));
        assert_eq!(
            path(&[root.clone(), answer, inside]),
            ["1: 1000-1200", "2: 1200-1300", "3: 1300-1400", "2: 1400-1800", "1: 1800-2000"],
            "{begin}"
        );
    }
    // An hour is another fault.
    let root = Facts { start_ns: root.start_ns + 3_600_000_000_000, ..root };
    assert_eq!(path(&[root, on(2, timed(server("b", 2, 1), 500, 1100))]).len(), 1);
}

#[test]
fn self_time_is_what_no_child_covers() {
    let spans = [
        timed(server("a", 1, 0), 0, 1000),
        timed(local("a", 2, 1), 100, 400),
        timed(local("a", 3, 1), 300, 500),
        timed(local("a", 4, 1), 900, 3000),
        timed(local("a", 5, 1), 2000, 3000),
    ];
    let tree = Tree::new(&spans, &mut Table::default());
    assert_eq!(self_time(&tree, 0), 500_000);
    assert_eq!(self_time(&tree, 1), 300_000);
}

fn found(spans: &[Facts]) -> Vec<(u64, u64, u64, u64)> {
    let tree = Tree::new(spans, &mut Table::default());
    repeats(&tree, |call| call.to.map(|to| (to as usize, 0)))
        .iter()
        .map(|r| (r.calls, r.logical, r.in_turn, r.cost_ns / 1000))
        .collect()
}

#[test]
fn a_loop_is_what_runs_in_turn() {
    let root = || timed(server("a", 1, 0), 0, 100_000);
    let in_turn = |id: u64| timed(query("a", id, 1, "db"), id * 100, id * 100 + 50);
    let mut spans: Vec<Facts> = (2..8).map(in_turn).chain([root()]).collect();
    assert_eq!(found(&spans), [(6, 6, 6, 250)]);
    // All at once: a fan-out, no loop.
    let at_once = (2..8).map(|id| timed(query("a", id, 1, "db"), 100, 150 + id)).chain([root()]);
    assert_eq!(found(&at_once.collect::<Vec<_>>()), [(6, 6, 1, 0)]);
    // Failed and called again.
    spans[0].error = true;
    spans[1].error = true;
    assert_eq!(found(&spans), [(6, 4, 4, 150)]);
}

#[test]
fn retries_of_a_proxy_are_seen_by_the_server() {
    let spans = [
        server("a", 1, 0),
        client("a", 2, 1),
        timed(Facts { error: true, ..server("b", 3, 2) }, 10, 20),
        timed(Facts { error: true, ..server("b", 4, 2) }, 30, 40),
        timed(server("b", 5, 2), 50, 60),
    ];
    let tree = Tree::new(&spans, &mut Table::default());
    assert_eq!(tree.calls.len(), 1);
    assert_eq!((tree.calls[0].times, tree.calls[0].error), (3, false), "one of them worked");
    let at_once = spans.map(|span| timed(span, 10, 20));
    assert_eq!(Tree::new(&at_once, &mut Table::default()).calls[0].times, 1, "sent to three");
}

#[test]
fn names_without_their_numbers() {
    for (name, masked) in [
        ("GET /users/17/orders", "GET /users/*/orders"),
        ("GET /v1/users", "GET /v1/users"),
        ("SELECT * FROM t WHERE id=42", "SELECT * FROM t WHERE id=*"),
        ("get 6f1c9a2e", "get *"),
        ("", ""),
        ("größe/1ß", "größe/*"),
    ] {
        assert_eq!(pattern(name), masked);
    }
    assert_eq!((access("INSERT shop.orders"), access("find users")), (Access::Write, Access::Read));
    assert_eq!((access("postgresql"), access("  ")), (Access::Unknown, Access::Unknown));
}

#[test]
fn quantiles_are_values() {
    assert_eq!(quantile::<u32>(&[], 500), None);
    assert_eq!(
        (quantile(&[3, 1, 2], 500), quantile(&[3, 1, 2], 1000), quantile(&[7], 1)),
        (Some(2), Some(3), Some(7))
    );
}

/// Spans of a few services in any relation and at any time, some without duration.
fn any_span() -> impl Strategy<Value = Facts> {
    let kinds = select(vec![
        Kind::Client,
        Kind::Server,
        Kind::Internal,
        Kind::Consumer,
        Kind::Producer,
        Kind::Unspecified,
    ]);
    let time = (0u64..1000, prop::option::of(0u64..500));
    (select(vec!["a", "b", "c"]), kinds, (1u64..12, 0u64..12), time, any::<bool>()).prop_map(
        |(service, kind, (id, parent), (start, duration), error)| Facts {
            start_ns: START_NS + start * 1000,
            duration_ns: duration.map(|us| us * 1000),
            error,
            ..span(service, kind, id, parent)
        },
    )
}

proptest! {
    /// Whatever the trace, the segments of a path partition the interval of its top, and each lies inside its span.
    #[test]
    fn segments_partition_the_root(spans in vec(any_span(), 1..25)) {
        let tree = Tree::new(&spans, &mut Table::default());
        for &top in &tree.tops {
            let (from, to) = tree.times[top];
            let mut at = from;
            for segment in critical_path(&tree, top) {
                prop_assert_eq!(segment.from, at);
                prop_assert!(segment.from < segment.to);
                let (start, end) = tree.times[segment.span];
                prop_assert!(start <= segment.from && segment.to <= end);
                at = segment.to;
            }
            prop_assert_eq!(at, to);
        }
    }

    #[test]
    fn self_times_fit_into_their_spans(spans in vec(any_span(), 1..25)) {
        let tree = Tree::new(&spans, &mut Table::default());
        for span in 0..tree.spans.len() {
            let (from, to) = tree.times[span];
            let own = self_time(&tree, span);
            // By the microsecond, which all times here are multiples of, except where a clock was moved.
            let covered = |at: u64| tree.children(span).iter().any(|&child| (tree.times[child].0..tree.times[child].1).contains(&at));
            let wanted = (from..to).step_by(500).filter(|&at| !covered(at)).count() as u64 * 500;
            prop_assert!(own <= to - from);
            prop_assert!(own.abs_diff(wanted) <= 500 * tree.children(span).len() as u64, "{} {}", own, wanted);
        }
    }

    #[test]
    fn every_span_belongs_to_a_request_of_its_service(spans in vec(any_span(), 1..25)) {
        let tree = Tree::new(&spans, &mut Table::default());
        prop_assert_eq!(tree.order.len(), tree.spans.len());
        for span in 0..tree.spans.len() {
            let request = tree.request[span];
            prop_assert_eq!(tree.service[request], tree.service[span]);
            prop_assert!(tree.is_request(request));
        }
        prop_assert!(depths(&tree).iter().all(|depth| *depth as usize <= tree.spans.len()));
    }
}
