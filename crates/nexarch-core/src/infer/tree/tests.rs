//! Requests and calls agree with what the rollups count.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::facts::Messaging;
use crate::infer::testing::{bare, client, does, local, message, query, server, span};

/// Calls as `from -> to [waits]`, sorted.
fn calls(spans: &[Facts]) -> Vec<String> {
    let mut table = Table::default();
    let tree = Tree::new(spans, &mut table);
    let name = |node: u32| table.describe(node).1[2].to_string();
    let shown = |call: &Call| {
        let from = tree.service[call.caller];
        let to = call.to.map_or_else(|| "?".into(), name);
        format!("{} -> {to}{}", name(from), if call.waits { "" } else { " later" })
    };
    let mut calls: Vec<String> = tree.calls.iter().map(shown).collect();
    calls.sort();
    calls
}

#[test]
fn one_call_for_each_way_to_see_it() {
    assert_eq!(calls(&[client("a", 1, 0), server("b", 2, 1)]), ["a -> b"]);
    assert_eq!(calls(&[bare("a", 1, 0), bare("b", 2, 1), bare("b", 3, 2)]), ["a -> b"]);
    assert_eq!(
        calls(&[server("a", 1, 0), local("b", 2, 1), local("b", 3, 1)]),
        ["a -> b"],
        "one missing entry"
    );
    assert_eq!(calls(&[bare("a", 1, 0), bare("b", 2, 1), bare("b", 3, 1)]), ["a -> b", "a -> b"]);
    assert_eq!(calls(&[server("a", 1, 0), query("a", 2, 1, "db")]), ["a -> db"]);
    assert_eq!(calls(&[client("a", 1, 0)]), ["a -> ?"]);
    assert_eq!(calls(&[client("a", 1, 0), client("a", 2, 1), server("b", 3, 2)]), ["a -> b"], "two layers");
    assert_eq!(calls(&[client("a", 1, 0), local("a", 2, 1), server("b", 3, 2)]), ["a -> b"]);
    let sent = message("a", Kind::Producer, 1, 0, "orders");
    assert_eq!(calls(&[sent, message("b", Kind::Consumer, 2, 1, "orders")]), ["a -> b later"]);
    let asks = does(Messaging::Receive, message("a", Kind::Client, 2, 1, "orders"));
    assert_eq!(calls(&[server("a", 1, 0), asks]), [""; 0], "who asks a queue for messages does not call it");
    let over_http = client("a", 3, 2).with(|it| it.address = "db".into());
    assert_eq!(calls(&[server("a", 1, 0), query("a", 2, 1, "db"), over_http]), ["a -> db"]);
    let elsewhere = client("a", 3, 2).with(|it| it.address = "api.x".into());
    assert_eq!(calls(&[server("a", 1, 0), query("a", 2, 1, "db"), elsewhere]), ["a -> api.x", "a -> db"]);
    let unentered = [server("a", 1, 0), client("b", 2, 1), server("c", 3, 2)];
    assert_eq!(calls(&unentered), ["a -> b", "b -> c"], "the caller is the service of the span");
}

#[test]
fn requests_of_a_trace() {
    let spans = [local("a", 1, 0), server("a", 2, 1), client("a", 3, 2), local("b", 4, 3), server("b", 5, 4)];
    let tree = Tree::new(&spans, &mut Table::default());
    assert_eq!(tree.request, [0, 0, 0, 3, 3], "an entry span inside of local ones is the same request");
    let spans = [server("a", 1, 0), client("a", 2, 1), server("a", 3, 2)];
    let tree = Tree::new(&spans, &mut Table::default());
    assert_eq!(tree.request, [0, 0, 2], "a service that calls itself");
    assert_eq!(tree.tops, [0]);
    let lost = [local("a", 1, 9), server("a", 2, 8), client("a", 3, 0)];
    let tree = Tree::new(&lost, &mut Table::default());
    assert_eq!(tree.tops, [1, 2], "a fragment is no entry");
}

proptest! {
    /// Order and repetition of spans do not matter, nor do cycles of parents.
    #[test]
    fn a_tree_is_of_the_set(ids in vec((select(vec!["a", "b"]), 0u8..6, 1u64..9, 0u64..9), 1..20)) {
        let kinds = [Kind::Client, Kind::Server, Kind::Internal, Kind::Consumer, Kind::Producer, Kind::Unspecified];
        let mut spans: Vec<Facts> = ids
            .iter()
            .map(|&(service, kind, id, parent)| span(service, kinds[usize::from(kind)], id, parent))
            .collect();
        let forward = calls(&spans);
        spans.extend(spans.clone());
        spans.reverse();
        prop_assert_eq!(forward, calls(&spans));
        let tree = Tree::new(&spans, &mut Table::default());
        let mut order = tree.order.clone();
        order.sort_unstable();
        prop_assert_eq!(order, (0..tree.spans.len()).collect::<Vec<_>>());
    }
}
