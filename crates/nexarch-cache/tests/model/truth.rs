//! Reading the versions, step by step: sent, answered. As `truth.rs` of the crate.
//!
//! The database sees it at once: what it sees later only says more, and the lease is counted from the sending anyway.

use crate::fence::Epoch;
use crate::mirror::Mirror;
use crate::mistakes::Mistake;
use crate::node::{Answer, Look, TruthRead, in_order};
use crate::read::{Ask, Stage, zero};
use crate::world::{Versions, World, moment};

impl World {
    /// A read is sent: it will do for all who ask by now.
    pub fn send(&mut self, node: usize) {
        for reader in self.readers.iter_mut().filter(|reader| reader.spec.node == node) {
            if let Stage::Ask { asked: asked @ Ask::Waits, .. } = &mut reader.stage {
                *asked = Ask::Sent;
            }
        }
        if let Some(Look { refresh: Some(asked @ Ask::Waits), .. }) = &mut self.nodes[node].look {
            *asked = Ask::Sent;
        }
        self.send_again(node);
    }

    fn send_again(&mut self, node: usize) {
        let (sent, database) = (self.now, &self.database);
        let answer = (!database.away).then(|| Answer {
            epoch: Epoch::new(database.epoch),
            clock: database.clock,
            versions: database.versions,
        });
        let node = &mut self.nodes[node];
        let mirror = &node.tenant().mirror;
        let known = mirror.known();
        let (mark, epoch) = (mirror.sending(), mirror.epoch());
        node.truth = Some(TruthRead { sent, tenant: node.current(), mark, known, epoch, answer });
    }

    /// The answer has come.
    pub fn answer(&mut self, node: usize) -> Result<(), String> {
        let Some(truth) = self.nodes[node].truth.take() else { return Ok(()) };
        let Some(Answer { mut epoch, clock, versions }) = truth.answer else {
            self.answered(node, Ask::Failed);
            return Ok(());
        };
        if epoch == truth.epoch && self.lacks(node, &truth, clock, versions) {
            if self.debt.set_back.is_none() {
                return Err("a restore was seen that never was".into());
            }
            if self.database.away {
                self.answered(node, Ask::Failed);
                return Ok(());
            }
            epoch = self.replace_epoch(truth.epoch);
        }
        if epoch != truth.epoch {
            self.nodes[node].adopt(epoch);
            // Nothing is known any more, and has to be read again, for the same who ask.
            self.send_again(node);
            return Ok(());
        }
        let read_at = if self.is(Mistake::LeaseFromReceipt) { self.now } else { truth.sent };
        let overwrite = self.is(Mistake::OverwriteMirror);
        let tenant = &mut self.nodes[node].tenants[truth.tenant];
        if overwrite {
            tenant.mirror = Mirror::new(epoch, 1);
        }
        tenant.mirror.raise(&in_order(versions));
        tenant.mirror.answered(&truth.mark);
        tenant.mirror.complete(clock, moment(read_at));
        if self.is(Mistake::AnyAnswerEndsDistrust) {
            self.nodes[node].floor = zero();
        }
        self.answered(node, Ask::Answered);
        Ok(())
    }

    /// Whether the answer says that the database was set back.
    fn lacks(&self, node: usize, truth: &TruthRead, clock: u64, versions: Versions) -> bool {
        let mirror = &self.nodes[node].tenants[truth.tenant].mirror;
        match self.mistake {
            Mistake::PromotedReplica => false,
            Mistake::SeenIsNotCommitted => clock < truth.known,
            Mistake::ClockAlone => truth.mark.lacks(clock, &[]),
            // What was heard or announced meanwhile counts as known, too.
            Mistake::OvertakenIsRestore => clock < mirror.known().max(mirror.need(0, true).fence.newest()),
            _ => truth.mark.lacks(clock, &in_order(versions)),
        }
    }

    fn replace_epoch(&mut self, seen: Epoch) -> Epoch {
        if self.database.epoch == seen.get() {
            self.database.epochs += 1;
            self.database.epoch = self.database.epochs;
        }
        Epoch::new(self.database.epoch)
    }

    fn answered(&mut self, node: usize, how: Ask) {
        for reader in self.readers.iter_mut().filter(|reader| reader.spec.node == node) {
            if let Stage::Ask { asked: asked @ Ask::Sent, .. } = &mut reader.stage {
                *asked = how;
            }
        }
        if let Some(Look { asked, refresh: Some(Ask::Sent), .. }) = self.nodes[node].look {
            match how {
                Ask::Answered => self.vouch(node, asked),
                _ => self.look_failed(node),
            }
        }
    }
}
