//! The very file of the breaker, driven by arbitrary histories beside a plain model, and compiled over Shuttle's types
//! through thousands of schedules.
#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(dead_code, unreachable_pub, reason = "the files are compiled whole")]

#[path = "../src/breaker.rs"]
mod breaker;
#[path = "../src/clock.rs"]
mod clock;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
}

use breaker::{Pass, SILENT_LIMIT, Switch};
use clock::BootTime;
use proptest::prelude::*;
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

const SCHEDULES: usize = 3000;

/// How long a probe may take before it is forgotten.
const LIFE: Duration = Duration::from_secs(2);

/// What may happen to a breaker. A number picks one of the passes that are out.
#[derive(Clone, Copy, Debug)]
enum Event {
    Admit,
    Answered(usize),
    Unanswered(usize),
    Trip,
    Probe,
    Close(usize),
    Reopen(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Admit),
        4 => (0usize..8).prop_map(Event::Answered),
        8 => (0usize..8).prop_map(Event::Unanswered),
        1 => Just(Event::Trip),
        4 => Just(Event::Probe),
        4 => (0usize..4).prop_map(Event::Close),
        1 => (0usize..4).prop_map(Event::Reopen),
        1 => (0u64..3000).prop_map(Event::Wait),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed(u64),
    Open,
    Probing(u64),
}

/// The rules, written for people: passes carry the number of the period in which they were given.
#[derive(Debug)]
struct Model {
    state: State,
    period: u64,
    now: u64,
}

impl Model {
    fn turn(&mut self, state: State) {
        self.state = state;
        self.period += 1;
    }

    fn unanswered(&mut self, pass: u64) -> bool {
        let State::Closed(silent) = self.state else { return false };
        if pass != self.period {
            return false;
        }
        if silent + 1 == SILENT_LIMIT {
            self.turn(State::Open);
            return true;
        }
        self.state = State::Closed(silent + 1);
        false
    }

    fn probe(&mut self) -> bool {
        match self.state {
            State::Open => self.state = State::Probing(self.now),
            State::Probing(since) if self.now - since > 2000 => self.turn(State::Probing(self.now)),
            _ => return false,
        }
        true
    }
}

fn at(ms: u64) -> BootTime {
    BootTime::default().plus(Duration::from_millis(ms))
}

/// Runs a history through both and compares what they let through.
fn compare(events: Vec<Event>) {
    let switch = Switch::new();
    let mut model = Model { state: State::Open, period: 0, now: 10_000 };
    let (mut calls, mut probes) = (Vec::<(Pass, u64)>::new(), Vec::<(Pass, u64)>::new());
    for event in events {
        let pick = |passes: &Vec<(Pass, u64)>, n: usize| passes.get(n % passes.len().max(1)).copied();
        match event {
            Event::Admit => {
                let pass = switch.admit();
                assert_eq!(pass.is_some(), matches!(model.state, State::Closed(_)));
                calls.extend(pass.map(|pass| (pass, model.period)));
            }
            Event::Answered(n) => {
                let Some((pass, period)) = pick(&calls, n) else { continue };
                switch.answered(pass);
                if matches!(model.state, State::Closed(_)) && period == model.period {
                    model.state = State::Closed(0);
                }
            }
            Event::Unanswered(n) => {
                let Some((pass, period)) = pick(&calls, n) else { continue };
                assert_eq!(switch.unanswered(pass), model.unanswered(period));
            }
            Event::Trip => {
                assert_eq!(switch.trip(), model.state != State::Open);
                if model.state != State::Open {
                    model.turn(State::Open);
                }
            }
            Event::Probe => {
                let pass = switch.probe(at(model.now), LIFE);
                assert_eq!(pass.is_some(), model.probe());
                probes.extend(pass.map(|pass| (pass, model.period)));
            }
            Event::Close(n) | Event::Reopen(n) => {
                let Some((pass, period)) = pick(&probes, n) else { continue };
                let counts = matches!(model.state, State::Probing(_)) && period == model.period;
                let close = matches!(event, Event::Close(_));
                if close {
                    assert_eq!(switch.close(pass), counts);
                } else {
                    switch.reopen(pass);
                }
                if counts {
                    model.turn(if close { State::Closed(0) } else { State::Open });
                }
            }
            Event::Wait(ms) => model.now += ms,
        }
        assert_eq!(switch.is_closed(), matches!(model.state, State::Closed(_)));
    }
}

proptest! {
    #[test]
    fn any_history_is_as_in_the_model(events in prop::collection::vec(event(), 0..200)) {
        // Shuttle's types work inside its scheduler only.
        shuttle::check_dfs(move || compare(events.clone()), Some(1));
    }
}

fn closed() -> Switch {
    let switch = Switch::new();
    let probe = switch.probe(at(10_000), LIFE).unwrap();
    assert!(switch.close(probe));
    switch
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
                thread::spawn(move || match switch.admit() {
                    Some(pass) => {
                        opened.fetch_add(u64::from(switch.unanswered(pass)), SeqCst);
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
        SCHEDULES,
    );
}

/// Two lines probe, a loss comes between, late silence of earlier calls comes at any time: never two probes at once,
/// and a closed breaker was closed by a probe that began after the loss.
#[test]
fn a_probe_from_before_a_loss_closes_nothing() {
    shuttle::check_random(
        || {
            let switch = Arc::new(closed());
            let late: Vec<_> = (0..SILENT_LIMIT).map(|_| switch.admit().unwrap()).collect();
            assert!(switch.trip());
            let old = switch.probe(at(20_000), LIFE).unwrap();
            let loser = {
                let switch = Arc::clone(&switch);
                // The connection of the old probe is lost while its answer is on the way.
                thread::spawn(move || switch.trip())
            };
            let answers = {
                let switch = Arc::clone(&switch);
                thread::spawn(move || switch.close(old))
            };
            let silence = {
                let switch = Arc::clone(&switch);
                thread::spawn(move || late.into_iter().filter(|pass| switch.unanswered(*pass)).count())
            };
            let (lost, closed) = (loser.join().unwrap(), answers.join().unwrap());
            assert!(lost, "it was half open or closed when the loss came");
            assert_eq!(silence.join().unwrap(), 0, "silence of an earlier period");
            // Whichever came first, in the end there is no connection.
            assert!(!switch.is_closed(), "closed by the probe: {closed}");
            assert!(switch.probe(at(20_001), LIFE).is_some(), "and the next probe may go");
        },
        SCHEDULES,
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
        SCHEDULES,
    );
}
