use proptest::{collection::vec, prelude::*};

use super::*;

const ASPECT: f64 = 16.0 / 9.0;

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("service-{at:04}-{}", "x".repeat(at % 20))).collect()
}

fn arranged(count: usize, edges: &[(usize, usize)]) -> (Vec<String>, Arrangement) {
    let names = names(count);
    let labels: Vec<&str> = names.iter().map(|name| &**name).collect();
    let arrangement = arrange(&labels, edges, ASPECT);
    (names, arrangement)
}

/// Left, right, top, bottom of a box.
fn sides(name: &str, at: Position) -> (i32, i32, i32, i32) {
    let half = box_width(name) / 2;
    (at.x - half, at.x + half, at.y - BOX_HEIGHT / 2, at.y + BOX_HEIGHT / 2)
}

/// A landscape as grown: mostly to higher numbers, some back.
fn grown(count: usize, edges: usize) -> Vec<(usize, usize)> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    (0..edges)
        .map(|edge| {
            let to = 1 + next(count - 1);
            let from = to.saturating_sub(1 + next(60));
            if edge % 90 == 89 { (to, from) } else { (from, to) }
        })
        .collect()
}

#[test]
fn callers_stand_left_of_callees_and_a_chain_is_straight() {
    let (_, arrangement) = arranged(4, &[(0, 1), (1, 2), (2, 3)]);
    let x: Vec<i32> = arrangement.centres.iter().map(|at| at.x).collect();
    assert!(x.is_sorted(), "{x:?}");
    assert!(arrangement.centres.iter().all(|at| at.y == arrangement.centres[0].y));
    assert!(arrangement.bends.iter().all(Vec::is_empty));
}

#[test]
fn nothing_and_one_lone_service() {
    assert_eq!(arrange(&[], &[], ASPECT), Arrangement::default());
    let (_, one) = arranged(1, &[]);
    assert_eq!(
        one.centres,
        [Position { x: MARGIN + box_width("service-0000-") / 2, y: MARGIN + BOX_HEIGHT / 2 }]
    );
}

#[test]
fn a_lone_caller_moves_next_to_what_it_calls() {
    // 0 → 1 → 2 → 3, and 4 calls only 3.
    let (_, arrangement) = arranged(5, &[(0, 1), (1, 2), (2, 3), (4, 3)]);
    assert_eq!(arrangement.centres[4].x, arrangement.centres[2].x);
}

#[test]
fn a_cycle_is_spread_over_layers_from_where_it_is_entered() {
    // 0 calls 2; 2 → 3 → 1 → 2.
    let (_, arrangement) = arranged(4, &[(0, 2), (1, 2), (2, 3), (3, 1)]);
    let x = |node: usize| arrangement.centres[node].x;
    assert!(x(0) < x(2) && x(2) < x(3) && x(3) < x(1));
}

#[test]
fn crossings_are_avoided() {
    // Three callers and three callees, joined crosswise: a planar picture exists.
    let (_, arrangement) = arranged(6, &[(0, 5), (1, 4), (2, 3)]);
    let y = |node: usize| arrangement.centres[node].y;
    for (a, b) in [((0, 5), (1, 4)), ((0, 5), (2, 3)), ((1, 4), (2, 3))] {
        assert_eq!(y(a.0) < y(b.0), y(a.1) < y(b.1), "{a:?} {b:?}");
    }
}

#[test]
fn a_tall_layer_wraps_towards_the_aspect() {
    let edges: Vec<(usize, usize)> = (1..=120).map(|to| (0, to)).collect();
    let (names, arrangement) = arranged(121, &edges);
    let boxes = || names.iter().zip(&arrangement.centres).map(|(name, &at)| sides(name, at));
    let width = boxes().map(|side| side.1).max().unwrap();
    let height = boxes().map(|side| side.3).max().unwrap();
    let aspect = f64::from(width) / f64::from(height);
    assert!((1.2..2.6).contains(&aspect), "{width} × {height}");
}

#[test]
fn large_and_deep_graphs_end() {
    let chain: Vec<(usize, usize)> = (1..5_000).map(|to| (to - 1, to)).chain([(4_999, 0)]).collect();
    let (_, arrangement) = arranged(5_000, &chain);
    assert_eq!(arrangement.centres.len(), 5_000);
    // Long edges over many layers: their stand-ins are limited.
    let fan: Vec<(usize, usize)> = (1..1_000).flat_map(|to| [(to - 1, to), (0, to)]).collect();
    arranged(1_000, &fan);
}

#[test]
fn edges_that_lead_nowhere_are_left_alone() {
    let (_, arrangement) = arranged(2, &[(0, 0), (0, 7), (0, 1), (0, 1)]);
    assert_eq!(arrangement.bends, vec![Vec::new(); 4]);
}

/// No two boxes overlap, no bend lies in a box, and the level pieces of edges pass between boxes.
fn check(count: usize, edges: &[(usize, usize)]) -> Result<(), TestCaseError> {
    let (names, arrangement) = arranged(count, edges);
    let boxes: Vec<_> = names.iter().zip(&arrangement.centres).map(|(name, &at)| sides(name, at)).collect();
    for (at, a) in boxes.iter().enumerate() {
        prop_assert!(a.0 >= 0 && a.2 >= 0);
        for b in &boxes[at + 1..] {
            prop_assert!(a.1 < b.0 || b.1 < a.0 || a.3 < b.2 || b.3 < a.2, "{:?} {:?}", a, b);
        }
    }
    for (bends, &(from, to)) in arrangement.bends.iter().zip(edges).filter(|(_, edge)| edge.0 != edge.1) {
        let rightward = arrangement.centres[from].x < arrangement.centres[to].x;
        let (leave, enter) =
            if rightward { (boxes[from].1, boxes[to].0) } else { (boxes[from].0, boxes[to].1) };
        let mut points = vec![Position { x: leave, y: arrangement.centres[from].y }];
        points.extend(bends);
        points.push(Position { x: enter, y: arrangement.centres[to].y });
        for (piece, pair) in points.windows(2).enumerate() {
            let (left, right) = (pair[0].x.min(pair[1].x), pair[0].x.max(pair[1].x));
            let others = boxes.iter().enumerate().filter(|(node, _)| *node != from && *node != to);
            for (node, side) in others {
                let clear = if piece % 2 == 1 {
                    prop_assert_eq!(pair[0].y, pair[1].y, "level");
                    side.1 < left || right < side.0 || pair[0].y <= side.2 || side.3 <= pair[0].y
                } else {
                    // Between level pieces an edge stays between two columns: no box lies there.
                    side.0 < left || right < side.1
                };
                prop_assert!(clear, "{:?} of {:?} runs through {}", pair, (from, to), node);
            }
        }
    }
    Ok(())
}

#[test]
fn five_hundred_services_do_not_overlap() {
    check(500, &grown(500, 933)).unwrap();
}

proptest! {
    #[test]
    fn boxes_do_not_overlap_and_edges_pass_between(
        (count, edges) in (1usize..40).prop_flat_map(|count| (Just(count), vec((0..count, 0..count), 0..80)))
    ) {
        check(count, &edges)?;
    }

    /// Metrics are no argument; the order of edges, and repeated ones, must not move nodes either.
    #[test]
    fn equal_graphs_are_placed_equally(
        (count, edges) in (1usize..40).prop_flat_map(|count| (Just(count), vec((0..count, 0..count), 0..80)))
    ) {
        let mut other: Vec<(usize, usize)> = edges.iter().rev().copied().collect();
        other.extend(&edges);
        prop_assert_eq!(arranged(count, &edges).1.centres, arranged(count, &other).1.centres);
    }
}

/// How far the nodes that two maps have in common moved: share of pairs that exchanged left and right, share of pairs that
/// exchanged above and below, and the mean way in boxes. `kept` gives for each node of the first map its number in the
/// second.
fn movement(before: &Arrangement, after: &Arrangement, kept: impl Fn(usize) -> usize) -> (f64, f64, f64) {
    let common: Vec<(Position, Position)> =
        before.centres.iter().enumerate().map(|(at, &old)| (old, after.centres[kept(at)])).collect();
    let (mut pairs, mut turned, mut flipped) = (0.0, 0.0, 0.0);
    for (at, a) in common.iter().enumerate() {
        for b in &common[at + 1..] {
            pairs += 1.0;
            let exchanged = |axis: fn(Position) -> i32| {
                (axis(a.0) - axis(b.0)).signum() * (axis(a.1) - axis(b.1)).signum() < 0
            };
            turned += f64::from(u8::from(exchanged(|at| at.x)));
            flipped += f64::from(u8::from(exchanged(|at| at.y)));
        }
    }
    let way = |(old, new): &(Position, Position)| f64::from(old.x - new.x).hypot(f64::from(old.y - new.y));
    let mean = common.iter().map(way).sum::<f64>() / common.len() as f64;
    (turned / pairs, flipped / pairs, mean / f64::from(BOX_HEIGHT))
}

#[test]
fn a_small_change_moves_little() {
    let mut worst = (0.0f64, 0.0f64, 0.0f64);
    let mut sum = (0.0, 0.0, 0.0);
    for new in 0..30 {
        let edges = grown(60, 95);
        // A leaf whose id stands at `new * 2` among the others.
        let place = new * 2;
        let kept = |at: usize| if at < place { at } else { at + 1 };
        let mut more: Vec<(usize, usize)> = edges.iter().map(|&(a, b)| (kept(a), kept(b))).collect();
        more.push((kept((new * 7) % 60), place));
        let (before, after) = (arranged(60, &edges).1, arranged(61, &more).1);
        let moved = movement(&before, &after, kept);
        worst = (worst.0.max(moved.0), worst.1.max(moved.1), worst.2.max(moved.2));
        sum = (sum.0 + moved.0 / 30.0, sum.1 + moved.1 / 30.0, sum.2 + moved.2 / 30.0);
    }
    // A leaf more: columns keep their order, few pairs of rows change theirs, and boxes move by about two rows.
    assert!(sum.0 < 0.02 && sum.1 < 0.12 && sum.2 < 4.0, "mean {sum:?}");
    assert!(worst.0 < 0.08 && worst.1 < 0.25 && worst.2 < 10.0, "worst {worst:?}");
}
