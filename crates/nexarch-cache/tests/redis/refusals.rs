//! A server that answers, and refuses: alive for the breaker, and the status says what it refuses.

use crate::support::{Log, Rig, config, connected, eventually, rig};
use nexarch_cache::{
    Backend, Breaker, Cache, Computed, Condition, Epoch, LocalAuthority, Mode, Operation, Read, Reason,
    Remote, RemoteError, Removed, Scope,
};
use nexarch_testkit::{FaultProxy, PATIENCE, RedisServer};
use std::sync::Arc;

#[tokio::test]
async fn full_it_is_read_and_not_written_until_there_is_room() {
    let server = RedisServer::builder().max_memory(3 << 20, "noeviction").start();
    let rig = connected(&config(server.port())).await;
    rig.remote.set("test:a:b:first", "kept".into(), PATIENCE).await.unwrap();
    let mut stored = 0;
    let refused = loop {
        match rig.remote.set(&format!("test:a:b:{stored}"), vec![7; 64 << 10].into(), PATIENCE).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 100, "3 MiB took 6 MiB");
    };
    assert_eq!(refused, RemoteError::Refused(Reason::Oom));
    let status = rig.status();
    assert_eq!((status.values, status.messages, status.reason), (true, true, Some(Reason::Oom)));
    assert_eq!(status.breaker, Breaker::Closed);
    for _ in 0..20 {
        let again = rig.remote.set("test:a:b:more", vec![7; 64 << 10].into(), PATIENCE).await;
        assert_eq!(again, Err(RemoteError::Refused(Reason::Oom)));
    }
    assert_eq!(rig.remote.get("test:a:b:first", 9).await, Ok(Some("kept".into())), "reads go on");
    server.cli(&["FLUSHALL"]);
    // Nobody writes: it finds out by itself.
    rig.until("room", |status| status.reason.is_none()).await;
}

#[tokio::test]
async fn evicting_it_is_never_full() {
    let server = RedisServer::builder().max_memory(3 << 20, "allkeys-lru").start();
    let rig = connected(&config(server.port())).await;
    for n in 0..100 {
        rig.remote.set(&format!("test:a:b:{n}"), vec![7; 64 << 10].into(), PATIENCE).await.unwrap();
    }
    assert_eq!(rig.status().reason, None);
    // Which went is by chance: Redis tells ages apart by the second.
    let mut gone = 0;
    for n in 0..100 {
        gone += usize::from(rig.remote.get(&format!("test:a:b:{n}"), 1 << 20).await.unwrap().is_none());
    }
    assert!(gone > 50, "{gone} had to go");
}

#[tokio::test]
async fn flushed_it_is_empty_and_well() {
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    rig.remote.set("test:a:b:c", "gone".into(), PATIENCE).await.unwrap();
    server.cli(&["FLUSHALL"]);
    assert_eq!(rig.remote.get("test:a:b:c", 9).await, Ok(None));
    assert_eq!(rig.status().reason, None);
}

/// What Azure blocks is not needed.
#[tokio::test]
async fn blocked_commands_are_not_missed() {
    let blocked =
        ["CONFIG", "DEBUG", "SAVE", "BGSAVE", "CLUSTER", "SELECT", "MOVE", "READONLY", "RESET", "ROLE"];
    let server =
        RedisServer::builder().without(&blocked).without(&["KEYS", "EVAL", "FLUSHALL", "FLUSHDB"]).start();
    let rig = connected(&config(server.port())).await;
    rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await.unwrap();
    assert_eq!(rig.remote.remove(None, None).await, Ok(1).into());
    assert_eq!(rig.status().reason, None);
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let rules =
        "user app on >secret resetchannels &test:* ~test:* +getrange +set +publish +subscribe +ping +hello";
    let server = RedisServer::builder().user(rules).start();
    let rig = connected(&config(server.port()).username("app").password("secret")).await;
    rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await.unwrap();
    assert_eq!(rig.remote.get("other:a:b:c", 9).await, Err(RemoteError::Refused(Reason::Auth)));
    assert_eq!(rig.remote.remove(None, None).await, Err(RemoteError::Refused(Reason::Auth)).into());
    assert!(rig.status().values, "what is ours may be read");
}

/// A cache over `rig`, and what a read of it costs: a lease and a value.
async fn read_once(rig: &Rig) -> Cache {
    let cache = Cache::builder(Arc::new(LocalAuthority::shared(Epoch::new(7))))
        .namespace("test")
        .operations([Operation::new("count", PATIENCE)])
        .remote(rig.remote.clone())
        .build(rig.tasks().clone())
        .unwrap();
    let (acme, count) = (Scope::new("acme").unwrap(), cache.operation("count").unwrap());
    let compute = |_| async { Ok(Computed::new("1")) };
    cache.get_or_compute(&acme, Read::new(count, ""), compute).await.unwrap();
    eventually("it to be written", || cache.remote_counts().unwrap().written == 1).await;
    cache
}

/// Who may use the keys of the namespace may take the right to compute a value of it, too.
#[tokio::test]
async fn leases_need_no_more_rights_than_values() {
    let log = Log::start();
    let rules =
        "user app on >secret resetchannels &test:* ~test:* +getrange +set +publish +subscribe +ping +hello";
    let server = RedisServer::builder().user(rules).start();
    let rig = connected(&config(server.port()).username("app").password("secret")).await;
    let cache = read_once(&rig).await;
    // The lease lives for a second, and its count for longer; what is refused is not counted there.
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_set:calls=2,"), "a lease and a value: {stats}");
    assert_eq!((cache.status().reason, cache.remote_counts().unwrap().errors), (None, 0));
    assert!(log.lines("writes").is_empty(), "{}", log.text());
    rig.end().await;
}

/// A key of one kind that may not be written says nothing of values: they are written, and health says nothing else.
#[tokio::test]
async fn a_lease_that_is_refused_is_counted_and_no_news() {
    let log = Log::start();
    let rules = "user app on >secret &test:* ~test:acme:* ~test:canary* +@all";
    let server = RedisServer::builder().user(rules).start();
    let rig = connected(&config(server.port()).username("app").password("secret")).await;
    let cache = read_once(&rig).await;
    let counts = cache.remote_counts().unwrap();
    assert_eq!((cache.status().reason, counts.errors), (None, 1), "{counts:?}");
    assert!(log.lines("writes").is_empty(), "{}", log.text());
    rig.end().await;
}

#[tokio::test]
async fn without_the_right_to_read_it_is_auth_and_without_messages_degraded() {
    let server = RedisServer::builder()
        .user("user blind on >secret resetchannels &test:* ~test:* +set +publish +subscribe +ping +hello")
        .user("user deaf on >secret resetchannels ~test:* +getrange +set +ping +hello")
        .start();
    let blind = rig(&config(server.port()).username("blind").password("secret"));
    blind.until("auth", |status| status.reason == Some(Reason::Auth) && !status.values).await;
    assert!(blind.remote.problem().unwrap().contains("NOPERM"));
    let deaf = rig(&config(server.port()).username("deaf").password("secret"));
    deaf.until("no messages", |status| status.values && status.reason == Some(Reason::Messages)).await;
    assert_eq!(deaf.remote.publish("x".into()).await, Err(RemoteError::Refused(Reason::Auth)));
    server.cli(&["ACL", "SETUSER", "deaf", "&test:*", "+publish", "+subscribe"]);
    server.cli(&["ACL", "SETUSER", "blind", "+getrange"]);
    for rig in [blind, deaf] {
        rig.until("all of it", |status| status.values && status.messages && status.reason.is_none()).await;
    }
}

/// Rights that are taken away at run time are missed, and so is their return.
#[tokio::test]
async fn rights_that_come_and_go_are_noticed() {
    let server = RedisServer::builder().user("user app on >secret &test:* ~test:* +@all").start();
    let rig = connected(&config(server.port()).username("app").password("secret")).await;
    server.cli(&["ACL", "SETUSER", "app", "-getrange"]);
    assert_eq!(rig.remote.get("test:a:b:c", 9).await, Err(RemoteError::Refused(Reason::Auth)));
    rig.until("the loss", |status| !status.values && status.reason == Some(Reason::Auth)).await;
    server.cli(&["ACL", "SETUSER", "app", "+getrange"]);
    rig.until("the return", |status| status.values && status.messages && status.reason.is_none()).await;
}

/// Values and messages are usable, so it is connected; what is not usable is told all the same, in health and in the log.
#[tokio::test]
async fn health_tells_why_nothing_is_written() {
    let log = Log::start();
    let server = RedisServer::builder().user("user app on >secret &test:* ~test:* +@all").start();
    let rig = connected(&config(server.port()).username("app").password("secret")).await;
    let cache = Cache::builder(Arc::new(LocalAuthority::shared(Epoch::new(7))))
        .namespace("test")
        .operations([Operation::new("count", PATIENCE)])
        .remote(rig.remote.clone())
        .build(rig.tasks().clone())
        .unwrap();
    let health = || {
        let status = cache.status();
        assert_eq!(
            (status.backend, status.status, status.mode),
            (Backend::Redis, Condition::Connected, Mode::Pubsub)
        );
        status.reason
    };
    let troubles: [(Reason, &[&str], &[&str]); 3] = [
        (Reason::Oom, &["CONFIG", "SET", "maxmemory", "1"], &["CONFIG", "SET", "maxmemory", "0"]),
        (Reason::Readonly, &["REPLICAOF", "127.0.0.1", "1"], &["REPLICAOF", "NO", "ONE"]),
        (Reason::Auth, &["ACL", "SETUSER", "app", "-set"], &["ACL", "SETUSER", "app", "+set"]),
    ];
    for (reason, begin, end) in troubles {
        assert_eq!(health(), None);
        assert_eq!(server.cli(begin), "OK");
        let refused = rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await;
        assert_eq!(refused, Err(RemoteError::Refused(reason)));
        assert_eq!(health(), Some(reason));
        assert_eq!(server.cli(end), "OK");
        rig.until("writes", |status| status.values && status.messages && status.reason.is_none()).await;
    }
    assert_eq!(log.lines("cache: Redis takes no writes (oom), reading only").len(), 1, "{}", log.text());
    assert_eq!(log.lines("cache: Redis takes writes again").len(), 1, "{}", log.text());
    rig.end().await;
}

/// It takes no writes while too few replicas follow: that is no failover, and no other connection would change it. With one
/// connection, cutting it would take values and messages away, too.
#[tokio::test]
async fn a_primary_without_its_replicas_keeps_its_connections() {
    let server = RedisServer::builder().arg("--min-replicas-to-write", "1").start();
    let proxy = FaultProxy::start(server.address());
    let rig = connected(&config(proxy.port()).connections(1)).await;
    let refused = rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await;
    assert_eq!(refused, Err(RemoteError::Refused(Reason::Readonly)));
    let (connections, since) = (proxy.accepted(), rig.status().since);
    eventually("canaries that were refused", || {
        let stats = server.cli(&["INFO", "commandstats"]);
        let set = stats.lines().find(|line| line.starts_with("cmdstat_set:")).unwrap_or_default().to_owned();
        let rejected = set.trim().split(',').find_map(|part| part.strip_prefix("rejected_calls="));
        rejected.and_then(|calls| calls.parse::<u32>().ok()).is_some_and(|calls| calls >= 4)
    })
    .await;
    assert_eq!((proxy.accepted(), rig.status().since), (connections, since));
    assert_eq!(server.cli(&["CONFIG", "SET", "min-replicas-to-write", "0"]), "OK");
    rig.until("writes", |status| status.reason.is_none()).await;
    rig.end().await;
}

/// A replica for good: connections are renewed less and less often, and reads go on between.
#[tokio::test]
async fn a_replica_is_left_less_and_less_often() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let rig = connected(&config(proxy.port())).await;
    assert_eq!(server.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    let refused = rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await;
    assert_eq!(refused, Err(RemoteError::Refused(Reason::Readonly)));
    let reconnects = rig.status().reconnects;
    // The canaries of eight beats.
    eventually("canaries that were refused", || {
        let stats = server.cli(&["INFO", "errorstats"]);
        let refusals = stats.lines().find_map(|line| line.trim().strip_prefix("errorstat_READONLY:count="));
        refusals.and_then(|count| count.parse::<u32>().ok()).is_some_and(|count| count > 8)
    })
    .await;
    // After beats 1, 2, 4 and 8.
    let renewed = rig.status().reconnects - reconnects;
    assert!((1..=4).contains(&renewed), "{renewed}");
    rig.end().await;
}

/// A key may be ours and not for us to remove: what went before counts.
#[tokio::test]
async fn a_removal_that_fails_tells_what_it_did() {
    let rules = "user app on >secret resetchannels &test:* %RW~test:a:b:1 %R~test:* +@all";
    let server = RedisServer::builder().user(rules).start();
    let rig = connected(&config(server.port()).username("app").password("secret")).await;
    for key in ["test:a:b:1", "test:a:b:2"] {
        server.cli(&["SET", key, "value"]);
    }
    let removed = rig.remote.remove(None, None).await;
    assert_eq!(removed, Removed { keys: 1, error: Some(RemoteError::Refused(Reason::Auth)) });
    rig.end().await;
}

/// A subscription that the server ends again and again is made anew with growing rests.
#[tokio::test]
async fn a_channel_that_does_not_last_is_no_storm() {
    /// Most of the rests are up to a second: that all of them together are shorter has a chance of one in millions.
    const ENDED: u32 = 14;
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    let began = tokio::time::Instant::now();
    for _ in 0..ENDED {
        rig.until("messages", |status| status.messages).await;
        assert_ne!(server.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "0");
        rig.until("the end of it", |status| !status.messages).await;
    }
    assert!(began.elapsed() > std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    rig.end().await;
}
