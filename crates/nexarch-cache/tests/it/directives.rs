//! What a single request may ask: staleness it accepts, the cache alone, no cache at all.

use crate::support::{text, world};
use nexarch_cache::{Cause, Directives, Error, Invalidation, Outcome, Read};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn max_stale(seconds: u64) -> Directives {
    Directives { max_stale: Some(SECOND * u32::try_from(seconds).unwrap()), ..Directives::default() }
}

#[tokio::test]
async fn max_stale_takes_what_data_overtook_and_was_computed_lately() {
    let world = world(true);
    let first = world.read(world.overview).await.unwrap();
    world.ingest();
    world.clock.advance(SECOND * 10);
    let stale = world.read_with(world.overview, max_stale(10)).await.unwrap();
    assert_eq!(stale.outcome(), Outcome::Overtaken { age: SECOND * 10 });
    assert_eq!(text(&stale), text(&first));
    assert_eq!(stale.version(), first.version(), "says no more than it contains");
    assert_eq!(world.computed(), 1);
    let refused = world.read_with(world.overview, max_stale(9)).await.unwrap();
    assert!(matches!(refused.outcome(), Outcome::Miss { .. }));
    assert_eq!(text(&refused), world.now());
    let stats = &world.cache.stats(&world.acme).operations["overview"];
    assert_eq!((stats.stale, stats.misses, stats.requests), (1, 2, 3));
}

/// The age counts from the beginning of the computation: it may have been overtaken right after its first statement.
#[tokio::test]
async fn the_age_counts_from_the_beginning_of_the_computation() {
    let world = world(true);
    let gate = crate::support::Gate::new(false);
    let slow = world.start(&gate, Directives::default());
    gate.arrivals(1).await;
    world.ingest();
    world.clock.advance(SECOND * 10);
    gate.set(true);
    assert_eq!(slow.await.unwrap().unwrap().age(), SECOND * 10);
    let refused = world.read_with(world.overview, max_stale(9)).await.unwrap();
    assert_eq!(text(&refused), world.now());
}

#[tokio::test]
async fn max_stale_never_takes_what_was_invalidated_or_expired_or_is_below_the_minimum() {
    for what in [Invalidation::All, Invalidation::Operations(vec!["overview".into()])] {
        let world = world(true);
        world.read(world.overview).await.unwrap();
        world.cache.invalidate(&world.acme, what, Cause::Manual).await.unwrap();
        world.ingest();
        let answer = world.read_with(world.overview, max_stale(1000)).await.unwrap();
        assert_eq!(text(&answer), world.now());
    }
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.ingest();
    let before = world.read(world.overview).await.unwrap();
    let version = world.ingest().clock;
    let mut directives = max_stale(1000);
    directives.min_version = before.version();
    let stale = world.read_with(world.overview, directives).await.unwrap();
    assert!(matches!(stale.outcome(), Outcome::Overtaken { .. }));
    directives.min_version = version;
    assert_eq!(text(&world.read_with(world.overview, directives).await.unwrap()), world.now());
    world.ingest();
    world.clock.advance(SECOND * 101);
    assert_eq!(text(&world.read_with(world.overview, max_stale(1000)).await.unwrap()), world.now());
}

#[tokio::test]
async fn only_if_cached_never_computes() {
    let world = world(true);
    let only = Directives { only_if_cached: true, ..Directives::default() };
    assert!(matches!(world.read_with(world.overview, only).await, Err(Error::NotCached)));
    world.read(world.overview).await.unwrap();
    assert!(matches!(
        world.read_with(world.overview, only).await.unwrap().outcome(),
        Outcome::HitMemory { .. }
    ));
    let neither = Directives { no_cache: true, ..only };
    assert!(matches!(world.read_with(world.overview, neither).await, Err(Error::NotCached)));
    world.ingest();
    assert!(matches!(world.read_with(world.overview, only).await, Err(Error::NotCached)));
    assert_eq!(world.computed(), 1);
    assert_eq!(world.cache.stats(&world.acme).totals.requests, 2, "no answer, no request");
}

#[tokio::test]
async fn an_operation_or_an_entry_may_not_depend_on_data() {
    let world = world(true);
    let read = |depends: Option<bool>| {
        let read = Read::new(world.workflows, if depends.is_some() { "graph" } else { "list" });
        let read = depends.map_or(read, |depends| read.depends_on_data(depends));
        world.cache.get_or_compute(
            &world.acme,
            read,
            world.snapshot(&world.acme, &crate::support::Gate::new(true)),
        )
    };
    let list = read(None).await.unwrap();
    assert_eq!(list.label().data, 0);
    read(Some(true)).await.unwrap();
    world.ingest();
    assert_eq!(text(&read(None).await.unwrap()), text(&list));
    assert_eq!(text(&read(Some(true)).await.unwrap()), world.now());
    let what = Invalidation::Operations(vec!["workflows".into()]);
    world.cache.invalidate(&world.acme, what, Cause::Workflow).await.unwrap();
    assert_eq!(text(&read(None).await.unwrap()), world.now());
    assert_eq!(text(&read(Some(true)).await.unwrap()), world.now());
}

#[tokio::test]
async fn an_invalidation_names_what_it_reached_and_refuses_what_is_unknown() {
    let world = world(true);
    world.read(world.overview).await.unwrap();
    world.read(world.services).await.unwrap();
    let only = Invalidation::Operations(vec!["services".into()]);
    let done = world.cache.invalidate(&world.acme, only, Cause::Manual).await.unwrap();
    assert_eq!(done.operations, ["services"]);
    assert!(matches!(world.read(world.overview).await.unwrap().outcome(), Outcome::HitMemory { .. }));
    assert!(matches!(world.read(world.services).await.unwrap().outcome(), Outcome::Miss { .. }));

    let all = world.cache.invalidate(&world.acme, Invalidation::All, Cause::Manual).await.unwrap();
    assert_eq!(all.operations, ["overview", "services", "workflows"]);
    assert!(all.version > done.version);

    let none =
        world.cache.invalidate(&world.acme, Invalidation::Operations(vec![]), Cause::Manual).await.unwrap();
    assert_eq!((none.version, none.operations.len()), (all.version, 0));

    let unknown = Invalidation::Operations(vec!["overview".into(), "nonsense".into()]);
    let error = world.cache.invalidate(&world.acme, unknown, Cause::Manual).await.unwrap_err();
    let Error::UnknownOperation { name, known } = &error else { panic!("{error}") };
    assert_eq!((name.as_str(), known.len()), ("nonsense", 3));
    assert_eq!(world.cache.version(&world.acme).await.unwrap(), all.version, "and raised nothing");
    assert!(world.cache.operation("nonsense").is_err());
    let matching = world.cache.matching("*o*").unwrap();
    assert_eq!(matching, [world.overview, world.workflows]);
}
