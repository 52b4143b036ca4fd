//! Floods of names: bounded, visible, and exact in their sums.

use super::*;
use crate::limits::*;

/// Sums over all cells of a kind: of spans, of requests, of operations and of calls.
fn sums(rollup: &Rollup) -> [i64; 4] {
    let sum = |wanted: &dyn Fn(Key) -> bool| {
        rollup.cells().filter(|(key, _)| wanted(*key)).map(|(_, cell)| cell.count).sum()
    };
    [
        sum(&|key| matches!(key, Key::Spans(_))),
        sum(&|key| matches!(key, Key::Request(_))),
        sum(&|key| matches!(key, Key::Operation(..))),
        sum(&|key| matches!(key, Key::Call(..))),
    ]
}

/// Requests from outside, each with names of its own: a service, an operation, and whom it calls over what.
/// Made of cells, because inferring as many traces takes long.
fn flood(range: std::ops::Range<u64>, names: impl Fn(u64) -> [String; 5]) -> Delta {
    let mut table = Table::default();
    for number in range {
        let [environment, service, operation, target, protocol] =
            names(number).map(|name| table.text_str(&name));
        let mut node = |class, name| table.node(NodeKey { class, parts: [environment, 0, name, 0, 0] });
        let (service, target, user) =
            (node(Class::Service, service), node(Class::Host, target), node(Class::User, 0));
        for key in [
            Key::Spans(service),
            Key::Request(service),
            Key::Operation(service, operation),
            Key::Call(Via::In, user, service, protocol),
            Key::Client(Via::Out, service, target, protocol),
        ] {
            table.cell(7, key).observe(256, false, Some(5_000_000));
        }
    }
    Delta { table }
}

/// Names for [`flood`]; the rest are the same for all.
fn names(service: &str, operation: &str) -> [String; 5] {
    ["", service, operation, "host", "http"].map(str::to_owned)
}

fn one_blob(delta: &Delta) -> Vec<u8> {
    delta.encode().swap_remove(0).1
}

fn read(blobs: &[&[u8]]) -> Rollup {
    Rollup::fold(blobs.iter().map(|blob| (0, *blob))).unwrap()
}

fn count(rollup: &Rollup, wanted: impl Fn(Key) -> bool) -> usize {
    rollup.cells().filter(|(key, _)| wanted(*key)).count()
}

#[test]
fn services_beyond_the_limit_share_one_and_busy_ones_stay() {
    let mut delta = flood(0..20_000, |number| names(&format!("s{number}"), "op"));
    delta.add(&flood(0..5, |_| names("busy", "op")));
    delta.bound();
    let blob = one_blob(&delta);
    assert!(blob.len() < 400_000, "{} bytes", blob.len());
    let rollup = read(&[&blob]);
    assert_eq!(sums(&rollup), [20_005; 4]);
    assert_eq!(count(&rollup, |key| matches!(key, Key::Spans(_))), MAX_NODES + 1);
    let cell = |name: &str| {
        let named = |node| rollup.table.describe(node).1[2] == name;
        rollup.cells().find(|(key, _)| matches!(key, Key::Spans(node) if named(*node))).unwrap().1.count
    };
    assert_eq!((cell("busy"), cell(OTHER)), (5, 20_005 - 5 - 1_999));
    let graph = crate::graph::build(&rollup, None);
    assert!(graph.nodes.len() < MAX_NODES + 5, "{} nodes", graph.nodes.len());
    assert!(graph.nodes.iter().any(|node| node.name == OTHER && node.spans == 18_001));
}

#[test]
fn operations_beyond_the_limit_share_one() {
    let facts = |number: u64| names("a", &format!("GET /{number}"));
    let parts: Vec<Vec<u8>> = (0..20)
        .map(|part| {
            let mut delta = flood(part * 5_000..(part + 1) * 5_000, facts);
            delta.bound();
            one_blob(&delta)
        })
        .collect();
    assert!(parts.iter().all(|part| part.len() < 40_000));
    let merged = merge(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    assert!(merged.len() < 40_000, "{} bytes", merged.len());
    let rollup = read(&[&merged]);
    assert_eq!(count(&rollup, |key| matches!(key, Key::Operation(..))), MAX_SERVICE_OPERATIONS + 1);
    assert_eq!(sums(&rollup), [100_000; 4]);
}

#[test]
fn protocols_targets_and_environments_are_bounded() {
    let text = |text: &str| text.to_owned();
    let protocols = flood(0..12_000, |number| {
        [text(""), text("a"), text("op"), format!("h{}", number % 10), format!("p{number}")]
    });
    // Callers and targets are few enough, their pairs are not.
    let pairs = flood(0..20_000, |number| {
        [text(""), format!("s{}", number / 100), text("op"), format!("h{}", number % 100), text("http")]
    });
    let environments =
        flood(0..12_000, |number| [format!("e{number}"), text("a"), text("op"), text("h"), text("http")]);
    for (mut delta, most) in
        [(protocols, 11 * (MAX_PROTOCOLS + 1)), (pairs, MAX_EDGES + 400), (environments, 6 * MAX_NODES)]
    {
        let whole = delta.clone();
        delta.bound();
        let rollup = read(&[&one_blob(&delta)]);
        let calls = |key| matches!(key, Key::Call(..) | Key::Client(..));
        assert!(count(&rollup, calls) <= most, "{} > {most}", count(&rollup, calls));
        let sum = |table: &Table| -> i64 {
            table.cells.iter().filter(|((_, key), _)| calls(*key)).map(|(_, cell)| cell.count).sum()
        };
        assert_eq!(sum(&rollup.table), sum(&whole.table));
    }
}

#[test]
fn a_flood_that_is_taken_back_leaves_nothing_but_the_rest() {
    let facts = |number: u64| names(&format!("s{}", number % 9_000), &format!("GET /{number}"));
    let mut plus = flood(0..20_000, facts);
    plus.bound();
    let mut minus = Delta::default();
    minus.subtract(&flood(100..20_000, facts));
    minus.bound();
    let (plus, minus) = (one_blob(&plus), one_blob(&minus));
    let folded = merge(&[&plus]).unwrap();
    for rollup in
        [read(&[&plus, &minus]), read(&[&folded, &minus]), read(&[&merge(&[&folded, &minus]).unwrap()])]
    {
        assert_eq!(sums(&rollup), [100; 4]);
        let below = rollup.cells().filter(|(_, cell)| cell.count < 0).count();
        assert_eq!(below, 0, "what was folded before is taken back from there");
    }
}

#[test]
fn a_long_window_of_ever_new_names_is_bounded() {
    let blobs: Vec<Vec<u8>> = (0..30)
        .map(|minute| {
            let mut delta =
                flood(minute * 2_000..(minute + 1) * 2_000, |number| names(&format!("s{number}"), "op"));
            delta.bound();
            one_blob(&delta)
        })
        .collect();
    let rollup = Rollup::fold((0..).zip(&blobs).map(|(minute, blob)| (minute, blob.as_slice()))).unwrap();
    assert_eq!(sums(&rollup), [60_000; 4]);
    assert!(rollup.len() < 6 * MAX_NODES, "{} cells", rollup.len());
    assert!(
        rollup.last_seen.values().any(|minute| *minute == 29),
        "nodes that became one were seen last together"
    );
    let by = Rollup::fold_by(
        (0..).zip(&blobs).map(|(minute, blob)| (minute, blob.as_slice())),
        |minute| minute / 15,
        |_, key| matches!(key, Key::Request(_)),
    )
    .unwrap();
    let total: i64 = by.table.cells.values().map(|cell| cell.count).sum();
    assert_eq!(total, 60_000);
    assert!(by.table.cells.len() <= 2 * (MAX_NODES + 1), "{}", by.table.cells.len());
}

#[test]
fn what_is_within_the_limits_is_left_alone() {
    let mut delta = flood(0..400, |number| names("a", &format!("GET /{number}")));
    let before = delta.clone();
    delta.bound();
    assert_eq!(delta, before);
    let mut negative = Delta::default();
    negative.subtract(&before);
    let rollup = read(&[&one_blob(&negative)]);
    assert_eq!(sums(&rollup), [-400; 4]);
    assert_eq!(rollup.len(), read(&[&one_blob(&before)]).len(), "a part of what there is may be below zero");
}

#[test]
fn what_comes_late_takes_back_by_its_own_name() {
    let shop = flood(0..1, |_| names("shop", "GET"));
    let mut late = flood(0..1, |_| names(fold::OTHER, "GET"));
    late.subtract(&shop);
    let (before, late) = (one_blob(&shop), one_blob(&late));
    let services = |late: &[u8]| {
        let rollup = read(&[&before, late]);
        let cells = rollup.cells().filter(|(key, _)| matches!(key, Key::Spans(_)));
        let cells =
            cells.map(|(key, cell)| (rollup.table.describe(key.flatten().1[0]).1[2].to_string(), cell.count));
        cells.collect::<Vec<_>>()
    };
    assert_eq!(services(&merge_late(&[&late]).unwrap()), [(fold::OTHER.to_owned(), 1)]);
    // As the oldest of its minutes it would be a lie: the reason for two ways to merge.
    assert_eq!(services(&merge(&[&late]).unwrap()), [("shop".to_owned(), 1)]);
}

#[test]
fn flows_and_amounts_are_bounded_and_follow_their_calls() {
    let mut table = Table::default();
    for number in 0..15_000_u64 {
        let mut node = |class, name: &str| {
            let name = table.text_str(name);
            table.node(NodeKey { class, parts: [0, 0, name, 0, 0] })
        };
        let from = node(Class::Service, &format!("s{}", number % 120));
        let queue = node(Class::Queue, &format!("q{}", number / 120));
        let to = node(Class::Service, &format!("t{}", number % 7));
        for key in [
            Key::Flow(from, queue, to),
            Key::Client(Via::Out, from, queue, 0),
            Key::Amount(Amount::Messages, from, queue, 0),
        ] {
            table.cell(7, key).carry(256, 3);
        }
    }
    let mut delta = Delta { table };
    delta.bound();
    let plus = one_blob(&delta);
    let rollup = read(&[&plus]);
    let sum = |rollup: &Rollup, wanted: fn(Key) -> bool| -> (i64, i128) {
        let cells = rollup.cells().filter(|(key, _)| wanted(*key));
        cells.fold((0, 0), |sum, (_, cell)| (sum.0 + cell.count, sum.1 + cell.time))
    };
    for wanted in
        [|key| matches!(key, Key::Flow(..)), |key| matches!(key, Key::Amount(..))] as [fn(Key) -> bool; 2]
    {
        assert!(count(&rollup, wanted) <= MAX_FLOWS + 200, "{}", count(&rollup, wanted));
        assert_eq!(sum(&rollup, wanted), (15_000, 15_000 * 3 * 256));
    }
    let pairs = |wanted: fn(Key) -> Option<(u32, u32)>| -> std::collections::BTreeSet<(u32, u32)> {
        rollup.cells().filter_map(|(key, _)| wanted(key)).collect()
    };
    let carried = pairs(|key| if let Key::Amount(_, from, to, _) = key { Some((from, to)) } else { None });
    let called = pairs(|key| if let Key::Client(_, from, to, _) = key { Some((from, to)) } else { None });
    assert_eq!(carried, called, "an amount stays with its calls");
    let mut back = Delta::default();
    back.subtract(&delta);
    let minus = one_blob(&back);
    assert_eq!(read(&[&plus, &minus]).len(), 0);
}
