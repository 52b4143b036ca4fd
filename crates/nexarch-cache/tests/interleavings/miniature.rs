//! One key of one scope: readers, a loader and writers around the mirror and the flights, in miniature.

use crate::clock::BootTime;
use crate::fence::{Epoch, Fence};
use crate::flight::{Arrival, Flights, Ticket};
use crate::mirror::{Mirror, Part, Trust};
use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::sync::Arc;

pub const EPOCH: Epoch = Epoch::new(7);

/// A deliberate mistake; each broke a draft of the protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mistake {
    None,
    /// The writer acknowledges, then raises the mirror.
    AcknowledgeFirst,
    /// The label is read from the mirror after computing.
    LabelAfterwards,
    /// A reader joins whatever runs.
    JoinBlindly,
    /// A read of versions overwrites the mirror with what it read.
    OverwriteMirror,
    /// The waiting flight runs under the fence of the reader that made it, taken when it arrived.
    FenceOnArrival,
    /// A flight runs under what was only heard, so who needs less may join it.
    FlyByHearsay,
    /// The waiting flight takes its fence and is closed after that: this crate once did, and this check found it.
    FenceBeforeClosing,
    /// Who looked for a stored value himself computes, although somebody came meanwhile and leads.
    PlaceIsKept,
}

pub type Value = (Fence, u64);

/// One key of one scope: a database with a version and a value, a cache, and what was acknowledged.
pub struct Miniature {
    mistake: Mistake,
    /// The value is its version.
    database: Mutex<u64>,
    mirror: Mutex<Arc<Mirror>>,
    pub memory: Mutex<Option<Value>>,
    pub(crate) flights: Flights<u8, Arc<Landing>>,
    pub acknowledged: AtomicU64,
    computing: AtomicU64,
}

#[derive(Default)]
pub struct Landing {
    pub started: Signal<()>,
    value: Signal<Value>,
}

pub struct Signal<T> {
    value: Mutex<Option<T>>,
    changed: Condvar,
}

impl<T> Default for Signal<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), changed: Condvar::new() }
    }
}

impl<T: Copy> Signal<T> {
    pub fn set(&self, value: T) {
        *self.value.lock().unwrap() = Some(value);
        self.changed.notify_all();
    }

    fn wait(&self) -> T {
        let mut value = self.value.lock().unwrap();
        loop {
            if let Some(value) = *value {
                return value;
            }
            value = self.changed.wait(value).unwrap();
        }
    }
}

impl Miniature {
    pub fn new(mistake: Mistake) -> Arc<Self> {
        let mirror = Mirror::new(EPOCH, 1);
        mirror.complete(0, BootTime::from_nanos(1));
        Arc::new(Self {
            mistake,
            database: Mutex::new(0),
            mirror: Mutex::new(Arc::new(mirror)),
            memory: Mutex::new(None),
            flights: Flights::new(8),
            acknowledged: AtomicU64::new(0),
            computing: AtomicU64::new(0),
        })
    }

    pub(crate) fn mirror(&self) -> Arc<Mirror> {
        self.mirror.lock().unwrap().clone()
    }

    /// What a hit needs.
    pub fn need(&self) -> Fence {
        assert!(self.mirror().trusted(Trust::Sole, BootTime::from_nanos(0), 0));
        self.mirror().need(0, true).fence
    }

    /// What a computation needs, and who waits for one.
    pub fn certain(&self) -> Fence {
        if self.mistake == Mistake::FlyByHearsay {
            return self.need();
        }
        if self.mirror().in_doubt() {
            self.truth_read();
        }
        self.mirror().certain(0, true).fence
    }

    /// Messages: a false one, and one that may be true by the time it is looked at.
    pub fn gossip(&self) {
        self.mirror().hear(Part::Data, 1_000);
        self.mirror().hear(Part::Data, 2);
    }

    pub fn commit(&self) {
        let version = {
            let mut database = self.database.lock().unwrap();
            *database += 1;
            *database
        };
        if self.mistake == Mistake::AcknowledgeFirst {
            self.acknowledged.fetch_max(version, SeqCst);
        }
        self.mirror().raise_data(version);
        self.acknowledged.fetch_max(version, SeqCst);
    }

    /// A read of the versions whose answer takes its time.
    pub fn truth_read(&self) {
        let sent = self.mirror().sending();
        let version = *self.database.lock().unwrap();
        thread::yield_now();
        if self.mistake == Mistake::OverwriteMirror {
            let mirror = Mirror::new(EPOCH, 1);
            mirror.raise_data(version);
            mirror.complete(version, BootTime::from_nanos(1));
            *self.mirror.lock().unwrap() = Arc::new(mirror);
            return;
        }
        let mirror = self.mirror();
        mirror.raise_data(version);
        mirror.answered(&sent);
        mirror.complete(version, BootTime::from_nanos(1));
    }

    pub fn read(&self) {
        self.reads(false);
    }

    /// As a caller who looks for a stored value himself before there is a flight, and finds none.
    pub fn look_and_read(&self) {
        self.reads(true);
    }

    fn reads(&self, looks: bool) {
        let began = self.acknowledged.load(SeqCst);
        let (_, value) = self.answer(looks);
        assert!(value >= began, "{value} after {began} was acknowledged");
    }

    fn answer(&self, looks: bool) -> Value {
        for needed in [Self::need, Self::certain] {
            let needed = needed(self);
            let held = *self.memory.lock().unwrap();
            if let Some(held) = held
                && held.0.covers(&needed)
            {
                return held;
            }
        }
        let needed = self.certain();
        if looks && let Some(ticket) = self.flights.look(0, Arc::default) {
            thread::yield_now();
            let leads = self.flights.compute_under(&0, ticket.id, needed);
            if leads || self.mistake == Mistake::PlaceIsKept {
                return self.fly(ticket.id, &ticket.handle, Some(needed));
            }
        }
        let asked = if self.mistake == Mistake::JoinBlindly { Fence { data: 0, ..needed } } else { needed };
        match self.flights.arrive(0, &asked, false, Arc::default) {
            Arrival::Join(ticket) => ticket.handle.value.wait(),
            Arrival::Lead(ticket) => self.fly(ticket.id, &ticket.handle, Some(needed)),
            Arrival::Wait(ticket) => self.take_turn(&ticket, needed),
            Arrival::Alone => self.compute(needed),
        }
    }

    pub(crate) fn take_turn(&self, ticket: &Ticket<Arc<Landing>>, needed: Fence) -> Value {
        ticket.handle.started.wait();
        let early = match self.mistake {
            Mistake::FenceOnArrival => Some(needed),
            Mistake::FenceBeforeClosing => Some(self.certain()),
            _ => None,
        };
        self.fly(ticket.id, &ticket.handle, early)
    }

    fn fly(&self, id: u64, landing: &Landing, fence: Option<Fence>) -> Value {
        // Gone where somebody took its place, which is a mistake of its own.
        assert!(!self.flights.begin(&0, id) || self.mistake == Mistake::PlaceIsKept);
        let fence = fence.unwrap_or_else(|| self.certain());
        self.flights.compute_under(&0, id, fence);
        assert_eq!(self.computing.fetch_add(1, SeqCst), 0, "two computations of one key");
        // What the flight before this one stored may do.
        let held = *self.memory.lock().unwrap();
        let value = held.filter(|held| held.0.covers(&fence)).unwrap_or_else(|| self.compute(fence));
        assert_eq!(self.computing.fetch_sub(1, SeqCst), 1);
        landing.value.set(value);
        if let Some(next) = self.flights.finish(&0, id) {
            next.started.set(());
        }
        value
    }

    fn compute(&self, fence: Fence) -> Value {
        let seen = *self.database.lock().unwrap();
        assert!(
            seen >= fence.data || self.mistake == Mistake::FlyByHearsay,
            "no fence is ahead of the database"
        );
        thread::yield_now();
        let label = match self.mistake {
            Mistake::LabelAfterwards => self.need(),
            _ => Fence { data: seen, ..fence },
        };
        self.mirror().raise_data(label.data);
        let mut memory = self.memory.lock().unwrap();
        if !memory.is_some_and(|held| held.0.outranks(&label)) {
            *memory = Some((label, seen));
        }
        (label, seen)
    }
}
