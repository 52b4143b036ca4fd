//! The simulator, a few seeds of it: several nodes under faults in virtual time, judged by what was acknowledged.

#[path = "../../examples/simulate/database.rs"]
pub(crate) mod database;
#[path = "../../examples/simulate/oracle.rs"]
pub(crate) mod oracle;
#[path = "../../examples/simulate/play.rs"]
mod play;

use play::{Game, play};

#[test]
fn every_guarantee_holds_in_the_first_games() {
    for seed in 1..=6 {
        let outcomes = play(Game { seed, seconds: 20, nodes: 3 });
        assert!(
            outcomes.violations.is_empty(),
            "replay with the example `simulate`, --seed {seed} --seconds 20: {outcomes:#?}"
        );
        // It is a game only if everything happens.
        for happened in
            [outcomes.memory, outcomes.redis, outcomes.computed, outcomes.collapsed, outcomes.checked]
        {
            assert!(happened > 20, "{outcomes:?}");
        }
        assert!(outcomes.stale > 0 && outcomes.failed > 0 && outcomes.refused > 0, "{outcomes:?}");
    }
}

#[test]
fn a_game_can_be_played_again() {
    let game = Game { seed: 9, seconds: 10, nodes: 2 };
    assert_eq!(play(game).to_string(), play(game).to_string());
}
