//! Bad input: bounded, counted, and never a panic.

use crate::{
    facts::{Facts, Messaging},
    infer::{contribution, testing::*},
    limits::MAX_NODES,
    rollup::Rollup,
    span::Kind,
};

const MANY: u64 = 100_000;

#[test]
fn links_of_all_to_all_take_linear_time() {
    // One id for all, and each links to it and to 63 others.
    let links: Vec<u64> = (1..=64).collect();
    let base = linked(does(Messaging::Process, message("a", Kind::Consumer, 1, 0, "q")), &links, 9);
    let trace: Vec<Facts> = (0..MANY)
        .map(|at| {
            base.clone().with(|it| {
                it.instance = at;
                it.name = "op".into();
            })
        })
        .collect();
    let delta = contribution(&trace);
    assert_eq!(count(&delta, "call in queue:q/kafka -> a [kafka]"), i64::try_from(MANY).unwrap());
}

#[test]
fn deep_chains_of_deliveries_and_of_agents_take_linear_time() {
    let deliveries: Vec<Facts> = (1..=MANY)
        .map(|id| {
            does(Messaging::Receive, message("a", Kind::Client, id, id - 1, "q"))
                .with(|it| it.name = "op".into())
        })
        .collect();
    assert_eq!(
        edges(&contribution(&deliveries)),
        ["call in queue:q/kafka -> a [kafka] 1"],
        "only the innermost of all layers"
    );
    let agents: Vec<Facts> = (1..=MANY)
        .map(|id| {
            agent(if id % 2 == 0 { "x" } else { "y" }, local("a", id, id - 1))
                .with(|it| it.name = "op".into())
        })
        .collect();
    let delta = contribution(&agents);
    let calls =
        count(&delta, "client out agent:x -> agent:y") + count(&delta, "client out agent:y -> agent:x");
    assert_eq!(calls, i64::try_from(MANY - 1).unwrap());
}

#[test]
fn messaging_parents_may_form_a_cycle() {
    let trace = [
        does(Messaging::Receive, message("a", Kind::Client, 1, 3, "q")),
        does(Messaging::Send, message("a", Kind::Client, 2, 1, "q")),
        linked(does(Messaging::Process, message("a", Kind::Consumer, 3, 2, "q")), &[1, 2, 3], 0),
        agent("x", local("a", 4, 5)),
        tool("t", local("a", 5, 4)),
    ];
    let delta = contribution(&trace);
    assert_eq!(count(&delta, "spans a"), 5);
    assert_eq!(count(&delta, "call in queue:q/kafka -> a [kafka]"), 1, "of both layers of the delivery");
}

#[test]
fn amounts_of_any_size_are_taken_back_exactly() {
    let huge = Facts { weight: u32::MAX, ..chat("a", 1, 0, (u32::MAX, u32::MAX)) };
    let many = Facts {
        weight: u32::MAX,
        ..batch(u32::MAX, does(Messaging::Send, message("a", Kind::Client, 2, 0, "q")))
    };
    let delta = contribution(&[huge, many]);
    let mut sum = delta.clone();
    sum.add(&delta);
    sum.subtract(&delta);
    assert_eq!(sum, delta);
    sum.subtract(&delta);
    assert!(sum.is_empty(), "{:?}", cells(&sum));
}

#[test]
fn spans_of_1970_and_2200_have_minutes_of_their_own() {
    let at = |start_ns: u64, id: u64| Facts { start_ns, ..server("a", id, 0) };
    let year_2200 = 7_258_118_400_000_000_000;
    let delta = contribution(&[at(0, 1), at(year_2200, 2), at(u64::MAX, 3)]);
    let minutes: Vec<u32> = delta.encode().into_iter().map(|(minute, _)| minute).collect();
    assert_eq!(minutes, [0, 120_968_640, 307_445_734]);
    assert_eq!(count(&delta, "request a"), 3);
}

#[test]
fn fifty_thousand_services_of_one_trace_are_a_bounded_map() {
    let trace: Vec<Facts> = (1..=50_000)
        .map(|id| server(&format!("s{id}"), id, id / 2).with(|it| it.name = "op".into()))
        .collect();
    let mut delta = contribution(&trace);
    delta.bound();
    let blobs = delta.encode();
    let rollup = Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob))).unwrap();
    let graph = crate::graph::build(&rollup, None);
    assert!(graph.nodes.len() <= MAX_NODES + 10, "{} nodes", graph.nodes.len());
    let spans: u64 = graph.nodes.iter().map(|node| node.spans).sum();
    assert_eq!(spans, 50_000, "none is lost");
    assert!(blobs.iter().map(|blob| blob.1.len()).sum::<usize>() < 1 << 20);
}
