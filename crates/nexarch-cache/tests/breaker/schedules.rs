//! Callers and probes in every order, and how late is too late.

use crate::breaker::{SILENT_LIMIT, Switch, TRIALS};
use crate::{LIFE, TURN, admit, at, closed};
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::thread;
use std::sync::Arc;

/// `NEXARCH_PROOF` asks for the longer run.
#[expect(clippy::disallowed_methods, reason = "a switch of tests, not of the program")]
fn schedules() -> usize {
    if std::env::var_os("NEXARCH_PROOF").is_some() { 90_000 } else { 3000 }
}

/// Twice as many callers as it takes wait in vain at once, while others are let in: it opens once, and what the late
/// ones report is of the past.
#[test]
fn many_silent_calls_open_it_once() {
    shuttle::check_random(
        || {
            let switch = Arc::new(closed());
            let (opened, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
            let calls = (0..2 * SILENT_LIMIT).map(|_| {
                let (switch, opened, refused) =
                    (Arc::clone(&switch), Arc::clone(&opened), Arc::clone(&refused));
                thread::spawn(move || match admit(&switch, 12_000) {
                    Some(pass) => {
                        opened.fetch_add(u64::from(switch.unanswered(pass, at(10_001))), SeqCst);
                    }
                    None => {
                        refused.fetch_add(1, SeqCst);
                    }
                })
            });
            calls.collect::<Vec<_>>().into_iter().for_each(|call| call.join().unwrap());
            assert_eq!(opened.load(SeqCst), 1);
            assert!(refused.load(SeqCst) <= SILENT_LIMIT);
            assert!(!switch.is_closed());
        },
        schedules(),
    );
}

/// Two lines probe, a loss comes between, late silence of earlier calls comes at any time: never two probes at once,
/// and a closed breaker was closed by a probe that began after the loss.
#[test]
fn a_probe_from_before_a_loss_closes_nothing() {
    shuttle::check_random(
        || {
            let switch = Arc::new(closed());
            let late: Vec<_> = (0..SILENT_LIMIT).map(|_| admit(&switch, 12_000).unwrap()).collect();
            assert!(switch.trip());
            let old = switch.probe(at(20_000), LIFE).unwrap();
            let loser = {
                let switch = Arc::clone(&switch);
                // The connection of the old probe is lost while its answer is on the way.
                thread::spawn(move || switch.trip())
            };
            let answers = {
                let switch = Arc::clone(&switch);
                thread::spawn(move || switch.close(old, at(20_000)))
            };
            let silence = {
                let switch = Arc::clone(&switch);
                thread::spawn(move || {
                    late.into_iter().filter(|pass| switch.unanswered(*pass, at(20_000))).count()
                })
            };
            let (lost, closed) = (loser.join().unwrap(), answers.join().unwrap());
            assert!(lost, "it was half open or closed when the loss came");
            assert_eq!(silence.join().unwrap(), 0, "silence of an earlier period");
            // Whichever came first, in the end there is no connection.
            assert!(!switch.is_closed(), "closed by the probe: {closed}");
            assert!(switch.probe(at(20_001), LIFE).is_some(), "and the next probe may go");
        },
        schedules(),
    );
}

#[test]
fn one_probe_at_a_time() {
    shuttle::check_random(
        || {
            let switch = Arc::new(Switch::new());
            let probes = (0..3).map(|_| {
                let switch = Arc::clone(&switch);
                thread::spawn(move || switch.probe(at(10_000), LIFE).is_some())
            });
            let probes: Vec<_> = probes.collect();
            let through =
                probes.into_iter().filter_map(|probe| probe.join().ok()).filter(|through| *through).count();
            assert_eq!(through, 1);
        },
        schedules(),
    );
}

/// A breaker that silence opened and a probe closed: on trial.
fn on_trial() -> Switch {
    let switch = closed();
    let calls: Vec<_> = (0..SILENT_LIMIT).map(|_| admit(&switch, 12_000).unwrap()).collect();
    let opened = calls.into_iter().filter(|call| switch.unanswered(*call, at(11_000))).count();
    assert_eq!(opened, 1);
    let probe = switch.probe(at(11_000), LIFE).unwrap();
    assert!(switch.close(probe, at(11_000)));
    switch
}

/// Many come at once: of the whole crowd one waits in vain, and nobody after it.
#[test]
fn on_trial_one_call_at_a_time_pays() {
    shuttle::check_random(
        || {
            let switch = Arc::new(on_trial());
            let calls = (0..6).map(|_| {
                let switch = Arc::clone(&switch);
                thread::spawn(move || {
                    let pass = admit(&switch, 12_000)?;
                    assert!(switch.unanswered(pass, at(12_000)), "it was the only one");
                    Some(())
                })
            });
            let calls: Vec<_> = calls.collect();
            assert_eq!(calls.into_iter().filter_map(|call| call.join().unwrap()).count(), 1);
            assert!(!switch.is_closed());
            assert!(switch.probe(at(12_999), LIFE).is_none(), "held off");
            assert!(switch.probe(at(13_000), LIFE).is_some());
        },
        schedules(),
    );
}

/// Calls that are answered, given up and late end a trial once, and never let two in at a time.
#[test]
fn a_trial_ends_with_its_last_answer() {
    shuttle::check_random(
        || {
            let switch = Arc::new(on_trial());
            let inside = Arc::new(AtomicU64::new(0));
            // Together one answer less than it takes.
            let calls = (0..3).map(|caller| {
                let (switch, inside) = (Arc::clone(&switch), Arc::clone(&inside));
                thread::spawn(move || {
                    let mut answered = 0;
                    for _ in 0..2 {
                        let Some(pass) = admit(&switch, 12_000) else { continue };
                        let others = inside.fetch_add(1, SeqCst);
                        assert_eq!(others, 0, "two at a time");
                        inside.fetch_sub(1, SeqCst);
                        if caller > 0 {
                            switch.answered(pass);
                            answered += 1;
                        }
                        switch.release(pass);
                    }
                    answered
                })
            });
            let calls: Vec<_> = calls.collect();
            let answered: u64 = calls.into_iter().map(|call| call.join().unwrap()).sum();
            // It goes on from there alone.
            for _ in answered..TRIALS {
                let pass = admit(&switch, 12_000).expect("nobody is inside");
                switch.answered(pass);
            }
            let both = (admit(&switch, 12_000), admit(&switch, 12_000));
            assert!(matches!(both, (Some(_), Some(_))), "the trial is over");
        },
        schedules(),
    );
}

/// So many calls, one after the other; how many were in vain until it opened, if it did.
fn silent_until_open(switch: &Switch, calls: impl Iterator<Item = bool>) -> Option<u64> {
    let mut silent = 0;
    for answered in calls {
        let pass = admit(switch, 10_001).expect("it is closed");
        if answered {
            switch.answered(pass);
        } else {
            silent += 1;
            if switch.unanswered(pass, at(10_001)) {
                return Some(silent);
            }
        }
    }
    None
}

/// Answers in between do not hide it: the more of them there are, the later it opens.
#[test]
fn what_is_late_more_often_than_once_in_ten_opens_it() {
    shuttle::check_dfs(
        || {
            for (every, silent) in [(1, 5), (2, 14), (3, 16), (4, 18), (5, 21), (9, 100)] {
                let opened = silent_until_open(&closed(), (1..10_000).map(|n| n % every != 0));
                assert_eq!(opened, Some(silent), "one in {every}");
            }
        },
        Some(1),
    );
}

/// One straggler in ten never does, nor do four at once and some more later, nor fewer that come by chance.
#[test]
fn stragglers_do_not_open_it() {
    shuttle::check_dfs(
        || {
            let switch = closed();
            assert_eq!(silent_until_open(&switch, (1..10_000).map(|n| n % 10 != 0)), None);
            let gusts = (0..10_000).map(|n| n % 40 >= 4);
            assert_eq!(silent_until_open(&closed(), gusts), None);
            assert!(switch.is_closed());
            for percent in [1, 3, 5, 7] {
                let mut chance = percent;
                let by_chance = (0..20_000).map(|_| {
                    // Of a 64-bit congruential generator, the high bits.
                    chance = u64::wrapping_mul(chance, 6_364_136_223_846_793_005)
                        .wrapping_add(1_442_695_040_888_963_407);
                    (chance >> 33) % 100 >= percent
                });
                assert_eq!(silent_until_open(&closed(), by_chance), None, "{percent} of 100");
            }
        },
        Some(1),
    );
}

/// Who has the turn of a trial and is not heard of: the next one gets it after its life, and not before; what the first
/// says then, late, is of the past.
#[test]
fn a_turn_that_is_not_given_back_is_taken_over() {
    shuttle::check_dfs(
        || {
            let switch = on_trial();
            let lost = switch.admit(|| at(12_000), TURN).unwrap();
            assert!(switch.admit(|| at(12_700), TURN).is_none(), "its time is not over");
            let next = switch.admit(|| at(12_701), TURN).expect("its time is over");
            assert!(switch.admit(|| at(12_702), TURN).is_none(), "one at a time");
            assert!(!switch.unanswered(lost, at(12_703)));
            switch.release(lost);
            assert!(switch.admit(|| at(12_703), TURN).is_none(), "the turn is the next one's");
            assert!(switch.unanswered(next, at(12_704)));
        },
        Some(1),
    );
}
