//! Computations that take long, and answers that say "there is nothing".

use crate::cluster::{cluster, cluster_with};
use crate::support::{Gate, TTL, settle, text, world_with};
use nexarch_cache::{Answer, Computed, Directives, Error, Operation, Outcome, Read};
use std::time::Duration;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_millis(200);

fn patient(builder: nexarch_cache::Builder) -> nexarch_cache::Builder {
    builder.operations([Operation::new("slow", TTL).with_grace(TTL / 2).with_soft_timeout(PATIENCE)])
}

#[tokio::test(start_paused = true)]
async fn an_expired_value_is_served_when_the_computation_takes_long_which_goes_on() {
    let world = world_with(true, patient);
    let slow = world.cache.operation("slow").unwrap();
    let read = async |gate: &std::sync::Arc<Gate>| -> Answer {
        let compute = world.snapshot(&world.acme, gate);
        world.cache.get_or_compute(&world.acme, Read::new(slow, "p"), compute).await.unwrap()
    };
    let first = read(&Gate::new(true)).await;
    world.clock.advance(first.ttl() + Duration::from_secs(3));
    let gate = Gate::new(false);
    for n in 0..3 {
        let began = Instant::now();
        let answer = read(&gate).await;
        assert_eq!(began.elapsed(), PATIENCE);
        assert_eq!(answer.outcome(), Outcome::Expired { expired: Duration::from_secs(3) });
        assert_eq!((text(&answer), world.computed()), (text(&first), 2), "{n}: one goes on");
    }
    gate.set(true);
    settle().await;
    let answer = read(&gate).await;
    assert!(matches!(answer.outcome(), Outcome::HitMemory { .. }), "{:?}", answer.outcome());
    let stats = &world.cache.stats(&world.acme).operations["slow"];
    assert_eq!((stats.stale, stats.misses, stats.hits_memory, stats.requests), (3, 1, 1, 5));
}

/// Nothing is served that was overtaken, nor past its grace, nor to who asked for a computation: they wait.
#[tokio::test(start_paused = true)]
async fn who_may_have_no_expired_value_waits() {
    let world = std::sync::Arc::new(world_with(true, patient));
    let slow = world.cache.operation("slow").unwrap();
    let fresh = Directives { no_cache: true, ..Directives::default() };
    for (case, directives) in [(0, Directives::default()), (1, Directives::default()), (2, fresh)] {
        let start = |gate: &std::sync::Arc<Gate>, directives: Directives| {
            let (cache, acme) = (world.cache.clone(), world.acme.clone());
            let compute = world.snapshot(&acme, gate);
            tokio_util::task::TaskTracker::new().spawn(async move {
                let read = Read::new(slow, "p").directives(directives);
                cache.get_or_compute(&acme, read, compute).await.unwrap()
            })
        };
        let first = start(&Gate::new(true), fresh).await.unwrap();
        world.clock.advance(first.ttl());
        match case {
            0 => drop(world.ingest()),
            1 => world.clock.advance(TTL / 2),
            _ => (),
        }
        let gate = Gate::new(false);
        let second = start(&gate, directives);
        gate.arrivals(1).await;
        tokio::time::advance(PATIENCE * 5).await;
        settle().await;
        assert!(!second.is_finished(), "{case}");
        gate.set(true);
        assert_eq!(text(&second.await.unwrap()), world.now());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_remembered_as_long_as_the_operation_says() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    for (operation, kept) in [("services", true), ("overview", false)] {
        let id = one.cache.operation(operation).unwrap();
        let compute = |_| async { Ok(Computed::new("nothing").negative()) };
        let read = Read::new(id, "p");
        let answer = one.cache.get_or_compute(&cluster.acme, read, compute).await.unwrap();
        one.written().await;
        assert!(answer.is_negative());
        let Outcome::Miss { stored } = answer.outcome() else { panic!() };
        assert_eq!(stored.is_some_and(|ttl| ttl <= TTL / 10), kept, "{operation}: {stored:?}");
        let found = |_| async { Ok(Computed::new("something")) };
        let again = other.cache.get_or_compute(&cluster.acme, Read::new(id, "p"), found).await.unwrap();
        assert_eq!((again.is_negative(), text(&again) == "nothing"), (kept, kept), "{operation}");
    }
}

/// The sum of a time to live and a grace is no time that there is.
#[tokio::test(start_paused = true)]
async fn a_value_that_lives_for_ever_is_found_by_another_node() {
    let for_ever = Operation::new("eternal", Duration::MAX).with_grace(Duration::MAX);
    let cluster = cluster_with(2, |builder| builder.operations([for_ever.clone()]));
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let id = one.cache.operation("eternal").unwrap();
    let compute = |_| async { Ok(Computed::new("value")) };
    one.cache.get_or_compute(&cluster.acme, Read::new(id, "p"), compute).await.unwrap();
    one.written().await;
    let found = other.cache.get_or_compute(&cluster.acme, Read::new(id, "p"), compute).await.unwrap();
    assert!(matches!(found.outcome(), Outcome::HitRedis { .. }), "{:?}", found.outcome());
}

const LIMIT: Duration = Duration::from_secs(5);

/// A read that lets its entry live for less than the operation says has a grace that is shorter, too.
#[tokio::test(start_paused = true)]
async fn a_grace_is_no_longer_than_the_life_of_the_entry() {
    let world =
        world_with(true, |builder| builder.operations([Operation::new("report", TTL).with_grace(TTL)]));
    let report = world.cache.operation("report").unwrap();
    let short = Read::new(report, "p").max_ttl(TTL / 10);
    let fine = |_| async { Ok(Computed::new("value")) };
    world.cache.get_or_compute(&world.acme, short, fine).await.unwrap();
    let failing =
        async || world.cache.get_or_compute(&world.acme, short, |_| async { Err("broken".into()) }).await;
    world.clock.advance(TTL / 10);
    assert!(matches!(failing().await.unwrap().outcome(), Outcome::StaleOnError { .. }));
    world.clock.advance(TTL / 10);
    assert!(matches!(failing().await, Err(Error::Compute(_))), "as long again, and no longer");
}

/// Nobody waits for ever: neither those who joined it, nor those whose turn comes after it.
#[tokio::test(start_paused = true)]
async fn a_computation_that_never_ends_is_given_up_and_the_next_one_begins() {
    let world = world_with(true, |builder| {
        builder.operations([Operation::new("report", TTL).with_grace(TTL / 2).with_hard_timeout(LIMIT)])
    });
    let report = world.cache.operation("report").unwrap();
    let start = |gate: &std::sync::Arc<Gate>| {
        let (cache, acme, compute) =
            (world.cache.clone(), world.acme.clone(), world.snapshot(&world.acme, gate));
        tokio_util::task::TaskTracker::new()
            .spawn(async move { cache.get_or_compute(&acme, Read::new(report, "p"), compute).await })
    };
    let (never, open) = (Gate::new(false), Gate::new(true));
    let began = Instant::now();
    let lead = start(&never);
    never.arrivals(1).await;
    let joined = start(&never);
    settle().await;
    world.ingest();
    let next = start(&open);
    settle().await;
    assert_eq!(world.computed(), 1);
    for read in [lead, joined] {
        assert!(matches!(read.await.unwrap(), Err(Error::TimedOut { limit: LIMIT })));
    }
    assert_eq!(began.elapsed(), LIMIT);
    let answer = next.await.unwrap().unwrap();
    assert_eq!((text(&answer), world.computed(), began.elapsed()), (world.now(), 2, LIMIT));

    world.clock.advance(answer.ttl());
    let stale = start(&never).await.unwrap().unwrap();
    assert_eq!(
        stale.outcome(),
        Outcome::StaleOnError { expired: Duration::ZERO },
        "it failed like any other"
    );
}
