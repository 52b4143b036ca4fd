//! (g): hostile shapes end, and the work grows with the trace, not with its square.
//!
//! Work is counted by the size of what is produced and by finishing at all: a quadratic walk over these sizes
//! would take hours in a debug build, so no clock is needed.

use crate::{
    facts::Facts,
    infer::{contribution, testing::*},
    span::Kind,
};

const LARGE: u64 = 100_000;

#[test]
fn a_large_trace_of_many_services() {
    let trace: Vec<Facts> = (1..=LARGE)
        .map(|id| {
            span(&format!("s{}", id % 50), if id % 2 == 0 { Kind::Client } else { Kind::Server }, id, id / 2)
        })
        .collect();
    let delta = contribution(&trace);
    let spans: i64 =
        cells(&delta).iter().filter(|(key, _)| key.starts_with("spans")).map(|(_, c)| c.count).sum();
    assert_eq!(spans, i64::try_from(LARGE).unwrap());
}

#[test]
fn a_deep_chain_of_each_kind() {
    for kind in [Kind::Internal, Kind::Client, Kind::Server, Kind::Unspecified] {
        let chain: Vec<Facts> = (1..=LARGE)
            .map(|id| {
                span("a", kind, id, id - 1).with(|it| {
                    it.address = "api.x".into();
                    it.name = "op".into();
                })
            })
            .collect();
        let delta = contribution(&chain);
        assert_eq!(count(&delta, "spans a"), i64::try_from(LARGE).unwrap());
        if kind == Kind::Client {
            assert_eq!(edges(&delta), ["client out a -> host:api.x 1"], "only the innermost of all layers");
        }
    }
}

#[test]
fn one_cycle_of_all_spans_and_many_small_ones() {
    let ring: Vec<Facts> = (1..=LARGE)
        .map(|id| server("a", id, if id == 1 { LARGE } else { id - 1 }).with(|it| it.name = "op".into()))
        .collect();
    assert_eq!(count(&contribution(&ring), "note Orphan a"), 1);
    let pairs: Vec<Facts> =
        (2..LARGE).map(|id| server("a", id, id ^ 1).with(|it| it.name = "op".into())).collect();
    assert_eq!(count(&contribution(&pairs), "note Orphan a"), i64::try_from(LARGE / 2 - 1).unwrap());
    let tails: Vec<Facts> = (1..=LARGE)
        .map(|id| server("a", id, if id <= 2 { 3 - id } else { id - 1 }).with(|it| it.name = "op".into()))
        .collect();
    assert_eq!(count(&contribution(&tails), "note Orphan a"), 1);
}

#[test]
fn one_id_for_all_spans_and_one_parent_for_all() {
    let same: Vec<Facts> = (0..LARGE)
        .map(|at| {
            span("a", Kind::Consumer, 7, 8).with(|it| {
                it.instance = at;
                it.name = "op".into();
            })
        })
        .chain((0..LARGE).map(|at| {
            local(&format!("s{}", at % 9), 8, 9).with(|it| {
                it.instance = at;
                it.name = "op".into();
            })
        }))
        .chain((0..LARGE).map(|at| local("s3", 1000 + at, 8).with(|it| it.name = "op".into())))
        .collect();
    assert_eq!(count(&contribution(&same), "request a"), i64::try_from(LARGE).unwrap());
    let star: Vec<Facts> = std::iter::once(client("a", 1, 0))
        .chain((2..=LARGE).map(|id| local("b", id, 1).with(|it| it.name = "op".into())))
        .collect();
    assert_eq!(edges(&contribution(&star)), ["call below a -> b 1", "client below a -> b 1"]);
}
