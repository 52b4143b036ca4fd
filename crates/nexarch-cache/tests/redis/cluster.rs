//! Three primaries behind TLS that announce addresses which their certificate does not name.

use crate::support::{Rig, connected, rig};
use nexarch_cache::{Breaker, Reason, RedisConfig, RedisMode, Remote, RemoteError, Scope};
use nexarch_testkit::{PATIENCE, RedisCluster, RedisServer};

/// A busy machine makes no call late.
pub(crate) fn config(cluster: &RedisCluster) -> RedisConfig {
    RedisConfig::new("localhost")
        .command_timeout(PATIENCE)
        .port(cluster.port())
        .password(cluster.password())
        .tls(true)
        .ca_pem(cluster.certificates().ca_pem())
        .namespace("test")
}

/// The first key of each node.
fn keys(cluster: &RedisCluster) -> [String; 3] {
    [0, 1, 2].map(|node| {
        let mut names = (0..).map(|n| format!("test:a:b:{n}"));
        names.find(|key| RedisCluster::holder(cluster.slot(key)) == node).unwrap()
    })
}

/// Values and messages, and every server of the cluster.
async fn whole(rig: &Rig) {
    rig.until("the whole cluster", |status| {
        status.values && status.messages && status.breaker == Breaker::Closed
    })
    .await;
}

#[tokio::test]
async fn keys_of_every_node_are_reached_under_the_name_that_was_given() {
    let mut cluster = RedisCluster::start();
    let rig = connected(&config(&cluster)).await;
    whole(&rig).await;
    for key in keys(&cluster) {
        rig.remote.set(&key, key.clone().into(), PATIENCE).await.unwrap();
        assert_eq!(rig.remote.get(&key, 99).await, Ok(Some(key.into())));
    }
    for node in cluster.nodes() {
        assert_eq!(node.cli(&["DBSIZE"]), "1");
    }
    assert_eq!(
        rig.remote.remove(Some(&Scope::new("a").unwrap()), None).await,
        Ok(3).into(),
        "each node is scanned"
    );

    // A message reaches who listens at another node.
    let other = connected(&config(&cluster)).await;
    let mut heard = [rig.remote.messages(), other.remote.messages()];
    for n in 0..6 {
        rig.remote.publish(format!("{n}").into()).await.unwrap();
        for receiver in &mut heard {
            let message = tokio::time::timeout(PATIENCE, receiver.recv()).await.unwrap().unwrap();
            assert_eq!(message, format!("{n}"));
        }
    }
    rig.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = RedisCluster::start();
    let rig = connected(&config(&cluster)).await;
    whole(&rig).await;
    let [key, ..] = keys(&cluster);
    let slot = cluster.slot(&key);
    cluster.begin_move(slot, 2);
    // ASK: the old holder has no such key, the new one takes it only from those who were sent.
    rig.remote.set(&key, "moving".into(), PATIENCE).await.unwrap();
    assert_eq!(rig.remote.get(&key, 99).await, Ok(Some("moving".into())));
    // What is on its way is removed where it is.
    let lease = format!("test:{{{key}}}:lease:1");
    rig.remote.set(&lease, "token".into(), PATIENCE).await.unwrap();
    assert_eq!(rig.remote.remove(Some(&Scope::new("a").unwrap()), None).await, Ok(2).into());
    rig.remote.set(&key, "moving".into(), PATIENCE).await.unwrap();
    cluster.finish_move(slot, 2);
    // MOVED.
    assert_eq!(rig.remote.get(&key, 99).await, Ok(Some("moving".into())));
    rig.remote.set(&key, "moved".into(), PATIENCE).await.unwrap();
    assert_eq!(rig.remote.get(&key, 99).await, Ok(Some("moved".into())));
}

/// Keys of a node that is away are misses at once; the others go on, and messages, too.
#[tokio::test]
async fn a_node_that_is_away_takes_only_its_keys_with_it() {
    let mut cluster = RedisCluster::start();
    // Each of five calls waits for as long in vain.
    let rig = connected(&config(&cluster).command_timeout(std::time::Duration::from_secs(2))).await;
    whole(&rig).await;
    let [one, two, three] = keys(&cluster);
    cluster.nodes()[1].pause();
    let mut waited = 0;
    while rig.remote.get(&two, 9).await != Err(RemoteError::Away) {
        waited += 1;
        assert!(waited <= 5, "the sixth call waited");
    }
    let status = rig.status();
    assert!(status.values && status.breaker != Breaker::Closed, "{status:?}");
    for key in [&one, &three] {
        rig.remote.set(key, "on".into(), PATIENCE).await.unwrap();
    }
    for _ in 0..6 {
        rig.remote.publish("on".into()).await.unwrap();
    }
    cluster.nodes()[1].resume();
    // On trial at first: one call at a time, until some were answered.
    let answered = async {
        let mut pace = tokio::time::interval(std::time::Duration::from_millis(5));
        let mut answered = 0;
        while answered < 5 {
            pace.tick().await;
            answered += u32::from(rig.remote.get(&two, 9).await == Ok(None));
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("the way back");
    whole(&rig).await;
}

#[tokio::test]
async fn a_server_that_is_no_cluster_is_refused_in_cluster_mode() {
    let server = RedisServer::start();
    let config = crate::support::config(server.port()).mode(RedisMode::Cluster);
    let rig = rig(&config);
    rig.until("protocol", |status| status.reason == Some(Reason::Protocol)).await;
    assert!(rig.remote.problem().unwrap().contains("no cluster"));
}

/// As a command does that ends with it: the first node is enough for values, the others are still being reached.
#[tokio::test]
async fn all_nodes_are_cleared_however_early() {
    let cluster = RedisCluster::start();
    let writer = connected(&config(&cluster)).await;
    whole(&writer).await;
    for _ in 0..3 {
        for key in keys(&cluster) {
            writer.remote.set(&key, "old".into(), PATIENCE).await.unwrap();
        }
        let rig = rig(&config(&cluster));
        rig.until("any of it", |status| status.values).await;
        assert_eq!(rig.remote.remove(Some(&Scope::new("a").unwrap()), None).await.error, None);
        for key in keys(&cluster) {
            assert_eq!(writer.remote.get(&key, 9).await, Ok(None));
        }
        rig.end().await;
    }
    writer.end().await;
}

/// Keys of a slot that nobody serves cost nothing, and its new server is found within a second or two.
#[tokio::test]
async fn a_slot_without_a_server_is_looked_for() {
    let cluster = RedisCluster::start();
    let rig = connected(&config(&cluster)).await;
    whole(&rig).await;
    let [key, other, _] = keys(&cluster);
    let slot = cluster.slot(&key);
    cluster.orphan(slot);
    crate::support::eventually("the map without it", || {
        futures_util::FutureExt::now_or_never(rig.remote.get(&key, 9)) == Some(Err(RemoteError::Away))
    })
    .await;
    assert_eq!(rig.remote.get(&other, 9).await, Ok(None), "others are served");
    let began = tokio::time::Instant::now();
    cluster.adopt(slot, 1);
    while rig.remote.get(&key, 9).await != Ok(None) {
        tokio::task::yield_now().await;
        assert!(began.elapsed() < std::time::Duration::from_secs(15), "not before the next look at leisure");
    }
    rig.end().await;
}

/// Nodes that announce names have to prove them; those that lead nowhere are no servers, and health says so.
#[tokio::test]
async fn nodes_that_announce_names_are_reached_by_them_or_told_of() {
    let mut cluster = RedisCluster::start_announcing("localhost", "localhost");
    let rig = connected(&config(&cluster)).await;
    whole(&rig).await;
    for key in keys(&cluster) {
        rig.remote.set(&key, key.clone().into(), PATIENCE).await.unwrap();
        assert_eq!(rig.remote.get(&key, 99).await, Ok(Some(key.into())));
    }
    for node in cluster.nodes() {
        assert_eq!(node.cli(&["DBSIZE"]), "1");
    }
    rig.end().await;

    let cluster = RedisCluster::start_announcing("localhost", "nowhere.invalid");
    let rig = crate::support::rig(&config(&cluster));
    let status = rig.until("the reason", |status| status.reason == Some(Reason::Dns)).await;
    assert!(!status.values && !status.messages, "{status:?}");
    assert!(rig.remote.problem().unwrap().contains("nowhere.invalid"));
    rig.end().await;
}

/// A name that the certificate does not show is refused, however well it leads: nobody may stand in for the service.
#[tokio::test]
async fn a_node_that_announces_a_name_of_its_own_has_to_prove_it() {
    let cluster = RedisCluster::start_announcing("acme.example.com", "localhost");
    let wanted = config(&cluster).certificate_name("acme.example.com");
    let trusting = connected(&wanted).await;
    whole(&trusting).await;
    trusting.end().await;
    let rig = rig(&config(&cluster));
    rig.until("the reason", |status| status.reason == Some(Reason::Tls) && !status.values).await;
    rig.end().await;
}
