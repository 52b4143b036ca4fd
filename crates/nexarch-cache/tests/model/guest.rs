//! A sole owner and its guests: it looks whether one of them committed, and believes nothing when it cannot tell. As the
//! beat of a server, which needs to remember nothing of a look that failed: that is what distrust is for.

use crate::mistakes::Mistake;
use crate::node::{Look, Saw};
use crate::read::Ask;
use crate::world::{DATA, World, moment};
use std::time::Duration;

/// Who commits beside the nodes.
const GUEST: usize = usize::MAX;

impl World {
    /// A guest commits. It acknowledges a lease later, which is as if it did now and were no node.
    pub fn guest(&mut self, part: usize) {
        let version = self.change(part);
        self.database.foreign += 1;
        self.debt.acknowledge(GUEST, part, version, self.now);
    }

    pub fn look(&mut self, node: usize) {
        self.nodes[node].look = Some(Look { asked: self.now, saw: None, refresh: None });
    }

    /// The database sees whether a guest committed since it was asked last; after no answer, the next one is as the first.
    pub fn see(&mut self, node: usize) {
        let foreign = (!self.database.away).then_some(self.database.foreign);
        let node = &mut self.nodes[node];
        let Some(look) = &mut node.look else { return };
        let before = std::mem::replace(&mut node.seen, foreign);
        look.saw = Some(match foreign {
            None => Saw::NoAnswer,
            Some(_) if foreign == before => Saw::Same,
            Some(_) => Saw::Moved,
        });
    }

    /// Its answer has come.
    pub fn told(&mut self, node: usize) {
        let (now, from_answer) = (self.now, self.is(Mistake::VouchFromAnswer));
        let Some(look) = &mut self.nodes[node].look else { return };
        let asked = look.asked;
        match look.saw {
            Some(Saw::Moved) => look.refresh = Some(Ask::Waits),
            Some(Saw::Same) if from_answer => self.vouch(node, now),
            Some(Saw::Same) => self.vouch(node, asked),
            Some(Saw::NoAnswer) | None => self.look_failed(node),
        }
    }

    pub fn vouch(&mut self, node: usize, asked: u64) {
        let node = &mut self.nodes[node];
        (node.look, node.looked) = (None, node.looked.max(asked));
    }

    /// It got no answer in time, perhaps to the read of the versions that it waited for.
    pub fn look_failed(&mut self, node: usize) {
        self.nodes[node].look = None;
        self.distrust(node);
    }

    /// What was sent until this very moment is not believed.
    pub fn distrust(&mut self, node: usize) {
        let floor = moment(self.now).plus(Duration::from_nanos(1));
        self.nodes[node].floor = self.nodes[node].floor.max(floor);
    }

    /// A change of the owner is committed, and its answer lost: nobody announces it.
    pub fn lose_answer(&mut self, writer: usize) {
        let writer = self.writers.remove(writer);
        self.orphans += u8::from(writer.part == DATA);
        self.distrust(writer.node);
    }
}
