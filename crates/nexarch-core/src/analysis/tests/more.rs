//! What answers show beside findings, and findings that rest on more than one window.

use super::{
    plant::{Shot, analyse, shots},
    *,
};
use crate::{
    graph::tests::{context, rollup},
    season::Regressions,
};

fn facts(traces: &[Shot]) -> Vec<&[Facts]> {
    traces.iter().map(|shot| &shot.spans[..]).collect()
}

/// A gateway that calls a service which asks its database, for so long.
fn hour(ms: u64) -> Vec<Shot> {
    shots(60, move |shot| {
        let gateway = shot.entry("gateway", "GET /", ms + 40);
        let orders = shot.call(gateway, "orders", "GET /orders", 10, ms + 20);
        shot.query(orders, "orders-db", "SELECT orders", 15, ms);
    })
}

#[test]
fn calls_that_got_slower_than_usual_are_found_below_the_objective() {
    let weeks: Vec<_> = (0..4).map(|week| rollup(&facts(&hour(100 + week)))).collect();
    let (now, before) = (hour(400), hour(101));
    let regressed = |traces: &[Shot]| Regressions::of(&rollup(&facts(traces)), &weeks, None);
    let [worse, same] = [regressed(&now), regressed(&before)];
    let analysed = |traces: &[Shot], regressed| {
        let context = Context { regressed: Some(regressed), ..context() };
        let analysis = Analysis::of(&rollup(&facts(traces)), facts(traces), &context, Options::default());
        (analysis.issues().issues, analysis.health().services, analysis.architecture_map())
    };
    let (issues, services, map) = analysed(&now, &worse);
    let slow: Vec<(IssueKind, &[String])> =
        issues.iter().map(|issue| (issue.kind, &issue.affected[..])).collect();
    assert_eq!(slow, [(IssueKind::HighLatencyEdge, &ids(&["orders", "postgresql:orders-db/shop"])[..])]);
    let evidence = &issues[0].evidence;
    assert!(
        evidence["hour_p95_ms"] > 390.0 && evidence["usual_p95_ms"] < 110.0 && evidence["robust_z"] > 4.0
    );
    assert!(issues[0].severity_reason.contains("usual at this hour of the week"), "{:?}", issues[0]);
    assert!(issues[0].confidence > 0.666 && issues[0].confidence <= 0.666_667, "60/90 · (1 − q)");
    let states: Vec<(&str, Health)> = services.iter().map(|it| (&*it.id, it.health_status)).collect();
    assert_eq!(states, [("gateway", Health::Warning), ("orders", Health::Warning)]);
    let orders = map.nodes.iter().find(|node| node.id == "orders").unwrap();
    assert_eq!(orders.health_status, Some(Health::Warning));
    let (issues, services, _) = analysed(&before, &same);
    assert_eq!((issues, services[0].health_status), (vec![], Health::Healthy));
}

/// Own times of a frame and all below.
fn own(frame: &Frame) -> f64 {
    frame.self_ms + frame.children.iter().map(own).sum::<f64>()
}

#[test]
fn a_flame_has_the_time_of_each_stack() {
    let traces = shots(30, |shot| {
        let gateway = shot.entry("gateway", "GET /", 100);
        let orders = shot.call(gateway, "orders", "GET /orders", 10, 62);
        shot.query(orders, "orders-db", "SELECT it", 20, 10);
    });
    let paths = analyse(&traces, Analysis::bottlenecks).critical_paths;
    let flame = paths[0].flame.as_ref().unwrap();
    let shape = |frame: &Frame| (frame.id.clone(), frame.value_ms, frame.self_ms);
    assert_eq!(shape(flame), ("gateway".into(), 100.0, 38.0));
    // The client's half of the call, the server's, the query: each below its caller.
    let call = &flame.children[0];
    assert_eq!((shape(call), flame.children.len()), (("gateway".into(), 62.0, 2.0), 1));
    let orders = &call.children[0];
    assert_eq!(shape(orders), ("orders".into(), 60.0, 50.0));
    let query = &orders.children[0];
    let below = query.children.first().unwrap_or(query);
    assert_eq!((&*below.id, below.value_ms), ("postgresql:orders-db/shop", 10.0));
    assert!((own(flame) - flame.value_ms).abs() < 1e-6, "own times are the whole");
}

#[test]
fn the_map_says_where_the_time_goes() {
    let map = analyse(&hour(50), Analysis::architecture_map);
    assert_eq!((map.nodes.len(), map.sample.traces), (4, 60), "whoever calls from outside stands on it, too");
    assert_eq!(map.bottlenecks[0].id, "postgresql:orders-db/shop");
    assert_eq!((&*map.critical_paths[0].operation, map.critical_paths[0].requests), ("GET /", 60));
    assert!(map.critical_paths[0].example_trace_id.is_some() && map.critical_paths[0].flame.is_none());
    let time: f64 = map.critical_paths[0].steps.iter().map(|step| step.share).sum();
    assert!((time - 1.0).abs() < 1e-5, "{time}");
}

#[test]
fn services_in_the_same_traces_are_coupled() {
    let traces = shots(60, |shot| {
        let gateway = shot.entry("gateway", "GET /", 100);
        // Half of the requests are orders, which need stock and mail; the others need users.
        let names = if shot.number() % 2 == 0 { ["stock", "mail"] } else { ["users", "users"] };
        for (at, name) in names.into_iter().enumerate() {
            let called = shot.call(gateway, name, "GET /it", 10 + 30 * at as u64, 20);
            if name == "stock" {
                shot.call(called, "shelf", "GET /it", 12, 10);
            }
        }
    });
    let company = analyse(&traces, Analysis::dependencies).temporal_coupling;
    let services: Vec<[&str; 2]> = company.iter().map(|it| it.services.each_ref().map(|id| &**id)).collect();
    // Stock calls shelf; the gateway calls all others, and is in all traces.
    assert_eq!(services, [["mail", "shelf"], ["mail", "stock"]]);
    assert_eq!((company[0].lift, company[0].support, company[0].traces), (2.0, 0.5, 30));
    assert_eq!(analyse(&traces[..18], Analysis::dependencies).temporal_coupling, [], "nine times are luck");
}

#[test]
fn a_trace_counts_as_many_as_it_stands_for() {
    // Of 100 requests 90 take the short way, but failures and rare operations are sampled like the others.
    let traces = |weighed: bool| {
        let mut traces = shots(40, |shot| {
            let short = shot.number() < 20;
            let gateway = shot.entry("gateway", if short { "GET /" } else { "GET /rare" }, 100);
            shot.call(gateway, if short { "short" } else { "long" }, "GET /it", 0, 100);
        });
        if weighed {
            traces[..20].iter_mut().for_each(|shot| sample::weigh(&mut shot.spans, 9.0));
        }
        traces
    };
    let share = |weighed: bool| {
        let nodes = analyse(&traces(weighed), Analysis::dependencies).nodes;
        nodes.iter().find(|node| node.id == "long").unwrap().entry_share
    };
    assert_eq!((share(false), share(true)), (Some(0.5), Some(0.1)));
    let answer = analyse(&traces(true), Analysis::bottlenecks).bottlenecks;
    let time = |id: &str| answer.iter().find(|node| node.id == id).unwrap().critical_path_share;
    assert!((time("short") / time("long") - 9.0).abs() < 1e-3, "{answer:?}");
}

#[test]
fn a_leaf_with_many_callers_is_no_single_point() {
    let traces = shots(70, |shot| {
        let gateway = shot.entry(&format!("edge{}", shot.number() % 7), "GET /", 100);
        let auth = shot.call(gateway, "auth", "GET /token", 5, 20);
        shot.call(gateway, "users", "GET /user", 30, 20);
        if shot.number() % 9 == 0 {
            shot.fail_call(auth);
            shot.spans[0].error = true;
        }
    });
    let issues = analyse(&traces, Analysis::issues).issues;
    assert!(issues.iter().all(|issue| issue.kind == IssueKind::HighErrorRate), "{issues:?}");
}

#[test]
fn findings_say_how_calls_are_known() {
    // The callee's span is a child of the caller's, without a client half.
    let traces = shots(60, |shot| {
        let gateway = shot.entry("gateway", "GET /", 3_000);
        shot.call(gateway, "orders", "GET /orders", 10, 2_900);
        shot.drop_client_halves();
    });
    let issues = analyse(&traces, Analysis::issues).issues;
    let slow = issues.iter().find(|issue| issue.kind == IssueKind::HighLatencyEdge).unwrap();
    assert!(slow.description.ends_with("These calls are inferred from a span and its parent."), "{slow:?}");
    let seen = analyse(&hour(2_000), Analysis::issues).issues;
    assert!(!seen[0].description.contains("inferred"), "{seen:?}");
}

#[test]
fn asking_a_queue_again_and_again_is_no_loop_of_calls() {
    let traces = shots(40, |shot| {
        let worker = shot.entry("worker", "GET /tick", 900);
        for at in 0..8 {
            shot.poll(worker, "jobs", 10 + at * 30, 20);
        }
    });
    assert_eq!(found(&traces), []);
}

#[test]
fn calls_of_another_host_inside_of_queries_count_beside_them() {
    let traces = shots(40, |shot| {
        let gateway = shot.entry("gateway", "GET /", 900);
        for at in 0..6 {
            let query = shot.query(gateway, &format!("db{at}"), "SELECT it", 10 + at * 30, 20);
            shot.ask(query, &format!("api{at}.x"), 12 + at * 30, 10);
        }
    });
    assert_eq!(found(&traces), [(IssueKind::FanOutOverload, ids(&["gateway"]))], "12 callees");
}
