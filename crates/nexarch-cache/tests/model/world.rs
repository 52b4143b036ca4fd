//! The whole of a state: the database, what Redis ever held, messages, nodes, readers and writers, and what is owed.

use crate::clock::BootTime;
use crate::debt::Debt;
use crate::fence::{Epoch, Fence};
use crate::mirror::{LEASE, Part, Trust};
use crate::mistakes::Mistake;
use crate::node::Node;
use crate::read::{Reader, zero};
use crate::scenario::{Budget, Scenario};

/// Versions of the scope, of its one operation, and of its data.
pub type Versions = [u64; 3];

/// The parts, in the order of [`Versions`].
pub const PARTS: [Part; 3] = [Part::Tenant, Part::Operation(0), Part::Data];
pub const TENANT: usize = 0;
pub const DATA: usize = 2;

/// A version that no database of a model reaches: what a false message says.
pub const HUGE: u64 = 99;

/// A value as it is stored: what it claims, and what is true of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    pub label: Fence,
    pub contains: u64,
    /// Invalidations before its computation began, and the data that it read.
    pub saw: Versions,
    /// How often the database had been set back before.
    pub incarnation: u8,
    /// When it came, if the database had been set back while it was computed.
    pub straddled: u64,
    /// The reader whose flight computed it.
    pub by: u8,
    pub expired: bool,
}

impl Value {
    /// Computed before anything happened, by none of the readers.
    fn of_the_beginning(epoch: u64) -> Self {
        Self {
            label: Fence { epoch: Epoch::new(epoch), ..Fence::default() },
            contains: 0,
            saw: [0; 3],
            incarnation: 0,
            straddled: 0,
            by: 7,
            expired: false,
        }
    }
}

#[derive(Clone, Debug, Hash)]
pub struct Database {
    pub epoch: u64,
    pub clock: u64,
    pub versions: Versions,
    pub incarnation: u8,
    pub away: bool,
    /// Every state it was in: what a replica may show, and what a backup may bring back.
    pub history: Vec<(u64, Versions)>,
    /// The number that the next change takes. It never comes twice, whatever is set back: versions follow the time.
    pub next: u64,
    pub epochs: u64,
    /// How often somebody else than the nodes wrote.
    pub foreign: u64,
}

/// A transaction that is committed and not yet acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    pub node: usize,
    pub part: usize,
    pub version: u64,
    pub versions: Versions,
    pub clock: u64,
    /// When the statement that took the lock was sent.
    pub asked: u64,
    /// Only a mistake acknowledges before.
    pub acknowledged: bool,
    /// Sent again after its first try was committed and its node died.
    pub retried: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub epoch: u64,
    pub part: usize,
    pub version: u64,
}

#[derive(Clone, Debug, Hash)]
pub struct World {
    pub mistake: Mistake,
    /// The one node owns the versions, and others write beside it as guests.
    pub sole: bool,
    /// In leases.
    pub now: u64,
    pub database: Database,
    /// Whatever was ever stored: a GET may bring any of it, or nothing.
    pub redis: Vec<Value>,
    /// Whatever was ever sent: any of it may come at any time, twice or never.
    pub messages: Vec<Message>,
    pub nodes: Vec<Node>,
    pub readers: Vec<Reader>,
    pub writers: Vec<Writer>,
    /// Batches whose node died after the commit.
    pub orphans: u8,
    pub debt: Debt,
    pub left: Budget,
}

impl World {
    pub fn new(scenario: &Scenario) -> Self {
        let database = Database {
            epoch: 7,
            clock: 0,
            versions: [0; 3],
            incarnation: 0,
            away: false,
            history: vec![(0, [0; 3])],
            next: 1,
            epochs: 7,
            foreign: 0,
        };
        let node = |_| if scenario.cold { Node::cold() } else { Node::warm(database.epoch, moment(0)) };
        let mut nodes: Vec<Node> = (0..scenario.nodes).map(node).collect();
        if scenario.stored {
            nodes[0].tenants[0].keep(Value::of_the_beginning(database.epoch));
        }
        Self {
            mistake: scenario.mistake,
            sole: scenario.sole,
            now: 0,
            nodes,
            database,
            redis: Vec::new(),
            messages: Vec::new(),
            readers: scenario.readers.iter().map(|spec| Reader::new(*spec)).collect(),
            writers: Vec::new(),
            orphans: 0,
            debt: Debt::new(scenario.nodes),
            left: scenario.budget,
        }
    }

    pub fn trusted(&self, node: usize, minimum: u64) -> bool {
        let Node { floor, looked, .. } = self.nodes[node];
        let now = moment(self.now);
        let trust = match self.sole {
            true if self.is(Mistake::SoleForEver) => Trust::Sole,
            true => Trust::Watched { now, looked: moment(looked) },
            false => Trust::Lease(now),
        };
        let floor = if self.is(Mistake::FloorForgotten) { zero() } else { floor };
        self.nodes[node].tenant().mirror.trusted(trust, floor, minimum)
    }

    pub fn is(&self, mistake: Mistake) -> bool {
        self.mistake == mistake
    }

    pub fn set_in_redis(&mut self, value: Value) {
        let value = Value { expired: false, ..value };
        if !self.redis.contains(&value) {
            self.redis.push(value);
            // In one order, so that the same contents are the same state.
            self.redis.sort_by_key(|v| (v.label.epoch.get(), v.label.newest(), v.saw, v.by));
        }
    }
}

/// The moment `leases` after the beginning. Moments are a lease apart: what was read one moment ago is still believed.
pub fn moment(leases: u64) -> BootTime {
    (0..=leases).fold(BootTime::from_nanos(0), |at, _| at.plus(LEASE))
}

/// Whether `label` claims in any part more than `than`.
pub fn newer(label: &Fence, than: &Fence) -> bool {
    !than.covers(label)
}
