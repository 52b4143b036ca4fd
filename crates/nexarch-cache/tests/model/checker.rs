//! Breadth first over all states, so that what is found first is found by the shortest way.
//!
//! Our own hundred lines rather than a framework: states hold the crate's types, which are told apart by a picture of
//! them, and a run has to stop at a number of states and say so.

use std::collections::{HashSet, VecDeque};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What is explored.
pub trait Model: Clone + Hash {
    type Action: Clone + Debug;

    /// What can happen next.
    fn actions(&self) -> Vec<Self::Action>;

    /// Does it; an error is what must never be.
    fn apply(&mut self, action: &Self::Action) -> Result<(), String>;

    /// What is wrong with a state that nothing wrong led to.
    fn stuck(&self) -> Option<String> {
        None
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Explored<A> {
    /// States that differ in their 64-bit hash. Two of ten million coincide with a chance of 3 in a million.
    pub states: usize,
    /// Steps to the farthest of them.
    pub depth: usize,
    /// Whether nothing is left to explore.
    pub complete: bool,
    /// What broke, and the shortest way to it.
    pub broken: Option<(String, Vec<A>)>,
}

/// Where a state came from.
struct Origin<A> {
    from: Option<(usize, A)>,
}

/// Explores from `start` until all states are seen, one is broken, or there are `limit` of them.
pub fn explore<M: Model>(start: &M, limit: usize) -> Explored<M::Action> {
    let mut origins = vec![Origin { from: None }];
    let mut seen = HashSet::from([fingerprint(start)]);
    let mut next = VecDeque::from([(0, 0, start.clone())]);
    let mut depth = 0;
    while let Some((index, steps, state)) = next.pop_front() {
        depth = steps;
        for action in state.actions() {
            let mut after = state.clone();
            let broken = after.apply(&action).err().or_else(|| after.stuck());
            if let Some(broken) = broken {
                let mut way = way_to(&origins, index);
                way.push(action);
                return Explored { states: seen.len(), depth, complete: false, broken: Some((broken, way)) };
            }
            if seen.insert(fingerprint(&after)) {
                origins.push(Origin { from: Some((index, action)) });
                next.push_back((origins.len() - 1, steps + 1, after));
            }
        }
        if seen.len() >= limit {
            return Explored { states: seen.len(), depth, complete: next.is_empty(), broken: None };
        }
    }
    Explored { states: seen.len(), depth, complete: true, broken: None }
}

fn way_to<A: Clone>(origins: &[Origin<A>], mut index: usize) -> Vec<A> {
    let mut way = Vec::new();
    while let Some((from, action)) = &origins[index].from {
        way.push(action.clone());
        index = *from;
    }
    way.reverse();
    way
}

fn fingerprint(state: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

/// Three jugs would do; two counters do, too: all states are seen, and the shortest way is found.
#[test]
fn it_sees_every_state_and_finds_the_shortest_way() {
    #[derive(Clone, Hash)]
    struct Counters(u8, u8, u8);
    impl Model for Counters {
        type Action = bool;
        fn actions(&self) -> Vec<bool> {
            [(true, self.0 < 9), (false, self.1 < 9)].into_iter().filter(|a| a.1).map(|a| a.0).collect()
        }
        fn apply(&mut self, first: &bool) -> Result<(), String> {
            if *first {
                self.0 += 1;
            } else {
                self.1 += 1;
            }
            if self.0 + self.1 == self.2 { Err("sum".into()) } else { Ok(()) }
        }
    }
    let all = explore(&Counters(0, 0, 99), usize::MAX);
    assert_eq!((all.states, all.depth, all.complete), (100, 18, true));
    let found = explore(&Counters(0, 0, 7), usize::MAX);
    assert_eq!(found.broken.unwrap().1.len(), 7);
    let bounded = explore(&Counters(0, 0, 99), 10);
    assert!(!bounded.complete && bounded.states >= 10);
}
