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
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

use breaker::{FIRST_HOLD, LONGEST_HOLD, Pass, SILENT_LIMIT, STEADY, Switch, TRIALS};
use clock::BootTime;
use proptest::prelude::*;
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::thread;
use std::sync::Arc;
use std::time::Duration;

/// `NEXARCH_PROOF` asks for the longer run.
#[expect(clippy::disallowed_methods, reason = "a switch of tests, not of the program")]
fn schedules() -> usize {
    if std::env::var_os("NEXARCH_PROOF").is_some() { 90_000 } else { 3000 }
}

/// How long a probe may take before it is forgotten.
const LIFE: Duration = Duration::from_secs(2);

/// How long the one call of a trial may take before its turn is another's.
const TURN: Duration = Duration::from_millis(700);

/// What may happen to a breaker. A number picks one of the passes that are out.
#[derive(Clone, Copy, Debug)]
enum Event {
    Admit,
    /// A message, say.
    Beside,
    Answered(usize),
    Unanswered(usize),
    Released(usize),
    Condemn,
    Trip,
    Probe,
    Close(usize),
    Reopen(usize),
    Wait(u64),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => Just(Event::Admit),
        1 => Just(Event::Beside),
        4 => (0usize..8).prop_map(Event::Answered),
        8 => (0usize..8).prop_map(Event::Unanswered),
        1 => (0usize..8).prop_map(Event::Released),
        1 => Just(Event::Condemn),
        1 => Just(Event::Trip),
        4 => Just(Event::Probe),
        4 => (0usize..4).prop_map(Event::Close),
        1 => (0usize..4).prop_map(Event::Reopen),
        1 => prop_oneof![0u64..3000, 0u64..50_000].prop_map(Event::Wait),
    ]
}

/// What happens where nearly nothing but calls does, and some are late: enough of them to fill the bucket.
fn call() -> impl Strategy<Value = Event> {
    prop_oneof![
        30 => Just(Event::Admit),
        60 => (0usize..8).prop_map(Event::Answered),
        30 => (0usize..8).prop_map(Event::Unanswered),
        1 => event(),
    ]
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    let closed = [Event::Probe, Event::Close(0), Event::Admit];
    let calls = prop::collection::vec(call(), 0..400);
    prop_oneof![
        prop::collection::vec(event(), 0..200),
        calls.prop_map(move |calls| closed.into_iter().chain(calls).collect::<Vec<_>>()),
    ]
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Whether each call that ended since was answered.
    Closed {
        calls: Vec<bool>,
    },
    Open,
    Probing {
        since: u64,
    },
    /// Of the call under way, its number and when it began.
    Trial {
        answered: u64,
        call: Option<(usize, u64)>,
    },
}

/// What was let through, as the model knows it: when, or as which call of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Through {
    InPeriod(u64),
    OnTrial(usize),
}

/// The rules, written for people: passes carry the number of the period in which they were given.
#[derive(Debug)]
struct Model {
    state: State,
    period: u64,
    trials: usize,
    /// Calls were silent, and no trial was passed since.
    doubted: bool,
    closed_on_trial: Option<u64>,
    hold: u64,
    held: u64,
    now: u64,
}

impl Model {
    fn turn(&mut self, state: State) {
        self.state = state;
        self.period += 1;
    }

    fn admit(&mut self) -> Option<Through> {
        match &mut self.state {
            State::Closed { .. } => Some(Through::InPeriod(self.period)),
            State::Trial { call, .. } if call.is_none_or(|(_, began)| self.now - began > ms(TURN)) => {
                self.trials += 1;
                *call = Some((self.trials, self.now));
                Some(Through::OnTrial(self.trials))
            }
            _ => None,
        }
    }

    /// Whether a trial is over by it.
    fn answered(&mut self, pass: Through) -> bool {
        match (&mut self.state, pass) {
            (State::Closed { calls }, Through::InPeriod(period)) if period == self.period => calls.push(true),
            (State::Trial { answered, call }, Through::OnTrial(own)) if has_turn(*call, own) => {
                (*answered, *call) = (*answered + 1, None);
                if *answered == TRIALS {
                    self.doubted = false;
                    self.turn(CLOSED);
                    return true;
                }
            }
            _ => {}
        }
        false
    }

    fn unanswered(&mut self, pass: Through) -> bool {
        match (&mut self.state, pass) {
            (State::Closed { calls }, Through::InPeriod(period)) if period == self.period => {
                calls.push(false);
                is_too_much(calls) && self.condemn()
            }
            (State::Trial { call, .. }, Through::OnTrial(own)) if has_turn(*call, own) => self.condemn(),
            _ => false,
        }
    }

    fn released(&mut self, pass: Through) {
        if let (State::Trial { call, .. }, Through::OnTrial(own)) = (&mut self.state, pass)
            && has_turn(*call, own)
        {
            *call = None;
        }
    }

    fn condemn(&mut self) -> bool {
        if !self.is_closed() {
            return false;
        }
        let steady = ms(STEADY) + self.hold;
        let relapse = self.closed_on_trial.is_some_and(|closed| self.now - closed < steady);
        self.hold = if relapse { (2 * self.hold).clamp(ms(FIRST_HOLD), ms(LONGEST_HOLD)) } else { 0 };
        self.held = self.now + self.hold;
        self.doubted = true;
        self.turn(State::Open);
        true
    }

    fn probe(&mut self) -> bool {
        match self.state {
            State::Open if self.now >= self.held => self.state = State::Probing { since: self.now },
            State::Probing { since } if self.now - since > 2000 => {
                self.turn(State::Probing { since: self.now });
            }
            _ => return false,
        }
        true
    }

    fn close(&mut self) {
        self.closed_on_trial = self.doubted.then_some(self.now);
        let trial = State::Trial { answered: 0, call: None };
        self.turn(if self.doubted { trial } else { CLOSED });
    }

    fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. } | State::Trial { .. })
    }
}

const CLOSED: State = State::Closed { calls: Vec::new() };

fn has_turn(call: Option<(usize, u64)>, own: usize) -> bool {
    call.is_some_and(|(call, _)| call == own)
}

/// Whether the last five were in vain, or, in any stretch of calls up to now, twelve and one more for each nine that were
/// answered.
fn is_too_much(calls: &[bool]) -> bool {
    let (mut answered, mut silent) = (0, 0);
    calls.iter().rev().any(|call| {
        (answered, silent) = if *call { (answered + 1, silent) } else { (answered, silent + 1) };
        (answered, silent) == (0, 5) || 9 * silent >= 108 + answered
    })
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap()
}

fn at(ms: u64) -> BootTime {
    BootTime::default().plus(Duration::from_millis(ms))
}

/// Runs a history through both and compares what they let through.
fn compare(events: Vec<Event>) {
    let switch = Switch::new();
    let mut model = Model {
        state: State::Open,
        period: 0,
        trials: 0,
        doubted: false,
        closed_on_trial: None,
        hold: 0,
        held: 0,
        now: 10_000,
    };
    let (mut calls, mut probes) = (Vec::<(Pass, Through)>::new(), Vec::<(Pass, u64)>::new());
    for event in events {
        let pick = |passes: &Vec<(Pass, Through)>, n: usize| passes.get(n % passes.len().max(1)).copied();
        match event {
            Event::Admit => {
                let (pass, through) = (switch.admit(|| at(model.now), TURN), model.admit());
                assert_eq!(pass.is_some(), through.is_some());
                calls.extend(pass.zip(through));
            }
            Event::Beside => {
                let pass = switch.admit_beside();
                assert_eq!(pass.is_some(), model.is_closed());
                // On trial it counts for nothing, as one of long ago.
                let counts = matches!(model.state, State::Closed { .. });
                let through = Through::InPeriod(if counts { model.period } else { u64::MAX });
                calls.extend(pass.map(|pass| (pass, through)));
            }
            Event::Answered(n) => {
                let Some((pass, through)) = pick(&calls, n) else { continue };
                assert_eq!(switch.answered(pass), model.answered(through));
            }
            Event::Unanswered(n) => {
                let Some((pass, through)) = pick(&calls, n) else { continue };
                assert_eq!(switch.unanswered(pass, at(model.now)), model.unanswered(through));
            }
            Event::Released(n) => {
                let Some((pass, through)) = pick(&calls, n) else { continue };
                switch.release(pass);
                model.released(through);
            }
            Event::Condemn => assert_eq!(switch.condemn(at(model.now)), model.condemn()),
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
                let Some(probe) = probes.get(n % probes.len().max(1)) else { continue };
                ended(&switch, &mut model, *probe, matches!(event, Event::Close(_)));
            }
            Event::Wait(ms) => model.now += ms,
        }
        let state = (switch.is_closed(), switch.is_open(), switch.is_on_trial());
        let trial = matches!(model.state, State::Trial { .. });
        assert_eq!(state, (model.is_closed(), model.state == State::Open, trial));
    }
}

/// A probe that began in this period was answered, or not.
fn ended(switch: &Switch, model: &mut Model, (pass, period): (Pass, u64), answered: bool) {
    let counts = matches!(model.state, State::Probing { .. }) && period == model.period;
    if answered {
        assert_eq!(switch.close(pass, at(model.now)), counts);
    } else {
        switch.reopen(pass);
    }
    match (counts, answered) {
        (true, true) => model.close(),
        (true, false) => model.turn(State::Open),
        (false, _) => {}
    }
}

proptest! {
    #[test]
    fn any_history_is_as_in_the_model(events in history()) {
        // Shuttle's types work inside its scheduler only.
        shuttle::check_dfs(move || compare(events.clone()), Some(1));
    }
}

/// A call at a time at which no turn is over.
fn admit(switch: &Switch, now: u64) -> Option<Pass> {
    switch.admit(|| at(now), TURN)
}

fn closed() -> Switch {
    let switch = Switch::new();
    let probe = switch.probe(at(10_000), LIFE).unwrap();
    assert!(switch.close(probe, at(10_000)));
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
