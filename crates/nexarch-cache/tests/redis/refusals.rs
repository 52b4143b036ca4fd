//! A server that answers, and refuses: alive for the breaker, and the status says what it refuses.

use crate::support::{config, connected, rig};
use nexarch_cache::{Breaker, Reason, Remote, RemoteError};
use nexarch_testkit::{PATIENCE, RedisServer};

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
    assert_eq!(rig.remote.get("test:a:b:0", 1 << 20).await, Ok(None), "the oldest had to go");
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
    assert_eq!(rig.remote.remove(None).await, Ok(1));
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
    assert_eq!(rig.remote.remove(None).await, Err(RemoteError::Refused(Reason::Auth)));
    assert!(rig.status().values, "what is ours may be read");
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
