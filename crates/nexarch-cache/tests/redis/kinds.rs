//! What a server is, is asked of it: behind the same name another kind may answer tomorrow.

use crate::support::{Rig, connected, eventually};
use nexarch_cache::{
    Breaker, Cache, Cause, Changed, Commit, Computed, Epoch, LocalAuthority, Operation, Read, RedisConfig,
    Scope,
};
use nexarch_testkit::{FaultProxy, PATIENCE, RedisCluster, RedisServer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads between two changes of what they read.
const READS: u64 = 120;

/// Different answers, so that every server of a cluster has some.
const KEYS: u64 = 60;

/// A cache over the rig, and the number that its answers show.
struct Shop {
    cache: Cache,
    authority: Arc<LocalAuthority>,
    scope: Scope,
    now: Arc<AtomicU64>,
    reads: AtomicU64,
}

impl Shop {
    fn over(rig: &Rig) -> Self {
        let authority = Arc::new(LocalAuthority::shared(Epoch::new(7)));
        let cache = Cache::builder(authority.clone())
            .namespace("test")
            .operations([Operation::new("count", PATIENCE)])
            .remote(rig.remote.clone())
            .build(rig.tasks().clone())
            .unwrap();
        rig.tasks().spawn(cache.clone().run(rig.stop().clone()));
        let scope = Scope::new("acme").unwrap();
        Self { cache, authority, scope, now: Arc::default(), reads: AtomicU64::new(0) }
    }

    /// One answer, from Redis where it can be; it must be there and show what is now.
    async fn read(&self, key: u64) {
        self.cache.forget(&self.scope);
        let now = Arc::clone(&self.now);
        let compute = move |_fence| async move { Ok(Computed::new(now.load(Ordering::SeqCst).to_string())) };
        let key = key.to_string();
        let read = Read::new(self.cache.operation("count").unwrap(), &key);
        let answer = self.cache.get_or_compute(&self.scope, read, compute).await.expect("no read fails");
        assert_eq!(
            *answer.body(),
            self.now.load(Ordering::SeqCst).to_string().as_bytes(),
            "no answer is old"
        );
        self.reads.fetch_add(1, Ordering::SeqCst);
    }

    /// Reads and changes what is read, until the caller has seen enough.
    async fn go_on(&self) -> ! {
        loop {
            for n in 0..READS {
                self.read(n % KEYS).await;
                tokio::task::yield_now().await;
            }
            self.now.fetch_add(1, Ordering::SeqCst);
            let versions = self.authority.change_data(&self.scope);
            self.cache.announce(&self.scope, &Commit::new(Changed::Data, Cause::Ingest, versions));
        }
    }
}

/// As when a cache is moved to a service of another kind, which keeps the name, and back. Nobody is asked, nothing is
/// restarted, and no read fails or is old meanwhile.
#[tokio::test]
async fn a_name_that_leads_to_another_kind_of_server_is_followed() {
    let mut cluster = RedisCluster::start();
    let alone = RedisServer::builder().password(cluster.password()).tls(cluster.certificates()).start();
    let proxy = FaultProxy::start(alone.address());
    let config = RedisConfig::new("localhost")
        .port(proxy.port())
        .password(cluster.password())
        .tls(true)
        .ca_pem(cluster.certificates().ca_pem())
        .namespace("test");
    let rig = connected(&config).await;
    assert!(!rig.remote.is_cluster());
    let shop = Shop::over(&rig);
    let whole = || async {
        rig.until("all of it", |status| status.values && status.messages && status.breaker == Breaker::Closed)
            .await
    };
    let stored = |server: &RedisServer| server.cli(&["DBSIZE"]) != "0";
    let script = async {
        eventually("values in the single server", || stored(&alone)).await;

        proxy.redirect(format!("127.0.0.1:{}", cluster.port()));
        proxy.cut();
        eventually("the cluster to be seen", || rig.remote.is_cluster()).await;
        whole().await;
        for at in 0..3 {
            eventually("values in every server of the cluster", || stored(cluster.node(at))).await;
        }

        alone.cli(&["FLUSHALL"]);
        proxy.redirect(alone.address());
        proxy.cut();
        cluster.nodes().iter_mut().for_each(RedisServer::kill);
        eventually("the single server to be seen", || !rig.remote.is_cluster()).await;
        whole().await;
        eventually("values in the single server again", || stored(&alone)).await;
    };
    tokio::select! {
        () = script => {}
        _ = shop.go_on() => {}
    }
    assert!(shop.reads.load(Ordering::SeqCst) > READS);
    rig.end().await;
}
