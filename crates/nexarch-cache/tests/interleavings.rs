//! The very files of the mirror and the flights, compiled over Shuttle's types and driven through thousands of
//! schedules, with readers, a loader and writers around them in miniature.
//!
//! Beside the protocol run its known mistakes: for each the same check has to find a schedule that breaks the
//! guarantee. A check that finds nothing proves nothing.
#![allow(missing_docs, reason = "tests are named after what they show")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the files are compiled whole, the miniature uses what it needs"
)]

#[path = "../src/clock.rs"]
mod clock;
#[path = "../src/fence.rs"]
mod fence;
#[path = "../src/flight.rs"]
mod flight;
#[path = "../src/mirror.rs"]
mod mirror;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

use clock::BootTime;
use fence::{Epoch, Fence};
use flight::{Arrival, Flights, Ticket};
use mirror::{Mirror, Part, Trust};
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

const EPOCH: Epoch = Epoch::new(7);
/// Schedules of each check. Over repeated runs, each mistake showed within 750 of them.
const SCHEDULES: usize = 5_000;
/// How many times more of them a proof runs where nothing is to be found.
const PROOF: usize = 30;
/// Changes of priority within one schedule. With 4, the longest chain (`FenceOnArrival`) took up to 5,000 schedules,
/// and purely random ones missed `AcknowledgeFirst` in 10,000.
const DEPTH: usize = 20;
/// The same for the few steps of [`turn`].
const TURNS: usize = 3;

/// A deliberate mistake; each broke a draft of the protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
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
}

type Value = (Fence, u64);

/// One key of one scope: a database with a version and a value, a cache, and what was acknowledged.
struct Miniature {
    mistake: Mistake,
    /// The value is its version.
    database: Mutex<u64>,
    mirror: Mutex<Arc<Mirror>>,
    memory: Mutex<Option<Value>>,
    flights: Flights<u8, Arc<Landing>>,
    acknowledged: AtomicU64,
    computing: AtomicU64,
}

#[derive(Default)]
struct Landing {
    started: Signal<()>,
    value: Signal<Value>,
}

struct Signal<T> {
    value: Mutex<Option<T>>,
    changed: Condvar,
}

impl<T> Default for Signal<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), changed: Condvar::new() }
    }
}

impl<T: Copy> Signal<T> {
    fn set(&self, value: T) {
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
    fn new(mistake: Mistake) -> Arc<Self> {
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

    fn mirror(&self) -> Arc<Mirror> {
        self.mirror.lock().unwrap().clone()
    }

    /// What a hit needs.
    fn need(&self) -> Fence {
        assert!(self.mirror().trusted(Trust::Sole, BootTime::from_nanos(0), 0));
        self.mirror().need(0, true).fence
    }

    /// What a computation needs, and who waits for one.
    fn certain(&self) -> Fence {
        if self.mistake == Mistake::FlyByHearsay {
            return self.need();
        }
        if self.mirror().in_doubt() {
            self.truth_read();
        }
        self.mirror().certain(0, true).fence
    }

    /// Messages: a false one, and one that may be true by the time it is looked at.
    fn gossip(&self) {
        self.mirror().hear(Part::Data, 1_000);
        self.mirror().hear(Part::Data, 2);
    }

    fn commit(&self) {
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
    fn truth_read(&self) {
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

    fn read(&self) {
        let began = self.acknowledged.load(SeqCst);
        let (_, value) = self.answer();
        assert!(value >= began, "{value} after {began} was acknowledged");
    }

    fn answer(&self) -> Value {
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
        let asked = if self.mistake == Mistake::JoinBlindly { Fence { data: 0, ..needed } } else { needed };
        match self.flights.arrive(0, &asked, false, Arc::default) {
            Arrival::Join(ticket) => ticket.handle.value.wait(),
            Arrival::Lead(ticket) => self.fly(ticket.id, &ticket.handle, Some(needed)),
            Arrival::Wait(ticket) => self.take_turn(&ticket, needed),
            Arrival::Alone => self.compute(needed),
        }
    }

    fn take_turn(&self, ticket: &Ticket<Arc<Landing>>, needed: Fence) -> Value {
        ticket.handle.started.wait();
        let early = match self.mistake {
            Mistake::FenceOnArrival => Some(needed),
            Mistake::FenceBeforeClosing => Some(self.certain()),
            _ => None,
        };
        self.fly(ticket.id, &ticket.handle, early)
    }

    fn fly(&self, id: u64, landing: &Landing, fence: Option<Fence>) -> Value {
        assert!(!self.flights.begin(&0, id));
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

type Work = fn(&Miniature);

/// A writer of two versions, a reader of versions, three readers of the key, twice each.
const THREADS: &[(Work, usize)] = &[
    (Miniature::commit, 2),
    (Miniature::truth_read, 2),
    (Miniature::read, 2),
    (Miniature::read, 2),
    (Miniature::read, 2),
];

/// Fewer readers, and messages.
const GOSSIP: &[(Work, usize)] = &[
    (Miniature::commit, 2),
    (Miniature::truth_read, 1),
    (Miniature::gossip, 2),
    (Miniature::read, 2),
    (Miniature::read, 2),
];

fn run(mistake: Mistake, threads: &[(Work, usize)]) {
    let world = Miniature::new(mistake);
    let spawn = |&(work, times): &(Work, usize)| {
        let world = Arc::clone(&world);
        thread::spawn(move || (0..times).for_each(|_| work(&world)))
    };
    for thread in threads.iter().map(spawn).collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    // In the end every acknowledged version is seen, and no flight is left.
    world.read();
    assert_eq!(world.flights.len(), 0);
}

/// The waiting flight's turn has come, what the one before it stored is there; now another commit and a reader of it.
fn turn(mistake: Mistake) {
    let world = Miniature::new(mistake);
    world.commit();
    let (old, needed) = (Fence { data: 0, ..world.need() }, world.need());
    let Arrival::Lead(first) = world.flights.arrive(0, &old, false, Arc::default) else { panic!("leads") };
    let Arrival::Wait(second) = world.flights.arrive(0, &needed, false, Arc::default) else {
        panic!("waits")
    };
    *world.memory.lock().unwrap() = Some((needed, 1));
    world.flights.finish(&0, first.id).unwrap().started.set(());
    let spawn = |work: Box<dyn FnOnce(&Miniature) + Send>| {
        let world = Arc::clone(&world);
        thread::spawn(move || work(&world))
    };
    let waiter = spawn(Box::new(move |world| {
        world.take_turn(&second, needed);
    }));
    let others = spawn(Box::new(|world| {
        world.commit();
        world.read();
    }));
    waiter.join().unwrap();
    others.join().unwrap();
    assert_eq!(world.flights.len(), 0);
}

/// `NEXARCH_PROOF` asks for the longer run.
fn schedules() -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is not configuration of the product")]
    let proof = std::env::var_os("NEXARCH_PROOF").is_some();
    let schedules = if proof { SCHEDULES * PROOF } else { SCHEDULES };
    println!("{schedules} schedules");
    schedules
}

fn fails(check: impl FnOnce()) -> bool {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    let failed = catch_unwind(AssertUnwindSafe(check)).is_err();
    std::panic::set_hook(hook);
    failed
}

#[test]
fn the_protocol_holds_in_every_schedule_and_its_known_mistakes_do_not() {
    shuttle::check_random(|| run(Mistake::None, THREADS), schedules());
    shuttle::check_pct(|| run(Mistake::None, THREADS), schedules(), DEPTH);
    for mistake in [
        Mistake::AcknowledgeFirst,
        Mistake::LabelAfterwards,
        Mistake::JoinBlindly,
        Mistake::OverwriteMirror,
        Mistake::FenceOnArrival,
    ] {
        let check = || shuttle::check_pct(move || run(mistake, THREADS), SCHEDULES, DEPTH);
        assert!(fails(check), "the check does not find {mistake:?}");
    }
}

#[test]
fn no_message_true_or_false_makes_a_read_older() {
    shuttle::check_random(|| run(Mistake::None, GOSSIP), schedules());
    shuttle::check_pct(|| run(Mistake::None, GOSSIP), schedules(), DEPTH);
    let check = || shuttle::check_pct(|| run(Mistake::FlyByHearsay, GOSSIP), SCHEDULES, DEPTH);
    assert!(fails(check), "the check does not find a flight under hearsay");
}

/// A chain too long to be met by chance in the larger miniature.
#[test]
fn a_flight_suits_all_who_join_it_while_its_turn_comes() {
    shuttle::check_pct(|| turn(Mistake::None), schedules(), TURNS);
    for mistake in [Mistake::FenceOnArrival, Mistake::FenceBeforeClosing] {
        let check = || shuttle::check_pct(move || turn(mistake), SCHEDULES, TURNS);
        assert!(fails(check), "the check does not find {mistake:?}");
    }
}

/// Who hangs up makes room, in the running flight and in the waiting one, and only in the one that it had joined.
#[test]
fn who_leaves_a_flight_makes_room_in_it() {
    let check = || {
        let flights: Flights<u8, ()> = Flights::new(1);
        let need = |data| Fence { epoch: EPOCH, tenant: 0, operation: 0, data };
        let arrive = |data| flights.arrive(0, &need(data), false, || ());
        let Arrival::Lead(running) = arrive(0) else { panic!("leads") };
        let Arrival::Wait(waiting) = arrive(1) else { panic!("waits") };
        for (data, flight) in [(0, &running), (1, &waiting)] {
            let Arrival::Join(joined) = arrive(data) else { panic!("joins") };
            assert_eq!(joined.id, flight.id);
            assert!(matches!(arrive(data), Arrival::Alone));
            flights.leave(&0, waiting.id + running.id + 1);
            assert!(matches!(arrive(data), Arrival::Alone), "of another flight");
            flights.leave(&0, joined.id);
            assert!(matches!(arrive(data), Arrival::Join(_)));
        }
        assert!(flights.finish(&0, running.id).is_some());
        flights.leave(&0, running.id);
        assert!(matches!(arrive(1), Arrival::Alone), "of one that has ended");
    };
    shuttle::check_random(check, 1);
}

/// Between closing and computing nobody joins; what he needs may be more than is being taken.
#[test]
fn nobody_joins_a_flight_that_takes_its_fence() {
    let check = || {
        let flights: Flights<u8, ()> = Flights::new(8);
        let need = |data| Fence { epoch: EPOCH, tenant: 0, operation: 0, data };
        let arrive = |data| flights.arrive(0, &need(data), false, || ());
        let Arrival::Lead(first) = arrive(0) else { panic!("leads") };
        let Arrival::Wait(second) = arrive(1) else { panic!("waits") };
        assert!(matches!(arrive(1), Arrival::Join(_)));
        assert!(matches!(arrive(0), Arrival::Join(_)), "the running one");
        assert!(flights.finish(&0, first.id).is_some());
        assert!(matches!(arrive(1), Arrival::Join(_)), "it has not begun");
        flights.begin(&0, second.id);
        let Arrival::Wait(third) = arrive(1) else { panic!("waits for the next") };
        flights.compute_under(&0, second.id, need(2));
        assert!(matches!(arrive(2), Arrival::Join(_)), "the running one");
        assert!(matches!(arrive(3), Arrival::Join(_)), "the waiting one");
        assert!(flights.finish(&0, third.id).is_none(), "dropped before its turn");
        assert!(flights.finish(&0, second.id).is_none());
        assert_eq!(flights.len(), 0);
    };
    shuttle::check_random(check, 1);
}

/// Every schedule of one commit and two readers, the first of which may be computing.
#[test]
fn the_smallest_race_holds_in_all_schedules() {
    let small = || {
        let world = Miniature::new(Mistake::None);
        let writer = thread::spawn({
            let world = Arc::clone(&world);
            move || world.commit()
        });
        let reader = thread::spawn({
            let world = Arc::clone(&world);
            move || world.read()
        });
        writer.join().unwrap();
        world.read();
        reader.join().unwrap();
    };
    shuttle::check_dfs(small, Some(50_000));
}

/// However messages, commits and reads of versions meet: nothing known is lowered, what overtakes a read outlives it,
/// and one more read ends all hearsay.
#[test]
fn hearsay_lowers_nothing_and_ends() {
    let check = || {
        let world = Miniature::new(Mistake::None);
        let spawn = |work: Work| {
            let world = Arc::clone(&world);
            thread::spawn(move || work(&world))
        };
        let works: [Work; 4] = [
            Miniature::gossip,
            |world| (0..3).for_each(|_| world.commit()),
            Miniature::truth_read,
            |world| {
                let before = world.acknowledged.load(SeqCst);
                assert!(world.need().data >= before);
                assert!(world.mirror().certain(0, true).fence.data >= before);
            },
        ];
        for thread in works.map(spawn) {
            thread.join().unwrap();
        }
        let sent = world.mirror().sending();
        world.mirror().hear(Part::Data, 7);
        world.mirror().answered(&sent);
        assert_eq!(world.need().data, 7, "it came after the read was sent");
        world.truth_read();
        assert_eq!(world.need(), Fence { epoch: EPOCH, tenant: 0, operation: 0, data: 3 });
    };
    shuttle::check_random(check, schedules());
    shuttle::check_pct(check, schedules(), TURNS);
}

/// A read of versions that is trusted has raised all it vouches for.
#[test]
fn trust_is_never_ahead_of_the_versions_it_vouches_for() {
    let check = || {
        let mirror = Arc::new(Mirror::new(EPOCH, 1));
        let done = Arc::new(AtomicBool::new(false));
        let raiser = thread::spawn({
            let (mirror, done) = (Arc::clone(&mirror), Arc::clone(&done));
            move || {
                for version in 1..=3u64 {
                    mirror.raise_tenant(version);
                    mirror.raise_operation(0, version);
                    mirror.raise_data(version);
                    mirror.complete(version, BootTime::from_nanos(version * 10));
                }
                done.store(true, SeqCst);
            }
        });
        while !done.load(SeqCst) {
            for minimum in 0..=3 {
                if mirror.trusted(Trust::Lease(BootTime::from_nanos(40)), BootTime::from_nanos(0), minimum) {
                    let needed = mirror.need(0, true);
                    let fence = needed.fence;
                    assert!(needed.known >= minimum);
                    for part in [fence.tenant, fence.operation, fence.data] {
                        assert!(part >= needed.known, "{needed:?}");
                    }
                }
            }
            thread::yield_now();
        }
        raiser.join().unwrap();
    };
    shuttle::check_random(check, schedules());
}
