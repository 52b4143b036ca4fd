//! What R4 leaves to the reader, identity, and the map.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    facts::{Facts, Messaging, RemoteKind},
    infer::{contribution, testing::*},
    rollup::Delta,
    span::Kind,
    view::{Context, Watched},
    window::Window,
};

/// One rollup of several traces.
pub(crate) fn rollup(traces: &[&[Facts]]) -> Rollup {
    let mut sum = Delta::default();
    for trace in traces {
        sum.add(&contribution(trace));
    }
    let blobs = sum.encode();
    Rollup::fold(blobs.iter().map(|(minute, blob)| (*minute, &**blob))).unwrap()
}

pub(crate) fn context() -> Context<'static> {
    Context {
        range: Window::default().range(Some(START_NS)),
        environment: None,
        last_updated_us: 1_700_000_000_000_000,
        stored_ns: Some((START_NS, START_NS)),
        latency_objective_ms: 1000.0,
        regressed: None,
        watched: Watched::default(),
    }
}

/// Edges as text: `a -> b [protocol] n (inferred)`.
fn shown(graph: &Graph) -> Vec<String> {
    let id = |at: usize| &graph.nodes[at].id;
    graph
        .edges
        .iter()
        .map(|edge| {
            let protocol =
                if edge.protocol.is_empty() { String::new() } else { format!(" [{}]", edge.protocol) };
            let inferred = edge.inferred.map(|why| format!(" ({why:?})")).unwrap_or_default();
            format!("{} -> {}{protocol} {}{inferred}", id(edge.source), id(edge.target), edge.calls.calls())
        })
        .collect()
}

fn edges_of(traces: &[&[Facts]]) -> Vec<String> {
    shown(&build(&rollup(traces), None))
}

fn to(address: &str, span: Facts) -> Facts {
    span.with(|it| it.address = address.into())
}

fn peer(peer: &str, span: Facts) -> Facts {
    span.with(|it| it.peer = peer.into())
}

fn within(environment: &str, span: Facts) -> Facts {
    span.with(|it| it.environment = environment.into())
}

fn of(namespace: &str, span: Facts) -> Facts {
    span.with(|it| it.namespace = namespace.into())
}

#[test]
fn a_peer_or_host_that_is_a_known_service_is_that_service() {
    let known = [local("pay", 9, 0)];
    for call in [
        peer("pay", client("a", 1, 0)),
        to("pay", client("a", 1, 0)),
        to("pay.default.svc.cluster.local", client("a", 1, 0)),
        peer("PAY", client("a", 1, 0)),
    ] {
        assert_eq!(edges_of(&[&known, &[call]]), ["a -> pay 1 (Address)"]);
    }
    assert_eq!(edges_of(&[&[to("pay", client("a", 1, 0))]]), ["a -> pay 1"], "unknown: external");
    let external = build(&rollup(&[&[to("pay", client("a", 1, 0))]]), None);
    assert_eq!(external.nodes[1].kind, NodeType::External);
}

#[test]
fn a_known_service_is_one_of_the_same_environment() {
    let known = [within("test", local("pay", 9, 0))];
    let call = [within("prod", to("pay", client("a", 1, 0)))];
    assert_eq!(edges_of(&[&known, &call]), ["a@prod -> pay@prod 1"]);
    let known = [within("prod", local("pay", 9, 0))];
    assert_eq!(edges_of(&[&known, &call]), ["a@prod -> pay@prod 1 (Address)"]);
}

#[test]
fn of_several_namespaces_the_callers_comes_first() {
    let known = [of("x", local("pay", 7, 0)), of("shop", local("pay", 8, 0)), local("pay", 9, 0)];
    let call = |namespace| [of(namespace, peer("pay", client("a", 1, 0)))];
    assert_eq!(edges_of(&[&known, &call("shop")]), ["shop/a -> shop/pay 1 (Address)"]);
    assert_eq!(edges_of(&[&known, &call("y")]), ["y/a -> pay 1 (Address)"]);
    assert_eq!(edges_of(&[&known[..2], &call("y")]), ["y/a -> shop/pay 1 (Address)"]);
}

#[test]
fn an_address_is_learned_from_a_pair_unless_it_leads_to_several() {
    let pair = [to("10.1.2.3", client("a", 1, 0)), server("pay", 2, 1)];
    let alone = [to("10.1.2.3", client("b", 5, 0))];
    assert_eq!(edges_of(&[&pair, &alone]), ["a -> pay 1", "b -> pay 1 (Address)"]);
    let other = [to("10.1.2.3", client("a", 1, 0)), server("stock", 2, 1)];
    assert_eq!(
        edges_of(&[&pair, &other, &alone]),
        ["a -> pay 1", "a -> stock 1", "b -> unresolved 1"],
        "a proxy says nothing"
    );
    // What a pair showed counts for more than the first label.
    let pair = [to("pay.edge", client("a", 1, 0)), server("gateway", 2, 1)];
    let alone = [to("pay.edge", client("b", 5, 0)), local("pay", 6, 0)];
    assert_eq!(edges_of(&[&pair, &alone]), ["a -> gateway 1", "b -> gateway 1 (Address)"]);
}

#[test]
fn hosts_outside_stay_apart_and_private_addresses_do_not_become_nodes() {
    let calls = [
        to("api.x", client("a", 1, 0)),
        to("203.0.113.5", client("a", 2, 0)),
        to("10.0.0.7", client("a", 3, 0)),
        to("10.0.0.8", client("a", 4, 0)),
        to("fd00::1", client("a", 5, 0)),
        to("100.64.0.1", client("a", 6, 0)),
        to("localhost", client("a", 7, 0)),
        to("127.0.0.1", client("b", 8, 0)),
    ];
    assert_eq!(
        edges_of(&[&calls]),
        [
            "a -> 203.0.113.5 1",
            "a -> api.x 1",
            "a -> localhost of a 1",
            "a -> unresolved 4",
            "b -> localhost of b 1"
        ]
    );
}

#[test]
fn a_provisional_edge_gives_way_when_the_server_span_arrives() {
    let call = to("pay.svc", client("a", 1, 0));
    assert_eq!(edges_of(&[std::slice::from_ref(&call)]), ["a -> pay.svc 1"]);
    assert_eq!(edges_of(&[&[call, server("payments", 2, 1)]]), ["a -> payments 1"]);
}

#[test]
fn one_edge_adds_up_what_is_seen_in_different_ways() {
    let pair = [client("a", 1, 0), server("b", 2, 1)];
    let alone = [to("b", client("a", 1, 0))];
    let parent = [local("a", 1, 0), server("b", 2, 1)];
    assert_eq!(edges_of(&[&pair, &alone, &parent]), ["a -> b 3"], "seen from both sides at least once");
    assert_eq!(edges_of(&[&alone, &alone, &parent, &[local("b", 9, 0)]]), ["a -> b 3 (Address)"]);
    assert_eq!(edges_of(&[&alone, &parent]), ["a -> b 2 (Parent)"]);
}

#[test]
fn the_edge_has_the_callers_duration_where_there_is_a_caller() {
    let long = |span| Facts { duration_ns: Some(9_000_000), ..span };
    let graph = build(
        &rollup(&[&[long(client("a", 1, 0)), server("b", 2, 1)], &[local("a", 1, 0), server("b", 2, 1)]]),
        None,
    );
    let [edge] = &graph.edges[..] else { panic!("one edge") };
    assert_eq!(edge.calls.timed, 2);
    assert_eq!(edge.calls.mean_us(), Some(5000.0), "9 ms of the caller, 1 ms of the callee");
    assert_eq!((edge.server.timed, edge.server.mean_us()), (2, Some(1000.0)));
    assert_eq!(edge.requests.count, 1);
    let map = architecture_map(&rollup(&[&[long(client("a", 1, 0)), server("b", 2, 1)]]), &context());
    assert_eq!(map.edges[0].network_latency_ms, Some(8.0));
    let swapped = architecture_map(&rollup(&[&[client("a", 1, 0), long(server("b", 2, 1))]]), &context());
    assert_eq!(swapped.edges[0].network_latency_ms, Some(0.0), "never below 0");
}

#[test]
fn ids_are_names_with_their_places_and_never_clash() {
    let traces: [&[Facts]; 6] = [
        &[of("shop", within("prod", server("pay", 1, 0)))],
        &[server("user", 2, 0)],
        &[query("a", 3, 0, "orders-db")],
        &[query("a", 4, 0, "")],
        &[server("x/y", 5, 0), of("x", server("y", 6, 0))],
        &[to("a", client("b", 7, 0)), local("user#user", 8, 0)],
    ];
    let graph = build(&rollup(&traces), None);
    let ids: Vec<&str> = graph.nodes.iter().map(|node| &*node.id).collect();
    assert_eq!(
        ids,
        [
            "a",
            "b",
            "postgresql:a",
            "postgresql:orders-db/shop",
            "shop/pay@prod",
            "user",
            "user#user",
            "user#user2",
            "user@prod",
            "x/y",
            "x/y#service"
        ]
    );
    let kind = |id: &str| graph.nodes.iter().find(|node| node.id == id).unwrap().kind;
    assert_eq!(
        (kind("user"), kind("user#user"), kind("user#user2")),
        (NodeType::Service, NodeType::Service, NodeType::User)
    );
}

#[test]
fn an_environment_shows_its_own_and_what_it_touches() {
    let trace = [
        within("prod", client("a", 1, 0)),
        within("test", server("b", 2, 1)),
        within("test", server("c", 3, 2)),
    ];
    let rollup = rollup(&[&trace]);
    assert_eq!(shown(&build(&rollup, Some("prod"))), ["a@prod -> b@test 1"]);
    let graph = build(&rollup, Some("prod"));
    assert_eq!(graph.nodes[1].requests.count, 1, "the far end keeps its figures");
    assert_eq!(shown(&build(&rollup, Some("test"))).len(), 2);
    assert!(build(&rollup, Some("other")).nodes.is_empty());
    assert_eq!(build(&rollup, None).nodes.len(), 3);
}

#[test]
fn lone_services_are_drawn() {
    let graph = build(&rollup(&[&[local("batch", 1, 0)]]), None);
    assert_eq!((graph.nodes.len(), &*graph.nodes[0].id), (1, "batch"));
}

#[test]
fn the_busiest_externals_stay_and_the_rest_is_one_node() {
    let mut calls: Vec<Facts> =
        (0..150).map(|at| to(&format!("h{at:03}.example"), client("a", 1 + at, 0))).collect();
    // The last one is busy, and one is really called like the folded rest.
    calls.extend((0..9).map(|at| to("h149.example", client("a", 1000 + at, 0))));
    calls.extend((0..9).map(|at| to("other externals", client("a", 2000 + at, 0))));
    let graph = build(&rollup(&[&calls]), None);
    let ids: BTreeSet<&str> = graph.nodes.iter().map(|node| &*node.id).collect();
    assert_eq!((graph.nodes.len(), graph.folded_nodes), (102, 51));
    assert!(
        ids.contains("h149.example") && ids.contains("other externals") && ids.contains("other externals#")
    );
    let all: u64 = graph.edges.iter().map(|edge| edge.calls.calls()).sum();
    assert_eq!(all, 168, "no call is lost");
}

#[test]
fn the_map_has_the_fields_of_the_contract() {
    let trace = [
        server("shop", 1, 0),
        client("shop", 2, 1).with(|it| it.protocol = "http".into()),
        Facts { error: true, ..server("pay", 3, 2) },
    ];
    let map = serde_json::to_value(architecture_map(&rollup(&[&trace]), &context())).unwrap();
    assert_eq!(map["graph_stats"]["total_nodes"], 3);
    assert_eq!(map["graph_stats"]["is_dag"], true);
    assert_eq!(map["graph_stats"]["avg_degree"], 1.333_333);
    let pay = &map["nodes"][0];
    assert_eq!(
        (&pay["id"], &pay["type"], &pay["namespace"]),
        (&"pay".into(), &"service".into(), &serde_json::Value::Null)
    );
    assert_eq!(pay["metrics"]["call_count"], 1);
    assert_eq!(pay["metrics"]["avg_latency_ms"], 1.0);
    assert_eq!(pay["metrics"]["p95_latency_ms"], 1.0);
    assert_eq!(pay["metrics"]["error_rate"], 1.0);
    assert!(pay["position"]["x"].is_i64() && pay["position"]["y"].is_i64());
    let edge = &map["edges"][0];
    assert_eq!(
        (&edge["source"], &edge["target"], &edge["protocol"]),
        (&"shop".into(), &"pay".into(), &"http".into())
    );
    assert_eq!((&edge["call_count"], &edge["inferred"]), (&1.into(), &serde_json::Value::Null));
    assert_eq!(map["window"]["name"], "24h");
    assert_eq!(map["last_updated"], "2023-11-14T22:13:20Z");
    let ring = rollup(&[&[client("a", 1, 0), server("b", 2, 1), client("b", 3, 2), server("a", 4, 3)]]);
    assert!(!architecture_map(&ring, &context()).graph_stats.is_dag);
    let empty = architecture_map(&Rollup::default(), &context());
    assert_eq!((empty.graph_stats.avg_degree, empty.graph_stats.is_dag), (None, true));
}

#[test]
fn a_long_chain_needs_no_deep_stack() {
    let chain: Vec<Facts> = (1..1_900).map(|id| local(&format!("s{id:04}"), id, id - 1)).collect();
    let draw = move || architecture_map(&rollup(&[&chain]), &context()).graph_stats;
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    let stats = small.spawn(draw).unwrap().join().unwrap();
    assert_eq!((stats.total_nodes, stats.total_edges, stats.is_dag), (1_899, 1_898, true));
}

#[test]
fn edges_of_queues_and_models_show_what_they_carry() {
    let producer = message("shop", Kind::Producer, 2, 1, "orders");
    let consumer = Facts {
        start_ns: producer.end_ns() + 250_000,
        weight: 2 * 256,
        ..linked(does(Messaging::Process, message("mail", Kind::Consumer, 3, 2, "orders")), &[2], 4)
    };
    let trace =
        [server("shop", 1, 0), producer, consumer, chat("mail", 4, 3, (100, 20)), client("shop", 9, 1)];
    let map = serde_json::to_value(architecture_map(&rollup(&[&trace]), &context())).unwrap();
    let edge = |source: &str, target: &str| {
        let edges = map["edges"].as_array().unwrap();
        edges.iter().find(|edge| edge["source"] == source && edge["target"] == target).unwrap().clone()
    };
    assert_eq!(edge("shop", "kafka:orders")["message_count"], 1);
    let taken = edge("kafka:orders", "mail");
    assert_eq!((&taken["call_count"], &taken["message_count"]), (&2.into(), &10.into()), "by weight");
    let model = edge("mail", "openai:gpt");
    assert_eq!((&model["input_tokens"], &model["output_tokens"]), (&100.into(), &20.into()));
    let plain = edge("user", "shop");
    for field in ["message_count", "input_tokens", "output_tokens"] {
        assert!(plain.get(field).is_none(), "{field}");
    }
    let flow = serde_json::json!([{
        "source": "shop", "queue": "kafka:orders", "target": "mail", "message_count": 2,
        "avg_queue_latency_ms": 0.25, "p95_queue_latency_ms": 0.25,
    }]);
    assert_eq!(map["message_flows"], flow);
    assert!(map["graph_stats"].get("folded_flows").is_none());
    let none = serde_json::to_value(architecture_map(&rollup(&[&[server("a", 1, 0)]]), &context())).unwrap();
    assert!(none.get("message_flows").is_none());
}

#[test]
fn agents_and_tools_are_nodes_of_their_service_and_never_clash_with_services() {
    let trace = [
        of("ns", server("planner", 1, 0)),
        agent("planner", of("ns", local("planner", 2, 1))),
        tool("search", of("ns", local("planner", 3, 2))),
    ];
    let graph = build(&rollup(&[&trace]), None);
    assert_eq!(
        shown(&graph),
        ["ns/agent:planner -> ns/tool:search 1", "ns/planner -> ns/agent:planner 1", "user -> ns/planner 1"]
    );
    assert_eq!(graph.nodes[0].kind, NodeType::Model);
}

#[test]
fn the_busiest_flows_are_listed_and_the_rest_is_counted() {
    let traces: Vec<Vec<Facts>> = (0..crate::limits::MAX_MAP_FLOWS + 5)
        .map(|at| {
            let queue = format!("q{}", at % 50);
            let taken = message(&format!("s{}", at / 50), Kind::Consumer, 2, 1, &queue);
            vec![message("a", Kind::Producer, 1, 0, &queue), taken]
        })
        .collect();
    let traces: Vec<&[Facts]> = traces.iter().map(Vec::as_slice).collect();
    let map = architecture_map(&rollup(&traces), &context());
    assert_eq!((map.message_flows.len(), map.graph_stats.folded_flows), (crate::limits::MAX_MAP_FLOWS, 5));
}

fn any_call() -> impl Strategy<Value = Facts> {
    let names = || select(vec!["", "a", "b", "user", "a.svc", "10.0.0.1", "x/y", "other externals"]);
    let kinds = select(vec![Kind::Client, Kind::Server, Kind::Internal, Kind::Consumer]);
    let remote =
        select(vec![RemoteKind::Service, RemoteKind::Database, RemoteKind::Queue, RemoteKind::Model]);
    ((names(), names(), names()), (kinds, remote, names()), 1u64..30, 0u64..30).prop_map(
        |((service, peer, address), (kind, remote_kind, namespace), id, parent)| {
            span(if service.is_empty() { "s" } else { service }, kind, id, parent).with(|it| {
                it.peer = peer.into();
                it.address = address.into();
                it.namespace = namespace.into();
                it.remote_kind = remote_kind;
            })
        },
    )
}

proptest! {
    /// Equal data give equal bytes, in whatever order and in however many blobs they came.
    #[test]
    fn equal_sets_give_equal_maps(mut spans in vec(any_call(), 0..40)) {
        let bytes = |traces: &[&[Facts]]| serde_json::to_string(&architecture_map(&rollup(traces), &context())).unwrap();
        // Each span a trace of its own, and in reverse: other orders of interning and hashing.
        let alone: Vec<&[Facts]> = spans.iter().map(std::slice::from_ref).collect();
        let backwards: Vec<&[Facts]> = alone.iter().rev().copied().collect();
        prop_assert_eq!(bytes(&alone), bytes(&backwards));
        let whole = bytes(&[&spans]);
        spans.reverse();
        prop_assert_eq!(whole, bytes(&[&spans]));
    }

    #[test]
    fn ids_are_unique_and_ends_are_nodes(spans in vec(any_call(), 0..60)) {
        let map = architecture_map(&rollup(&[&spans]), &context());
        let ids: BTreeSet<&str> = map.nodes.iter().map(|node| &*node.id).collect();
        prop_assert_eq!(ids.len(), map.nodes.len());
        prop_assert!(map.edges.iter().all(|edge| ids.contains(&*edge.source) && ids.contains(&*edge.target)));
        prop_assert!(map.nodes.iter().map(|node| &node.id).is_sorted());
    }
}
