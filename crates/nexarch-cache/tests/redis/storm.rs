//! Servers that take connections and are of no use: how often they are bothered, by one client and by several.

use crate::support::{Rig, eventually, hasty, rig};
use nexarch_cache::RedisConfig;
use nexarch_testkit::{ClosedPort, FaultProxy, PATIENCE, RedisServer};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// Connections of a client to a server: two for values, one for messages.
const PLACES: f64 = 3.0;

/// What docs/azure.md promises: each place four times at once, and then once a second.
fn most(clients: usize, elapsed: Duration) -> f64 {
    clients as f64 * (4.0 * PLACES + PLACES * elapsed.as_secs_f64())
}

/// Looks at the counted connections until each client has made more than a first burst may have, and at each look that
/// there are no more than promised.
async fn bounded(what: &str, proxy: &FaultProxy, config: &RedisConfig, clients: usize) {
    let began = Instant::now();
    let rigs: Vec<Rig> = (0..clients).map(|_| rig(config)).collect();
    let before = proxy.accepted();
    let enough = u64::try_from(clients).unwrap() * 15;
    eventually(what, || {
        // Taken in this order: what was opened in that time is at least what is counted.
        let made = proxy.accepted() - before;
        let most = most(clients, began.elapsed());
        assert!(made as f64 <= most, "{what}: {made} connections, {most} at most");
        made > enough
    })
    .await;
    // Alone, a client that tries about twice a second is far below.
    let rate = enough as f64 / clients as f64 / began.elapsed().as_secs_f64();
    assert!(rate < 2.0 * PLACES, "{what}: {rate} a second");
    for rig in rigs {
        rig.end().await;
    }
}

#[tokio::test]
async fn a_server_that_is_of_no_use_is_bothered_no_more_than_promised() {
    let server = RedisServer::builder().password("right").start();
    let closed = ClosedPort::new();
    let doors = || [(); 2].map(|()| FaultProxy::start(server.address()));
    let (broken, silent, refuses) =
        ([(); 2].map(|()| FaultProxy::start(("127.0.0.1", closed.port()))), doors(), doors());
    silent.iter().for_each(FaultProxy::freeze_all);
    let config = |proxy: &FaultProxy| hasty(proxy.port()).connect_timeout(Duration::from_millis(100));
    let cases = [1, 4].into_iter().enumerate().flat_map(|(at, clients)| {
        [
            ("accepts and closes", &broken[at], config(&broken[at]), clients),
            ("accepts and is silent", &silent[at], config(&silent[at]), clients),
            ("refuses logins", &refuses[at], config(&refuses[at]).password("wrong"), clients),
        ]
    });
    let cases: Vec<_> = cases.collect();
    let looks = cases.iter().map(|(what, proxy, config, clients)| bounded(what, proxy, config, *clients));
    futures_util::future::join_all(looks).await;
}

/// One that answers and ends what it answered over: each place comes back again and again.
#[tokio::test]
async fn a_server_that_lets_everybody_in_and_throws_them_out_is_bothered_no_more_than_promised() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let (began, before) = (Instant::now(), proxy.accepted());
    let rig = rig(&hasty(proxy.port()));
    let last = Cell::new(0);
    eventually("connections that came back", || {
        // Whatever was let in since the last look goes.
        if proxy.accepted() > last.get() {
            last.set(proxy.accepted());
            proxy.cut();
        }
        let made = proxy.accepted() - before;
        let most = most(1, began.elapsed());
        assert!(made as f64 <= most, "{made} connections, {most} at most");
        made > 20
    })
    .await;
    assert!(began.elapsed() < PATIENCE);
    rig.until("all of it", |status| status.values && status.messages).await;
    rig.end().await;
}
