//! `AzureRedisEvents`: a hint that anybody may give, and that costs no call, whatever it says.

use crate::support::{Log, Rig, config, connected, eventually};
use nexarch_cache::Remote;
use nexarch_testkit::{FaultProxy, PATIENCE, RedisServer};
use std::time::Duration;
use tokio::time::Instant;

const CHANNEL: &str = "AzureRedisEvents";

/// As it is documented.
fn notice(kind: &str) -> String {
    format!(
        "NotificationType|{kind}|StartTimeInUTC|2021-09-23T12:34:19|IsReplica|False|IPAddress|1.2.3.4|SSLPort|15001|NonSSLPort|13001"
    )
}

struct Site {
    server: RedisServer,
    proxy: FaultProxy,
    rig: Rig,
}

impl Site {
    async fn start() -> Self {
        // A busy machine is not what is looked at.
        Self::with_calls_of(PATIENCE / 20).await
    }

    /// A connection that is left stays for as long as a call may take, and so long the other one is not left.
    async fn with_calls_of(limit: Duration) -> Self {
        let server = RedisServer::start();
        let proxy = FaultProxy::start(server.address());
        let rig = connected(&config(proxy.port()).command_timeout(limit)).await;
        rig.remote.set("test:a:b:c", "kept".into(), PATIENCE).await.unwrap();
        eventually("both connections and the one for messages", || proxy.open() == 3).await;
        Self { server, proxy, rig }
    }

    fn publish(&self, message: &str) {
        assert_ne!(self.server.cli(&["PUBLISH", CHANNEL, message]), "0", "somebody listens");
    }

    /// Reads until something is so; every read has to be answered.
    async fn read_until(&self, what: &str, is: impl Fn() -> bool) {
        assert!(self.read_within(PATIENCE, what, is).await, "waited in vain for {what}");
    }

    /// The same; whether it was so in time.
    async fn read_within(&self, limit: Duration, what: &str, is: impl Fn() -> bool) -> bool {
        let began = Instant::now();
        while !is() {
            if began.elapsed() >= limit {
                return false;
            }
            assert_eq!(self.rig.remote.get("test:a:b:c", 9).await, Ok(Some("kept".into())), "{what}");
            tokio::task::yield_now().await;
        }
        true
    }
}

/// What is over may have left the name leading elsewhere: each connection is made anew once, one after the other.
#[tokio::test]
async fn what_is_over_renews_each_connection_and_costs_no_call() {
    for kind in ["FailoverComplete", "Failover", "Ended", "ScaleComplete"] {
        let site = Site::start().await;
        let (since, before) = (site.rig.status().since, site.proxy.accepted());
        site.publish(&notice(&format!("NodeMaintenance{kind}")));
        // A connection beside which no other one takes the calls keeps them: on a busy machine it may be one of the two.
        let renewed = || site.rig.status().reconnects >= 1 && site.proxy.open() == 3;
        site.read_until(kind, renewed).await;
        assert!((1..=2).contains(&(site.proxy.accepted() - before)), "each connection once at most");
        let status = site.rig.status();
        assert_eq!((status.since, status.reason, status.messages), (since, None, true), "nothing was lost");
        site.rig.end().await;
    }
}

/// A site that was told of the end of maintenance and has left the old server with both connections. It tries to leave the
/// second one a few times, after pauses of chance, and it is no fault when the first one was not back by then.
async fn moved_to(new: &RedisServer) -> Site {
    /// Longer than all the pauses together.
    const ROUND: Duration = Duration::from_secs(20);
    for _ in 0..3 {
        let site = Site::with_calls_of(Duration::from_secs(1)).await;
        site.proxy.redirect(new.address());
        site.publish(&notice("NodeMaintenanceFailoverComplete"));
        if site.read_within(ROUND, "the new server", || site.rig.status().reconnects >= 2).await {
            return site;
        }
        site.rig.end().await;
    }
    panic!("the second connection is never left");
}

/// The name leads elsewhere now, and the old server goes on for who is connected: no call is lost on the way.
#[tokio::test]
async fn the_name_is_followed_before_the_old_server_goes() {
    let new = RedisServer::start();
    new.cli(&["SET", "test:a:b:c", "kept"]);
    let mut site = moved_to(&new).await;
    let stats = new.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_hello:calls="), "{stats}");
    // What is published goes over the new server; that the old one's messages are of no use is found by itself.
    let messages = || new.cli(&["PUBSUB", "NUMSUB", "test:versions"]).ends_with('1');
    eventually("messages of the new server", messages).await;
    site.server.kill();
    site.read_until("the end of the old server", || site.proxy.open() == 3).await;
    site.rig.end().await;
}

/// Before it is over there is nothing to do; what is no notice is nothing; and a flood of any of them is one round.
#[tokio::test]
async fn announcements_garbage_and_floods_cost_no_call_and_one_round_of_connections() {
    let log = Log::start();
    let site = Site::start().await;
    let accepted = site.proxy.accepted();
    let mut inbox = site.rig.remote.messages();
    // A round of any of these would have begun before a later message is back.
    for kind in ["Scheduled", "Starting", "Start", "Unknown", ""] {
        site.publish(&notice(&format!("NodeMaintenance{kind}")));
    }
    // As long as a message may be: what is longer ends the connection, whatever channel it comes by.
    let oversized = "x".repeat(60 << 10);
    for garbage in ["", "|", "||||", "NotificationType", "NotificationType|", "\u{1}\u{2}", &oversized] {
        site.publish(garbage);
    }
    // Nor is anything on it taken for one of ours.
    let ours = site.server.cli(&["PUBLISH", CHANNEL, "\u{1}12345678abcdefghbody"]);
    assert_eq!(ours, "1");
    site.rig.remote.publish("ours".into()).await.unwrap();
    assert_eq!(tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap().unwrap(), "ours");
    site.read_until("some reads", || site.proxy.answers() > 200).await;
    assert_eq!((site.proxy.accepted(), site.rig.status().reconnects), (accepted, 0));

    let flood = format!(
        "for i = 1, 20000 do redis.call('PUBLISH', '{CHANNEL}', ARGV[1]); redis.call('PUBLISH', '{CHANNEL}', 'x|' .. i) end"
    );
    let began = Instant::now();
    for _ in 0..3 {
        site.server.cli(&["EVAL", &flood, "0", &notice("NodeMaintenanceEnded")]);
    }
    site.read_until("the round", || site.rig.status().reconnects >= 1).await;
    for _ in 0..3 {
        site.server.cli(&["EVAL", &flood, "0", &notice("NodeMaintenanceEnded")]);
    }
    let answers = site.proxy.answers();
    site.read_until("more reads", || site.proxy.answers() > answers + 2000).await;
    // The next round comes a minute after the first one began. A slow reader of the flood may be cut, and comes back.
    if began.elapsed() < Duration::from_secs(50) {
        assert!(site.rig.status().reconnects <= 2, "one round");
    }
    let lines = log.lines("announces maintenance");
    assert_eq!(lines.len(), 1, "{lines:?}");
    // Which of those that came together it names is of no weight.
    assert!(lines[0].contains("cache: Redis announces maintenance (NodeMaintenance"), "{lines:?}");
    assert!(site.rig.status().values);
    site.rig.end().await;
}

/// Rights mostly end at our own channel, in the new protocol and in the old one: nothing is missed.
#[tokio::test]
async fn without_the_right_to_hear_it_nothing_is_missed() {
    for without in [&[][..], &["HELLO"]] {
        let server = RedisServer::builder()
            .user("user app on >secret resetchannels &test:* ~test:* +@all")
            .without(without)
            .start();
        let rig = connected(&config(server.port()).username("app").password("secret")).await;
        let mut inbox = rig.remote.messages();
        rig.remote.publish("ours".into()).await.unwrap();
        let message = tokio::time::timeout(PATIENCE, inbox.recv()).await.unwrap().unwrap();
        assert_eq!(message, "ours");
        assert_eq!(server.cli(&["PUBLISH", CHANNEL, &notice("NodeMaintenanceEnded")]), "0");
        rig.end().await;
    }
}
