//! How long a value in a tier that nodes share lives, whoever wrote it and whatever his clocks say.

use crate::cluster::{cluster, cluster_with};
use crate::support::TTL;
use nexarch_cache::{Computed, Error, Operation, Outcome, Read};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_value_lives_as_long_elsewhere_as_where_it_was_computed() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let ttl = one.read().await.unwrap().ttl();
    let (key, _) = cluster.only();
    let (_, left) = cluster.hub.peek(&key).unwrap();
    assert_eq!(left, ttl + TTL / 2, "its time to live and its grace");
    cluster.clock.advance(ttl.saturating_sub(SECOND));
    let hit = other.read().await.unwrap();
    assert!(hit.ttl() <= SECOND && hit.ttl() + Duration::from_micros(2) > SECOND, "{:?}", hit.ttl());
    cluster.clock.advance(SECOND);
    assert!(matches!(other.read().await.unwrap().outcome(), Outcome::Miss { .. }));
}

/// A value that expired is not served from there, but may stand in for a computation that fails.
#[tokio::test(start_paused = true)]
async fn an_expired_value_of_another_node_stands_in_unless_it_was_overtaken() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    let first = one.read().await.unwrap();
    cluster.clock.advance(first.ttl() + SECOND * 3);
    let stale = other.fail().await.unwrap();
    assert_eq!(stale.body(), first.body());
    let Outcome::StaleOnError { expired } = stale.outcome() else { panic!("{:?}", stale.outcome()) };
    assert!(expired.abs_diff(SECOND * 3) < Duration::from_micros(2), "{expired:?}");
    one.ingest();
    cluster.clock.advance(SECOND * 2);
    assert!(matches!(other.fail().await, Err(Error::Compute(_))));
}

/// A wall clock that is wrong by an hour shortens lives, or lengthens them to the time to live at most.
#[tokio::test(start_paused = true)]
async fn a_wrong_wall_clock_makes_nothing_live_longer_than_its_ttl() {
    for ahead in [true, false] {
        let cluster = cluster(1);
        let one = &cluster.nodes[0];
        one.read().await.unwrap();
        one.cache.forget(&cluster.acme);
        let (_, value) = cluster.only();
        let mut cluster = cluster;
        let skewed = std::sync::Arc::new(nexarch_cache::ManualClock::default());
        if ahead {
            skewed.jump_wall(Duration::from_hours(1));
        } else {
            cluster.clock.jump_wall(Duration::from_hours(1));
            cluster.hub.flush();
            cluster.nodes[0].read().await.unwrap();
        }
        let other = cluster.add(&move |builder| builder.clock(skewed.clone()));
        let answer = other.read().await.unwrap();
        match answer.outcome() {
            Outcome::Miss { .. } if ahead => assert_eq!(other.rejected("expired"), 1),
            Outcome::HitRedis { ttl } if !ahead => assert_eq!((ttl, answer.age()), (TTL, Duration::ZERO)),
            other => panic!("{other:?}"),
        }
        drop(value);
    }
}

/// Whoever wrote it may have a longer TTL: found in Redis again and again, it does not begin a new life each time.
#[tokio::test(start_paused = true)]
async fn a_value_of_another_node_lives_no_longer_than_the_ttl_here() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    let read = async || {
        let read = Read::new(other.overview, "window=24h").max_ttl(SECOND * 4);
        let anew = |_| async { Ok(Computed::new("anew")) };
        other.cache.get_or_compute(&cluster.acme, read, anew).await.unwrap().outcome()
    };
    cluster.clock.advance(SECOND * 3);
    assert_eq!(read().await, Outcome::HitRedis { ttl: SECOND });
    cluster.clock.advance(SECOND);
    assert!(matches!(read().await, Outcome::Miss { .. }));
}

/// For ever, with a grace for failures.
#[tokio::test(start_paused = true)]
async fn a_life_without_end_is_no_trouble() {
    let forever = || Operation::new("forever", Duration::MAX).with_grace(Duration::MAX);
    let cluster = cluster_with(2, |builder| builder.operations([forever()]));
    for node in &cluster.nodes {
        let read = Read::new(node.cache.operation("forever").unwrap(), "p");
        let compute = |_| async { Ok(Computed::new("value")) };
        let answer = node.cache.get_or_compute(&cluster.acme, read, compute).await.unwrap();
        node.written().await;
        assert!(answer.ttl() > TTL, "{:?}", answer.outcome());
    }
    assert_eq!(cluster.nodes[1].cache.stats(&cluster.acme).operations["forever"].hits_redis, 1);
}

/// Whose clock is ahead makes "there is nothing" live on for no longer than that may live.
#[tokio::test(start_paused = true)]
async fn what_is_not_there_lives_no_longer_by_a_wrong_clock() {
    let mut cluster = cluster(1);
    cluster.clock.jump_wall(Duration::from_hours(1));
    let one = &cluster.nodes[0];
    let services = one.cache.operation("services").unwrap();
    let nothing = |_| async { Ok(Computed::new("nothing").negative()) };
    one.cache.get_or_compute(&cluster.acme, Read::new(services, "p"), nothing).await.unwrap();
    one.written().await;
    let right = std::sync::Arc::new(nexarch_cache::ManualClock::default());
    let acme = cluster.acme.clone();
    let other = cluster.add(&move |builder| builder.clock(right.clone()));
    let answer = other.cache.get_or_compute(&acme, Read::new(services, "p"), nothing).await.unwrap();
    let Outcome::HitRedis { ttl } = answer.outcome() else { panic!("{:?}", answer.outcome()) };
    assert!(ttl <= TTL / 10, "{ttl:?}");
}
