//! One case each for every sentence of the definition.

use std::collections::BTreeSet;

use super::*;

fn found(day: &Day, minutes: std::ops::Range<u32>) -> Vec<String> {
    shown(&by_the_minute(day, M0 + minutes.start..M0 + minutes.end).0)
}

#[test]
fn it_opens_with_the_third_minute_and_closes_after_five_calm_ones() {
    let mut day = Day::of(0..60);
    day.set(40..45, Mood::Failing(20));
    assert_eq!(
        found(&day, 20..58),
        ["42: Opened 40.. pay [front pay shop]", "49: Closed 40..45 pay [front pay shop]"]
    );
}

#[test]
fn two_minutes_of_five_are_none_and_three_with_gaps_are_one() {
    let mut day = Day::of(0..60);
    day.set(40..42, Mood::Swallowed(20));
    assert_eq!(found(&day, 20..58), [""; 0]);
    day.set(44..45, Mood::Swallowed(20));
    assert_eq!(found(&day, 20..58), ["44: Opened 40.. pay [pay]", "49: Closed 40..45 pay [pay]"]);
}

#[test]
fn only_calm_minutes_in_a_row_end_it() {
    let mut day = Day::of(0..60);
    day.set(40..45, Mood::Swallowed(20));
    day.set(49..50, Mood::Swallowed(20));
    assert_eq!(found(&day, 20..58), ["42: Opened 40.. pay [pay]", "54: Closed 40..50 pay [pay]"]);
}

#[test]
fn what_was_anomalous_before_minutes_that_nobody_judged_does_not_adjoin_what_comes_after() {
    let mut day = Day::of(0..80);
    day.set(40..42, Mood::Swallowed(20));
    day.set(60..61, Mood::Swallowed(20));
    let mut watch = Watch::default();
    let minutes = |from, to| Minutes { from: M0 + from, to: M0 + to };
    assert_eq!(advance(&mut watch, &day, minutes(20, 42)), []);
    assert_eq!(advance(&mut watch, &day, minutes(60, 66)), [], "one minute of five");
}

#[test]
fn fewer_than_thirty_requests_in_five_minutes_prove_nothing() {
    let mut day = Day::of(0..60);
    day.set(34..60, Mood::Few(5));
    day.set(40..48, Mood::FewFail(5));
    let rates = found(&day, 20..58);
    assert!(rates[0].starts_with("36: Opened 34.."), "the rate dropped: {rates:?}");
    // 5 of 5 fail, and only the rate is told.
    let (changes, _) = by_the_minute(&day, M0 + 20..M0 + 58);
    assert!(changes.iter().flat_map(|it| &it.incident.signals).all(|it| it.signal == Signal::RateDrop));
}

#[test]
fn an_incident_of_two_hours_does_not_become_usual() {
    let mut day = Day::of(0..240);
    day.set(40..160, Mood::Failing(20));
    assert_eq!(
        found(&day, 20..238),
        ["42: Opened 40.. pay [front pay shop]", "164: Closed 40..160 pay [front pay shop]"]
    );
}

#[test]
fn five_minutes_apart_are_one_incident_and_six_are_two() {
    let mut day = Day::of(0..80);
    day.set(40..45, Mood::Swallowed(20));
    day.set(50..55, Mood::Swallowed(20));
    let events = found(&day, 20..78);
    assert_eq!(events[1..3], ["49: Closed 40..45 pay [pay]", "52: Updated 40.. pay [pay]"]);
    assert_eq!(events[3..], ["59: Closed 40..55 pay [pay]"]);
    let mut day = Day::of(0..80);
    day.set(40..45, Mood::Swallowed(20));
    day.set(51..56, Mood::Swallowed(20));
    let (changes, _) = by_the_minute(&day, M0 + 20..M0 + 78);
    assert_eq!(
        shown(&changes)[2..],
        ["53: Opened 51.. pay [pay]", "60: Closed 51..56 pay [pay]"],
        "another one"
    );
    assert_ne!(changes[0].incident.id, changes[2].incident.id);
}

#[test]
fn services_that_do_not_call_each_other_have_incidents_of_their_own() {
    let mut day = Day::of(0..60);
    day.set(40..43, Mood::Swallowed(20));
    day.set(43..46, Mood::AloneFails(20));
    assert_eq!(found(&day, 20..47), ["42: Opened 40.. pay [pay]", "45: Opened 43.. alone [alone]"]);
}

#[test]
fn what_joins_two_incidents_makes_them_one() {
    // `pay` and `mail` have nothing to do with each other, but that `front` depends on both.
    let mut day = Day::of(0..60);
    day.set(40..43, Mood::Swallowed(20));
    day.set(43..46, Mood::MailFails(20));
    day.set(46..50, Mood::Failing(20));
    let events = found(&day, 20..56);
    assert_eq!(events[..2], ["42: Opened 40.. pay [pay]", "45: Opened 43.. mail [mail]"]);
    assert_eq!(
        events[2..],
        [
            "48: Merged 43..48 mail [mail]",
            "48: Updated 40.. pay [front mail pay shop]",
            "54: Closed 40..50 pay [front mail pay shop]"
        ]
    );
}

#[test]
fn services_with_others_between_them_share_an_incident() {
    let mut day = Day::of(0..60);
    day.set(40..43, Mood::Swallowed(20));
    day.set(43..46, Mood::FrontFails(20));
    assert_eq!(found(&day, 20..47), ["42: Opened 40.. pay [pay]", "45: Updated 40.. pay [front pay]"]);
}

#[test]
fn who_takes_messages_shares_an_incident_with_who_sends_them() {
    let mut day = Day::of(0..60);
    day.set(40..43, Mood::SenderFails(20));
    day.set(43..46, Mood::TakerFails(20));
    assert_eq!(
        found(&day, 20..47),
        ["42: Opened 40.. orders [orders]", "45: Updated 40.. bills [bills orders]"]
    );
}

#[test]
fn slowness_of_the_deepest_is_the_root() {
    let mut day = Day::of(0..60);
    day.set(40..46, Mood::Slow(20));
    let (changes, _) = by_the_minute(&day, M0 + 20..M0 + 58);
    assert_eq!(
        shown(&changes),
        ["42: Opened 40.. pay [front pay shop]", "50: Closed 40..46 pay [front pay shop]"]
    );
    let signals = &changes[0].incident.signals;
    assert_eq!(signals.len(), 4, "three services and the entry operation: {signals:?}");
    let entry = signals.iter().find(|it| it.operation.is_some()).unwrap();
    assert_eq!((entry.service.as_str(), entry.operation.as_deref()), ("front", Some("GET /")));
    assert!(entry.value > 2_000.0 && entry.expected.is_some_and(|ms| (95.0..115.0).contains(&ms)));
}

#[test]
fn requests_that_stop_coming_are_missed_where_they_stop_first() {
    let mut day = Day::of(0..60);
    day.set(40..46, Mood::Few(2));
    let events = found(&day, 20..58);
    assert!(events[0].starts_with("42: Opened 40.. "), "{events:?}");
    // Upstream of all that miss requests; `alone` has an incident of its own.
    let roots: BTreeSet<&str> = events[..2].iter().map(|it| it.split(' ').nth(3).unwrap()).collect();
    assert_eq!(roots, BTreeSet::from(["alone", "front"]), "{events:?}");
    let mut day = Day::of(0..60);
    day.set(40..46, Mood::Unpaid);
    assert_eq!(found(&day, 20..58)[0], "42: Opened 40.. pay [pay]");
}

#[test]
fn what_is_usual_at_this_hour_of_the_week_is_no_incident() {
    let mut day = Day::of(0..60);
    day.set(40..48, Mood::Slow(20));
    assert_eq!(found(&day, 20..58).len(), 2, "the hour before was quicker");
    day.weeks_ago(&[Mood::Slow(20), Mood::Slow(20)]);
    assert_eq!(found(&day, 20..58).len(), 2, "two weeks are no season");
    day.weeks_ago(&[Mood::Slow(20), Mood::Slow(20), Mood::Slow(20)]);
    assert_eq!(found(&day, 20..58), [""; 0]);
    // And the other way round: the hour before was as bad, the season was not.
    let mut day = Day::of(0..60);
    day.set(0..60, Mood::Failing(20));
    day.weeks_ago(&[Mood::Healthy, Mood::Healthy, Mood::Healthy]);
    assert_eq!(found(&day, 30..58), ["32: Opened 30.. pay [front pay shop]"]);
}

#[test]
fn where_nothing_is_known_yet_fixed_limits_hold() {
    let mut day = Day::of(0..30);
    day.set(3..9, Mood::Slow(20));
    assert_eq!(
        found(&day, 0..20),
        ["5: Opened 3.. pay [front pay shop]", "13: Closed 3..9 pay [front pay shop]"]
    );
    let mut day = Day::of(0..30);
    day.set(3..9, Mood::Failing(2));
    assert_eq!(found(&day, 0..20), [""; 0], "5 % is not over 5 %");
}
