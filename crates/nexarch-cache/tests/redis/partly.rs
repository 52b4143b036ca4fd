//! A Redis that answers, and not for everything: what it costs is counted, and is bounded.

use crate::support::{Log, Rig, config, connected, hasty};
use futures_util::future::{FutureExt, join_all};
use nexarch_cache::{Breaker, Reason, Remote, RemoteError, RemoteStatus};
use nexarch_testkit::{FaultProxy, PATIENCE, RedisCluster, RedisServer};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Silent calls in a row that open the way to a server; and as many for each of its two connections.
const FIRST: usize = 5;

/// Probes, each over a new connection, that are waited for: at most one a second.
const PROBES: u64 = 3;

struct Net {
    server: RedisServer,
    proxy: FaultProxy,
    rig: Rig,
}

async fn net() -> Net {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let rig = connected(&hasty(proxy.port())).await;
    Net { server, proxy, rig }
}

impl Net {
    /// Whether the call was sent, rather than turned away at once.
    async fn sent(&self, key: &str) -> bool {
        self.rig.remote.get(key, 1 << 20).await != Err(RemoteError::Away)
    }

    /// One call after the other for these keys in turn, until so many connections were tried; how many were sent, the
    /// first of which had an answer when `answered` says so.
    async fn sent_until_probed(&self, keys: &[&str]) -> (usize, usize) {
        let until = self.proxy.accepted() + PROBES;
        let (mut answered, mut waited) = (0, 0);
        let mut pace = interval(Duration::from_millis(2));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for key in keys.iter().cycle() {
            pace.tick().await;
            match self.rig.remote.get(key, 1 << 20).await {
                Ok(_) => answered += 1,
                Err(RemoteError::Away) => {}
                Err(_) => waited += 1,
            }
            if self.proxy.accepted() >= until {
                break;
            }
        }
        (answered, waited)
    }

    async fn healed(self, key: &str) {
        self.proxy.pass();
        self.rig.until("the way back", |status| status.values && status.messages).await;
        let get = || self.rig.remote.get(key, 1 << 20);
        // One at a time at first, and this is the only caller.
        for _ in 0..2 * FIRST {
            self.rig.in_the_end(get).await;
        }
        let many = || async {
            let answers = join_all((0..FIRST).map(|_| get())).await;
            answers.into_iter().collect::<Result<Vec<_>, _>>()
        };
        self.rig.in_the_end(many).await;
        self.rig.until("a closed breaker", |status| status.breaker == Breaker::Closed).await;
        self.rig.end().await;
        drop(self.server);
    }
}

/// Keys of ours are not answered, and everything that probes and messages ask is: no call is sent to try that out, for the
/// probe asks for the key that was silent.
#[tokio::test]
async fn values_that_hang_cost_the_first_calls_and_no_more() {
    let net = net().await;
    let key = "test:acme:b:c";
    net.proxy.stall_requests(b":acme:");
    assert_eq!(net.sent_until_probed(&[key]).await, (0, FIRST));
    let status = net.rig.status();
    assert_eq!((status.values, status.reason), (false, Some(Reason::Timeout)));
    assert_eq!(net.rig.remote.problem().unwrap().matches("acme").count(), 0, "no key is told");
    net.healed(key).await;
}

/// One key of three, or of twenty-five, hangs, and takes its connection with it: the other one answers in between, so that
/// few are silent in a row.
#[tokio::test]
async fn a_part_that_hangs_costs_each_connection_once() {
    for others in [2, 24] {
        let mut keys: Vec<_> = (0..others).map(|n| format!("test:acme:b:{n}")).collect();
        keys.push("test:acme:b:slow".to_owned());
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let mut seen = Vec::new();
        // A busy machine may make answers of the other one late, too: not each time.
        let net = loop {
            assert!(seen.len() < 3, "answered, waited: {seen:?}");
            let net = net().await;
            net.proxy.stall_requests(b":slow");
            let (answered, waited) = net.sent_until_probed(&keys).await;
            assert!(!net.rig.status().values);
            seen.push((answered, waited));
            if answered >= others && (FIRST..=2 * FIRST).contains(&waited) {
                break net;
            }
            net.rig.end().await;
        };
        net.healed("test:acme:b:slow").await;
    }
}

/// What the breaker was said to be, look by look.
#[derive(Debug, Default)]
struct Breakers {
    /// While one at a time is let through.
    on_trial: Vec<Breaker>,
    /// While nothing is, for a pause.
    held_off: Vec<Breaker>,
}

impl Breakers {
    fn look(&mut self, status: &RemoteStatus, tried: usize) {
        if status.values {
            self.on_trial.push(status.breaker);
        } else if tried > 0 {
            self.held_off.push(status.breaker);
        }
    }

    /// Half open is what lets one through. In a pause it is so only while connections are made anew.
    fn judge(&self) {
        let half_open = |breaker: &&Breaker| **breaker == Breaker::HalfOpen;
        assert_eq!(self.on_trial.iter().filter(half_open).count(), self.on_trial.len(), "{self:?}");
        assert!(self.held_off.iter().filter(half_open).count() * 2 < self.held_off.len(), "{self:?}");
    }
}

/// Small answers pass and values do not: a probe cannot know. Of twenty callers at a time one tries, and the next one only
/// after a hold-off of one second, then of two.
#[tokio::test]
async fn values_too_large_for_the_link_cost_one_call_per_hold_off() {
    let net = net().await;
    let key = "test:acme:b:large";
    net.rig.remote.set(key, vec![7; 32 << 10].into(), PATIENCE).await.unwrap();
    net.proxy.stall_answers(4 << 10);
    let crowd = || join_all((0..20).map(|_| net.sent(key)));
    // All who came before it was known.
    while net.rig.status().values {
        crowd().await;
    }
    let (began, mut tried) = (Instant::now(), Vec::new());
    let mut breakers = Breakers::default();
    let mut pace = interval(Duration::from_millis(5));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while tried.len() < 3 {
        pace.tick().await;
        breakers.look(&net.rig.status(), tried.len());
        let before = began.elapsed();
        let sent = crowd().await.into_iter().filter(|sent| *sent).count();
        assert!(sent <= 1, "{sent} at a time");
        if sent == 1 {
            tried.push((before, began.elapsed()));
        }
        assert!(began.elapsed() < PATIENCE, "{tried:?}");
    }
    // At least that, however late either was seen.
    let pause = |two: &[(Duration, Duration)]| two[1].1.saturating_sub(two[0].0).as_secs();
    let pauses: Vec<_> = tried.windows(2).map(pause).collect();
    assert!(pauses[0] >= 1 && pauses[1] >= 2, "{tried:?}");
    breakers.judge();
    net.healed(key).await;
}

/// One value of four is large and comes just too late, and the small ones in between in time: never two in a row. It is
/// noticed all the same, and by few.
#[tokio::test]
async fn late_values_among_others_in_time_are_too_much_in_the_end() {
    let net = net().await;
    let (small, large) = ("test:acme:b:small", "test:acme:b:large");
    net.rig.remote.set(small, vec![7; 100].into(), PATIENCE).await.unwrap();
    net.rig.remote.set(large, vec![7; 32 << 10].into(), PATIENCE).await.unwrap();
    net.proxy.delay_answers(4 << 10, Duration::from_millis(130));
    // A busy machine may look at the clock so late that a late answer is there; two more have to be late for each.
    let (mut answered, mut waited, mut missed) = (0, 0, 0);
    for key in [small, small, small, large].into_iter().cycle() {
        match net.rig.remote.get(key, 1 << 20).await {
            Ok(_) => {
                answered += 1;
                missed += usize::from(key == large);
            }
            Err(RemoteError::Timeout) => waited += 1,
            Err(error) => assert_eq!(error, RemoteError::Away),
        }
        if !net.rig.status().values {
            break;
        }
        assert!(waited <= 20 + 2 * missed, "{waited} waited, {answered} were answered");
    }
    assert!(waited >= FIRST, "{waited} waited, {answered} were answered");
    assert_eq!(net.rig.status().reason, Some(Reason::Timeout));
    net.healed(large).await;
}

/// Who tries whether all is well again and is not polled any more, as a branch of a `select!` that was left, keeps nobody
/// else from trying.
#[tokio::test]
async fn a_try_that_is_not_polled_any_more_gives_its_turn_up() {
    let net = net().await;
    let key = "test:acme:b:c";
    net.proxy.freeze_all();
    while net.rig.status().values {
        net.sent(key).await;
    }
    net.proxy.pass();
    net.rig.until("the trial", |status| status.values).await;
    let remote = std::sync::Arc::clone(&net.rig.remote);
    let mut left = remote.get(key, 1 << 20);
    assert!((&mut left).now_or_never().is_none(), "it waits for its answer");
    assert_eq!(net.rig.remote.get(key, 1 << 20).await, Err(RemoteError::Away), "one at a time");
    let began = Instant::now();
    let mut pace = interval(Duration::from_millis(5));
    while net.rig.remote.get(key, 1 << 20).await == Err(RemoteError::Away) {
        pace.tick().await;
        assert!(began.elapsed() < PATIENCE, "nobody gets the turn");
    }
    net.healed(key).await;
    drop(left);
}

/// A slot without a server: every node answers, and refuses every key. Health says so, the log too, and it ends by itself.
#[tokio::test]
async fn a_cluster_that_is_down_is_not_connected() {
    let log = Log::start();
    let cluster = RedisCluster::start_strict();
    let rig = connected(&crate::cluster::config(&cluster)).await;
    rig.until("the whole cluster", |status| status.breaker == Breaker::Closed).await;
    let key = "test:acme:b:c";
    let slot = if cluster.slot(key) == 5 { 6 } else { 5 };
    cluster.orphan(slot);
    let mut pace = interval(Duration::from_millis(5));
    while rig.status().values {
        pace.tick().await;
        let answer = rig.remote.get(key, 9).await;
        // One on its way when the connections are cut ends with them.
        let plain = matches!(
            answer,
            Ok(None)
                | Err(RemoteError::Away | RemoteError::Timeout | RemoteError::Refused(Reason::Connecting))
        );
        assert!(plain || answer.is_err() && !rig.status().values, "{answer:?}");
    }
    let status = rig.until("all of it", |status| !status.messages && status.breaker != Breaker::Closed).await;
    assert_eq!(status.reason, Some(Reason::Connecting));
    assert_eq!(rig.remote.get(key, 9).await, Err(RemoteError::Away), "and nothing is sent");
    crate::support::eventually("a line", || log.lines("lost (connecting)").len() == 1).await;
    assert!(log.lines("CLUSTERDOWN").len() == 1, "{}", log.text());
    cluster.adopt(slot, 0);
    rig.until("all of it again", |status| {
        status.values && status.messages && status.breaker == Breaker::Closed
    })
    .await;
    assert_eq!(log.lines("back after").len(), 1, "{}", log.text());
    rig.end().await;
}

/// A replica that lost its primary and is told not to answer from what it has.
#[tokio::test]
async fn a_replica_without_its_primary_is_not_connected() {
    let server = RedisServer::builder().arg("--replica-serve-stale-data", "no").start();
    let rig = connected(&config(server.port())).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let refused = rig.remote.get("test:acme:b:c", 9).await;
    assert_eq!(refused, Err(RemoteError::Refused(Reason::Connecting)));
    let status = rig.until("the loss", |status| !status.values).await;
    assert_eq!(status.reason, Some(Reason::Connecting));
    let problem = rig.remote.problem().unwrap();
    assert!(problem.contains("MASTERDOWN"), "{problem}");
    assert_eq!(server.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    rig.until("the return", |status| status.values && status.messages && status.reason.is_none()).await;
    rig.end().await;
}
