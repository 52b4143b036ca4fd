//! Drift on sets of spans that differ in one known way.

use proptest::prelude::*;

use super::*;
use crate::{
    facts::Facts,
    graph::tests::{context, rollup},
    infer::testing::*,
    window::Minutes,
};

/// So many requests of a service, each a trace, with one duration in milliseconds; the first ones fail.
fn requests(service: &str, count: u64, failing: u64, ms: impl Fn(u64) -> u64) -> Vec<Facts> {
    let request = |at| {
        Facts { error: at < failing, duration_ns: Some(ms(at) * 1_000_000), ..local(service, at + 1, 0) }
            .with(|it| it.name = "GET /cart".into())
    };
    (0..count).map(request).collect()
}

fn range(from: u32, to: u32) -> Range {
    Range { name: "custom", minutes: Minutes { from, to }, grain: 1 }
}

fn compared(base: &[&[Facts]], head: &[&[Facts]]) -> Drift {
    let (base, head) = (rollup(base), rollup(head));
    drift(
        Input { rollup: &base, range: range(0, 60) },
        Input { rollup: &head, range: range(60, 120) },
        Sources::OneSet,
        &context(),
    )
}

fn changes(drift: &Drift) -> Vec<String> {
    let nodes = drift.nodes.iter().map(|node| format!("{:?} {}", node.drift.change, node.id));
    let edges =
        drift.edges.iter().map(|edge| format!("{:?} {} -> {}", edge.drift.change, edge.source, edge.target));
    let operations =
        drift.operations.iter().map(|it| format!("{:?} {}: {}", it.drift.change, it.service, it.operation));
    nodes.chain(edges).chain(operations).collect()
}

#[test]
fn what_is_on_one_side_only_is_new_or_gone() {
    let old = [client("shop", 1, 0), server("mail", 2, 1)];
    let new = [client("shop", 1, 0), server("pay", 2, 1)];
    let drift = compared(&[&old], &[&new]);
    assert_eq!(
        changes(&drift),
        ["New pay", "Gone mail", "New shop -> pay", "Gone shop -> mail", "New pay: op2", "Gone mail: op2"]
    );
    let pay = &drift.nodes[0].drift;
    assert_eq!((pay.base.is_none(), pay.head.as_ref().map(|it| it.request_count)), (true, Some(1)));
    assert_eq!((drift.base.total_nodes, drift.head.total_nodes, drift.more), (2, 2, 0));
    assert_eq!(drift.base.window.from.as_deref(), Some("1970-01-01T00:00:00Z"));
}

#[test]
fn more_failures_are_worse_and_fewer_are_better() {
    let calm = requests("shop", 1_000, 10, |_| 20);
    let ill = requests("shop", 1_000, 60, |_| 20);
    let drift = compared(&[&calm], &[&ill]);
    assert_eq!(changes(&drift), ["Worse shop", "Worse shop: GET /cart"]);
    let errors = drift.nodes[0].drift.errors.as_ref().unwrap();
    assert_eq!((errors.test, errors.difference, errors.changed), ("z", Some(0.05), true));
    assert!(errors.q_value < 1e-6 && errors.z > Some(5.0), "{errors:?}");
    assert!(drift.nodes[0].drift.latency.is_none(), "nothing varies");
    assert_eq!(changes(&compared(&[&ill], &[&calm])), ["Better shop", "Better shop: GET /cart"]);
}

#[test]
fn longer_durations_are_worse_with_intervals_that_hold_the_quantiles() {
    let quick = requests("shop", 200, 0, |at| 20 + at % 10);
    let slow = requests("shop", 200, 0, |at| 30 + at % 15);
    let drift = compared(&[&quick], &[&slow]);
    assert_eq!(changes(&drift), ["Worse shop", "Worse shop: GET /cart"]);
    let latency = drift.nodes[0].drift.latency.as_ref().unwrap();
    assert!(latency.changed && latency.superiority > 0.99 && latency.z > 10.0, "{latency:?}");
    let p50 = &latency.p50;
    let inside =
        |value: Option<f64>, interval: Interval| interval.low_ms <= value && value <= interval.high_ms;
    assert!(inside(p50.base_ms, p50.base_interval) && inside(p50.head_ms, p50.head_interval), "{p50:?}");
    assert!(p50.base_interval.high_ms < p50.head_interval.low_ms, "apart: {p50:?}");
    assert!((1.3..1.7).contains(&p50.ratio.unwrap()), "{p50:?}");
    // Both tests of the service and of its operation, of which none of the failures differs.
    assert_eq!((drift.comparison.tests, drift.comparison.significant), (4, 2));
}

#[test]
fn what_is_significant_but_small_is_not_a_change() {
    // 4 % slower: half a bucket.
    let base = requests("shop", 5_000, 0, |at| 1_000 + at % 100);
    let head = requests("shop", 5_000, 0, |at| 1_040 + at % 100);
    let drift = compared(&[&base], &[&head]);
    assert!(drift.comparison.significant > 0, "{:?}", drift.comparison);
    assert_eq!(changes(&drift), Vec::<String>::new());
}

#[test]
fn a_few_failures_are_no_change() {
    let drift = compared(&[&requests("shop", 50, 0, |_| 20)], &[&requests("shop", 40, 1, |_| 20)]);
    assert_eq!(changes(&drift), Vec::<String>::new());
    assert_eq!(drift.comparison.tests, 2, "tested all the same");
}

#[test]
fn many_equal_parts_with_one_p_value_of_luck_are_no_change() {
    // One of 60 services has a p-value near 1 %: alone it would be one, among 60 it is expected.
    let services = |unlucky: u64| -> Vec<Vec<Facts>> {
        (0..60)
            .map(|at| {
                let failing = if at == 7 { unlucky } else { 20 };
                requests(&format!("s{at:02}"), 400, failing, |_| 20)
            })
            .collect()
    };
    let (base, head) = (services(20), services(38));
    let slices = |all: &'_ [Vec<Facts>]| rollup(&all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let (base, head) = (slices(&base), slices(&head));
    let input = |rollup, from| Input { rollup, range: range(from, from + 60) };
    let drift = drift(input(&base, 0), input(&head, 60), Sources::OneSet, &context());
    assert_eq!(drift.comparison.tests, 120);
    assert_eq!(drift.comparison.significant, 0);
    assert_eq!(changes(&drift), Vec::<String>::new());
    let alone = compared(&[&requests("s07", 400, 20, |_| 20)], &[&requests("s07", 400, 38, |_| 20)]);
    assert_eq!(changes(&alone), ["Worse s07", "Worse s07: GET /cart"], "alone it is one");
}

#[test]
fn overlapping_windows_of_one_set_are_not_tested() {
    let facts = requests("shop", 1_000, 10, |_| 20);
    let more = requests("shop", 1_000, 90, |_| 20);
    let (base, head) = (rollup(&[&facts]), rollup(&[&more]));
    let input = |rollup, from, to| Input { rollup, range: range(from, to) };
    let (old, new) = (input(&base, 0, 61), input(&head, 60, 120));
    let overlapping = drift(old, new, Sources::OneSet, &context());
    assert_eq!((overlapping.comparison.tests, overlapping.comparison.untested), (0, Some(OVERLAP)));
    assert!(overlapping.nodes.is_empty());
    assert_eq!(drift(old, new, Sources::TwoSets, &context()).nodes.len(), 1);
    assert_eq!(drift(input(&base, 0, 60), new, Sources::OneSet, &context()).nodes.len(), 1);
}

#[test]
fn nothing_and_something() {
    let nothing = compared(&[], &[]);
    assert_eq!((changes(&nothing), nothing.comparison.tests), (Vec::new(), 0));
    let all_new = compared(&[], &[&[local("shop", 1, 0)]]);
    assert_eq!(changes(&all_new), ["New shop", "New shop: op1"]);
}

#[test]
fn long_lists_are_cut_and_counted() {
    let many: Vec<Facts> = (1..=700).map(|at| local(&format!("s{at}"), at, 0)).collect();
    let drift = compared(&[], &[&many]);
    assert_eq!((drift.nodes.len(), drift.operations.len(), drift.more), (LISTED, LISTED, 400));
}

/// Requests and milliseconds of the base and of the head.
type Load = (u64, u64, u64, u64);

#[test]
fn a_lower_median_does_not_make_a_longer_tail_better() {
    let old = requests("shop", 400, 0, |_| 100);
    // Nine of ten are faster, the slowest tenth takes far longer.
    let new = requests("shop", 400, 0, |at| if at % 10 == 0 { 170 } else { 80 });
    let drift = compared(&[&old], &[&new]);
    assert_eq!(changes(&drift), ["Mixed shop", "Mixed shop: GET /cart"]);
    let fails = requests("shop", 400, 100, |_| 50);
    assert_eq!(changes(&compared(&[&old], &[&fails]))[0], "Mixed shop", "faster, but it fails");
}

#[test]
fn parts_with_too_few_durations_are_told() {
    let old = [requests("shop", 40, 0, |_| 100), requests("mail", 40, 0, |_| 100)].concat();
    let new = [requests("shop", 40, 0, |_| 100), requests("mail", 9, 0, |_| 900)].concat();
    let comparison = compared(&[&old], &[&new]).comparison;
    let told: Vec<(&str, &str)> = comparison.too_few.iter().map(|it| (it.part, &*it.name)).collect();
    assert_eq!(told, [("node", "mail"), ("operation", "mail: GET /cart")]);
    let durations = [comparison.too_few[0].base_durations, comparison.too_few[0].head_durations];
    assert_eq!((durations, comparison.too_few_parts), ([40, 9], 2));
}

proptest! {
    /// A set compared with itself does not differ, and exchanging the sides exchanges new and gone, worse and better.
    #[test]
    fn drift_is_symmetric(
        counts in proptest::collection::vec((0u64..40, 0u64..40, 1u64..50, 1u64..50), 1..6)
    ) {
        let side = |pick: fn(&Load) -> (u64, u64)| {
            let all: Vec<Vec<Facts>> = counts.iter().enumerate().map(|(at, entry)| {
                let (count, ms) = pick(entry);
                requests(&format!("s{at}"), count, count / 3, |n| ms + n % 3)
            }).collect();
            rollup(&all.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        let (a, b) = (side(|it| (it.0, it.2)), side(|it| (it.1, it.3)));
        let go = |old, new| drift(
            Input { rollup: old, range: range(0, 60) },
            Input { rollup: new, range: range(60, 120) },
            Sources::OneSet,
            &context(),
        );
        prop_assert_eq!(changes(&go(&a, &a)), Vec::<String>::new());
        let turned = |change| match change {
            Change::New => Change::Gone,
            Change::Gone => Change::New,
            Change::Worse => Change::Better,
            Change::Better => Change::Worse,
            Change::Mixed => Change::Mixed,
        };
        let (there, back) = (go(&a, &b), go(&b, &a));
        let list = |drift: &Drift, turn: bool| {
            let one = |node: &NodeDrift| {
                let change = node.drift.change;
                (node.id.clone(), if turn { turned(change) } else { change })
            };
            drift.nodes.iter().map(one).collect::<std::collections::BTreeMap<_, _>>()
        };
        prop_assert_eq!(list(&there, false), list(&back, true));
        prop_assert_eq!(there.comparison.tests, back.comparison.tests);
        let q = |drift: &Drift| drift.nodes.iter().filter_map(|it| it.drift.errors.as_ref().map(|e| e.q_value)).fold(1.0, f64::min);
        prop_assert!((q(&there) - q(&back)).abs() < 1e-9);
    }
}
