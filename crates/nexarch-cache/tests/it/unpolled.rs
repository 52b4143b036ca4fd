//! A caller that is alive and not polled: as one branch of a `select!` that was left for another, or one of a buffered
//! stream whose consumer is busy. It may wait for as long as it likes, and nobody with it.

use crate::cluster::{Cluster, Node, cluster};
use crate::support::{Gate, text};
use futures_util::future::{join_all, poll_immediate};
use nexarch_cache::testing::Faults;
use nexarch_cache::{Answer, Directives, Error};
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// Far more than a look and a computation take; without a limit of its own a read would never end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The node knows the versions, and looks into the shared tier take a time.
async fn slow(node: &Node, cluster: &Cluster) {
    node.cache.version(&cluster.acme).await.unwrap();
    let delay = Duration::from_millis(50);
    node.remote.set_faults(Faults { delay: (delay, delay), ..Faults::default() });
}

fn begin(node: &Node, directives: Directives) -> impl Future<Output = Result<Answer, Error>> + use<> {
    node.begin(&Gate::new(true), directives)
}

/// The value stands in the shared tier, and who looks for it does not come to take it.
#[tokio::test(start_paused = true)]
async fn who_looks_and_is_not_polled_holds_nobody_up() {
    let cluster = cluster(2);
    let [one, other] = &cluster.nodes[..] else { panic!() };
    one.read().await.unwrap();
    slow(other, &cluster).await;
    let mut left = pin!(begin(other, Directives::default()));
    assert!(poll_immediate(left.as_mut()).await.is_none());
    let reads = (0..20).map(|_| begin(other, Directives::default()));
    let answers = timeout(PATIENCE, join_all(reads)).await.expect("reads that end");
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(text(&answer), cluster.now());
    }
    assert_eq!((cluster.computed(), other.remote.calls().0), (1, 1), "one look for all of them");
    assert_eq!(text(&left.await.unwrap()), cluster.now(), "it is answered when it comes back");
}

/// There is nothing to be found, the others need more than it does, or ask for a computation of their own.
#[tokio::test(start_paused = true)]
async fn nor_does_he_hold_up_who_has_to_compute() {
    let no_cache = Directives { no_cache: true, ..Directives::default() };
    // Of those who ask for a computation of their own one runs and one waits.
    for (directives, changed, runs) in
        [(Directives::default(), false, 1), (Directives::default(), true, 1), (no_cache, false, 2)]
    {
        let cluster = cluster(1);
        let one = &cluster.nodes[0];
        slow(one, &cluster).await;
        let mut left = pin!(begin(one, Directives::default()));
        assert!(poll_immediate(left.as_mut()).await.is_none());
        if changed {
            one.ingest();
        }
        let reads = (0..5).map(|_| begin(one, directives));
        let answers = timeout(PATIENCE, join_all(reads)).await.expect("reads that end");
        for answer in answers {
            assert_eq!(text(&answer.unwrap()), cluster.now());
        }
        assert_eq!(cluster.computed(), runs);
        one.written().await;
        assert_eq!(text(&left.await.unwrap()), cluster.now(), "it is answered when it comes back");
        assert_eq!(cluster.computed(), runs);
    }
}
