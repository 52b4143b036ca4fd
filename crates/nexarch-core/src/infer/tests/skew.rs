//! R10: where a trace shows spans whose hosts' clocks differ.

use proptest::prelude::*;

use crate::{
    facts::Facts,
    infer::{MAX_SHIFT_NS, clock_shifts, testing::*},
    span::Kind,
};

const MS: u64 = 1_000_000;

/// A span on a host, from and to so many milliseconds after the start of the tests.
fn at(host: u64, from: u64, to: u64, span: Facts) -> Facts {
    let start_ns = START_NS + from * MS;
    Facts { start_ns, duration_ns: Some((to - from) * MS), ..span }.with(|it| it.instance = host)
}

fn shifts(trace: &[Facts]) -> Vec<i64> {
    clock_shifts(&trace.iter().collect::<Vec<_>>()).into_iter().map(|ns| ns / 1_000_000).collect()
}

#[test]
fn a_server_outside_of_its_client_is_put_into_its_middle_and_its_host_with_it() {
    let trace = [
        at(1, 100, 200, client("a", 1, 0)),
        at(2, 10, 70, server("b", 2, 1)),
        at(2, 20, 30, local("b", 3, 2)),
        at(2, 40, 50, client("b", 4, 3)),
        at(3, 43, 49, server("c", 5, 4)),
    ];
    assert_eq!(shifts(&trace), [0, 110, 110, 110, 109], "each in the middle of its caller");
    let ahead = [at(1, 100, 200, client("a", 1, 0)), at(2, 500, 600, server("b", 2, 1))];
    assert_eq!(shifts(&ahead), [0, -400]);
    let inside = [at(1, 100, 200, client("a", 1, 0)), at(2, 101, 199, server("b", 2, 1))];
    assert_eq!(shifts(&inside), [0, 0]);
}

#[test]
fn what_nobody_waits_for_may_end_late_and_may_not_begin_early() {
    for (kind, child) in
        [(Kind::Producer, Kind::Consumer), (Kind::Server, Kind::Server), (Kind::Client, Kind::Internal)]
    {
        let parent = at(1, 100, 110, span("a", kind, 1, 0));
        let late = [parent.clone(), at(2, 500, 900, span("b", child, 2, 1))];
        assert_eq!(shifts(&late), [0, 0], "{kind:?}");
        let early = [parent, at(2, 60, 61, span("b", child, 2, 1))];
        assert_eq!(shifts(&early), [0, 40], "{kind:?}");
    }
    // A server that goes on after its client gave up.
    let given_up = [at(1, 100, 110, client("a", 1, 0)), at(2, 105, 400, server("b", 2, 1))];
    assert_eq!(shifts(&given_up), [0, 0]);
    let and_early = [at(1, 100, 110, client("a", 1, 0)), at(2, 90, 400, server("b", 2, 1))];
    assert_eq!(shifts(&and_early), [0, 10]);
}

#[test]
fn one_host_is_one_clock_and_an_unknown_one_is_no_reason() {
    for (a, b) in [(1, 1), (0, 0), (0, 2), (1, 0)] {
        let trace = [at(a, 100, 200, client("a", 1, 0)), at(b, 10, 70, server("b", 2, 1))];
        assert_eq!(shifts(&trace), [0, 0], "{a} {b}");
    }
}

#[test]
fn absent_parents_ambiguous_ids_and_impossible_clocks_move_nothing() {
    let orphan = [at(2, 10, 70, server("b", 2, 9)), at(1, 100, 200, client("a", 1, 0))];
    assert_eq!(shifts(&orphan), [0, 0]);
    let two = [
        at(1, 100, 200, client("a", 1, 0)),
        at(1, 300, 400, client("a", 1, 0)),
        at(2, 10, 70, server("b", 2, 1)),
    ];
    assert_eq!(shifts(&two), [0; 3], "which of the two called is a guess");
    let shared = [at(1, 100, 200, client("a", 1, 0)), at(2, 10, 70, server("b", 1, 0))];
    assert_eq!(shifts(&shared), [0, 110], "two halves of one id are no guess");
    let broadcast = [
        at(1, 100, 200, client("a", 1, 0)),
        at(2, 10, 70, server("b", 2, 1)),
        at(3, 10, 70, server("b", 2, 1)),
    ];
    assert_eq!(shifts(&broadcast), [0; 3]);
    let most = MAX_SHIFT_NS / MS;
    let far = |by: u64| [at(1, by, by, span("a", Kind::Server, 1, 0)), at(2, 0, 1, server("b", 2, 1))];
    assert_eq!(shifts(&far(most)), [0, 300_000]);
    assert_eq!(shifts(&far(most + 1)), [0, 0]);
}

#[test]
fn extremes_and_cycles_end() {
    let extreme = [
        Facts { start_ns: u64::MAX, ..client("a", 1, 2) }.with(|it| it.instance = 1),
        Facts { start_ns: 0, ..server("b", 2, 1) }.with(|it| it.instance = 2),
        Facts { start_ns: 0, duration_ns: Some(u64::MAX), ..server("b", 3, 2) }.with(|it| it.instance = 3),
    ];
    assert_eq!(shifts(&extreme), [0; 3]);
}

proptest! {
    /// The order of the spans is none of the answer.
    #[test]
    fn shifts_belong_to_spans(offsets in prop::collection::vec((0u64..400, 0u64..200, 0u64..4, 1u64..12), 1..12)) {
        let mut trace: Vec<Facts> = (1u64..)
            .zip(&offsets)
            .map(|(id, &(from, length, host, parent))| {
                let kind = if id % 2 == 0 { Kind::Server } else { Kind::Client };
                at(host, from, from + length, span("s", kind, id, if parent < id { parent } else { 0 }))
            })
            .collect();
        let forward = shifts(&trace);
        trace.reverse();
        let mut backward = shifts(&trace);
        backward.reverse();
        prop_assert_eq!(forward, backward);
    }
}
