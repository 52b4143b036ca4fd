//! One set of spans, one graph: whatever the order, the split, the repetition or the connection.

use std::{cell::Cell, thread};

use proptest::{
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::support::{
    client::Client,
    encode::{native, otlp_json, otlp_protobuf},
    home::Home,
    map::Map,
    server::Server,
    spans::Span,
    wait::now_ns,
};

const SERVICES: [&str; 5] = ["shop", "stock", "pay", "mail", "unknown_service"];
/// Traces over which a set is spread.
const TRACES: u128 = 3;
/// Sets tried; each needs three tenants and some twenty requests.
const CASES: u32 = 12;

/// One span of a random set, before it has a place in time.
#[derive(Debug, Clone)]
struct Draft {
    trace: u128,
    id: u64,
    parent: Option<Index>,
    service: usize,
    kind: u32,
    offset_ms: u64,
    duration_ms: u64,
    error: bool,
    /// Sent a second time with a later end: the same span, updated.
    updated: bool,
}

fn draft() -> impl Strategy<Value = Draft> {
    // Few ids, so that shared ids, cycles and repeated ids in other traces are common.
    let ids = (1..=TRACES, 1..=9_u64, any::<Option<Index>>());
    let rest = (0..SERVICES.len(), 0..=5_u32, 0..20_000_u64, 0..300_u64, any::<bool>(), any::<bool>());
    (ids, rest).prop_map(|((trace, id, parent), (service, kind, offset_ms, duration_ms, error, updated))| {
        Draft { trace, id, parent, service, kind, offset_ms, duration_ms, error, updated }
    })
}

/// Gives the drafts a time and parents, most of which exist.
fn spans(drafts: &[Draft], start_ns: u64) -> Vec<Span> {
    let mut spans = Vec::new();
    for draft in drafts {
        let span = Span {
            trace: draft.trace,
            id: draft.id,
            parent: draft.parent.map_or(0, |index| 1 + index.index(10) as u64),
            service: SERVICES[draft.service].to_owned(),
            name: format!("work {}", draft.id),
            kind: draft.kind,
            start_ns: start_ns + draft.offset_ms * 1_000_000,
            duration_ns: draft.duration_ms * 1_000_000,
            error: draft.error,
        };
        if draft.updated {
            spans.push(Span { duration_ns: span.duration_ns + 7_000_000, ..span.clone() });
        }
        spans.push(span);
    }
    spans
}

/// How a set is cut up and sent.
#[derive(Debug, Clone)]
struct Plan {
    order: Vec<Index>,
    piece: usize,
    again: Vec<Index>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let indices = |len| prop::collection::vec(any::<Index>(), len);
    (indices(64..65), 1..9_usize, indices(0..6)).prop_map(|(order, piece, again)| Plan {
        order,
        piece,
        again,
    })
}

/// Fisher-Yates with the plan's numbers.
fn shuffle(spans: &mut [Span], plan: &Plan) {
    for at in (1..spans.len()).rev() {
        spans.swap(at, plan.order[at % plan.order.len()].index(at + 1));
    }
}

/// Sends in one of the three forms.
fn send(client: &Client, form: usize, spans: &[Span]) {
    match form % 2 {
        0 => drop(client.otlp_protobuf(&otlp_protobuf(spans)).expect(200)),
        _ => drop(client.otlp_json(&otlp_json(spans)).expect(200)),
    }
}

/// Sends pieces over two connections at once, then some of them again.
fn send_by_plan(server: &Server, key: &str, spans: &[Span], plan: &Plan) {
    let mut shuffled = spans.to_vec();
    shuffle(&mut shuffled, plan);
    let pieces: Vec<&[Span]> = shuffled.chunks(plan.piece).collect();
    thread::scope(|scope| {
        for connection in 0..2 {
            let pieces = &pieces;
            scope.spawn(move || {
                let client = server.client(key);
                for (at, piece) in pieces.iter().enumerate().filter(|(at, _)| at % 2 == connection) {
                    send(&client, at / 2, piece);
                }
                for again in &plan.again {
                    send(&client, connection, pieces[again.index(pieces.len())]);
                }
            });
        }
    });
}

/// Everything that reads show of a tenant, but for moments of commits and what was sent in vain.
fn picture(client: &Client) -> Value {
    let get = |path: &str| client.get(path).ok();
    let mut overview = get("/api/v1/dashboard/overview");
    overview.as_object_mut().unwrap().remove("last_updated");
    let stats = get("/api/v1/ingest/stats");
    let trace = |id: u128| client.get(&format!("/api/v1/traces/{id:032x}")).json();
    json!({
        "map": Map::read(client).comparable(),
        "overview": overview,
        "services": get("/api/v1/dashboard/services"),
        "stored": [stats["total_spans"], stats["total_traces"]],
        "traces": (1..=TRACES).map(trace).collect::<Vec<_>>(),
    })
}

#[test]
fn any_order_any_split_any_repetition_gives_the_same_map() {
    let home = Home::new();
    let server = home.serve();
    let case = Cell::new(0);
    let sets = prop::collection::vec(draft(), 1..40);
    let config =
        Config { cases: CASES, failure_persistence: None, max_shrink_iters: 60, ..Config::default() };
    let outcome = TestRunner::new(config).run(&(sets, plan(), plan()), |(drafts, first, second)| {
        case.set(case.get() + 1);
        let keys = ["whole", "first", "second"].map(|name| home.tenant(&format!("{name}-{}", case.get())));
        let spans = spans(&drafts, now_ns() - 3_600_000_000_000);
        let clients = keys.each_ref().map(|key| server.client(key));
        send(&clients[0], 0, &spans);
        send_by_plan(&server, &keys[1], &spans, &first);
        send_by_plan(&server, &keys[2], &spans, &second);
        let whole = picture(&clients[0]);
        prop_assert_eq!(&whole, &picture(&clients[1]));
        prop_assert_eq!(&whole, &picture(&clients[2]));
        // Everything once more, in the other encoding, changes nothing.
        send(&clients[0], 1, &spans);
        prop_assert_eq!(&whole, &picture(&clients[0]));
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}

#[test]
fn tenants_with_the_same_ids_share_nothing() {
    let home = Home::new();
    let (left, right) = (home.tenant("left"), home.tenant("right"));
    let server = home.serve();
    let (left, right) = (server.client(&left), server.client(&right));
    let start = now_ns() - 60_000_000_000;
    let named = |prefix: &str| {
        let span = |id: u64, parent: u64, kind: u32, service: &str| Span {
            trace: 1,
            id,
            parent,
            service: format!("{prefix}-{service}"),
            name: "work".to_owned(),
            kind,
            start_ns: start,
            duration_ns: 1_000_000,
            error: false,
        };
        vec![span(1, 0, 2, "a"), span(2, 1, 3, "a"), span(3, 2, 2, "b")]
    };
    // Halves of one trace go to different tenants: nothing may pair across them.
    let (ours, theirs) = (named("left"), named("right"));
    left.batch(&native(&ours[..2])).expect(202);
    right.batch(&native(&theirs[2..])).expect(202);
    assert!(Map::read(&left).calls().is_empty());
    assert!(Map::read(&right).calls().is_empty());
    let before = picture(&left);
    right.batch(&native(&theirs[..2])).expect(202);
    assert_eq!(picture(&left), before);
    left.batch(&native(&ours[2..])).expect(202);

    for (client, prefix) in [(&left, "left"), (&right, "right")] {
        let map = Map::read(client);
        let (a, b) = (format!("{prefix}-a"), format!("{prefix}-b"));
        assert_eq!(map.services().into_iter().collect::<Vec<_>>(), [a.clone(), b.clone()]);
        assert_eq!(map.calls().into_iter().collect::<Vec<_>>(), [((a.clone(), b.clone()), 1)]);
        let trace = client.get(&format!("/api/v1/traces/{:032x}", 1)).ok();
        let mut services: Vec<_> = trace["spans"]
            .as_array()
            .unwrap()
            .iter()
            .map(|span| span["service_name"].as_str().unwrap())
            .collect();
        services.dedup();
        assert_eq!(services.len(), 2, "{trace}");
        assert!(services.iter().all(|service| service.starts_with(prefix)), "{trace}");
        assert_eq!(client.total_spans(), 3);
    }
    // An invalidation of one leaves the other's entries alone.
    left.send("DELETE", "/api/v1/cache/invalidate", &[], &crate::support::client::Body::None).expect(200);
    assert!(right.get("/api/v1/dashboard/overview").header("Cache-Status").contains("hit"));
}
