//! A server that works behind a network that does not. Each state: calls end, the status is true, it heals by itself.

use crate::support::{Rig, connected, eventually, hasty};
use nexarch_cache::{Breaker, Reason, RedisConfig, Remote, RemoteError, RemoteStatus};
use nexarch_testkit::{Certificates, FaultProxy, PATIENCE, RedisServer};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What a call may take beyond its deadline on a machine that is busy with other tests: not for ever.
const MARGIN: Duration = Duration::from_secs(20);

struct Net {
    server: RedisServer,
    proxy: FaultProxy,
    rig: Rig,
}

async fn net() -> Net {
    net_with(|config| config).await
}

async fn net_with(set: impl Fn(RedisConfig) -> RedisConfig) -> Net {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let rig = connected(&set(hasty(proxy.port()))).await;
    rig.in_the_end(|| rig.remote.set("test:a:b:c", "kept".into(), PATIENCE)).await;
    Net { server, proxy, rig }
}

impl Net {
    async fn get(&self) -> Result<Option<bytes::Bytes>, RemoteError> {
        let began = Instant::now();
        let answer = self.rig.remote.get("test:a:b:c", 1 << 20).await;
        assert!(began.elapsed() < Duration::from_millis(100) + MARGIN, "{:?}", began.elapsed());
        answer
    }

    /// Calls until the remote knows that nothing answers; returns how many waited in vain.
    async fn until_away(&self) -> u32 {
        let mut waited = 0;
        loop {
            match self.get().await {
                Err(RemoteError::Away) => return waited,
                Err(RemoteError::Timeout) => waited += 1,
                Ok(_) | Err(_) => {}
            }
            assert!(waited <= 5, "the sixth call waited");
        }
    }

    async fn healed(self) {
        let status = self.rig.until("values and messages", |status| status.values && status.messages).await;
        // Where calls were silent, it is half open until some were answered.
        assert!(status.breaker != Breaker::Open && status.reason.is_none(), "{status:?}");
        assert_eq!(self.rig.in_the_end(|| self.get()).await, Some("kept".into()));
        self.rig.until("values and messages", |status| status.values && status.messages).await;
        let mut messages = self.rig.remote.messages();
        self.rig.in_the_end(|| self.rig.remote.publish("back".into())).await;
        assert_eq!(timeout(PATIENCE, messages.recv()).await.unwrap().unwrap(), "back");
        self.rig.end().await;
    }
}

/// Five callers pay one deadline each; from then on nobody waits.
#[tokio::test]
async fn frozen_it_costs_five_calls_their_deadline_and_no_more() {
    let net = net_with(|config| config.connect_timeout(Duration::from_millis(200))).await;
    net.proxy.freeze_all();
    assert_eq!(net.until_away().await, 5);
    let status = net.rig.status();
    assert_eq!((status.values, status.messages, status.reason), (false, false, Some(Reason::Timeout)));
    // Whoever asks sees that it is tried again and again, and that nothing came of it.
    for breaker in [Breaker::HalfOpen, Breaker::Open, Breaker::HalfOpen] {
        eventually("the breaker to move", || net.rig.status().breaker == breaker).await;
    }
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(net.get().await, Err(RemoteError::Away));
    }
    assert!(began.elapsed() < MARGIN, "a thousand calls did not wait: {:?}", began.elapsed());
    net.proxy.pass();
    net.healed().await;
}

/// Calls that nobody waits for until their deadline count all the same: or clients with little patience would wait for
/// ever, each for as long as it can.
#[tokio::test]
async fn callers_that_hang_up_early_open_the_breaker_too() {
    let net = net().await;
    net.proxy.freeze_all();
    let mut hung_up = 0;
    loop {
        match timeout(Duration::from_millis(20), net.get()).await {
            Ok(Err(RemoteError::Away)) => break,
            Ok(answer) => assert_eq!(answer, Err(RemoteError::Timeout)),
            Err(_elapsed) => hung_up += 1,
        }
        assert!(hung_up < 100, "it never opens");
    }
    assert_eq!(net.rig.status().reason, Some(Reason::Timeout));
    net.proxy.pass();
    net.healed().await;
}

/// Whoever waits when the breaker opens is let go with those who opened it.
#[tokio::test]
async fn callers_that_wait_together_end_together() {
    let net = net().await;
    net.proxy.freeze_all();
    let calls = (0..200).map(|_| net.get());
    for answer in futures_util::future::join_all(calls).await {
        assert!(matches!(answer, Err(RemoteError::Timeout | RemoteError::Away)), "{answer:?}");
    }
    assert_eq!(net.get().await, Err(RemoteError::Away));
    net.proxy.pass();
    net.healed().await;
}

/// The state in which the client library alone never recovers: old sockets dead, new ones fine.
#[tokio::test]
async fn frozen_sockets_are_replaced_while_new_ones_work() {
    let net = net().await;
    let before = (net.proxy.accepted(), net.rig.status().reconnects);
    net.proxy.freeze_existing();
    net.until_away().await;
    net.rig.until("values", |status| status.values).await;
    assert!(net.proxy.accepted() > before.0);
    net.healed().await;
}

impl Net {
    /// Freezes one of its connections and calls until it was replaced. False when the other one was given up, too, for
    /// answers that were late.
    async fn replaces_one_alone(&self) -> bool {
        let reconnects = self.rig.status().reconnects;
        // The proxy counts connections in the order in which they came; the first is the first line's.
        self.proxy.freeze_first(1);
        let (mut answered, mut waited) = (0, 0);
        while self.rig.status().reconnects == reconnects {
            match self.get().await {
                Ok(_) => answered += 1,
                Err(RemoteError::Timeout | RemoteError::Broken(_)) => waited += 1,
                Err(RemoteError::Away) => return false,
                Err(error) => panic!("{error}"),
            }
            if waited > 6 || !self.rig.status().values {
                return false;
            }
        }
        answered >= 4
    }
}

/// One of two connections is frozen: it is replaced, the other goes on, the breaker stays closed.
#[tokio::test]
async fn one_frozen_socket_of_two_is_replaced_alone() {
    // A busy machine may make the other one's answers late.
    for _ in 0..3 {
        let net = net().await;
        if net.replaces_one_alone().await {
            return net.healed().await;
        }
        net.rig.end().await;
    }
    panic!("both are given up");
}

#[tokio::test]
async fn cut_it_reconnects() {
    let net = net().await;
    let mut status = net.rig.remote.status();
    status.mark_unchanged();
    net.proxy.cut();
    timeout(PATIENCE, status.changed()).await.unwrap().unwrap();
    net.healed().await;
}

#[tokio::test]
async fn refused_it_says_so_until_the_port_is_back() {
    let net = net().await;
    net.proxy.refuse();
    let status = net.rig.until("refused", |status| status.reason == Some(Reason::Refused)).await;
    assert!(!status.values && !status.messages);
    assert_eq!(net.get().await, Err(RemoteError::Away));
    net.proxy.pass();
    net.healed().await;
}

/// Slower than a deadline is as good as away, and its connections are kept: new ones would be as slow.
#[tokio::test]
async fn too_slow_it_is_away_without_a_storm_of_connections() {
    let net = net().await;
    net.proxy.delay(Duration::from_millis(250));
    net.until_away().await;
    let (accepted, answers) = (net.proxy.accepted(), net.proxy.answers());
    eventually("late answers to probes", || net.proxy.answers() >= answers + 8).await;
    let status = net.rig.status();
    assert_eq!((status.values, status.reason), (false, Some(Reason::Timeout)));
    assert!(net.proxy.accepted() <= accepted + 4, "{} new connections", net.proxy.accepted() - accepted);
    net.proxy.delay(Duration::ZERO);
    net.healed().await;
}

/// What is written behind is late for its size alone, and no read has waited yet.
#[tokio::test]
async fn large_values_that_are_late_do_not_close_the_way_for_reads() {
    let net = net().await;
    // Far above the deadline, so that a busy machine does not take a late answer for one in time.
    net.proxy.delay(Duration::from_secs(2));
    for n in 0..8 {
        let set = net.rig.remote.set(&format!("test:a:b:{n}"), vec![7; 65 << 10].into(), PATIENCE).await;
        assert_eq!(set, Err(RemoteError::Timeout));
    }
    assert!(net.rig.status().values);
    assert_eq!(net.until_away().await, 5, "reads that are late do");
    net.proxy.delay(Duration::ZERO);
    net.healed().await;
}

/// The connection that it came on ends, all answers of others are their own, and the server is not given up for it.
#[tokio::test]
async fn garbage_ends_the_connection_and_nothing_else() {
    let net = net().await;
    for garbage in [&b"*1000000000\r\n"[..], b"$-7\r\nabc", b"\x00\xff\xfe", b"%4000000000\r\n", b"!9\r\n"] {
        let reconnects = net.rig.status().reconnects;
        // In place of this one answer: what else is under way meanwhile, as a probe of the other connection, is let be.
        net.proxy.garbage_once(b"kept", garbage);
        let answer = net.get().await;
        assert!(answer.is_err(), "{answer:?}");
        // The last of them may be the beginning of an answer: what comes next shows that it is none. Until then, and on the
        // way, calls of that connection fail; those of the other are answered.
        let mut failed = 0;
        while net.rig.status().reconnects == reconnects {
            match net.get().await {
                Ok(value) => assert_eq!(value, Some("kept".into())),
                Err(_) => failed += 1,
            }
            assert!(failed <= 10, "{garbage:?} ends nothing");
            assert!(net.rig.status().values, "{garbage:?} ends more than its connection");
            tokio::task::yield_now().await;
        }
        net.rig.until("values and messages", |status| status.values && status.messages).await;
    }
    net.healed().await;
}

/// A port forwarder whose server is away lets clients in and sends them away: nothing is wrong with what was asked for,
/// and nobody has to look for a wrong port or TLS setting.
#[tokio::test]
async fn a_server_that_once_spoke_and_now_ends_connections_is_refused() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    for tls in [false, true] {
        let server = if tls { RedisServer::builder().tls(&certificates) } else { RedisServer::builder() };
        let mut server = server.start();
        let proxy = FaultProxy::start(server.address());
        let config = RedisConfig::new("localhost").port(proxy.port()).namespace("test").tls(tls);
        let config = if tls { config.ca_pem(certificates.ca_pem()) } else { config };
        let rig = connected(&config).await;
        server.kill();
        let status =
            rig.until("a reason", |status| !matches!(status.reason, Some(Reason::Connecting) | None));
        let reason = status.await.reason;
        // Messages may be missed first.
        let reason = if reason == Some(Reason::Messages) {
            let values = |status: &RemoteStatus| !status.values && status.reason != Some(Reason::Connecting);
            rig.until("the reason", values).await.reason
        } else {
            reason
        };
        assert_eq!(reason, Some(Reason::Refused), "TLS {tls}: {:?}", rig.remote.problem());
        assert!(rig.remote.problem().unwrap().contains("they were answered before"));
        server.restart();
        rig.until("values and messages", |status| status.values && status.messages).await;
        rig.end().await;
    }
}

#[tokio::test]
async fn a_stopped_process_is_away_until_it_goes_on() {
    let mut net = net().await;
    net.server.pause();
    assert_eq!(net.until_away().await, 5);
    assert_eq!(net.rig.status().reason, Some(Reason::Timeout));
    net.server.resume();
    net.healed().await;
}

#[tokio::test]
async fn a_killed_process_is_away_until_another_listens() {
    let mut net = net().await;
    let since = net.rig.status().since;
    net.server.kill();
    let status = net.rig.until("the loss", |status| !status.values).await;
    assert!(status.since > since);
    net.server.restart();
    net.rig.until("values", |status| status.values).await;
    // It lost everything, and that is no error.
    assert_eq!(net.rig.in_the_end(|| net.get()).await, None);
    net.rig.in_the_end(|| net.rig.remote.set("test:a:b:c", "kept".into(), PATIENCE)).await;
    net.healed().await;
}

/// Addresses change behind a name: whoever connects anew asks it anew.
#[tokio::test]
async fn a_name_is_asked_for_each_connection() {
    let servers = [RedisServer::start(), RedisServer::start()];
    let proxy = FaultProxy::start(servers[0].address());
    let ports = [proxy.port(), servers[1].port()];
    let leads = Arc::new(AtomicUsize::new(0));
    let now = Arc::clone(&leads);
    let config = RedisConfig::new("cache.example.com").tls(false).namespace("test").names(move |host, _| {
        assert_eq!(host, "cache.example.com");
        vec![([127, 0, 0, 1], ports[now.load(Ordering::SeqCst)]).into()]
    });
    let rig = connected(&config).await;
    leads.store(1, Ordering::SeqCst);
    // The old address is as good as before.
    proxy.cut();
    let moved = || servers[1].cli(&["PUBSUB", "NUMSUB", "test:versions"]).ends_with('1');
    eventually("messages over the new address", moved).await;
    rig.until("values and messages", |status| status.values && status.messages).await;
    while rig.remote.set("test:a:b:c", "there".into(), PATIENCE).await.is_err() {
        rig.until("values", |status| status.values).await;
    }
    assert_eq!(servers[1].cli(&["GET", "test:a:b:c"]), "there");
    rig.end().await;
}

/// Azure ends a connection that was idle for ten minutes; this server does so after three seconds.
#[tokio::test]
async fn a_silent_connection_is_asked_before_the_server_gives_it_up() {
    let server = RedisServer::builder().arg("--timeout", "10").start();
    let rig = connected(&hasty(server.port()).keep_alive(Duration::from_secs(1))).await;
    let pings = || {
        let stats = server.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_ping:calls=")).unwrap_or("0");
        line.split(',').next().and_then(|calls| calls.parse().ok()).unwrap_or(0)
    };
    // Two connections for values, each asked about once a second.
    eventually("more questions than fit into that time", || pings() >= 26).await;
    let status = rig.status();
    assert_eq!((status.reconnects, status.values, status.reason), (0, true, None));
    rig.end().await;
}
