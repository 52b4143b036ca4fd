//! What the shop promises: it is complete, valid, repeatable, and visibly unwell when it says so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use nexarch_core::{
    Text,
    facts::{Facts, RemoteKind},
    ids::{SpanId, TraceId},
    span::{Kind, Span, Status, Value, attribute},
};
use proptest::prelude::*;

use super::{
    Shop,
    chance::Chance,
    handler::{Handler, MAX_REQUEST_NS, Request},
    incident::{CYCLE_NS, HEALTHY_FIRST_NS, PAST_BEGAN_NS, PAST_ENDED_NS, SECOND_NS, SLOW_NS},
    landscape::{Landscape, Service},
};

const OPENED_NS: u64 = 1_790_000_000 * SECOND_NS;

fn shop() -> Shop {
    Shop::new(42, OPENED_NS)
}

/// As much of the first cycle as is looked at span by span.
const FIRST_NS: u64 = HEALTHY_FIRST_NS + SLOW_NS + 105 * SECOND_NS;

/// The first minutes after the opening: healthy, unwell, healthy.
fn first_cycle() -> Vec<Span> {
    shop().tick(OPENED_NS, OPENED_NS + FIRST_NS)
}

fn service(span: &Span) -> &str {
    attribute(&span.resource.attributes, "service.name").and_then(Value::as_str).unwrap_or_default()
}

/// The first of these attributes that is a text.
fn word<'a>(span: &'a Span, keys: &[&str]) -> Option<&'a str> {
    keys.iter().find_map(|key| attribute(&span.attributes, key)).and_then(Value::as_str)
}

fn address(span: &Span) -> Option<&str> {
    word(span, &["server.address", "net.peer.name"])
}

fn system(span: &Span) -> Option<&str> {
    word(span, &["db.system.name", "db.system"])
}

fn duration_ns(span: &Span) -> u64 {
    span.end_ns.unwrap() - span.start_ns
}

fn by_id(spans: &[Span]) -> HashMap<(TraceId, SpanId), &Span> {
    spans.iter().map(|span| ((span.trace_id, span.span_id), span)).collect()
}

#[test]
fn every_span_is_valid() {
    let spans = first_cycle();
    assert_eq!(by_id(&spans).len(), spans.len(), "no identity comes twice");
    for span in &spans {
        assert!(!span.name.is_empty() && !service(span).is_empty());
        assert!(span.start_ns <= span.end_ns.unwrap());
        assert_ne!(span.parent_span_id, Some(span.span_id));
        let keys: BTreeSet<&str> = span.attributes.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys.len(), span.attributes.len(), "a key comes twice in {span:?}");
        for event in &span.events {
            assert!((span.start_ns..=span.end_ns.unwrap()).contains(&event.time_ns));
        }
    }
}

#[test]
fn the_whole_landscape_appears() {
    let spans = first_cycle();
    let services: BTreeSet<&str> = spans.iter().map(service).collect();
    assert_eq!(
        services.into_iter().collect::<Vec<_>>(),
        [
            "api-gateway",
            "cart",
            "catalog",
            "checkout",
            "inventory",
            "orders",
            "payments",
            "recommendations",
            "search",
            "shipping",
            "users",
            "web-frontend"
        ]
    );
    // As inference reads them, so that both dialects must name one thing alike.
    let facts: Vec<Facts> = spans.iter().map(Facts::from).collect();
    let things: BTreeSet<_> = facts
        .iter()
        .filter(|facts| facts.remote_kind != RemoteKind::Service)
        .map(|facts| (facts.remote_kind, &*facts.protocol, &*facts.address, &*facts.target))
        .collect();
    assert_eq!(
        things.into_iter().collect::<Vec<_>>(),
        [
            (RemoteKind::Database, "elasticsearch", "search-index.shop.internal", "products"),
            (RemoteKind::Database, "mongodb", "catalog-db.shop.internal", "catalog"),
            (RemoteKind::Database, "postgresql", "inventory-db.shop.internal", "inventory"),
            (RemoteKind::Database, "postgresql", "orders-db.shop.internal", "orders"),
            (RemoteKind::Database, "postgresql", "users-db.shop.internal", "users"),
            (RemoteKind::Cache, "redis", "cache.shop.internal", "0"),
            (RemoteKind::Queue, "kafka", "kafka.shop.internal", "orders.placed"),
        ]
    );
    assert!(facts.iter().all(|facts| &*facts.environment == "production" && &*facts.namespace == "shop"));
    assert!(facts.iter().all(|facts| facts.instance != 0 && facts.weight == 256));
    assert!(
        spans.iter().any(|span| word(span, &["url.full"]) == Some("https://api.cardpay.example/v2/charges"))
    );
    for span in &spans {
        let resource = &span.resource.attributes;
        assert!(attribute(resource, "service.version").is_some());
        assert!(attribute(resource, "service.instance.id").is_some());
    }
}

#[test]
fn both_halves_of_a_call_are_sent_and_fit() {
    // Whole requests only: those that began in the cycle, until the last of them surely ended.
    let spans = shop().tick(OPENED_NS, OPENED_NS + FIRST_NS + MAX_REQUEST_NS);
    let known = by_id(&spans);
    let mut children: HashMap<(TraceId, SpanId), Vec<&Span>> = HashMap::new();
    for span in &spans {
        if let Some(parent) = span.parent_span_id {
            children.entry((span.trace_id, parent)).or_default().push(span);
        }
    }
    let mut calls = BTreeMap::new();
    for span in spans.iter().filter(|span| span.start_ns < OPENED_NS + FIRST_NS) {
        let parent = span.parent_span_id.map(|parent| known.get(&(span.trace_id, parent)));
        match span.kind {
            Kind::Server => match parent {
                None => assert_eq!(service(span), "web-frontend"),
                Some(parent) => {
                    let parent = parent.expect("a server's caller is sent");
                    assert_eq!(parent.kind, Kind::Client);
                    assert_ne!(service(parent), service(span));
                    assert!(parent.start_ns <= span.start_ns && span.end_ns <= parent.end_ns);
                }
            },
            Kind::Client if address(span).is_some_and(|host| host.ends_with(".cluster.local")) => {
                let callees = children.get(&(span.trace_id, span.span_id)).map_or(&[][..], Vec::as_slice);
                let [callee] = callees else { panic!("one server for one client: {callees:?}") };
                assert_eq!(address(span).and_then(|host| host.split('.').next()), Some(service(callee)));
                *calls.entry((service(span), service(callee))).or_insert(0) += 1;
            }
            Kind::Client => {
                assert!(system(span).is_some() || address(span) == Some("api.cardpay.example"));
                assert!(!children.contains_key(&(span.trace_id, span.span_id)), "the outside sends no spans");
            }
            Kind::Consumer => {
                let link = &span.links[0];
                let producer = known.get(&(link.trace_id, link.span_id)).expect("the message was sent");
                assert_eq!(producer.kind, Kind::Producer);
                assert!(producer.end_ns.unwrap() <= span.start_ns);
                assert!(parent.is_none() || link.trace_id == span.trace_id);
            }
            Kind::Producer | Kind::Internal => assert!(parent.is_some_and(|parent| parent.is_some())),
            Kind::Unspecified => panic!("every span says its kind: {span:?}"),
        }
    }
    assert_eq!(calls.len(), 17, "calling pairs: {calls:?}");
}

/// p50 in milliseconds and error ratio of the charges that ended in an interval relative to the opening.
fn charges(from_ns: u64, to_ns: u64) -> (u64, f64) {
    let spans = shop().tick(from_ns, to_ns);
    let charges: Vec<&Span> =
        spans.iter().filter(|span| service(span) == "payments" && span.kind == Kind::Server).collect();
    let mut durations: Vec<u64> = charges.iter().map(|span| duration_ns(span) / 1_000_000).collect();
    durations.sort_unstable();
    let failed = charges.iter().filter(|span| span.status == Status::Error).count();
    (durations[durations.len() / 2], failed as f64 / charges.len() as f64)
}

#[test]
fn payments_turns_slow_and_recovers() {
    let unwell_ns = OPENED_NS + HEALTHY_FIRST_NS;
    let well_ns = unwell_ns + SLOW_NS;
    for (name, from_ns, to_ns, unwell) in [
        ("at first", OPENED_NS, unwell_ns, false),
        // The first slow answers come when the check is through: a few seconds in.
        ("then", unwell_ns + 4 * SECOND_NS, well_ns, true),
        ("after", well_ns + 8 * SECOND_NS, OPENED_NS + FIRST_NS, false),
        ("again", unwell_ns + CYCLE_NS + 4 * SECOND_NS, well_ns + CYCLE_NS, true),
        ("long ago", OPENED_NS - PAST_BEGAN_NS + 4 * SECOND_NS, OPENED_NS - PAST_ENDED_NS, true),
        ("before that", shop().past_ns(), OPENED_NS - PAST_BEGAN_NS, false),
        ("before opening", OPENED_NS - PAST_ENDED_NS + 8 * SECOND_NS, OPENED_NS, false),
    ] {
        let (median_ms, errors) = charges(from_ns, to_ns);
        if unwell {
            assert!(median_ms > 1_200 && errors > 0.05, "{name}: {median_ms} ms, {errors}");
        } else {
            assert!(median_ms < 250 && errors < 0.05, "{name}: {median_ms} ms, {errors}");
        }
    }
}

#[test]
fn only_what_waits_for_payments_slows_down_with_it() {
    let spans = first_cycle();
    let p90 = |name: &str, from_ns: u64, to_ns: u64| {
        let mut durations: Vec<u64> = spans
            .iter()
            .filter(|span| service(span) == name && span.kind == Kind::Server)
            .filter(|span| (from_ns..to_ns).contains(&span.start_ns))
            .map(duration_ns)
            .collect();
        durations.sort_unstable();
        durations[durations.len() * 9 / 10] as f64
    };
    let unwell_ns = OPENED_NS + HEALTHY_FIRST_NS;
    let ratio =
        |name| p90(name, unwell_ns, unwell_ns + SLOW_NS) / p90(name, OPENED_NS, unwell_ns - SECOND_NS);
    assert!(ratio("checkout") > 4.0, "checkout: {}", ratio("checkout"));
    for name in ["catalog", "search", "inventory", "orders", "recommendations"] {
        assert!(ratio(name) < 1.5, "{name}: {}", ratio(name));
    }
}

#[test]
fn the_past_is_sampled_and_says_so() {
    let spans = shop().tick(shop().past_ns(), OPENED_NS);
    assert!((20_000..60_000).contains(&spans.len()), "{} spans", spans.len());
    assert!(spans.iter().all(|span| span.trace_state == "ot=th:f"));
    let traces: BTreeSet<TraceId> = spans.iter().map(|span| span.trace_id).collect();
    assert!(traces.iter().all(|trace| trace.to_bytes()[9] >> 4 == 0xf), "consistent with the threshold");

    // Ten minutes, kept and in full: the kept ones stand for about as many spans as there were.
    let [from_ns, to_ns] = [OPENED_NS - 600 * SECOND_NS, OPENED_NS];
    let kept = shop().tick(from_ns, to_ns).len() * 16;
    let all = Shop::new(42, 0).tick(from_ns, to_ns).len();
    assert!((0.8..1.2).contains(&(kept as f64 / all as f64)), "{kept} for {all}");
}

#[test]
fn traffic_is_lively_and_light() {
    let spans = first_cycle();
    let per_second = spans.len() as u64 * SECOND_NS / FIRST_NS;
    assert!((150..400).contains(&per_second), "{per_second} spans/s");
    let failed_roots =
        spans.iter().filter(|span| span.parent_span_id.is_none() && span.status == Status::Error);
    assert!(failed_roots.count() > 3, "some requests of customers fail");
}

#[test]
fn no_request_comes_near_the_limit() {
    // The limit cuts a request short; it must stay a limit that nobody meets.
    let longest = shop().tick(OPENED_NS, OPENED_NS + 2 * FIRST_NS).iter().map(duration_ns).max().unwrap();
    assert!(longest < MAX_REQUEST_NS * 9 / 10, "{longest} ns");
}

#[test]
fn whatever_the_dice_say_the_limit_holds() {
    let landscape = Landscape::new(1);
    let trace_id = TraceId::from_bytes([1; 16]).unwrap();
    let mut request = Request {
        landscape: &landscape,
        chance: Chance::new(1, 1),
        opened_ns: OPENED_NS,
        deadline_ns: OPENED_NS + MAX_REQUEST_NS,
        later_trace_id: trace_id,
        trace_state: Text::new(),
        product: 1,
        user: 1,
        order: 1,
        spans: Vec::new(),
    };
    let mut handler = Handler::next(&mut request, Service::Cart, trace_id, OPENED_NS);
    handler.work(60_000_000);
    assert_eq!(handler.now_ns, OPENED_NS + MAX_REQUEST_NS);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn split_intervals_give_the_same_spans(
        seed: u64,
        // Across the opening, where sampling changes.
        begin in 0..40 * SECOND_NS,
        lengths in prop::collection::vec(0..8 * SECOND_NS, 1..6),
    ) {
        let shop = Shop::new(seed, OPENED_NS);
        let from_ns = OPENED_NS - 20 * SECOND_NS + begin;
        let mut split = Vec::new();
        let mut at_ns = from_ns;
        for length in lengths {
            split.extend(shop.tick(at_ns, at_ns + length));
            at_ns += length;
        }
        prop_assert_eq!(split, Shop::new(seed, OPENED_NS).tick(from_ns, at_ns));
    }

    #[test]
    fn other_seeds_are_other_shops(seed in 0..u64::MAX) {
        let minute = |seed| Shop::new(seed, OPENED_NS).tick(OPENED_NS, OPENED_NS + 5 * SECOND_NS);
        let traces = |seed| minute(seed).iter().map(|span| span.trace_id).collect::<BTreeSet<_>>();
        prop_assert!(traces(seed).is_disjoint(&traces(seed + 1)));
    }
}
