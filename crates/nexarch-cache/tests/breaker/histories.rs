//! Arbitrary histories, beside a plain model.

use crate::breaker::{FIRST_HOLD, LONGEST_HOLD, Pass, STEADY, Switch, TRIALS};
use crate::{LIFE, TURN, at, ms};
use proptest::prelude::*;

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
