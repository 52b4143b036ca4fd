//! What a healthy server does.

use crate::support::{config, connected, eventually};
use bytes::Bytes;
use nexarch_cache::{
    Breaker, Cache, Computed, Epoch, LocalAuthority, Operation, Read, RedisConfig, Remote, RemoteError, Scope,
};
use nexarch_testkit::{Certificates, FaultProxy, PATIENCE, RedisServer};
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn values_are_stored_found_and_expire() {
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    let status = rig.status();
    assert_eq!((status.breaker, status.reason, status.reconnects), (Breaker::Closed, None, 0));

    assert_eq!(rig.remote.get("test:a:b:1", 100).await, Ok(None));
    rig.remote.set("test:a:b:1", "value".into(), MINUTE).await.unwrap();
    assert_eq!(rig.remote.get("test:a:b:1", 5).await, Ok(Some("value".into())));
    assert_eq!(rig.remote.get("test:a:b:1", 4).await, Err(RemoteError::TooLarge));
    assert_eq!(rig.remote.head("test:a:b:1", 2).await, Ok(Some("va".into())));
    assert_eq!(rig.remote.head("test:a:b:1", 9).await, Ok(Some("value".into())));
    assert_eq!(rig.remote.head("test:a:b:9", 9).await, Ok(None));
    let left: u64 = server.cli(&["PTTL", "test:a:b:1"]).parse().unwrap();
    assert!((1..=60_000).contains(&left), "{left}");

    assert_eq!(rig.remote.set_if_absent("test:a:b:1", "other".into(), MINUTE).await, Ok(false));
    assert_eq!(rig.remote.set_if_absent("test:a:b:2", "other".into(), Duration::ZERO).await, Ok(true));
    nexarch_testkit::until("the end of a millisecond", || {
        (server.cli(&["EXISTS", "test:a:b:2"]) == "0").then_some(())
    });
    rig.end().await;
}

/// More than the sockets on the way hold: the rest is sent as the server reads, to the last byte, also through TLS, which
/// keeps some of it back.
#[tokio::test]
async fn a_value_that_is_larger_than_what_the_network_holds_arrives() {
    let certificates = Arc::new(Certificates::new(&["localhost"]));
    for tls in [false, true] {
        let server = if tls { RedisServer::builder().tls(&certificates) } else { RedisServer::builder() };
        let server = server.start();
        let config = RedisConfig::new("localhost").port(server.port()).namespace("test").tls(tls);
        let config = if tls { config.ca_pem(certificates.ca_pem()) } else { config };
        let rig = connected(&config.command_timeout(PATIENCE)).await;
        let value: Bytes = (0..24u32 << 20).map(|n| (n >> 3).to_le_bytes()[0]).collect();
        // Several at once, so that commands wait behind a value.
        let sets = (0..3).map(|n| {
            let (key, value) = (format!("test:a:b:{n}"), value.clone());
            let rig = &rig;
            async move {
                rig.remote.set(&key, value.clone(), PATIENCE * 4).await.unwrap();
                assert!(rig.remote.get(&key, value.len()).await == Ok(Some(value)), "TLS {tls}");
            }
        });
        futures_util::future::join_all(sets).await;
        rig.end().await;
    }
}

/// A value of any size costs as much as is taken of it, no more: not even the answer is longer.
#[tokio::test]
async fn of_a_value_that_is_too_large_nothing_more_is_sent_than_is_taken() {
    let server = RedisServer::start();
    let proxy = FaultProxy::start(server.address());
    let rig = connected(&config(proxy.port())).await;
    server.cli(&["SETRANGE", "test:a:b:large", "64000000", "x"]);
    let before = proxy.answered_bytes();
    for _ in 0..10 {
        assert_eq!(rig.remote.get("test:a:b:large", 1000).await, Err(RemoteError::TooLarge));
    }
    let sent = proxy.answered_bytes() - before;
    assert!(sent < 20_000, "{sent}");
    assert!(rig.status().values && rig.status().reason.is_none());
}

#[tokio::test]
async fn what_is_no_value_is_foreign_and_an_empty_one_is_none() {
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    server.cli(&["RPUSH", "test:a:b:list", "x"]);
    server.cli(&["SET", "test:a:b:empty", ""]);
    for _ in 0..10 {
        assert_eq!(rig.remote.get("test:a:b:list", 100).await, Err(RemoteError::Foreign));
        assert_eq!(rig.remote.get("test:a:b:empty", 100).await, Ok(None));
    }
    assert!(rig.status().values && rig.status().reason.is_none());
}

#[tokio::test]
async fn messages_reach_everybody_of_the_namespace_and_nobody_else() {
    let server = RedisServer::start();
    let one = connected(&config(server.port())).await;
    let two = connected(&config(server.port())).await;
    let other = connected(&config(server.port()).namespace("other")).await;
    let mut heard = [one.remote.messages(), two.remote.messages()];
    let mut nothing = other.remote.messages();
    one.remote.publish("hello".into()).await.unwrap();
    for receiver in &mut heard {
        let message = tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
        assert_eq!(message, "hello");
    }
    // What other is told later comes first there.
    other.remote.publish("mine".into()).await.unwrap();
    let message = tokio::time::timeout(PATIENCE, nothing.recv()).await.unwrap().unwrap();
    assert_eq!(message, "mine");
    assert_eq!(one.remote.publish(vec![0; 1 << 20].into()).await, Err(RemoteError::TooLarge));
}

#[tokio::test]
async fn removing_takes_one_scope_or_the_namespace_and_nothing_else() {
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    for n in 0..600 {
        rig.remote.set(&format!("test:acme:op:{n}"), "x".into(), MINUTE).await.unwrap();
    }
    for key in ["test:acme2:op:1", "test:b:op:1", "other:acme:op:1", "testacme"] {
        rig.remote.set(key, "x".into(), MINUTE).await.unwrap();
    }
    let acme = Scope::new("acme").unwrap();
    assert_eq!(rig.remote.remove(Some(&acme), None).await, Ok(600).into());
    assert_eq!(rig.remote.remove(Some(&acme), None).await, Ok(0).into());
    assert_eq!(server.cli(&["DBSIZE"]), "4");
    assert_eq!(rig.remote.remove(None, None).await, Ok(2).into());
    assert_eq!(server.cli(&["DBSIZE"]), "2");
}

#[tokio::test]
async fn the_server_says_what_it_is() {
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    let info = rig.remote.server_info().await.unwrap();
    for name in ["used_memory", "connected_clients", "evicted_keys"] {
        let value = info.iter().find(|(known, _)| known == name).map(|(_, value)| value.parse::<u64>());
        assert!(matches!(value, Some(Ok(_))), "{name}: {value:?}");
    }
}

#[tokio::test]
async fn closed_it_is_away_and_its_tasks_end() {
    let server = RedisServer::start();
    let rig = connected(&config(server.port())).await;
    let before = server.cli(&["CLIENT", "LIST"]).lines().count();
    rig.remote.close().await;
    assert_eq!(rig.remote.get("test:a:b:1", 9).await, Err(RemoteError::Away));
    assert!(!rig.status().values && !rig.status().messages);
    rig.end().await;
    // Two for values, one for messages; the administrator's own is in both counts.
    nexarch_testkit::until("the end of three connections", || {
        (server.cli(&["CLIENT", "LIST"]).lines().count() + 3 == before).then_some(())
    });
}

/// Two deployments on one Redis, both with the namespace and the first tenant that everybody has.
#[tokio::test]
async fn what_another_database_has_in_the_namespace_stays() {
    let server = RedisServer::start();
    let acme = Scope::new("acme").unwrap();
    let mut both = Vec::new();
    for epoch in [7, 8] {
        let rig = connected(&config(server.port())).await;
        let authority = Arc::new(LocalAuthority::shared(Epoch::new(epoch)));
        let cache = Cache::builder(authority)
            .namespace("test")
            .operations([Operation::new("op", MINUTE)])
            .remote(rig.remote.clone())
            .build(rig.tasks().clone())
            .unwrap();
        let read = Read::new(cache.operation("op").unwrap(), "p");
        cache.get_or_compute(&acme, read, |_| async { Ok(Computed::new("value")) }).await.unwrap();
        both.push((rig, cache));
    }
    let values = || {
        let keys = server.cli(&["--raw", "KEYS", "test:acme:*"]);
        keys.lines().filter(|key| !key.is_empty()).count()
    };
    eventually("both values", || values() == 2).await;
    both[0].1.remove_remote(Some(&acme)).await.unwrap();
    assert_eq!(values(), 1);
    both[1].1.forget(&acme);
    let read = Read::new(both[1].1.operation("op").unwrap(), "p");
    let compute = |_| async { Ok(Computed::new("computed anew")) };
    assert_eq!(both[1].1.get_or_compute(&acme, read, compute).await.unwrap().body(), "value");
    for (rig, _cache) in both {
        rig.end().await;
    }
}
