//! What can happen next in a state.

use crate::action::Action;
use crate::mistakes::Mistake;
use crate::node::Look;
use crate::read::{Ask, Stage};
use crate::world::{DATA, TENANT, World};

impl World {
    pub fn of_reader(&self, r: usize, actions: &mut Vec<Action>) {
        let reader = &self.readers[r];
        match reader.stage {
            Stage::Idle => {
                // Readers who are alike come in one order.
                let before =
                    self.readers[..r].iter().any(|b| b.stage == Stage::Idle && b.spec == reader.spec);
                if !before {
                    actions.push(Action::Start { reader: r });
                }
            }
            Stage::Ask { asked: Ask::Answered | Ask::Failed, .. } => {
                actions.push(Action::Resume { reader: r });
            }
            Stage::Woken => actions.push(Action::Turn { reader: r }),
            Stage::Early => actions.push(Action::CloseLate { reader: r }),
            Stage::Computed(_) => actions.push(Action::Finish { reader: r }),
            Stage::Looks { refused } => {
                actions.extend([Action::TakeOff { reader: r }, Action::Leave { reader: r }]);
                self.gets(r, refused, actions);
            }
            Stage::Tries { refused } => {
                actions.push(Action::GoOn { reader: r });
                self.leaves(r, actions);
                self.gets(r, refused, actions);
            }
            Stage::Flies { refused } => {
                if self.is(Mistake::LeaderIsCaller) && reader.spec.looks {
                    self.leaves(r, actions);
                }
                actions.push(Action::Compute { reader: r });
                if self.left.failures > 0 {
                    actions.push(Action::Fail { reader: r });
                }
                let behind = self.database.history.len() - 1;
                for state in (0..behind).filter(|_| self.left.lag && !self.database.away) {
                    if self.database.history[state].1[DATA] >= reader.fence.data {
                        actions.push(Action::ComputeLagging { reader: r, state });
                    }
                }
                self.gets(r, refused || reader.fresh, actions);
            }
            Stage::Queued | Stage::Joined(_) | Stage::Ask { .. } | Stage::Left | Stage::Done => {}
        }
    }

    /// A caller may stop polling, or hang up.
    fn leaves(&self, reader: usize, actions: &mut Vec<Action>) {
        if self.left.departures > 0 {
            actions.extend([Action::StopPolling { reader }, Action::HangUp { reader }]);
        }
    }

    fn gets(&self, reader: usize, refused: bool, actions: &mut Vec<Action>) {
        let fence = &self.readers[reader].fence;
        let fits = |value: &usize| !refused && self.redis[*value].label.covers(fence);
        actions.extend((0..self.redis.len()).filter(fits).map(|value| Action::Get { reader, value }));
    }

    pub fn of_truth(&self, node: usize, actions: &mut Vec<Action>) {
        if self.nodes[node].truth.is_some() {
            actions.push(Action::Answer { node });
        } else if self.left.beats > 0 || self.somebody_asks(node) {
            actions.push(Action::Send { node });
        }
    }

    pub fn somebody_asks(&self, node: usize) -> bool {
        let asks = |stage: &Stage| matches!(stage, Stage::Ask { asked: Ask::Waits, .. });
        let looks = matches!(self.nodes[node].look, Some(Look { refresh: Some(Ask::Waits), .. }));
        looks || self.readers.iter().any(|reader| reader.spec.node == node && asks(&reader.stage))
    }

    /// What a sole owner and its guests do.
    pub fn of_guests(&self, actions: &mut Vec<Action>) {
        if !self.sole {
            return;
        }
        let left = &self.left;
        for node in 0..self.nodes.len() {
            match self.nodes[node].look {
                None if left.looks > 0 => actions.push(Action::Look { node }),
                None => {}
                Some(look) => {
                    match (look.saw, look.refresh) {
                        (None, _) => actions.push(Action::Sees { node }),
                        (Some(_), None) => actions.push(Action::Told { node }),
                        (Some(_), Some(_)) => {}
                    }
                    if left.late_looks > 0 {
                        actions.push(Action::LookEnds { node });
                    }
                }
            }
        }
        if !self.database.away {
            let guests = (0..left.guests.len()).filter(|part| left.guests[*part] > 0);
            actions.extend(guests.map(|part| Action::Guest { part }));
        }
        if left.lost_answers > 0 {
            actions.extend((0..self.writers.len()).map(|writer| Action::LoseAnswer { writer }));
        }
    }

    pub fn of_writers(&self, actions: &mut Vec<Action>) {
        let budgets = [self.left.invalidations, self.left.operations, self.left.commits];
        for node in 0..self.left.writing_nodes {
            for (part, budget) in budgets.iter().enumerate() {
                if *budget > 0 && !self.database.away {
                    actions.push(Action::Commit { node, part });
                }
            }
        }
        actions.extend((0..self.writers.len()).map(|writer| Action::Acknowledge { writer }));
        for node in 0..self.nodes.len() {
            if self.orphans > 0 && !self.database.away {
                actions.push(Action::Retry { node });
            }
            let news = |message: &usize| self.is_news(node, *message);
            actions.extend(
                (0..self.messages.len()).filter(news).map(|message| Action::Deliver { node, message }),
            );
        }
    }

    pub fn of_fate(&self, actions: &mut Vec<Action>) {
        let left = &self.left;
        if left.ticks > 0 {
            actions.push(Action::Tick);
        }
        if self.database.away {
            actions.push(Action::Back);
        } else if left.outages > 0 {
            actions.push(Action::Away);
        }
        if left.restores > 0 && !self.database.away {
            actions.extend((0..self.database.history.len() - 1).map(|to| Action::SetBack { to }));
        }
        for node in 0..self.nodes.len() {
            let memory = &self.nodes[node].tenant().memory;
            if left.forgeries > 0 {
                let changes = |part: &usize| [left.invalidations, left.operations, left.commits][*part] > 0;
                let forge = |part| Action::Forge { node, part };
                actions.extend([TENANT, DATA].into_iter().filter(changes).map(forge));
            }
            if left.crashes > 0 {
                actions.push(Action::Crash { node });
            }
            if left.expiries > 0 && memory.is_some_and(|value| !value.expired) {
                actions.push(Action::Expire { node });
            }
            if left.evictions > 0 && memory.is_some() {
                actions.push(Action::Evict { node });
            }
            if self.is(Mistake::TrustByHeartbeat) {
                actions.push(Action::Heartbeat { node });
            }
        }
    }
}
