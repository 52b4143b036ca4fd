//! What can happen, and what it does.

use crate::checker::Model;
use crate::read::Stage;
use crate::world::{DATA, TENANT, World};

#[derive(Clone, Debug)]
pub enum Action {
    /// A lease passes.
    Tick,
    Commit {
        node: usize,
        part: usize,
    },
    Acknowledge {
        writer: usize,
    },
    Retry {
        node: usize,
    },
    Deliver {
        node: usize,
        message: usize,
    },
    Forge {
        node: usize,
        part: usize,
    },
    Send {
        node: usize,
    },
    See {
        node: usize,
    },
    Answer {
        node: usize,
    },
    Start {
        reader: usize,
    },
    Resume {
        reader: usize,
    },
    Turn {
        reader: usize,
    },
    CloseLate {
        reader: usize,
    },
    Get {
        reader: usize,
        value: usize,
    },
    /// An early refresh begins to compute, or leaves it to another node.
    TakeOff {
        reader: usize,
    },
    Leave {
        reader: usize,
    },
    /// A caller who looked in Redis himself found nothing there; or is not polled any more; or hangs up.
    GoOn {
        reader: usize,
    },
    StopPolling {
        reader: usize,
    },
    HangUp {
        reader: usize,
    },
    Compute {
        reader: usize,
    },
    /// Of a replica that shows the database as it was then.
    ComputeLagging {
        reader: usize,
        state: usize,
    },
    Fail {
        reader: usize,
    },
    Finish {
        reader: usize,
    },
    Expire {
        node: usize,
    },
    Evict {
        node: usize,
    },
    Crash {
        node: usize,
    },
    Away,
    Back,
    SetBack {
        to: usize,
    },
    Heartbeat {
        node: usize,
    },
    /// A sole owner begins to look whether a guest committed; the database sees that; it is told, or not in time.
    Look {
        node: usize,
    },
    Sees {
        node: usize,
    },
    Told {
        node: usize,
    },
    LookEnds {
        node: usize,
    },
    Guest {
        part: usize,
    },
    LoseAnswer {
        writer: usize,
    },
}

impl Model for World {
    type Action = Action;

    fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        for reader in 0..self.readers.len() {
            self.of_reader(reader, &mut actions);
        }
        for node in 0..self.nodes.len() {
            self.of_truth(node, &mut actions);
        }
        self.of_writers(&mut actions);
        self.of_guests(&mut actions);
        self.of_fate(&mut actions);
        actions
    }

    fn apply(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Start { reader } => return self.start(reader),
            Action::Resume { reader } => return self.resume(reader),
            Action::Turn { reader } => return self.turn(reader),
            Action::CloseLate { reader } => return self.close_late(reader),
            Action::Get { reader, value } => return self.get(reader, value),
            Action::GoOn { reader } => return self.go_on(reader),
            Action::HangUp { reader } => {
                self.left.departures -= 1;
                return self.hang_up(reader);
            }
            Action::StopPolling { reader } => {
                self.left.departures -= 1;
                self.readers[reader].stage = Stage::Left;
            }
            Action::Compute { reader } => return self.compute(reader, None),
            Action::ComputeLagging { reader, state } => return self.compute(reader, Some(state)),
            Action::Finish { reader } => return self.finish(reader),
            Action::Answer { node } => return self.answer(node),
            Action::Fail { reader } => {
                self.left.failures -= 1;
                return self.fail_computation(reader);
            }
            Action::Send { node } => {
                if !self.somebody_asks(node) {
                    self.left.beats -= 1;
                }
                self.send(node);
            }
            Action::TakeOff { reader } => self.take_off(reader),
            Action::Leave { reader } => self.readers[reader].stage = Stage::Done,
            Action::Acknowledge { writer } => self.acknowledge(writer),
            Action::Retry { node } => self.retry(node),
            Action::Deliver { node, message } => self.deliver(node, message),
            Action::Sees { node } => self.see(node),
            Action::Told { node } => self.told(node),
            _ => self.befall(action),
        }
        Ok(())
    }

    /// Whether somebody waits for what will never come.
    fn stuck(&self) -> Option<String> {
        let waits = |stage: &Stage| !matches!(stage, Stage::Idle | Stage::Left | Stage::Done);
        let progress = |action: &Action| {
            use Action::{Answer, CloseLate, Compute, Finish, GoOn, Resume, Send, TakeOff, Turn};
            matches!(
                action,
                Answer { .. }
                    | CloseLate { .. }
                    | Compute { .. }
                    | Finish { .. }
                    | GoOn { .. }
                    | Resume { .. }
                    | Send { .. }
                    | TakeOff { .. }
                    | Turn { .. }
            )
        };
        let stuck =
            self.readers.iter().any(|reader| waits(&reader.stage)) && !self.actions().iter().any(progress);
        stuck.then(|| "a reader waits for ever".into())
    }
}

impl World {
    fn befall(&mut self, action: &Action) {
        let left = &mut self.left;
        match *action {
            Action::Tick => {
                left.ticks -= 1;
                self.now += 1;
            }
            Action::Commit { node, part } => {
                let budget = match part {
                    TENANT => &mut left.invalidations,
                    DATA => &mut left.commits,
                    _ => &mut left.operations,
                };
                *budget -= 1;
                self.commit(node, part);
            }
            Action::Forge { node, part } => {
                left.forgeries -= 1;
                self.forge(node, part);
            }
            Action::Crash { node } => {
                left.crashes -= 1;
                self.crash(node);
            }
            Action::SetBack { to } => {
                left.restores -= 1;
                self.set_back(to);
            }
            Action::Away => {
                left.outages -= 1;
                self.set_away(true);
            }
            Action::Back => self.set_away(false),
            Action::Look { node } => {
                left.looks -= 1;
                self.look(node);
            }
            Action::LookEnds { node } => {
                left.late_looks -= 1;
                self.look_failed(node);
            }
            Action::Guest { part } => {
                left.guests[part] -= 1;
                self.guest(part);
            }
            Action::LoseAnswer { writer } => {
                left.lost_answers -= 1;
                self.lose_answer(writer);
            }
            Action::Heartbeat { node } => self.heartbeat(node),
            Action::Expire { node } => {
                left.expiries -= 1;
                let current = self.nodes[node].current();
                if let Some(value) = &mut self.nodes[node].tenants[current].memory {
                    value.expired = true;
                }
            }
            Action::Evict { node } => {
                left.evictions -= 1;
                let current = self.nodes[node].current();
                self.nodes[node].tenants[current].memory = None;
            }
            _ => unreachable!("{action:?} is done elsewhere"),
        }
    }
}
