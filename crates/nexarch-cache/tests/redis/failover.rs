//! A primary that is replaced by its replica, which has not heard everything.

use crate::support::{config, connected, eventually};
use nexarch_cache::{Reason, Remote, RemoteError, Scope};
use nexarch_testkit::{FaultProxy, PATIENCE, RedisServer};

#[tokio::test]
async fn a_failover_may_lose_writes_and_nothing_else() {
    let (primary, replica) = (RedisServer::start(), RedisServer::start());
    let proxy = FaultProxy::start(primary.address());
    let rig = connected(&config(proxy.port())).await;
    rig.remote.set("test:a:b:old", "kept".into(), PATIENCE).await.unwrap();
    replica.replicate(&primary);
    replica.promote();
    // Acknowledged by the old primary alone.
    rig.remote.set("test:a:b:new", "lost".into(), PATIENCE).await.unwrap();
    proxy.redirect(replica.address());
    let mut status = rig.remote.status();
    status.mark_unchanged();
    proxy.cut();
    tokio::time::timeout(PATIENCE, status.changed()).await.unwrap().unwrap();
    rig.until("the new primary", |status| status.values && status.messages).await;
    assert_eq!(rig.remote.get("test:a:b:old", 9).await, Ok(Some("kept".into())));
    assert_eq!(rig.remote.get("test:a:b:new", 9).await, Ok(None));
    rig.remote.set("test:a:b:new", "again".into(), PATIENCE).await.unwrap();
}

/// The primary becomes a replica under open connections, and the name leads to the new primary: connections that only
/// read would stay with the old one for ever.
#[tokio::test]
async fn a_demoted_primary_is_left_for_the_one_that_the_name_leads_to() {
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let proxy = FaultProxy::start(old.address());
    // A busy machine is not what is looked at.
    let rig = connected(&config(proxy.port()).command_timeout(PATIENCE)).await;
    old.replicate(&new);
    proxy.redirect(new.address());
    let refused = loop {
        match rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await {
            Err(RemoteError::Refused(reason)) => break reason,
            other => assert!(matches!(other, Err(RemoteError::Away | RemoteError::Broken(_))), "{other:?}"),
        }
    };
    assert_eq!(refused, Reason::Readonly);
    rig.until("writes", |status| status.values && status.reason.is_none()).await;
    // Both connections lead to it in the end.
    let mut stored = 0;
    while stored < 2 {
        match rig.remote.set("test:a:b:c", "value".into(), PATIENCE).await {
            Ok(()) => stored += 1,
            Err(error) => {
                stored = 0;
                assert!(!matches!(error, RemoteError::Timeout), "{error}");
            }
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(new.cli(&["GET", "test:a:b:c"]), "value");
}

/// A cursor means something only to the server that gave it: another one that is told of it passes over keys.
#[tokio::test]
async fn a_removal_that_is_moved_to_another_server_begins_there_anew() {
    const KEYS: usize = 3_000;
    let (old, new) = (RedisServer::start(), RedisServer::start());
    let keys = |server: &RedisServer| server.cli(&["DBSIZE"]).parse::<usize>().unwrap();
    let fill = "for n = 1, tonumber(ARGV[1]) do redis.call('SET', 'test:acme:op:' .. n, 'x') end";
    let acme = Scope::new("acme").unwrap();
    // Whether a removal outlives the move, or has to be begun anew by its caller, is a matter of milliseconds.
    for round in 0..6 {
        for server in [&old, &new] {
            server.cli(&["EVAL", fill, "0", &KEYS.to_string()]);
        }
        let proxy = FaultProxy::start(old.address());
        let rig = connected(&config(proxy.port()).command_timeout(PATIENCE)).await;
        let removing = {
            let (remote, acme) = (rig.remote.clone(), acme.clone());
            rig.tasks().spawn(async move {
                loop {
                    if remote.remove(Some(&acme), None).await.error.is_none() {
                        return;
                    }
                    tokio::task::yield_now().await;
                }
            })
        };
        eventually("half of the keys to be gone", || keys(&old) < KEYS / 2).await;
        proxy.redirect(new.address());
        proxy.cut();
        tokio::time::timeout(PATIENCE, removing).await.unwrap().unwrap();
        assert_eq!(keys(&new), 0, "round {round}");
        rig.end().await;
    }
}
