//! Systems with one planted fault: its detector finds it, and no other finds anything.

mod more;
mod plant;
mod set;

use plant::{Shot, analyse, shots};

use super::*;
use crate::view::Health;

/// Type and affected nodes of all findings that are more than notes.
fn found(traces: &[Shot]) -> Vec<(IssueKind, Vec<String>)> {
    let issues = analyse(traces, |analysis| analysis.issues().issues);
    issues
        .into_iter()
        .filter(|issue| issue.severity > Severity::Low)
        .map(|issue| (issue.kind, issue.affected))
        .collect()
}

fn ids(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A gateway that calls one of three services, each with a database of its own.
fn healthy(shot: &mut Shot) -> u64 {
    let gateway = shot.entry("gateway", "GET /", 100);
    let name = ["orders", "stock", "users"][shot.number() % 3];
    let service = shot.call(gateway, name, "GET /it", 10, 60);
    shot.query(service, &format!("{name}-db"), "SELECT it", 20, 10);
    gateway
}

#[test]
fn a_healthy_system_has_no_findings() {
    let traces = shots(60, |shot| {
        healthy(shot);
    });
    let issues = analyse(&traces, Analysis::issues);
    assert_eq!(issues.issues, []);
    assert_eq!(
        issues.sample,
        Sampled { traces: 60, spans: 240, entry_requests: 60, of_traces: None, hours: None }
    );
    let kinds: Vec<IssueKind> = issues.not_checked.iter().map(|not| not.kind).collect();
    assert_eq!(kinds, [IssueKind::GodService], "four services are too few");
    let health = analyse(&traces, Analysis::health);
    assert_eq!((health.health_score, health.overall_score), (Some(100), Some(99.3)));
    assert_eq!((health.uptime_percentage, health.not_known.len()), (None, 2));
}

#[test]
fn a_slow_call_is_reported_where_it_is_slow() {
    let traces = shots(60, |shot| {
        let gateway = shot.entry("gateway", "GET /", 2_000);
        let orders = shot.call(gateway, "orders", "GET /orders", 10, 1_900);
        shot.query(orders, "orders-db", "SELECT orders", 20, 1_800);
    });
    let slow = vec![(IssueKind::HighLatencyEdge, ids(&["orders", "postgresql:orders-db/shop"]))];
    assert_eq!(found(&traces), slow, "callers wait for it, and are not to blame");
    assert_eq!(found(&traces[..19]), [], "19 calls are too few");
}

#[test]
fn a_failure_is_reported_where_it_begins() {
    let traces = shots(60, |shot| {
        let fails = shot.number() % 10 == 0;
        let gateway = healthy(shot);
        if fails {
            shot.spans.iter_mut().filter(|span| &*span.service != "users").for_each(|span| span.error = true);
        }
        shot.query(gateway, "sessions", "SELECT session", 1, 2);
    });
    let failures = found(&traces);
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures.iter().all(|(kind, _)| *kind == IssueKind::HighErrorRate));
    // Of 20 calls each 2 fail, those of users-db were left alone.
    let heads: Vec<&str> = failures.iter().map(|(_, affected)| &*affected[0]).collect();
    assert!(heads.contains(&"postgresql:orders-db/shop") && heads.contains(&"postgresql:stock-db/shop"));
    assert_eq!(failures[0].1[1..], ids(&["gateway", failures[0].1[2].as_str()]), "callers that fail with it");
}

#[test]
fn failures_in_a_circle_are_one() {
    let traces = shots(40, |shot| {
        let a = shot.entry("a", "GET /", 100);
        let b = shot.call(a, "b", "GET /b", 10, 80);
        shot.call(b, "a", "GET /back", 20, 10);
        if shot.number() % 4 == 0 {
            shot.spans.iter_mut().for_each(|span| span.error = true);
        }
    });
    let mut kinds: Vec<IssueKind> = found(&traces).into_iter().map(|issue| issue.0).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [IssueKind::HighErrorRate, IssueKind::CyclicDependency]);
}

#[test]
fn a_cycle_is_one_finding_wherever_it_is_entered() {
    let traces = shots(60, |shot| {
        let at = shot.number() % 3;
        let names = ["a", "b", "c"];
        let entry = shot.entry(names[at], "GET /", 100);
        shot.call(entry, names[(at + 1) % 3], "GET /next", 10, 50);
    });
    assert_eq!(found(&traces), [(IssueKind::CyclicDependency, ids(&["a", "b", "c"]))]);
}

/// Ids of the findings of one type, and what they affect.
fn ids_of(kind: IssueKind, traces: &[Shot]) -> Vec<(String, Vec<String>)> {
    let issues = analyse(traces, |analysis| analysis.issues().issues);
    issues.into_iter().filter(|issue| issue.kind == kind).map(|issue| (issue.id, issue.affected)).collect()
}

#[test]
fn a_cycle_keeps_its_id_when_it_gets_another_member() {
    // Calls from each service to others.
    let id = |calls: &[(&str, &str)]| {
        let traces = shots(60, |shot| {
            let (from, to) = calls[shot.number() % calls.len()];
            let entry = shot.entry(from, "GET /", 100);
            shot.call(entry, to, "GET /next", 10, 50);
        });
        let mut found = ids_of(IssueKind::CyclicDependency, &traces);
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    };
    let two = [("b", "c"), ("c", "b")];
    let (before, members) = id(&two);
    assert_eq!(members, ids(&["b", "c"]));
    // Later by name with a cycle as short, and first by name in a longer one.
    for joins in [[("c", "d"), ("d", "c")], [("c", "a"), ("a", "b")]] {
        let (after, members) = id(&[two, joins].concat());
        assert_eq!((after, members.len()), (before.clone(), 3), "{joins:?}");
    }
    assert_ne!(id(&[("c", "d"), ("d", "c")]).0, before, "another cycle is another finding");
}

#[test]
fn a_queue_of_ones_own_is_no_cycle() {
    let traces = |receiver: &'static str| {
        shots(40, move |shot| {
            let entry = shot.entry("a", "POST /", 50);
            shot.message(entry, receiver, "jobs");
            let other = shot.entry("b", "POST /", 50);
            shot.message(other, "a", "answers");
        })
    };
    assert_eq!(found(&traces("a")), []);
    let circle = found(&traces("b"));
    assert_eq!((circle.len(), circle[0].0), (1, IssueKind::CyclicDependency));
    let issue = analyse(&traces("b"), |analysis| analysis.issues().issues[0].clone());
    assert_eq!((issue.severity, issue.affected.len()), (Severity::Medium, 4), "two services and two queues");
}

#[test]
fn a_deep_chain_is_one_finding() {
    let chain = |shot: &mut Shot, from: usize| {
        let mut at = shot.entry(&format!("s{from}"), "GET /", 900);
        for hop in from + 1..8 {
            at = shot.call(at, &format!("s{hop}"), "GET /", 10 * hop as u64, 800 - 100 * hop as u64);
        }
    };
    // Some requests enter further down: the rest of the same chain.
    let traces = shots(60, |shot| chain(shot, shot.number() % 2));
    let wanted: Vec<String> = (0..8).map(|at| format!("s{at}")).collect();
    assert_eq!(found(&traces), [(IssueKind::DeepSyncChain, wanted)]);
    assert_eq!(found(&shots(60, |shot| chain(shot, 3))), [], "five are not too many");
}

#[test]
fn a_deep_chain_keeps_its_id_in_another_sample() {
    // Each sample has the same operations; which request is deepest, where it goes and which operation has more of
    // them differs.
    let sample = |deepest: usize, last: &str, often: &str| {
        let traces = shots(60, |shot| {
            let rare = if often == "GET /a" { "GET /b" } else { "GET /a" };
            let name = if shot.number() % 3 == 0 { rare } else { often };
            let mut at = shot.entry("shop", name, 900);
            let deep = if name == "GET /b" { deepest } else { 7 };
            for hop in 1..deep {
                let service = if hop == 6 { last.to_owned() } else { format!("s{hop}") };
                at = shot.call(at, &service, "GET /", 10 * hop as u64, 800 - 100 * hop as u64);
            }
        });
        let found = ids_of(IssueKind::DeepSyncChain, &traces);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    };
    let (id, parts) = sample(8, "s6", "GET /a");
    assert_eq!(parts.len(), 8);
    for (deepest, last, often) in
        [(7, "s6", "GET /a"), (7, "s6", "GET /b"), (6, "s6", "GET /b"), (8, "x", "GET /a")]
    {
        let (other, parts) = sample(deepest, last, often);
        assert_eq!(other, id, "{parts:?}");
    }
    let elsewhere = shots(60, |shot| {
        let mut at = shot.entry("shop", "GET /c", 900);
        for hop in 1..7 {
            at = shot.call(at, &format!("s{hop}"), "GET /", 10 * hop, 800 - 100 * hop);
        }
    });
    assert_ne!(ids_of(IssueKind::DeepSyncChain, &elsewhere)[0].0, id, "another operation is another finding");
}

#[test]
fn a_wide_request() {
    let wide = |callees: u64| {
        shots(40, |shot| {
            let gateway = shot.entry("gateway", "GET /", 100);
            for at in 0..callees {
                shot.call(gateway, &format!("s{at:02}"), "GET /", 10, 20 + at);
            }
        })
    };
    assert_eq!(found(&wide(11)), [(IssueKind::FanOutOverload, ids(&["gateway"]))]);
    assert_eq!(found(&wide(10)), []);
}

#[test]
fn a_query_in_a_loop() {
    let traces = |times: u64| {
        shots(40, |shot| {
            let gateway = shot.entry("gateway", "GET /", 900);
            let orders = shot.call(gateway, "orders", "GET /orders", 5, 880);
            for at in 0..times {
                shot.query(orders, "orders-db", &format!("SELECT item {at}"), 10 + at * 30, 20);
            }
        })
    };
    let looped = found(&traces(8));
    assert_eq!(looped, [(IssueKind::NPlusOne, ids(&["orders", "postgresql:orders-db/shop"]))]);
    assert_eq!(found(&traces(4)), [], "four are no loop");
    let issue = analyse(&traces(8), |analysis| analysis.issues().issues[0].clone());
    assert_eq!(
        (issue.evidence["calls_in_turn"].to_bits(), issue.evidence["saving_ms"].to_bits()),
        (8f64.to_bits(), 140f64.to_bits())
    );
    assert_eq!(issue.example_trace_id.map(|id| id.len()), Some(32));
    assert_eq!(issue.confidence.to_bits(), 0.571_429f64.to_bits(), "40/70");
}

#[test]
fn calls_of_a_service_in_a_loop() {
    let traces = shots(40, |shot| {
        let gateway = shot.entry("gateway", "GET /", 900);
        (0..6).for_each(|at| {
            shot.call(gateway, "prices", "GET /price", 10 + at * 30, 20);
        });
    });
    assert_eq!(found(&traces), [(IssueKind::ChattyCalls, ids(&["gateway", "prices"]))]);
}

#[test]
fn calls_that_repeat_failed_ones() {
    let traces = shots(100, |shot| {
        let gateway = shot.entry("gateway", "GET /", 400);
        // Every twentieth is tried 20 times: 2 calls for each that was meant, yet 1 request of 20.
        let tries = if shot.number() % 20 == 0 { 20 } else { 1 };
        for at in 0..tries {
            let call = shot.call(gateway, "flaky", "GET /", 5 + at * 15, 10);
            if at + 1 < tries {
                shot.fail_call(call);
            }
        }
    });
    let storm = found(&traces);
    let kinds: Vec<IssueKind> = storm.iter().map(|issue| issue.0).collect();
    // That many failures are also just that: failures.
    assert_eq!(kinds, [IssueKind::HighErrorRate, IssueKind::RetryStorm]);
    assert_eq!(storm[1].1, ids(&["gateway", "flaky"]));
    let amplified = analyse(&traces, |analysis| analysis.dependencies().amplification);
    assert_eq!((amplified.len(), amplified[0].factor.to_bits()), (1, 1.95f64.to_bits()));
}

#[test]
fn a_database_that_two_write() {
    let traces = |second: &'static str| {
        shots(60, move |shot| {
            let gateway = shot.entry("gateway", "GET /", 100);
            let (name, does) = [("orders", "INSERT orders"), ("stock", second)][shot.number() % 2];
            let service = shot.call(gateway, name, "GET /", 10, 60);
            shot.query(service, "main", does, 20, 10);
        })
    };
    let shared = ids(&["postgresql:main/shop", "orders", "stock"]);
    assert_eq!(found(&traces("UPDATE orders")), [(IssueKind::SharedDatabase, shared)]);
    let note = analyse(&traces("SELECT orders"), |analysis| analysis.issues().issues);
    assert_eq!((note.len(), note[0].severity, note[0].kind), (1, Severity::Low, IssueKind::SharedDatabase));
}

#[test]
fn a_service_that_does_everything() {
    let traces = shots(120, |shot| {
        let at = shot.number() % 10;
        let entry = shot.entry(&format!("edge{at}"), "GET /", 300);
        let god = shot.call(entry, "god", &format!("GET /{at}"), 10, 280);
        shot.call(god, &format!("leaf{at}"), "GET /", 20, 10);
    });
    assert_eq!(found(&traces), [(IssueKind::GodService, ids(&["god"]))]);
}

#[test]
fn what_all_requests_need() {
    let traces = shots(100, |shot| {
        let gateway = shot.entry("gateway", "GET /", 100);
        let auth = shot.call(gateway, "auth", "GET /token", 5, 20);
        let keys = shot.call(auth, "keys", "GET /key", 7, 5);
        shot.call(gateway, "shop", "GET /shop", 40, 30);
        if shot.number() % 33 == 0 {
            shot.fail_call(keys);
            shot.fail_call(auth);
            shot.spans[0].error = true;
        }
    });
    assert_eq!(found(&traces), [(IssueKind::SinglePointOfFailure, ids(&["auth"]))]);
    let nodes = analyse(&traces, |analysis| analysis.dependencies().nodes);
    let auth = nodes.iter().find(|node| node.id == "auth").unwrap();
    assert_eq!((auth.dominated, auth.cut_off, auth.blast_radius), (1, 1, 1));
    assert_eq!((auth.entry_share, auth.hardness), (Some(1.0), Some(1.0)));
    // The same without a failure: nobody knows whether requests would survive one.
    let unharmed = shots(100, |shot| {
        let gateway = shot.entry("gateway", "GET /", 100);
        let auth = shot.call(gateway, "auth", "GET /token", 5, 20);
        shot.call(auth, "keys", "GET /key", 7, 5);
    });
    assert_eq!(found(&unharmed), []);
}

#[test]
fn where_the_time_goes() {
    let traces = shots(30, |shot| {
        healthy(shot);
    });
    let answer = analyse(&traces, Analysis::bottlenecks);
    let shares: f64 = answer.bottlenecks.iter().map(|node| node.critical_path_share).sum();
    assert!((shares - 1.0).abs() < 1e-5, "critical paths are divided without rest: {shares}");
    let first = &answer.bottlenecks[0];
    assert_eq!((&*first.id, first.critical_path_share.to_bits()), ("gateway", 0.42f64.to_bits()));
    let product = first.critical_path_share * first.load_factor * first.fan_in_factor;
    assert!((first.score - product).abs() < 1e-5);
    let path = &answer.critical_paths[0];
    assert_eq!((&*path.operation, path.requests, path.p50_ms), ("GET /", 30, Some(100.0)));
    let nothing = analyse(&[], Analysis::bottlenecks);
    assert!(nothing.bottlenecks.is_empty() && nothing.reason.is_some());
}
