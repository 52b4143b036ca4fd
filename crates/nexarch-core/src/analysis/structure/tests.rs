//! Each algorithm against one that is obviously right, on small graphs; and large ones on a small stack.

use proptest::{collection::vec, prelude::*};

use super::*;

/// Small graphs, dense enough for cycles and sparse enough for cuts.
fn any_net() -> impl Strategy<Value = Net> {
    (1usize..9).prop_flat_map(|len| {
        vec((0..len, 0..len, 1u64..20), 0..14).prop_map(move |edges| Net::new(len, edges))
    })
}

/// Who is reached from where without passing a node; from itself in no step.
fn closure(net: &Net, without: Option<usize>) -> Vec<Vec<bool>> {
    (0..net.len())
        .map(|from| {
            let mut seen = vec![false; net.len()];
            if Some(from) == without {
                return seen;
            }
            seen[from] = true;
            for _ in 0..net.len() {
                for (a, b, _) in net.edges() {
                    seen[b] |= seen[a] && Some(b) != without;
                }
            }
            seen
        })
        .collect()
}

/// As `closure`, along edges in both directions, except one pair.
fn connected(net: &Net, without: Option<usize>, cut: Option<(usize, usize)>) -> Vec<Vec<bool>> {
    let both = net.edges().flat_map(|(a, b, _)| [(a, b, 1), (b, a, 1)]);
    let kept = both.filter(|&(a, b, _)| cut.is_none_or(|cut| (a.min(b), a.max(b)) != cut));
    closure(&Net::new(net.len(), kept), without)
}

fn count(row: &[bool]) -> usize {
    row.iter().filter(|seen| **seen).count()
}

/// Length of the shortest cycle through a node; by walks of growing length.
fn shortest_cycle(net: &Net, node: usize) -> Option<usize> {
    let mut ends = vec![false; net.len()];
    ends[node] = true;
    (1..=net.len()).find(|_| {
        let mut after = vec![false; net.len()];
        for (a, b, _) in net.edges() {
            after[b] |= ends[a];
        }
        ends = after;
        ends[node]
    })
}

/// Number of shortest paths and their length between all pairs.
fn path_counts(net: &Net) -> Vec<Vec<(usize, f64)>> {
    let len = net.len();
    let mut all = vec![vec![(usize::MAX, 0.0); len]; len];
    for from in 0..len {
        let mut walks = vec![0.0; len];
        walks[from] = 1.0;
        for steps in 0..len {
            for to in 0..len {
                if walks[to] > 0.0 && all[from][to].0 == usize::MAX {
                    all[from][to] = (steps, walks[to]);
                }
            }
            let mut after = vec![0.0; len];
            for (a, b, _) in net.edges() {
                after[b] += walks[a];
            }
            walks = after;
        }
    }
    all
}

proptest! {
    #[test]
    fn components_are_mutual_reach_in_reverse_topological_order(net in any_net()) {
        let (parts, reach) = (Components::of(&net), closure(&net, None));
        for (a, below) in reach.iter().enumerate() {
            for (b, reached) in below.iter().enumerate() {
                prop_assert_eq!(parts.of[a] == parts.of[b], *reached && reach[b][a]);
            }
        }
        prop_assert!(net.edges().all(|(a, b, _)| parts.of[a] >= parts.of[b]));
        prop_assert_eq!(parts.members().concat().len(), net.len());
    }

    #[test]
    fn reach_is_the_closure(net in any_net()) {
        let (found, reach) = (Reach::of(&net, &Components::of(&net)), closure(&net, None));
        for node in 0..net.len() {
            prop_assert_eq!(found.below[node], count(&reach[node]) as u64 - 1);
            prop_assert_eq!(found.above[node], reach.iter().filter(|row| row[node]).count() as u64 - 1);
        }
    }

    #[test]
    fn dominators_stand_on_every_path(net in any_net(), first in 0usize..9, second in 0usize..9) {
        let entries = [first % net.len(), second % net.len()];
        let found = Dominators::of(&net, &entries);
        let from_entries = |without| {
            let reach = closure(&net, without);
            (0..net.len()).map(|to| entries.iter().any(|&entry| reach[entry][to])).collect::<Vec<_>>()
        };
        let all = from_entries(None);
        prop_assert_eq!(&found.reached, &all);
        for by in 0..net.len() {
            let rest = from_entries(Some(by));
            let dominated = |to: usize| to != by && all[to] && !rest[to];
            prop_assert_eq!(found.dominated[by], (0..net.len()).filter(|&to| dominated(to)).count());
            for to in 0..net.len() {
                let mut up = found.immediate[to];
                while up.is_some_and(|up| up != by) {
                    up = found.immediate[up.unwrap()];
                }
                prop_assert_eq!(up.is_some(), dominated(to), "{} by {}", to, by);
            }
        }
    }

    #[test]
    fn cuts_cut(net in any_net()) {
        let (found, whole) = (Cuts::of(&net), connected(&net, None, None));
        for (node, part) in whole.iter().enumerate() {
            let rest = connected(&net, Some(node), None);
            let others = (0..net.len()).filter(|&other| other != node && part[other]);
            let largest = others.map(|other| count(&rest[other])).max().unwrap_or(0);
            prop_assert_eq!(found.cut_off[node], count(part) - 1 - largest);
        }
        for (a, b, _) in net.edges() {
            let pair = (a.min(b), a.max(b));
            let falls_apart = !connected(&net, None, Some(pair))[a][b];
            prop_assert_eq!(found.bridges.binary_search(&pair).is_ok(), falls_apart);
        }
        prop_assert!(found.bridges.iter().all(|&(a, b)| net.weight(a, b).or(net.weight(b, a)).is_some()));
    }

    #[test]
    fn one_shortest_cycle_for_each_component(net in any_net()) {
        let parts = Components::of(&net);
        let found = cycles(&net, &parts);
        prop_assert_eq!(found.len(), parts.members().iter().filter(|members| members.len() > 1).count());
        for cycle in found {
            let path = &cycle.path;
            let edges: Vec<_> = (0..path.len()).map(|at| (path[at], path[(at + 1) % path.len()])).collect();
            prop_assert!(path.iter().all(|node| cycle.members.contains(node) && *node >= path[0]));
            let weights: Vec<u64> = edges.iter().map(|&(a, b)| net.weight(a, b).unwrap()).collect();
            prop_assert_eq!(Some(&cycle.cut_weight), weights.iter().min());
            prop_assert!(edges.contains(&cycle.cut));
            let shortest = cycle.members.iter().filter_map(|&node| shortest_cycle(&net, node)).min();
            prop_assert_eq!(Some(path.len()), shortest);
            let paths = path_counts(&net);
            let is_on_one =
                |&(a, b, _): &(usize, usize, u64)| cycle.members.contains(&a) && paths[b][a].0 == path.len() - 1;
            prop_assert_eq!(net.edges().find(is_on_one).map(|(a, b, _)| (a, b)), Some(edges[0]));
        }
    }

    #[test]
    fn betweenness_counts_paths(net in any_net()) {
        let (found, counts) = (betweenness(&net), path_counts(&net));
        let len = net.len();
        for node in 0..len {
            let mut sum = 0.0;
            for from in (0..len).filter(|&from| from != node) {
                for to in (0..len).filter(|&to| to != node && to != from) {
                    let ((a, first), (b, second), (c, all)) =
                        (counts[from][node], counts[node][to], counts[from][to]);
                    if a != usize::MAX && b != usize::MAX && a + b == c {
                        sum += first * second / all;
                    }
                }
            }
            let wanted = if len < 3 { 0.0 } else { sum / ((len - 1) * (len - 2)) as f64 };
            prop_assert!((found[node] - wanted).abs() < 1e-9, "{} {} {}", node, found[node], wanted);
        }
    }

    #[test]
    fn ranks_are_a_fixed_point(net in any_net()) {
        let rank = page_rank(&net);
        prop_assert!((rank.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        let calls = |node: usize| net.weights(node).iter().sum::<u64>() as f64;
        let len = net.len() as f64;
        for node in 0..net.len() {
            let given: f64 = (0..net.len()).map(|from| match net.weight(from, node) {
                _ if calls(from) == 0.0 => rank[from] / len,
                Some(weight) => rank[from] * weight as f64 / calls(from),
                None => 0.0,
            }).sum();
            prop_assert!((rank[node] - 0.15 / len - 0.85 * given).abs() < 1e-4);
        }
    }
}

#[test]
fn complexity_of_known_shapes() {
    let mean_reach = |edges: Vec<(usize, usize, u64)>| {
        let net = Net::new(10, edges);
        Reach::of(&net, &Components::of(&net)).below.iter().sum::<u64>() as f64 / 10.0
    };
    let chain = |to: usize| (0..to).map(|at| (at, (at + 1) % 10, 1)).collect();
    assert_eq!(mean_reach(chain(9)).to_bits(), 4.5f64.to_bits());
    assert_eq!(mean_reach((1..10).map(|leaf| (0, leaf, 1)).collect()).to_bits(), 0.9f64.to_bits());
    assert_eq!(mean_reach(chain(10)).to_bits(), 9.0f64.to_bits());
}

/// Everything that takes linear time on one graph.
fn linear(net: &Net) {
    let parts = Components::of(net);
    let _ = (cycles(net, &parts), Cuts::of(net), Dominators::of(net, &[0]), against_stability(net));
    assert!(page_rank(net).iter().all(|rank| rank.is_finite()));
}

/// What takes more.
fn dense(net: &Net) {
    let reach = Reach::of(net, &Components::of(net));
    assert_eq!(reach.below.iter().sum::<u64>(), reach.above.iter().sum::<u64>());
    assert!(betweenness(net).iter().all(|share| (0.0..=1.0).contains(share)));
}

fn shapes(n: usize) -> [Net; 5] {
    let ladder = (0..n - 3).step_by(2);
    [
        Net::new(n, (1..n).map(|at| (at - 1, at, 1))),
        Net::new(n, (0..n).map(|at| (at, (at + 1) % n, 1))),
        Net::new(n, (1..n).map(|at| (0, at, 1))),
        // Two by two: the number of shortest paths doubles with each step, far beyond a float.
        Net::new(
            n,
            ladder
                .flat_map(|at| [(at, at + 2, 1), (at, at + 3, 1), (at + 1, at + 2, 1), (at + 1, at + 3, 1)]),
        ),
        Net::new(n, (1..n).flat_map(|at| [(at - 1, at, 1), (at, at / 2, 1)])),
    ]
}

#[test]
fn hostile_shapes_stay_bounded() {
    // A stack that no recursion over the nodes survives.
    let run = || {
        shapes(20_000).iter().for_each(linear);
        shapes(2_500).iter().for_each(dense);
    };
    std::thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn sampled_betweenness_is_near_the_whole() {
    // A hub between two halves of 2,500: every path through it.
    let edges = (0..2_500).map(|at| (at, 5_000, 1)).chain((2_500..5_000).map(|at| (5_000, at, 1)));
    let share = betweenness(&Net::new(5_001, edges))[5_000];
    assert!((share - 0.25).abs() < 0.01, "{share}");
}
