//! Changes: committed, announced, acknowledged; and what befalls the database, the nodes and the messages. As
//! `invalidate.rs` of the crate.

use crate::fence::Epoch;
use crate::mistakes::Mistake;
use crate::node::{Node, in_order};
use crate::read::Stage;
use crate::world::{DATA, HUGE, Message, PARTS, World, Writer, moment};

impl World {
    pub fn commit(&mut self, node: usize, part: usize) {
        self.change(part);
        self.write(node, part, false);
    }

    /// Gives the version of the change.
    pub fn change(&mut self, part: usize) -> u64 {
        let database = &mut self.database;
        let version = database.next;
        database.next += 1;
        database.clock = version;
        database.versions[part] = version;
        database.history.push((version, database.versions));
        self.debt.commit(part, version);
        version
    }

    /// A batch comes again whose first try was committed: it finds its data there, and reads the version.
    pub fn retry(&mut self, node: usize) {
        self.orphans -= 1;
        self.write(node, DATA, true);
    }

    fn write(&mut self, node: usize, part: usize, retried: bool) {
        let database = &self.database;
        self.writers.push(Writer {
            node,
            part,
            version: database.versions[part],
            versions: database.versions,
            clock: database.clock,
            asked: self.now,
            acknowledged: false,
            retried,
        });
    }

    /// Announces and acknowledges. The mistake does it the other way round, in two steps.
    pub fn acknowledge(&mut self, writer: usize) {
        let mut writer = self.writers.remove(writer);
        let first = self.is(Mistake::AcknowledgeFirst) && !writer.acknowledged;
        let silent = self.is(Mistake::SilentRetry) && writer.retried;
        if !first && !silent {
            self.announce(&writer);
        }
        self.debt.acknowledge(writer.node, writer.part, writer.version, self.now);
        if first {
            writer.acknowledged = true;
            self.writers.push(writer);
        }
    }

    fn announce(&mut self, writer: &Writer) {
        let mirror = &self.nodes[writer.node].tenant().mirror;
        let versions = in_order(writer.versions);
        let behind = mirror.behind(&versions) && !self.is(Mistake::AnnouncedIsWhole);
        mirror.raise(&versions);
        if mirror.epoch() != Epoch::default() && !behind {
            mirror.complete(writer.clock, moment(writer.asked));
        }
        let epoch = mirror.epoch().get();
        let message = Message { epoch, part: writer.part, version: writer.version };
        if !self.messages.contains(&message) {
            self.messages.push(message);
            self.messages.sort();
        }
    }

    /// Whether a message can make any difference to a node.
    pub fn is_news(&self, node: usize, message: usize) -> bool {
        let (tenant, message) = (self.nodes[node].tenant(), &self.messages[message]);
        let certain = tenant.mirror.certain(0, true).fence;
        let known = [certain.tenant, certain.operation, certain.data][message.part];
        let news = message.version > known || self.is(Mistake::MessageExtendsLease);
        news && tenant.mirror.epoch().get() == message.epoch
    }

    pub fn deliver(&mut self, node: usize, message: usize) {
        let message = self.messages[message].clone();
        self.hear(node, &message);
        if self.nodes[node].tenant().mirror.epoch().get() == message.epoch {
            self.debt.tell(node, message.part, message.version);
        }
    }

    pub fn forge(&mut self, node: usize, part: usize) {
        let epoch = self.nodes[node].tenant().mirror.epoch().get();
        self.hear(node, &Message { epoch, part, version: HUGE });
    }

    fn hear(&mut self, node: usize, message: &Message) {
        let mirror = &self.nodes[node].tenant().mirror;
        if mirror.epoch().get() != message.epoch {
            return;
        }
        match self.mistake {
            Mistake::HearsayIsKnown => {
                let mut versions = [0; 3];
                versions[message.part] = message.version;
                mirror.raise(&in_order(versions));
            }
            Mistake::MessageExtendsLease => mirror.complete(0, moment(self.now)),
            _ => {}
        }
        mirror.hear(PARTS[message.part], message.version);
    }

    /// A mistake: Redis answers, so what is known is believed for another lease.
    pub fn heartbeat(&mut self, node: usize) {
        self.nodes[node].tenant().mirror.complete(0, moment(self.now));
    }

    pub fn crash(&mut self, node: usize) {
        self.nodes[node] = Node::cold();
        self.debt.forget(node);
        let died = |writer: &Writer| writer.node == node && !writer.acknowledged;
        let orphans = self.writers.iter().filter(|writer| died(writer) && writer.part == DATA).count();
        self.orphans += u8::try_from(orphans).expect("few writers");
        self.writers.retain(|writer| writer.node != node);
        for reader in self.readers.iter_mut().filter(|reader| reader.spec.node == node) {
            if reader.stage != Stage::Idle {
                reader.stage = Stage::Done;
            }
        }
    }

    pub fn set_away(&mut self, away: bool) {
        self.database.away = away;
        self.readers.iter_mut().filter(|reader| reader.stage != Stage::Idle).for_each(|r| r.excused = true);
    }

    /// A backup, or a replica that lagged and is the database now.
    pub fn set_back(&mut self, to: usize) {
        let (clock, versions) = self.database.history[to];
        self.database.history.truncate(to + 1);
        self.database.clock = clock;
        self.database.versions = versions;
        self.database.incarnation += 1;
        self.database.foreign += 1;
        // Whoever waited for a commit that is gone gets no answer.
        self.writers.clear();
        self.debt.lose(clock, self.now);
        for reader in &mut self.readers {
            reader.owed = self.debt.cap(&reader.owed);
            reader.told = self.debt.cap(&reader.told);
        }
    }
}
