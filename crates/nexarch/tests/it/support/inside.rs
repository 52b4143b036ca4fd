//! A server inside the test: the same parts and the same sockets, over a store that the test holds a gate of.

use std::{collections::BTreeMap, process::Command, sync::Arc, time::Duration};

use nexarch::{app::Server, auth, config, lifecycle::Lifecycle};
use nexarch_store::{Options, Role, Scope, Store};
use tempfile::TempDir;
use tokio::{runtime::Runtime, task::JoinHandle};

use super::{
    client::Client,
    gated::{Gate, Gated},
    oracle::python,
    wait::PATIENCE,
};

/// A running server.
pub(crate) struct Inside {
    runtime: Runtime,
    lifecycle: Lifecycle,
    serving: Option<JoinHandle<()>>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) gate: Arc<Gate>,
    base: String,
    url: String,
    key: String,
    /// The public id of its key.
    pub(crate) key_id: String,
    dir: TempDir,
}

impl Inside {
    /// A server with further settings and one tenant.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("test.db").display());
        let fixed =
            [("PORT", "0"), ("OTLP_HTTP_ADDR", "off"), ("OTLP_GRPC_ADDR", "off"), ("DATABASE_URL", &url)];
        let values: BTreeMap<String, String> = fixed
            .iter()
            .chain(settings)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let config = config::load(&config::Sources::default().layer("environment", values)).unwrap();
        let runtime = Runtime::new().unwrap();
        let lifecycle = Lifecycle::default();
        let (server, store, gate, key, key_id) = runtime.block_on(async {
            let options = Options::new(Role::Owner, nexarch::lifecycle::now_us);
            let (store, gate) = Gated::new(nexarch_store::open(&url, options).await.unwrap());
            let store: Arc<dyn Store> = Arc::new(store);
            let tenant = "acme".parse().unwrap();
            store.create_tenant(&tenant, "").await.unwrap();
            let scopes = [Scope::Ingest, Scope::Read, Scope::Admin];
            let (made, key) = auth::create_key(&*store, &tenant, "", &scopes, None).await.unwrap();
            let server = Server::start(&config, Arc::clone(&store), lifecycle.clone()).await.unwrap();
            (server, store, gate, key.expose().to_owned(), made.id)
        });
        let base = format!("http://{}", server.addr);
        let serving = Some(runtime.spawn(server.run()));
        Self { runtime, lifecycle, serving, store, gate, base, url, key, key_id, dir }
    }

    /// A client with its own connection.
    pub(crate) fn client(&self) -> Client {
        Client::new(&self.base, Some(&self.key))
    }

    /// Another tenant with a key to read; gives the key.
    pub(crate) fn tenant(&self, id: &str) -> String {
        let made = async {
            let tenant = id.parse().unwrap();
            self.store.create_tenant(&tenant, "").await.unwrap();
            auth::create_key(&*self.store, &tenant, "", &[Scope::Read], None).await.unwrap().1
        };
        self.runtime.block_on(made).expose().to_owned()
    }

    /// What a command does beside the server.
    pub(crate) fn beside(&self, change: impl AsyncFnOnce(&dyn Store)) {
        self.runtime.block_on(async {
            let options = Options::new(Role::Guest, nexarch::lifecycle::now_us);
            let guest = nexarch_store::open(&self.url, options).await.unwrap();
            change(&*guest).await;
            guest.close().await;
        });
    }

    /// Keeps a copy of the database as it is now.
    pub(crate) fn back_up(&self) {
        self.runtime.block_on(self.store.backup(&self.dir.path().join("backup.db"))).unwrap();
    }

    /// Puts the copy back while the server runs, as a restore of `sqlite3` does.
    pub(crate) fn set_back(&self) {
        let script = "import sqlite3; sqlite3.connect('backup.db').backup(sqlite3.connect('test.db'))";
        let made = Command::new(python()).args(["-c", script]).current_dir(self.dir.path()).output().unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    /// `http://address`.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Its key.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Whatever is held goes on, or nothing would end.
        self.gate.pass(1_000);
        self.gate.slow(Duration::ZERO);
        self.gate.slow_versions(Duration::ZERO);
        self.gate.away(false);
        self.gate.silence(false);
        self.gate.hold_invalidations(false);
        self.gate.stop_snapshots(false);
        self.lifecycle.drain().cancel();
        let serving = self.serving.take();
        self.runtime.block_on(async {
            if let Some(serving) = serving {
                let _ = tokio::time::timeout(PATIENCE, serving).await;
            }
            self.lifecycle.finish(tokio::time::Instant::now() + PATIENCE).await;
            self.store.close().await;
        });
    }
}
