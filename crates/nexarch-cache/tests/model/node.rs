//! A process: the scope as it knows it, and its read of the versions.

use crate::clock::BootTime;
use crate::fence::Epoch;
use crate::flight::Flights;
use crate::mirror::{Mirror, Sent};
use crate::read::{Ask, zero};
use crate::world::{Value, Versions};
use std::hash::{Hash, Hasher};

/// More than there are readers.
const WAITERS: usize = 64;

/// The scope under one epoch.
#[derive(Clone, Debug)]
pub struct Tenant {
    pub mirror: Mirror,
    pub memory: Option<Value>,
    /// Of an earlier epoch: keeps nothing.
    pub closed: bool,
    /// Handles are the readers who own the flights.
    pub flights: Flights<(), u8>,
}

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.mirror.picture().hash(state);
        self.memory.hash(state);
        self.closed.hash(state);
        self.flights.picture(&()).hash(state);
    }
}

#[derive(Clone, Debug, Hash)]
pub struct Node {
    /// By epoch; the last is the one in use. Flights of earlier ones may still end.
    pub tenants: Vec<Tenant>,
    pub truth: Option<TruthRead>,
    /// A sole owner's: what was read at this moment or before is not believed.
    pub floor: BootTime,
    /// When its last look began that vouches for what is known.
    pub looked: u64,
    pub look: Option<Look>,
    /// The changes of guests that a look has seen; none before the first one.
    pub seen: Option<u64>,
}

/// A sole owner looks whether a guest committed.
#[derive(Clone, Copy, Debug, Hash)]
pub struct Look {
    /// When it began.
    pub asked: u64,
    /// What the database says; its answer is on the way.
    pub saw: Option<Saw>,
    /// One had: it waits for a read of the versions.
    pub refresh: Option<Ask>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saw {
    Same,
    Moved,
    NoAnswer,
}

/// A read of the versions under way.
#[derive(Clone, Debug)]
pub struct TruthRead {
    pub sent: u64,
    pub tenant: usize,
    pub mark: Sent,
    /// The clock of the last whole read and the epoch when it was sent.
    pub known: u64,
    pub epoch: Epoch,
    /// None when the database is away.
    pub answer: Option<Answer>,
}

#[derive(Clone, Debug, Hash)]
pub struct Answer {
    pub epoch: Epoch,
    pub clock: u64,
    pub versions: Versions,
}

impl Hash for TruthRead {
    /// Without the mark's number: the mirror's latest is meant.
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.sent, self.tenant, self.known, self.epoch, &self.answer, self.mark.picture()).hash(state);
    }
}

impl Tenant {
    pub fn new(epoch: Epoch) -> Self {
        Self { mirror: Mirror::new(epoch, 1), memory: None, closed: false, flights: Flights::new(WAITERS) }
    }

    /// Keeps `value` unless the one there is newer, as the memory tier does.
    pub fn keep(&mut self, value: Value) {
        let value = Value { expired: false, ..value };
        if !self.closed && !self.memory.is_some_and(|held| held.label.outranks(&value.label)) {
            self.memory = Some(value);
        }
    }
}

impl Node {
    /// Has read nothing yet.
    pub fn cold() -> Self {
        Self::of(Tenant::new(Epoch::default()), None)
    }

    /// Has read the versions at `at`, when there were none.
    pub fn warm(epoch: u64, at: BootTime) -> Self {
        let tenant = Tenant::new(Epoch::new(epoch));
        tenant.mirror.complete(0, at);
        Self::of(tenant, Some(0))
    }

    fn of(tenant: Tenant, seen: Option<u64>) -> Self {
        Self { tenants: vec![tenant], truth: None, floor: zero(), looked: 0, look: None, seen }
    }

    pub fn current(&self) -> usize {
        self.tenants.len() - 1
    }

    pub fn tenant(&self) -> &Tenant {
        &self.tenants[self.current()]
    }

    /// The scope anew, under another epoch.
    pub fn adopt(&mut self, epoch: Epoch) {
        let old = self.current();
        self.tenants[old].closed = true;
        self.tenants[old].memory = None;
        self.tenants.push(Tenant::new(epoch));
    }
}

/// Versions in the order of a mirror.
pub fn in_order([tenant, operation, data]: Versions) -> [u64; 3] {
    [tenant, data, operation]
}
