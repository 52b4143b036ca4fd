//! What may happen in one run, and how often.

use crate::action::Action;
use crate::checker::{Explored, explore};
use crate::mistakes::Mistake;
use crate::read::Spec;
use crate::world::World;
use std::fmt::Write;

/// How often each thing may happen.
#[derive(Clone, Copy, Debug, Default, Hash)]
pub struct Budget {
    pub ticks: u8,
    /// Changes of data, of the whole scope, of the operation; made by the first `writing_nodes`.
    pub commits: u8,
    pub invalidations: u8,
    pub operations: u8,
    pub writing_nodes: usize,
    /// Reads of the versions that nobody asked for.
    pub beats: u8,
    pub forgeries: u8,
    pub crashes: u8,
    pub outages: u8,
    pub restores: u8,
    pub failures: u8,
    pub expiries: u8,
    pub evictions: u8,
    /// Callers who are not polled any more, or hang up, while they look in Redis themselves.
    pub departures: u8,
    /// Looks of a sole owner, those that get no answer in time, changes of guests by part, and answers to its own changes
    /// that are lost.
    pub looks: u8,
    pub late_looks: u8,
    pub guests: [u8; 3],
    pub lost_answers: u8,
    /// Whether computations may read a replica that lags.
    pub lag: bool,
}

#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub mistake: Mistake,
    pub nodes: usize,
    /// Whether nodes start without having read the versions.
    pub cold: bool,
    /// Whether the first node holds a value of the beginning.
    pub stored: bool,
    /// Whether the one node owns the versions, with guests beside it.
    pub sole: bool,
    pub readers: &'static [Spec],
    pub budget: Budget,
}

impl Scenario {
    pub fn explore(&self, limit: usize) -> Explored<Action> {
        explore(&World::new(self), limit)
    }

    pub const fn with(self, mistake: Mistake) -> Self {
        Self { mistake, ..self }
    }
}

/// A reader of `node` who asks for nothing special.
pub const fn at(node: usize) -> Spec {
    Spec {
        node,
        minimum: false,
        max_stale: false,
        no_cache: false,
        early: false,
        looks: false,
        unverified: false,
    }
}

const NONE: Budget = Budget {
    ticks: 0,
    commits: 0,
    invalidations: 0,
    operations: 0,
    writing_nodes: 1,
    beats: 0,
    forgeries: 0,
    crashes: 0,
    outages: 0,
    restores: 0,
    failures: 0,
    expiries: 0,
    evictions: 0,
    departures: 0,
    looks: 0,
    late_looks: 0,
    guests: [0; 3],
    lost_answers: 0,
    lag: false,
};

const fn scenario(name: &'static str, nodes: usize, readers: &'static [Spec], budget: Budget) -> Scenario {
    Scenario { name, mistake: Mistake::None, nodes, cold: false, stored: false, sole: false, readers, budget }
}

const MINIMUM_AT_1: Spec = Spec { minimum: true, ..at(1) };
const STALE: Spec = Spec { max_stale: true, ..at(0) };
const STALE_MINIMUM: Spec = Spec { max_stale: true, minimum: true, ..at(0) };
const EARLY_AT_0: Spec = Spec { early: true, ..at(0) };
const EARLY_AT_1: Spec = Spec { early: true, ..at(1) };
const UNVERIFIED_AT_0: Spec = Spec { unverified: true, ..at(0) };
const LOOKS_AT_0: Spec = Spec { looks: true, ..at(0) };
const LOOKS_AT_1: Spec = Spec { looks: true, ..at(1) };
const NO_CACHE_AT_0: Spec = Spec { no_cache: true, ..at(0) };

/// Flights, those who join and those who wait, while the scope is invalidated.
pub const FLIGHTS: Scenario = scenario("flights", 1, &[at(0); 4], Budget { invalidations: 2, ..NONE });

/// The same with data, whose version the computation sees, and reads of the versions that are under way.
pub const FLIGHTS_OF_DATA: Scenario =
    scenario("flights over data", 1, &[at(0); 3], Budget { commits: 2, beats: 1, ..NONE });

/// Each part of a fence.
pub const PARTS: Scenario =
    scenario("all parts", 1, &[at(0); 3], Budget { commits: 1, invalidations: 1, operations: 1, ..NONE });

/// A node that hears nothing, while time passes.
pub const LEASE: Scenario =
    scenario("lease", 2, &[at(1); 2], Budget { ticks: 2, commits: 1, beats: 1, ..NONE });

/// The same, and nobody looks.
pub const SILENCE: Scenario = scenario("silence", 2, &[at(1); 2], Budget { ticks: 2, commits: 1, ..NONE });

/// A message comes late, another never.
pub const LATE_MESSAGE: Scenario =
    scenario("late message", 2, &[at(1); 2], Budget { ticks: 2, commits: 2, ..NONE });

/// Both nodes write; values and messages pass between them.
pub const TWO_NODES: Scenario = scenario(
    "two nodes",
    2,
    &[at(0), at(1), at(1)],
    Budget { ticks: 2, commits: 1, invalidations: 1, writing_nodes: 2, ..NONE },
);

/// Who was given a version asks another node for it.
pub const MINIMUM: Scenario = scenario(
    "minimum version",
    2,
    &[at(1), MINIMUM_AT_1, MINIMUM_AT_1],
    Budget { ticks: 1, commits: 2, ..NONE },
);

pub const FALSE_INVALIDATIONS: Scenario =
    scenario("false invalidations", 1, &[at(0); 3], Budget { invalidations: 2, forgeries: 2, ..NONE });

pub const FALSE_COMMITS: Scenario =
    scenario("false commits", 1, &[at(0); 3], Budget { commits: 2, forgeries: 2, ..NONE });

/// What a false message does on one node is not felt on another.
pub const FALSE_MESSAGES: Scenario = scenario(
    "false messages, two nodes",
    2,
    &[at(0), at(1)],
    Budget { ticks: 1, commits: 1, invalidations: 1, forgeries: 1, ..NONE },
);

/// A replica lags, and computations may read it.
pub const LAG: Scenario =
    scenario("lagging replica", 2, &[at(0), at(1)], Budget { ticks: 1, commits: 2, lag: true, ..NONE });

/// A backup comes back, or a replica that lagged is promoted; the node knew better.
pub const SET_BACK: Scenario =
    scenario("set back", 1, &[at(0); 3], Budget { ticks: 2, commits: 2, restores: 1, ..NONE });

/// One change, which is lost.
pub const SET_BACK_ONCE: Scenario =
    scenario("set back, once", 1, &[at(0); 2], Budget { ticks: 2, commits: 1, restores: 1, ..NONE });

/// Nobody looked before changes went on.
pub const SET_BACK_UNSEEN: Scenario = scenario(
    "set back, unseen",
    1,
    &[at(0)],
    Budget { ticks: 2, commits: 1, invalidations: 1, restores: 1, ..NONE },
);

/// The same, and another node finds in Redis what is lost.
pub const SET_BACK_BEHIND: Scenario =
    scenario("set back, two nodes", 2, &[at(0), at(1)], Budget { ticks: 2, commits: 1, restores: 1, ..NONE });

/// The same, and changes go on.
pub const SET_BACK_AND_ON: Scenario = scenario(
    "set back, and on",
    2,
    &[at(0), at(1)],
    Budget { ticks: 2, commits: 2, invalidations: 1, restores: 1, ..NONE },
);

pub const AWAY: Scenario =
    scenario("database away", 2, &[at(0), at(1), at(1)], Budget { ticks: 2, commits: 1, outages: 1, ..NONE });

/// Some may have what nobody vouches for while the database is away.
pub const UNVERIFIED: Scenario = Scenario {
    stored: true,
    ..scenario(
        "unverified",
        1,
        &[UNVERIFIED_AT_0; 2],
        Budget { ticks: 2, commits: 1, outages: 1, expiries: 1, ..NONE },
    )
};

/// Nodes die between a commit and its acknowledgement; the batch comes again, perhaps elsewhere.
pub const CRASH: Scenario = scenario(
    "crash and retry",
    2,
    &[at(1); 2],
    Budget { ticks: 1, commits: 1, invalidations: 1, crashes: 1, ..NONE },
);

pub const FAIL_SAFE: Scenario = scenario(
    "fail-safe",
    1,
    &[at(0); 3],
    Budget { commits: 1, invalidations: 1, failures: 1, expiries: 1, evictions: 1, ..NONE },
);

pub const MAX_STALE: Scenario = scenario(
    "max-stale",
    1,
    &[at(0), STALE, STALE_MINIMUM],
    Budget { ticks: 1, commits: 1, invalidations: 1, operations: 1, ..NONE },
);

pub const NO_CACHE: Scenario =
    scenario("no-cache", 1, &[at(0), at(0), NO_CACHE_AT_0, NO_CACHE_AT_0], Budget { commits: 1, ..NONE });

/// What is near its end is refreshed behind, while it is read, made old and expires.
pub const EARLY: Scenario = scenario(
    "early refresh",
    1,
    &[EARLY_AT_0, at(0), at(0)],
    Budget { commits: 1, invalidations: 1, expiries: 1, ..NONE },
);

/// The same on two nodes, each of which may leave it to the other or find there what it brought.
pub const EARLY_TWICE: Scenario = scenario(
    "early refresh, two nodes",
    2,
    &[EARLY_AT_0, EARLY_AT_1, at(0), at(1)],
    Budget { ticks: 1, commits: 1, writing_nodes: 2, ..NONE },
);

/// It fails, the database is away, and others wait for it, with or without a use for what is there already.
pub const EARLY_IN_VAIN: Scenario = scenario(
    "early refresh in vain",
    1,
    &[EARLY_AT_0, at(0), NO_CACHE_AT_0],
    Budget { commits: 1, failures: 1, expiries: 1, outages: 1, lag: true, ..NONE },
);

/// It runs while the database is set back.
pub const EARLY_SET_BACK: Scenario = scenario(
    "early refresh, set back",
    1,
    &[EARLY_AT_0, at(0), at(0)],
    Budget { ticks: 2, commits: 1, restores: 1, ..NONE },
);

/// Callers look in Redis themselves first, and may never be polled again, or hang up; the data change.
pub const CALLERS: Scenario =
    scenario("callers", 1, &[LOOKS_AT_0; 3], Budget { commits: 1, evictions: 1, departures: 1, ..NONE });

/// The same on two nodes, so that they find what the other one stored, or something newer than they know.
pub const CALLERS_FIND: Scenario = scenario(
    "callers, two nodes",
    2,
    &[LOOKS_AT_0, LOOKS_AT_1, LOOKS_AT_1],
    Budget { ticks: 1, commits: 1, departures: 1, ..NONE },
);

/// The same beside those who ask for a computation of their own, and a refresh.
pub const CALLERS_AND_OTHERS: Scenario = scenario(
    "callers and others",
    1,
    &[LOOKS_AT_0, NO_CACHE_AT_0, EARLY_AT_0, LOOKS_AT_0],
    Budget { commits: 1, departures: 1, failures: 1, ..NONE },
);

/// Neither node has read anything yet.
pub const COLD: Scenario = Scenario {
    cold: true,
    ..scenario("cold start", 2, &[at(0), at(1)], Budget { ticks: 1, commits: 1, invalidations: 1, ..NONE })
};

const fn sole(name: &'static str, readers: &'static [Spec], budget: Budget) -> Scenario {
    Scenario { sole: true, ..scenario(name, 1, readers, budget) }
}

/// The owner looks for a guest who writes; one look gets no answer in time.
pub const GUEST: Scenario =
    sole("guest", &[at(0); 2], Budget { ticks: 2, looks: 2, late_looks: 1, guests: [0, 0, 1], ..NONE });

/// The same, with a read of the versions under way.
pub const GUEST_LATE_ANSWER: Scenario = Scenario {
    stored: true,
    ..sole(
        "guest, late answer",
        &[at(0)],
        Budget { ticks: 2, beats: 1, looks: 2, late_looks: 1, guests: [0, 0, 1], ..NONE },
    )
};

/// Guests write, looks fail, or the owner does not get to them, and the database is away for a while.
pub const GUESTS: Scenario = sole(
    "guests",
    &[at(0); 2],
    Budget { ticks: 3, looks: 3, late_looks: 1, guests: [1, 0, 1], outages: 1, ..NONE },
);

/// The same, while it writes itself and is not always told what became of that.
pub const GUESTS_AND_OWNER: Scenario = sole(
    "guests and owner",
    &[at(0); 2],
    Budget { ticks: 2, looks: 2, guests: [0, 0, 1], commits: 1, invalidations: 1, lost_answers: 1, ..NONE },
);

/// The owner and early refreshes, those who hang up, expiry and failure.
pub const GUESTS_AND_FLIGHTS: Scenario = sole(
    "guests and flights",
    &[EARLY_AT_0, LOOKS_AT_0, at(0)],
    Budget { ticks: 2, looks: 2, guests: [0, 0, 1], departures: 1, expiries: 1, failures: 1, ..NONE },
);

/// The owner's database is set back, as by a backup that another process puts in place.
pub const GUESTS_SET_BACK: Scenario = sole(
    "guests, set back",
    &[at(0); 2],
    Budget { ticks: 3, looks: 2, commits: 1, restores: 1, lag: true, ..NONE },
);

/// It has read nothing yet, or dies.
pub const GUESTS_COLD: Scenario = Scenario {
    cold: true,
    ..sole(
        "guests, cold start",
        &[at(0); 2],
        Budget { ticks: 2, looks: 2, guests: [0, 0, 1], invalidations: 1, crashes: 1, ..NONE },
    )
};

/// Everything at once: never whole, but wide.
pub const EVERYTHING: Scenario = scenario(
    "everything",
    2,
    &[at(0), at(1), MINIMUM_AT_1, STALE],
    Budget {
        ticks: 3,
        commits: 2,
        invalidations: 1,
        operations: 1,
        writing_nodes: 2,
        beats: 1,
        forgeries: 1,
        crashes: 1,
        outages: 1,
        restores: 1,
        failures: 1,
        expiries: 1,
        evictions: 1,
        departures: 0,
        lag: true,
        ..NONE
    },
);

/// States of each scenario in an ordinary run; most have more.
const STATES: usize = 5_000;

/// States of each scenario in a proof: what fits in 6 GB.
const PROOF_STATES: usize = 2_000_000;

/// `NEXARCH_PROOF` asks for the longer run.
fn limit() -> usize {
    #[expect(clippy::disallowed_methods, reason = "how long a test runs is not configuration of the product")]
    let proof = std::env::var_os("NEXARCH_PROOF").is_some();
    if proof { PROOF_STATES } else { STATES }
}

/// The trace, one step a line.
pub fn tell(broken: &str, way: &[Action]) -> String {
    let mut text = format!("{broken}, after {} steps:\n", way.len());
    for action in way {
        writeln!(text, "  {action:?}").expect("a string");
    }
    text
}

/// No state that can be reached breaks anything.
fn holds(scenario: &Scenario) {
    let explored = scenario.explore(limit());
    let whole = if explored.complete { "all there are" } else { "of more" };
    println!("{:<26} {:>9} states to depth {:>2}, {whole}", scenario.name, explored.states, explored.depth);
    if let Some((broken, way)) = &explored.broken {
        panic!("{}: {}", scenario.name, tell(broken, way));
    }
}

macro_rules! the_protocol_holds {
    ($($test:ident: $scenario:expr),+ $(,)?) => {
        $(#[test] fn $test() { holds(&$scenario); })+
    };
}

the_protocol_holds! {
    flights: FLIGHTS,
    flights_of_data: FLIGHTS_OF_DATA,
    parts: PARTS,
    lease: LEASE,
    silence: SILENCE,
    late_message: LATE_MESSAGE,
    two_nodes: TWO_NODES,
    minimum: MINIMUM,
    false_invalidations: FALSE_INVALIDATIONS,
    false_commits: FALSE_COMMITS,
    false_messages: FALSE_MESSAGES,
    lag: LAG,
    set_back: SET_BACK,
    set_back_once: SET_BACK_ONCE,
    set_back_unseen: SET_BACK_UNSEEN,
    set_back_behind: SET_BACK_BEHIND,
    set_back_and_on: SET_BACK_AND_ON,
    away: AWAY,
    unverified: UNVERIFIED,
    crash: CRASH,
    fail_safe: FAIL_SAFE,
    max_stale: MAX_STALE,
    no_cache: NO_CACHE,
    early: EARLY,
    early_twice: EARLY_TWICE,
    early_in_vain: EARLY_IN_VAIN,
    early_set_back: EARLY_SET_BACK,
    callers: CALLERS,
    callers_find: CALLERS_FIND,
    callers_and_others: CALLERS_AND_OTHERS,
    cold: COLD,
    guest: GUEST,
    guest_late_answer: GUEST_LATE_ANSWER,
    guests: GUESTS,
    guests_and_owner: GUESTS_AND_OWNER,
    guests_and_flights: GUESTS_AND_FLIGHTS,
    guests_set_back: GUESTS_SET_BACK,
    guests_cold: GUESTS_COLD,
    everything: EVERYTHING,
}
