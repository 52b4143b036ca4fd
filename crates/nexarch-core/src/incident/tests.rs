//! Planted minutes, and the incidents that they must make, to the minute.

mod outage;
mod plant;
mod planted;

use super::*;
use plant::{Day, M0, Mood, advance, all_at_once, by_the_minute};

/// What happened, as `minute after M0: what from..to root [services]`.
fn shown(changes: &[Change]) -> Vec<String> {
    let at = |minute: u32| i64::from(minute) - i64::from(M0);
    let line = |change: &Change| {
        let incident = &change.incident;
        let to = incident.to.map(|to| at(to).to_string()).unwrap_or_default();
        let services: Vec<&str> = incident.services.iter().map(|(id, _)| id.as_str()).collect();
        format!(
            "{}: {:?} {}..{to} {} [{}]",
            at(change.minute),
            change.happened,
            at(incident.from),
            incident.root,
            services.join(" ")
        )
    };
    changes.iter().map(line).collect()
}

#[test]
fn an_open_incident_is_open_until_its_first_calm_minute() {
    let incident = |to| Incident {
        id: String::new(),
        from: 10,
        to,
        root: "a".into(),
        services: vec![("a".into(), "prod".into())],
        signals: Vec::new(),
    };
    assert!(!incident(None).is_open_at(10) && incident(None).is_open_at(11));
    assert!(incident(Some(20)).is_open_at(20) && !incident(Some(20)).is_open_at(21));
    assert!(incident(None).is_in(None) && incident(None).is_in(Some("prod")));
    assert!(!incident(None).is_in(Some("")));
}

#[test]
fn minutes_are_judged_when_they_are_closed_by_data_and_clock() {
    let ns = |minute: u64| minute * 60_000_000_000;
    let new = Watch::default();
    assert_eq!(new.due(ns(100), ns(500)), Minutes { from: 54, to: 99 }, "98 is the last whole one");
    assert_eq!(new.due(ns(500), ns(100)), Minutes { from: 54, to: 99 }, "a sender's clock runs ahead");
    let known = Watch { until: 98, ..Watch::default() };
    assert_eq!(known.due(ns(100), ns(100)), Minutes { from: 98, to: 99 });
    assert!(known.due(ns(99), ns(100)).is_empty());
    assert!(known.due(0, ns(100)).is_empty());
    assert_eq!(Watch::minutes(Minutes { from: 98, to: 99 }), Minutes { from: 34, to: 99 });
    let hours: Vec<u32> = seasons(50_000).map(|hour| hour.from).collect();
    assert_eq!(hours, [39_900, 29_820, 19_740, 9_660]);
    assert_eq!(seasons(WEEK + 30).count(), 1, "time has a beginning");
}

#[test]
fn judging_at_once_or_by_the_minute_and_across_restarts_is_the_same() {
    let mut day = Day::of(0..90);
    day.set(40..46, Mood::Failing(20));
    day.set(50..58, Mood::Slow(20));
    day.set(70..73, Mood::Failing(30));
    let (one, watch_one) = by_the_minute(&day, M0 + 20..M0 + 88);
    for step in [7, 45] {
        let (other, watch) = all_at_once(&day, M0 + 20..M0 + 88, step);
        assert_eq!(shown(&one), shown(&other), "{step}");
        assert_eq!(one, other, "{step}");
        assert_eq!(watch, watch_one, "{step}");
    }
    assert!(!one.is_empty());
}

#[test]
fn neither_order_nor_split_of_what_arrived_matters() {
    let mut day = Day::of(0..60);
    day.set(40..46, Mood::Failing(20));
    let (expected, _) = by_the_minute(&day, M0 + 20..M0 + 58);
    let (other, _) = by_the_minute(&day.shuffled(), M0 + 20..M0 + 58);
    assert_eq!(shown(&expected), shown(&other));
    assert!(shown(&expected)[0].starts_with("42: Opened"));
}
