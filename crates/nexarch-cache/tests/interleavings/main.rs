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

#[path = "../../src/clock.rs"]
mod clock;
#[path = "../../src/fence.rs"]
mod fence;
#[path = "../../src/flight.rs"]
mod flight;
#[path = "../../src/mirror.rs"]
mod mirror;

mod flights;
mod miniature;
mod mirrors;

mod sync {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, Ordering};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};

    pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
        mutex.lock().unwrap()
    }
}

use fence::Fence;
use flight::Arrival;
use miniature::{Miniature, Mistake};
use shuttle::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Schedules of each check. Over repeated runs, each mistake showed within 750 of them.
const SCHEDULES: usize = 5_000;
/// How many times more of them a proof runs where nothing is to be found.
const PROOF: usize = 30;
/// Changes of priority within one schedule. With 4, the longest chain (`FenceOnArrival`) took up to 5,000 schedules,
/// and purely random ones missed `AcknowledgeFirst` in 10,000.
const DEPTH: usize = 20;
/// The same for the few steps of [`turn`].
pub const TURNS: usize = 3;

pub type Work = fn(&Miniature);

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

/// Callers who look for a stored value themselves, and readers who do not.
const CALLERS: &[(Work, usize)] = &[
    (Miniature::commit, 2),
    (Miniature::look_and_read, 2),
    (Miniature::look_and_read, 2),
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
pub fn schedules() -> usize {
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

/// Who looks himself may be overtaken by who computes: of both, one computes.
#[test]
fn who_looks_himself_computes_only_where_nobody_came_meanwhile() {
    shuttle::check_random(|| run(Mistake::None, CALLERS), schedules());
    shuttle::check_pct(|| run(Mistake::None, CALLERS), schedules(), DEPTH);
    let check = || shuttle::check_pct(|| run(Mistake::PlaceIsKept, CALLERS), SCHEDULES, DEPTH);
    assert!(fails(check), "the check does not find two who compute");
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
