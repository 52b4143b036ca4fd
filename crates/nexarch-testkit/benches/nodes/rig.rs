//! Nodes as the server makes them, without the watching that tests add: their own view of the file, their own memory and
//! their own connections to Redis.

use crate::authority::{Shared, guest};
use nexarch_cache::{
    Answer, BoxError, Builder, Cache, Computed, Fence, Operation, Read, RedisConfig, RedisRemote, Remote,
    Scope,
};
use nexarch_core::ids::TenantId;
use nexarch_store::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(crate) const NAMESPACE: &str = "bench";
/// Long: nothing here becomes fresh by expiring.
const TTL: Duration = Duration::from_hours(1);

/// The database that nodes share.
pub(crate) struct Database {
    pub(crate) url: String,
    _dir: TempDir,
}

pub(crate) struct Node {
    pub(crate) cache: Cache,
    pub(crate) remote: Arc<RedisRemote>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) computations: AtomicU64,
    pub(crate) scope: Scope,
    tasks: TaskTracker,
    stop: CancellationToken,
}

pub(crate) fn tenant() -> TenantId {
    "acme".parse().expect("a tenant")
}

impl Database {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let url = format!("sqlite://{}", dir.path().join("shared.db").display());
        let store = guest(&url).await;
        store.create_tenant(&tenant(), "Acme").await.expect("a tenant");
        store.close().await;
        Self { url, _dir: dir }
    }
}

impl Node {
    /// A node whose Redis is behind `port`; `tune` has the last word, and gets the connection.
    pub(crate) async fn start(
        database: &Database,
        port: u16,
        tune: impl FnOnce(Builder, Arc<RedisRemote>) -> Builder,
    ) -> Arc<Self> {
        let store = guest(&database.url).await;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let config = RedisConfig::new("127.0.0.1").port(port).namespace(NAMESPACE);
        let remote = RedisRemote::start(&config, &tasks, &stop).expect("a configuration");
        let mut status = remote.status();
        status.wait_for(|status| status.values && status.messages).await.expect("a connection");
        let builder = Cache::builder(Arc::new(Shared::new(Arc::clone(&store))))
            .operations([Operation::new("overview", TTL), Operation::new("cheap", TTL)])
            .namespace(NAMESPACE);
        let cache = tune(builder, Arc::clone(&remote)).build(tasks.clone()).expect("a cache");
        tasks.spawn(cache.clone().run(stop.clone()));
        let scope = Scope::new("acme").expect("a name");
        Arc::new(Self { cache, remote, store, computations: AtomicU64::new(0), scope, tasks, stop })
    }

    /// As users have them.
    pub(crate) async fn ordinary(database: &Database, port: u16) -> Arc<Self> {
        Self::start(database, port, |builder, remote| builder.remote(remote)).await
    }

    /// Reads an operation; `compute` makes the body.
    pub(crate) async fn read<F, Fut>(self: &Arc<Self>, operation: &str, params: &str, compute: F) -> Answer
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let operation = self.cache.operation(operation).expect("an operation");
        let node = Arc::clone(self);
        let counted = move |fence| {
            node.computations.fetch_add(1, SeqCst);
            compute(fence)
        };
        let read = Read::new(operation, params);
        self.cache.get_or_compute(&self.scope, read, counted).await.expect("an answer")
    }

    pub(crate) async fn end(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.store.close().await;
    }
}
