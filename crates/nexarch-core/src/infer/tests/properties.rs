//! Properties of spans.md §4 that hold for every set of spans.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    facts::{Facts, Messaging, RemoteKind},
    infer::{contribution, testing::*, tree::Tree},
    rollup::{self, Delta},
    span::{Kind, Side},
};

const KINDS: [Kind; 6] =
    [Kind::Unspecified, Kind::Internal, Kind::Server, Kind::Client, Kind::Producer, Kind::Consumer];

const OPERATIONS: [Messaging; 6] = [
    Messaging::Unstated,
    Messaging::Create,
    Messaging::Send,
    Messaging::Receive,
    Messaging::Process,
    Messaging::Settle,
];

/// Now and then a span about messages, an agent, a tool or a model.
fn special() -> impl Strategy<Value = Facts> {
    (any_plain_span(), select(OPERATIONS.to_vec()), vec(1u64..14, 0..4), 0u32..3, 0u8..8).prop_map(
        |(span, messaging, mut links, far, what)| {
            links.sort_unstable();
            links.dedup();
            match what {
                0 => agent(["x", "y"][links.len() % 2], span),
                1 => tool("t", span),
                2 => Facts {
                    content: span.content,
                    ..chat("", 1 + u64::from(far), links.first().copied().unwrap_or(0), (far, 7))
                }
                .with(|it| it.service = span.service.clone()),
                3 => linked(does(messaging, span), &links, far),
                4 => batch(
                    far,
                    does(
                        messaging,
                        span.with(|it| {
                            it.remote_kind = RemoteKind::Queue;
                            it.target = "q".into();
                        }),
                    ),
                ),
                5 => linked(
                    does(
                        messaging,
                        span.with(|it| {
                            it.remote_kind = RemoteKind::Queue;
                            it.target = "q".into();
                        }),
                    ),
                    &links,
                    far,
                ),
                _ => span,
            }
        },
    )
}

fn any_span() -> impl Strategy<Value = Facts> {
    prop_oneof![any_plain_span(), special()]
}

/// Spans over few ids and services, so that shared ids, cycles, orphans, updates and repeats all occur.
fn any_plain_span() -> impl Strategy<Value = Facts> {
    let services = select(vec!["a", "b", "c", "d"]);
    let names = select(vec!["", "b", "api.x", "localhost", "d.svc"]);
    let remote =
        select(vec![RemoteKind::Service, RemoteKind::Service, RemoteKind::Database, RemoteKind::Queue]);
    (
        (services, select(KINDS.to_vec()), 1u64..14, 0u64..14),
        (names.clone(), names, remote, any::<bool>()),
        0u64..4,
    )
        .prop_map(|((service, kind, id, parent), (peer, address, remote_kind, error), vary)| {
            Facts {
                error,
                duration_ns: (vary != 3).then_some(1_000_000 * (id + vary)),
                content: vary,
                weight: 256 * u32::try_from(1 + vary).unwrap(),
                ..span(service, kind, id, parent)
            }
            .with(|it| {
                it.peer = if vary == 1 { peer.into() } else { "".into() };
                it.address = address.into();
                it.remote_kind = remote_kind;
                it.instance = vary / 2;
                it.environment = if id == 13 { "prod".into() } else { "".into() };
            })
        })
}

/// A trace in which no id is used twice.
fn plain_trace() -> impl Strategy<Value = Vec<Facts>> {
    vec((any_plain_span(), 0u64..20), 1..20).prop_map(|spans| {
        let mut trace: Vec<Facts> = Vec::new();
        for ((id, (facts, parent)), services) in (1u64..).zip(spans).zip(["a", "b", "c", "d"].iter().cycle())
        {
            let _ = services;
            let parent = if parent < id { parent } else { 99 };
            let base = span(&facts.service, facts.kind, id, parent);
            trace.push(Facts { span_id: base.span_id, parent_span_id: base.parent_span_id, ..facts });
        }
        trace
    })
}

/// Pairs of services with an edge, whichever way it is known.
fn service_edges(delta: &Delta) -> BTreeSet<(String, String)> {
    let between = |key: &str| -> Option<(String, String)> {
        let (_, rest) = key.split_once(' ')?;
        let (_, rest) = rest.split_once(' ')?;
        let (from, to) = rest.split_once(" -> ")?;
        let to = to.split(" [").next()?;
        (!from.contains(':') && !to.contains(':')).then(|| (from.into(), to.into()))
    };
    cells(delta).keys().filter(|key| key.starts_with("call ")).filter_map(|key| between(key)).collect()
}

/// A database is asked, and sent no messages.
fn well_said(span: Facts) -> Facts {
    match (span.remote_kind, span.kind) {
        (RemoteKind::Database, Kind::Producer) => span.with(|it| it.remote_kind = RemoteKind::Queue),
        _ => span,
    }
}

/// Consumers stand below who sends, or alone.
fn delivered(mut trace: Vec<Facts>) -> Vec<Facts> {
    let others: BTreeSet<_> =
        trace.iter().filter(|span| span.kind != Kind::Producer).map(|span| span.span_id).collect();
    for span in trace.iter_mut().filter(|span| span.kind == Kind::Consumer) {
        span.parent_span_id = span.parent_span_id.filter(|parent| !others.contains(parent));
    }
    trace
}

/// What leads from one node to another: an edge, or two with a queue between them.
fn ways(delta: &Delta) -> BTreeSet<(String, String)> {
    let edge = |key: &String| -> Option<(String, String)> {
        let (label, rest) = key.split_once(' ')?;
        let (_, ends) = rest.split_once(' ').filter(|_| label == "call" || label == "client")?;
        let (from, to) = ends.split_once(" -> ")?;
        Some((from.into(), to.split(" [").next()?.into()))
    };
    let edges: BTreeSet<(String, String)> = cells(delta).keys().filter_map(edge).collect();
    let through = |(from, queue): &(String, String)| {
        let taken = edges.iter().filter(|(at, _)| queue.starts_with("queue:") && at == queue);
        taken.map(|(_, to)| (from.clone(), to.clone())).collect::<Vec<_>>()
    };
    edges.iter().flat_map(through).chain(edges.iter().cloned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    /// What is said of whole traces is said of edges of the map, calls of a service to itself aside. (An
    /// id that stands for several spans makes a guess of who called.)
    #[test]
    fn a_tree_has_no_call_that_the_map_has_not(trace in plain_trace()) {
        let trace = delivered(trace.into_iter().map(well_said).collect());
        let ways = ways(&contribution(&trace));
        let mut table = rollup::Table::default();
        let tree = Tree::new(&trace, &mut table);
        for call in &tree.calls {
            let Some(to) = call.to else { continue };
            let [from, to] = [tree.service[call.caller], to].map(|at| node(&table, at));
            prop_assert!(from == to || ways.contains(&(from.clone(), to.clone())), "{} -> {}: {:?}", from, to, ways);
        }
    }
}

proptest! {
    #[test]
    fn order_and_repetition_do_not_matter(trace in vec(any_span(), 0..25), seed in any::<u64>()) {
        let whole = contribution(&trace);
        let mut shuffled = trace.clone();
        shuffled.extend(trace.iter().cloned());
        let mut state = seed | 1;
        for at in (1..shuffled.len()).rev() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            shuffled.swap(at, usize::try_from(state >> 33).unwrap() % (at + 1));
        }
        prop_assert_eq!(&contribution(&shuffled), &whole);
    }

    /// (a), (c): whatever the batches, retract and add arrive at the whole; and blobs of the steps merge to it.
    #[test]
    fn any_split_into_batches_arrives_at_the_whole(trace in vec(any_span(), 0..25), cuts in vec(0usize..25, 0..5)) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(trace.len())).collect();
        cuts.push(trace.len());
        cuts.sort_unstable();
        let mut sum = Delta::default();
        let mut blobs: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut known = 0;
        for cut in cuts {
            let mut step = contribution(&trace[..cut]);
            step.subtract(&contribution(&trace[..known]));
            sum.add(&step);
            blobs.extend(step.encode());
            known = cut;
        }
        let whole = contribution(&trace).encode();
        prop_assert_eq!(&sum.encode(), &whole);
        let minutes: BTreeSet<u32> = blobs.iter().map(|blob| blob.0).collect();
        let mut merged = Vec::new();
        for minute in minutes {
            let of_it: Vec<&[u8]> = blobs.iter().filter(|b| b.0 == minute).map(|b| &*b.1).collect();
            let blob = rollup::merge(&of_it).unwrap();
            if !blob.is_empty() {
                merged.push((minute, blob));
            }
        }
        prop_assert_eq!(&merged, &whole);
        sum.subtract(&contribution(&trace));
        prop_assert!(sum.is_empty());
    }

    /// (e): what the edges between services say reached B are the entries of B that have an upstream service.
    #[test]
    fn calls_into_a_service_are_its_entries_with_an_upstream(trace in plain_trace()) {
        let trace: Vec<Facts> =
            trace.into_iter().map(|span| span.with(|it| { it.remote_kind = RemoteKind::Service; it.peer = "".into(); })).collect();
        let all = cells(&contribution(&trace));
        let sum = |pick: &dyn Fn(&str) -> bool| -> i64 { all.iter().filter(|(k, _)| pick(k)).map(|(_, c)| c.count).sum() };
        let calls = sum(&|key| key.starts_with("call ") && !key.contains("user:"));
        let requests = sum(&|key| key.starts_with("request "));
        // Requests without an upstream service, found by another road: by walking from each span on its own.
        let by_id = |id| trace.iter().find(|span| Some(span.span_id) == id);
        let same = |a: &Facts, b: &Facts| a.service == b.service && a.environment == b.environment;
        let in_side = |span: &Facts| span.kind.side() == Side::In;
        let mut alone = 0;
        for span in trace.iter().filter(|span| in_side(span)) {
            let mut above = by_id(span.parent_span_id);
            while let Some(p) = above && same(p, span) && p.kind.side() == Side::Local {
                above = by_id(p.parent_span_id);
            }
            alone += i64::from(above.is_none_or(|p| same(p, span)));
        }
        // A local root, or a span without kind under an absent parent, unless an `in` span hangs under it.
        for span in trace.iter().filter(|span| span.kind.side() == Side::Local && by_id(span.parent_span_id).is_none()) {
            let counts = span.parent_span_id.is_none() || span.kind == Kind::Unspecified;
            let mut inside = vec![span];
            let mut covered = false;
            while let Some(at) = inside.pop() {
                for child in trace.iter().filter(|c| c.parent_span_id == Some(at.span_id) && same(c, at)) {
                    covered |= in_side(child);
                    if child.kind.side() == Side::Local {
                        inside.push(child);
                    }
                }
            }
            alone += i64::from(counts && !covered);
        }
        prop_assert_eq!(calls, requests - alone);
    }

    /// (h): without any kind, every parent and child of two services is still an edge, and with kinds too.
    #[test]
    fn no_kind_is_needed_for_an_edge_between_a_parent_and_a_child(trace in plain_trace()) {
        // Queues stand between services on purpose (R7).
        let trace: Vec<Facts> =
            trace.into_iter().map(|span| span.with(|it| { it.remote_kind = RemoteKind::Service; it.peer = "".into(); })).collect();
        let name = |span: &Facts| match &*span.environment {
            "" => span.service.to_string(),
            environment => format!("{}@{environment}", span.service),
        };
        let mut expected = BTreeSet::new();
        for child in &trace {
            for parent in trace.iter().filter(|parent| Some(parent.span_id) == child.parent_span_id) {
                if name(parent) != name(child) {
                    expected.insert((name(parent), name(child)));
                }
            }
        }
        let bare: Vec<Facts> = trace.iter().map(|span| Facts { kind: Kind::Unspecified, ..span.clone() }).collect();
        let with = service_edges(&contribution(&trace));
        let without = service_edges(&contribution(&bare));
        prop_assert_eq!(&without, &expected);
        prop_assert!(with.is_subset(&without), "{:?} {:?}", with, without);
        prop_assert!(expected.is_subset(&with), "{:?} {:?}", expected, with);
    }

    /// (i): each counter is the sum of the weights of the spans that it counts, whatever each half weighs.
    #[test]
    fn each_half_adds_its_own_weight(weights in vec((1u32..100_000, 1u32..100_000), 1..30)) {
        let mut trace = Vec::new();
        for (id, &(out, entry)) in (1u64..).step_by(2).zip(&weights) {
            trace.push(Facts { weight: out, ..client("a", id, 0) });
            trace.push(Facts { weight: entry, error: id % 3 == 0, ..server("b", id + 1, id) });
        }
        let all = cells(&contribution(&trace));
        let sum = |pick: fn(&(u32, u32)) -> u32| weights.iter().map(|pair| i64::from(pick(pair))).sum::<i64>();
        prop_assert_eq!(all["client pair a -> b"].weight, sum(|pair| pair.0));
        prop_assert_eq!(all["call pair a -> b"].weight, sum(|pair| pair.1));
        prop_assert_eq!(all["request b"].weight, sum(|pair| pair.1));
        prop_assert_eq!(all["call pair a -> b"].histogram.total(), sum(|pair| pair.1));
        let failed: i64 =
            (1u64..).step_by(2).zip(&weights).filter(|(id, _)| id % 3 == 0).map(|(_, pair)| i64::from(pair.1)).sum();
        prop_assert_eq!(all["request b"].error_weight, failed);
    }

    /// (i): n spans at one weight count as n · weight.
    #[test]
    fn weights_add_up(trace in plain_trace(), weight in 1u32..100_000) {
        let with = |weight| -> Vec<Facts> { trace.iter().map(|span| Facts { weight, ..span.clone() }).collect() };
        let (one, many) = (cells(&contribution(&with(256))), cells(&contribution(&with(weight))));
        prop_assert_eq!(one.len(), many.len());
        for (a, b) in one.values().zip(many.values()) {
            prop_assert_eq!(a.count, b.count);
            prop_assert_eq!(a.count * i64::from(weight), b.weight);
            prop_assert_eq!(a.errors * i64::from(weight), b.error_weight);
            prop_assert_eq!(a.time * i128::from(weight), b.time * 256);
        }
    }
}
