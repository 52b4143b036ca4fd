//! Plays several nodes over one database and one shared tier, in virtual time, with faults drawn from a seed, and says
//! whether a guarantee broke. The same seed plays the same game.
//!
//! ```text
//! cargo run -p nexarch-cache --example simulate --features testing -- --seed 7 --seeds 20 --seconds 60 --nodes 3
//! ```
#![allow(clippy::print_stdout, reason = "what it finds is printed")]

mod database;
mod oracle;
mod play;

use play::{Game, Outcomes, play};
use std::process::ExitCode;

const USAGE: &str = "simulate [--seed N] [--seeds COUNT] [--seconds VIRTUAL] [--nodes N]";

fn main() -> ExitCode {
    let mut game = Game::default();
    let mut seeds = 1;
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<u64>().ok());
        match (name.as_str(), value) {
            ("--seed", Some(seed)) => game.seed = seed,
            ("--seeds", Some(count)) => seeds = count,
            ("--seconds", Some(seconds)) => game.seconds = seconds,
            ("--nodes", Some(nodes @ 1..=16)) => game.nodes = nodes,
            _ => {
                println!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    let mut broken = false;
    let first = game.seed;
    for seed in first..first.saturating_add(seeds) {
        game.seed = seed;
        let outcomes = play(game);
        println!("seed {seed}: {outcomes}");
        for violation in &outcomes.violations {
            println!("  {violation}");
        }
        broken |= !outcomes.kept();
    }
    println!("{}", if broken { "a guarantee broke" } else { "every guarantee held" });
    if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

impl Outcomes {
    fn kept(&self) -> bool {
        self.violations.is_empty()
    }
}
