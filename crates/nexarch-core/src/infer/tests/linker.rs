//! Calls between services as Zipkin's dependency linker understands them, in cases of our own. Where its answer and rule
//! R2 to R5 differ, the case says why.

use proptest::prelude::*;

use crate::{
    facts::Facts,
    infer::{contribution, testing::*},
    rollup::Delta,
    span::Kind,
};

/// Calls between services by pair, `a -> b n`, with failures; whoever calls from outside left out.
fn links(trace: &[Facts]) -> Vec<String> {
    let mut sums: std::collections::BTreeMap<String, (i64, i64)> = std::collections::BTreeMap::new();
    for (key, cell) in cells(&delta(trace)) {
        let Some((_, pair)) = key.strip_prefix("call ").and_then(|key| key.split_once(' ')) else { continue };
        if !pair.contains(':') {
            let sum = sums.entry(pair.split(" [").next().unwrap().to_owned()).or_default();
            *sum = (sum.0 + cell.count, sum.1 + cell.errors);
        }
    }
    sums.into_iter()
        .map(|(pair, (calls, errors))| match errors {
            0 => format!("{pair} {calls}"),
            errors => format!("{pair} {calls} failed {errors}"),
        })
        .collect()
}

fn delta(trace: &[Facts]) -> Delta {
    contribution(trace)
}

fn none() -> Vec<String> {
    Vec::new()
}

fn to(peer: &str, span: Facts) -> Facts {
    span.with(|it| it.peer = peer.into())
}

fn failed(span: Facts) -> Facts {
    Facts { error: true, ..span }
}

/// The order in which Zipkin mostly gets spans: children first. It never matters.
fn backwards(mut trace: Vec<Facts>) -> Vec<Facts> {
    trace.reverse();
    trace
}

#[test]
fn a_shared_id_joins_a_client_and_a_server() {
    let trace = backwards(vec![
        server("gateway", 1, 0),
        client("gateway", 2, 1),
        server("basket", 2, 1),
        failed(to("basket-db", client("basket", 3, 2))),
    ]);
    assert_eq!(links(&trace), ["gateway -> basket 1"]);
    let outside = edges(&delta(&trace));
    assert!(outside.contains(&"client out basket -> peer:basket-db 1 failed 1".to_owned()), "{outside:?}");
}

#[test]
fn a_server_half_without_the_parent_of_its_client_half_is_joined_all_the_same() {
    let trace = backwards(vec![server("gateway", 1, 0), client("gateway", 2, 1), server("basket", 2, 0)]);
    assert_eq!(links(&trace), ["gateway -> basket 1"]);
    let only_parentless = backwards(vec![server("gateway", 1, 0), server("basket", 2, 0)]);
    // Zipkin joins it to the root of the trace; a second root says nothing of its caller, and a wrong edge is worse.
    assert_eq!(links(&only_parentless), none());
}

#[test]
fn the_id_of_the_trace_plays_no_part() {
    let trace = [server("gateway", 1, 0), client("gateway", 2, 1), server("basket", 3, 2)];
    let other = trace
        .clone()
        .map(|span| Facts { trace_id: crate::ids::TraceId::from_bytes([9; 16]).unwrap(), ..span });
    assert_eq!(delta(&trace), delta(&other));
}

#[test]
fn a_server_below_a_producer_is_an_ordinary_call() {
    let child = [span("shop", Kind::Producer, 1, 0), server("mail", 2, 1)];
    let same_id = [span("shop", Kind::Producer, 1, 0), server("mail", 1, 0)];
    assert_eq!(links(&child), ["shop -> mail 1"]);
    assert_eq!(links(&same_id), ["shop -> mail 1"]);
}

#[test]
fn two_brokers_are_what_the_two_sides_call_them_by_only_where_no_span_joins_them() {
    let sender = span("shop", Kind::Producer, 1, 0).with(|it| it.peer = "kafka-eu".into());
    let taker = span("mail", Kind::Consumer, 2, 0).with(|it| it.peer = "kafka-us".into());
    assert_eq!(
        edges(&delta(&[sender.clone(), taker.clone()])),
        ["call in queue:kafka-us -> mail 1", "client out shop -> queue:kafka-eu 1"]
    );
    // Zipkin keeps them apart; a consumer that hangs below its producer took the message from where it was put (R7).
    let below = Facts { parent_span_id: Some(sender.span_id), ..taker };
    assert_eq!(
        edges(&delta(&[sender, below])),
        ["call in queue:kafka-eu -> mail 1", "client out shop -> queue:kafka-eu 1"]
    );
}

#[test]
fn several_calls_of_one_pair_add_up_in_a_trace_and_over_traces() {
    let calls = |first: u64| {
        [
            client("a", first, 1),
            server("b", first + 1, first),
            client("a", first + 2, 1),
            server("b", first + 3, first + 2),
        ]
    };
    let trace = [&[server("a", 1, 0)][..], &calls(2)].concat();
    assert_eq!(links(&trace), ["a -> b 2"]);
    let mut twice = delta(&trace);
    twice.add(&delta(&trace));
    assert_eq!(count(&twice, "call pair a -> b"), 4);
}

#[test]
fn a_failure_of_either_half_is_one_failure() {
    let (c, s) = (client("a", 1, 0), server("b", 2, 1));
    for (client_fails, server_fails) in [(true, false), (false, true), (true, true)] {
        let c = Facts { error: client_fails, ..c.clone() };
        let s = Facts { error: server_fails, ..s.clone() };
        assert_eq!(links(&[c, s]), ["a -> b 1 failed 1"], "{client_fails} {server_fails}");
    }
    let shared = [failed(client("a", 1, 0)), failed(server("b", 1, 0))];
    assert_eq!(links(&shared), ["a -> b 1 failed 1"]);
}

#[test]
fn the_server_names_itself_whatever_its_client_called_it() {
    let trace = [to("b-canary", client("a", 1, 0)), server("b", 2, 1), failed(server("b", 3, 1))];
    assert_eq!(links(&trace), ["a -> b 2 failed 1"]);
    assert!(edges(&delta(&trace)).iter().all(|edge| !edge.contains("peer:")));
}

#[test]
fn a_client_below_a_server_of_another_service_shows_a_call_that_is_missing() {
    assert_eq!(links(&[server("web", 1, 0), client("app", 2, 1)]), ["web -> app 1"]);
    // Zipkin counts each client; they are the inside of one request when their parent has a kind (R2 b).
    let two = [server("web", 1, 0), bare("web", 2, 1), client("app", 3, 2), client("app", 4, 2)];
    assert_eq!(links(&two), ["web -> app 1"]);
    let named =
        [server("web", 1, 0), failed(to("store", client("app", 2, 1))), to("store", client("app", 3, 1))];
    assert_eq!(links(&named), ["web -> app 1 failed 1"]);
    assert!(edges(&delta(&named)).contains(&"client out app -> peer:store 2 failed 1".to_owned()));
}

#[test]
fn without_kinds_parents_and_children_tell() {
    let trace = [bare("phone", 1, 0), bare("web", 2, 1), failed(bare("app", 3, 2)), bare("app", 4, 3)];
    assert_eq!(links(&trace), ["phone -> web 1", "web -> app 1 failed 1"]);
}

#[test]
fn one_span_that_does_not_name_both_sides_is_no_call() {
    for span in [server("a", 1, 0), client("a", 1, 0), bare("a", 1, 0), span("a", Kind::Producer, 1, 0)] {
        assert_eq!(links(&[span]), none());
    }
    // A root server that names its caller: a setting would have to say that the name is to be trusted (R5).
    assert_eq!(links(&[to("partner", server("a", 1, 0))]), none());
}

#[test]
fn servers_of_one_absent_parent_have_nothing_to_do_with_each_other() {
    assert_eq!(links(&[server("a", 1, 9), server("b", 2, 9)]), none());
    assert_eq!(links(&[server("a", 1, 9), server("b", 2, 1)]), ["a -> b 1"]);
}

#[test]
fn a_service_that_calls_itself_is_no_edge() {
    assert_eq!(links(&[client("a", 1, 0), server("a", 2, 1)]), none());
    let outward = edges(&delta(&[to("a", client("a", 1, 0))]));
    assert_eq!(outward, ["client out a -> peer:a 1"], "a peer is looked up when the map is read");
}

/// A call of a tree: the service called, how its halves are sent, and local spans in between.
type Call = (usize, bool, u8, u8);

const SERVICES: [&str; 5] = ["a", "b", "c", "d", "e"];

proptest! {
    /// (f): of whole calls, in any shape of tree, both understand the same: one call for each, to each callee.
    #[test]
    fn whole_calls_are_linked_as_they_were_made(calls in prop::collection::vec((0..5usize, any::<bool>(), 0..3u8, any::<u8>()), 1..25)) {
        let (trace, expected) = tree(&calls);
        prop_assert_eq!(links(&trace), expected.clone());
        prop_assert_eq!(links(&backwards(trace)), expected);
    }
}

/// The spans of calls, each made by a server that an earlier one reached, and what was called by whom.
fn tree(calls: &[Call]) -> (Vec<Facts>, Vec<String>) {
    let mut trace = vec![server("a", 1, 0)];
    let mut servers: Vec<(&str, u64)> = vec![("a", 1)];
    let mut made: std::collections::BTreeMap<(&str, &str), u64> = std::collections::BTreeMap::new();
    let mut next = 2;
    for &(to, shared, locals, from) in calls {
        let (caller, mut parent) = servers[usize::from(from) % servers.len()];
        let target = SERVICES[to];
        for _ in 0..locals {
            trace.push(local(caller, next, parent));
            (parent, next) = (next, next + 1);
        }
        trace.push(client(caller, next, parent));
        let server_id = if shared { next } else { next + 1 };
        trace.push(server(target, server_id, if shared { parent } else { next }));
        servers.push((target, server_id));
        next += 2;
        if caller != target {
            *made.entry((caller, target)).or_default() += 1;
        }
    }
    (trace, made.into_iter().map(|((from, to), calls)| format!("{from} -> {to} {calls}")).collect())
}
