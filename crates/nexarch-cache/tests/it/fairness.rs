//! One byte budget for all scopes.

use crate::support::{World, scope, world_with};
use nexarch_cache::{Computed, Outcome, Read, Scope};
use std::sync::atomic::{AtomicUsize, Ordering};

const BUDGET: u64 = 1 << 20;
const BODY: usize = 4 << 10;

async fn store(world: &World, scope: &Scope, n: usize) -> Outcome {
    store_of(world, scope, n, BODY).await
}

async fn store_of(world: &World, scope: &Scope, n: usize, size: usize) -> Outcome {
    let params = format!("n={n}");
    let read = Read::new(world.overview, &params);
    let compute = move |_| async move { Ok(Computed::new(vec![0; size])) };
    let answer = world.cache.get_or_compute(scope, read, compute).await.unwrap();
    let bytes = world.cache.memory_bytes();
    assert!(bytes <= BUDGET, "{bytes}");
    answer.outcome()
}

fn bytes(world: &World, scope: &Scope) -> u64 {
    world.cache.stats(scope).memory.bytes
}

fn budget(percent: u8) -> World {
    world_with(true, |builder| builder.max_bytes(BUDGET).tenant_max_percent(percent))
}

#[tokio::test]
async fn one_scope_alone_may_fill_the_budget_and_keeps_what_is_used() {
    let world = budget(50);
    for n in 0..2000 {
        store(&world, &world.acme, n).await;
        assert!(matches!(store(&world, &world.acme, 0).await, Outcome::HitMemory { .. }), "in use at {n}");
    }
    let stats = world.cache.stats(&world.acme);
    assert!(stats.memory.bytes > BUDGET * 98 / 100);
    assert_eq!(stats.memory.evictions + stats.memory.entries, 2000);
    assert_eq!(stats.operations["overview"].entries, stats.memory.entries);
    assert_eq!(stats.memory.max_bytes, BUDGET);
}

/// What is counted is the length of a body. What takes a hundred times that is copied, or the budget would mean nothing.
#[tokio::test]
async fn a_body_with_room_to_spare_is_kept_without_it() {
    static MADE_AT: AtomicUsize = AtomicUsize::new(0);
    fn wasteful() -> Vec<u8> {
        let mut body = Vec::with_capacity(100 * BODY);
        body.resize(BODY, 7);
        MADE_AT.store(body.as_ptr().addr(), Ordering::SeqCst);
        body
    }
    let world = budget(50);
    let read = Read::new(world.overview, "p");
    let compute = move |_| async move { Ok(Computed::new(wasteful())) };
    let answer = world.cache.get_or_compute(&world.acme, read, compute).await.unwrap();
    assert_eq!(answer.body().len(), BODY);
    assert_ne!(answer.body().as_ptr().addr(), MADE_AT.load(Ordering::SeqCst));
    let form = |_: &bytes::Bytes| Some(wasteful().into());
    let form = world.cache.variant_now(&world.acme, world.overview, &answer, 0, form).await.unwrap();
    assert_ne!(form.as_ptr().addr(), MADE_AT.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_flood_evicts_nothing_of_a_scope_below_its_part() {
    let world = budget(50);
    let small = scope("small");
    for n in 0..100 {
        store(&world, &small, n).await; // some 40 % of the budget
    }
    let before = world.cache.stats(&small).memory;
    for n in 0..3000 {
        store(&world, &world.acme, n).await;
    }
    assert_eq!(world.cache.stats(&small).memory.entries, before.entries);
    assert_eq!(world.cache.stats(&small).memory.evictions, 0);
    for n in 0..100 {
        assert!(matches!(store(&world, &small, n).await, Outcome::HitMemory { .. }));
    }
}

#[tokio::test]
async fn who_holds_all_gives_way_until_both_hold_the_same() {
    let world = budget(50);
    let late = scope("late");
    for n in 0..1000 {
        store(&world, &world.acme, n).await;
    }
    for n in 0..1000 {
        assert!(matches!(store(&world, &late, n).await, Outcome::Miss { stored: Some(_) }));
    }
    let (first, second) = (bytes(&world, &world.acme), bytes(&world, &late));
    assert!(first.abs_diff(second) <= 2 * BODY as u64, "{first} {second}");
    assert_eq!(world.cache.memory_bytes(), first + second);
}

/// Above its cap a scope makes room among its own entries, although another holds more.
#[tokio::test]
async fn above_its_cap_a_scope_takes_nothing_from_others() {
    let world = budget(20);
    let late = scope("late");
    for n in 0..1000 {
        store(&world, &world.acme, n).await;
    }
    for n in 0..1000 {
        store(&world, &late, n).await;
    }
    let (first, second) = (bytes(&world, &world.acme), bytes(&world, &late));
    assert!(second <= BUDGET / 5 + 2 * BODY as u64 && second > BUDGET / 6, "{second}");
    assert!(first > BUDGET * 3 / 4, "{first}");
}

#[tokio::test]
async fn a_thousand_scopes_hold_equal_parts() {
    let world = budget(50);
    let scopes: Vec<_> = (0..1000).map(|n| scope(&format!("t{n}"))).collect();
    for n in 0..5 {
        for scope in &scopes {
            store_of(&world, scope, n, 700).await;
        }
    }
    // A flood of one of them, then another look.
    for n in 100..1000 {
        store_of(&world, &scopes[0], n, 700).await;
    }
    let held: Vec<u64> = scopes.iter().map(|scope| bytes(&world, scope)).collect();
    assert_eq!(held.iter().sum::<u64>(), world.cache.memory_bytes());
    let (least, most) = (held.iter().min().unwrap(), held.iter().max().unwrap());
    assert!(most - least <= 2 * 1100, "{least} to {most}");
}

#[tokio::test]
async fn a_value_that_nothing_makes_room_for_is_served_only() {
    let world = budget(50);
    let other = scope("other");
    let size = usize::try_from(BUDGET).unwrap();
    assert!(matches!(store_of(&world, &world.acme, 0, size).await, Outcome::Miss { stored: None }));
    assert_eq!(world.cache.memory_bytes(), 0);
    store_of(&world, &other, 0, size / 2 - 1000).await;
    let outcome = store_of(&world, &world.acme, 1, size / 2 + 1000).await;
    assert!(matches!(outcome, Outcome::Miss { stored: None }), "it would cost one who holds less its place");
    assert!(bytes(&world, &other) > 0);
}

/// One large value takes the room of many small ones, all from who holds the most, whoever else is there.
#[tokio::test]
async fn room_for_one_large_value_comes_from_the_largest() {
    const LARGE: usize = 256 << 10;
    let world = budget(100);
    let scopes: Vec<_> = (0..300).map(|n| scope(&format!("s{n}"))).collect();
    for scope in &scopes {
        store_of(&world, scope, 0, 400).await;
    }
    for n in 0..2000 {
        store_of(&world, &world.acme, n, 400).await;
    }
    assert!(world.cache.memory_bytes() > BUDGET * 98 / 100);
    let before = world.cache.stats(&world.acme).memory.evictions;
    let outcome = store_of(&world, &scope("large"), 0, LARGE).await;
    assert!(matches!(outcome, Outcome::Miss { stored: Some(_) }), "{outcome:?}");
    assert!(world.cache.stats(&world.acme).memory.evictions - before > 200);
    assert!(scopes.iter().all(|scope| world.cache.stats(scope).memory.entries == 1));
}
