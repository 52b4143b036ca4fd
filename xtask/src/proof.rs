//! The longer proofs of the cache. What each explored is printed by the tests themselves; these are the commands.

use anyhow::Result;

use crate::{
    report::Report,
    workspace::{command, run},
};

/// What asks the tests for their longer run; each names its bounds beside its short ones.
pub(crate) const LONGER: &str = "NEXARCH_PROOF";

/// Cases of each property test; the ordinary run uses the tests' own numbers.
const PROPERTY_CASES: &str = "5000";

/// A proof: its name, and what cargo is to test.
const PROOFS: &[(&str, &[&str])] = &[
    // Every order of the protocol's steps, up to 2,000,000 states a scenario, and every known mistake.
    ("model", &["-p", "nexarch-cache", "--test", "model"]),
    // Schedules of threads on the very mirror and flights: 30 times as many.
    ("interleavings", &["-p", "nexarch-cache", "--test", "interleavings"]),
    // The breaker, against a plain model and through as many schedules more.
    ("breaker", &["-p", "nexarch-cache", "--test", "breaker"]),
    // Against plain models, with faults by script.
    ("properties", &["-p", "nexarch-cache", "--lib", "--test", "it"]),
    // Real servers in every state, one client.
    ("redis", &["-p", "nexarch-cache", "--test", "redis"]),
    // The server itself with rotating tokens and failing primaries, under load: 20 rotations, 5 failovers.
    ("azure", &["-p", "nexarch", "--test", "it", "rotations::"]),
    // Real servers in every state, three nodes: 30 times as many changes.
    ("nodes", &["-p", "nexarch-testkit", "--test", "nodes"]),
];

/// Games of the simulator, and seconds of virtual time of each.
const GAMES: &str = "200";
const SECONDS: &str = "60";

/// Runs the proofs one after the other, built as the product is.
pub(crate) fn cache(report: &mut Report) {
    for (name, selection) in PROOFS {
        report.step(name, || one(selection));
    }
    report.step("simulator", simulator);
}

/// Several nodes and a script of faults in virtual time, by seed; a broken guarantee says which seed replays it.
fn simulator() -> Result<()> {
    run(command("cargo")
        .args(["run", "--locked", "--release", "-p", "nexarch-cache", "--features", "testing"])
        .args(["--example", "simulate", "--", "--seed", "1", "--seeds", GAMES, "--seconds", SECONDS]))
}

fn one(selection: &[&str]) -> Result<()> {
    run(command("cargo")
        .args(["test", "--locked", "--release"])
        .args(selection)
        .args(["--", "--nocapture", "--test-threads", "1"])
        .env("PROPTEST_CASES", PROPERTY_CASES)
        .env(LONGER, "1"))
}
