//! An outage of everything at once is grouped as a small one, with work that is bounded.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::{
    near::{Calls, Places},
    tracks::Subject,
};
use super::*;
use crate::{
    facts::Facts,
    infer::{contribution, testing::*},
    rollup::Delta,
};

/// Each service calls the next of its chain; each operation of the first is an entry operation.
const CHAINS: u32 = 50;
const LINKS: u64 = 10;
const OPERATIONS: u32 = 10;
/// Requests a minute of each operation.
const EACH: u32 = 10;

fn minute(is_ill: bool) -> Vec<u8> {
    let (ms, span_ms) = (1_000_000, if is_ill { 3_000 } else { 100 });
    let mut once = Delta::default();
    for (chain, operation) in (0..CHAINS).flat_map(|chain| (0..OPERATIONS).map(move |nth| (chain, nth))) {
        let spans = (0..LINKS).flat_map(|link| {
            let name = format!("{chain:02}-{link}");
            let own =
                server(&name, 2 * link + 1, 2 * link).with(|it| it.name = format!("op{operation}").into());
            [own, client(&name, 2 * link + 2, 2 * link + 1)]
        });
        let spans: Vec<Facts> =
            spans.map(|span| Facts { error: is_ill, duration_ns: Some(span_ms * ms), ..span }).collect();
        once.add(&contribution(&spans));
    }
    let mut sum = Delta::default();
    for _ in 0..EACH {
        sum.add(&once);
    }
    sum.encode().remove(0).1
}

#[test]
fn a_thousand_subjects_that_fail_in_one_minute_are_grouped_by_pairs_of_services() {
    let (well, ill) = (minute(false), minute(true));
    let minutes: Vec<(u32, Vec<u8>)> =
        (0..33).map(|at| (M0 + at, if at < 30 { well.clone() } else { ill.clone() })).collect();
    let evidence = Evidence { minutes: &minutes, seasons: &[], latency_objective_ms: 1_000.0 };
    let due = Minutes { from: M0 + 30, to: M0 + 33 };
    let tracks = Tracks::of(due, evidence, &[]).unwrap();
    let (mut watch, mut calls, mut changes) = (Watch::default(), Calls::of(&minutes), Vec::new());
    for minute in due.from..due.to {
        let opened = watch.judge(&tracks, minute, evidence.latency_objective_ms);
        watch.group(opened, minute, &mut calls, &mut changes).unwrap();
    }
    assert_eq!(watch.runs.len(), 2_000, "both signals of 500 services and 500 operations");
    let chain = |chain: u32| (0..LINKS).map(|link| format!("{chain:02}-{link}")).collect::<Vec<_>>();
    let mut found: Vec<String> = shown(&changes);
    found.sort();
    let mut expected: Vec<String> = (0..CHAINS)
        .map(|nth| format!("32: Opened 30.. {nth:02}-{} [{}]", LINKS - 1, chain(nth).join(" ")))
        .collect();
    expected.sort();
    assert_eq!(found, expected);
    // 500 searches of 501 nodes (with `user`) and 450 edges, 500 · 500 pairs, and those of each incident.
    let work = calls.known().unwrap().work();
    assert!(work <= 500 * (501 + 450) + 500 * 500 + 50 * 10 * 10, "{work}");
}

fn run(service: u8, incident: u8, from: u32, to: Option<u32>) -> Run {
    Run {
        subject: Subject { service: name(service), environment: String::new(), operation: None },
        signal: Signal::P95,
        from,
        to,
        calm: 0,
        expected: Expected::Unknown,
        shown: Reading { value: 0.0, expected: None, z: None, is_anomalous: true, is_calm: false },
        incident: format!("i{incident}"),
    }
}

fn name(service: u8) -> String {
    format!("s{service}")
}

/// By the definition: one of them is met on a walk from the other.
fn are_near(a: &str, b: &str, calls: &[(u8, u8)]) -> bool {
    let walk = |from: &str, to: &str| {
        let mut met = BTreeSet::from([from.to_owned()]);
        for _ in calls {
            let next = calls.iter().filter(|(from, _)| met.contains(&name(*from)));
            met.extend(next.map(|(_, to)| name(*to)).collect::<Vec<_>>());
        }
        met.contains(to)
    };
    walk(a, b) || walk(b, a)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Services 8 and 9 call nobody and are called by nobody.
    #[test]
    fn a_run_is_placed_as_if_it_were_compared_with_every_other(
        calls in proptest::collection::vec((0u8..8, 0u8..8), 0..10),
        runs in proptest::collection::vec((0u8..10, 0u8..4, 0u32..5, proptest::option::of(5u32..20)), 0..12),
        new in (0u8..10, 15u32..20),
    ) {
        let spans: Vec<Facts> = calls.iter().zip(0..).flat_map(|((from, to), nth)| {
            let id = 3 * nth + 1;
            [server(&name(*from), id, 0), client(&name(*from), id + 1, id), server(&name(*to), id + 2, id + 1)]
        }).collect();
        let minutes = contribution(&spans).encode();
        let mut known = Calls::of(&minutes);
        let new = run(new.0, 0, new.1, None);
        let mut runs: Vec<Run> = runs.into_iter().map(|(service, id, from, to)| run(service, id, from, to)).collect();
        let mut places = Places::of(&runs, std::slice::from_ref(&new), known.known().unwrap());
        let expected = |runs: &[Run]| -> BTreeSet<String> {
            let fits = |other: &&Run| other.to.is_none_or(|to| to + APART >= new.from)
                && are_near(&other.subject.service, &new.subject.service, &calls);
            runs.iter().filter(fits).map(|other| other.incident.clone()).collect()
        };
        prop_assert_eq!(places.near(&new), expected(&runs));
        places.merge(&BTreeSet::from(["i1".to_owned(), "i2".to_owned()]), "i0");
        for run in &mut runs {
            if run.incident != "i3" { run.incident = "i0".into(); }
        }
        prop_assert_eq!(places.near(&new), expected(&runs));
    }
}
