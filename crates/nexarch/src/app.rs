//! The running server's parts, put together once.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use axum::serve::ListenerExt;
use nexarch_cache::Cache;
use nexarch_core::{ids::TenantId, otlp};
use nexarch_store::{Error as StoreError, Store};
use tokio::net::TcpListener;

use crate::{
    auth::{Authenticator, Caller},
    authority::{self, StoreAuthority},
    config::Config,
    http,
    ingest::{Ingest, Writer},
    lifecycle::{self, Lifecycle},
    operation,
};

/// Bodies above this are decoded on a blocking thread; below it the hop costs more than the decoding.
const DECODE_INLINE_BYTES: usize = 256 * 1024;
/// Tenants whose rejected spans are counted; the rest share nothing and are not shown.
const MAX_COUNTED_TENANTS: usize = 10_000;

/// Everything that a request may need.
pub struct App {
    /// The truth.
    pub store: Arc<dyn Store>,
    /// The cache in front of it.
    pub cache: Cache,
    /// Its operations.
    pub operations: operation::Ids,
    /// Keys to callers.
    pub auth: Authenticator,
    /// The way in.
    pub ingest: Ingest,
    /// Tasks and their end.
    pub lifecycle: Lifecycle,
    /// Most bytes of one request.
    pub max_body_bytes: usize,
    /// Latency objective T of every tenant.
    pub latency_objective: Duration,
    /// Name of this node in statistics.
    pub node: String,
    retention: Duration,
    cache_enabled: bool,
    started_us: u64,
    rejected: Mutex<HashMap<TenantId, u64>>,
}

/// A server whose sockets are bound and whose tasks run.
pub struct Server {
    /// The parts.
    pub app: Arc<App>,
    /// Address of API, page and OTLP/HTTP.
    pub addr: SocketAddr,
    listener: TcpListener,
    otlp: Option<TcpListener>,
}

impl App {
    /// Puts the parts together; the caller spawns the writer.
    fn new(
        config: &Config,
        store: Arc<dyn Store>,
        cache: Cache,
        lifecycle: Lifecycle,
    ) -> anyhow::Result<(Arc<Self>, Writer)> {
        let (ingest, writer) = Ingest::new(config.max_inflight_bytes);
        let app = Self {
            auth: Authenticator::new(Arc::clone(&store)),
            operations: operation::Ids::of(&cache)?,
            store,
            cache,
            ingest,
            lifecycle,
            max_body_bytes: config.max_body_bytes,
            latency_objective: config.latency_objective,
            node: node_name(),
            retention: config.retention,
            cache_enabled: config.cache.enabled,
            started_us: lifecycle::now_us(),
            rejected: Mutex::default(),
        };
        Ok((Arc::new(app), writer))
    }

    /// What makes a span valid at this moment.
    pub fn rules(&self, now_ns: u64) -> otlp::Rules {
        let retention_ns = u64::try_from(self.retention.as_nanos()).unwrap_or(u64::MAX);
        otlp::Rules { now_ns: Some(now_ns), retention_ns: Some(retention_ns) }
    }

    /// Runs a decoder where its size belongs.
    pub async fn decode<T: Send + 'static>(
        &self,
        bytes: usize,
        decode: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, http::ApiError> {
        if bytes <= DECODE_INLINE_BYTES {
            return Ok(decode());
        }
        tokio::task::spawn_blocking(decode).await.map_err(http::ApiError::internal)
    }

    /// The newest version of the caller's tenant.
    pub async fn version(&self, caller: &Caller) -> Result<u64, StoreError> {
        let truth = self.store.versions(std::slice::from_ref(&caller.tenant)).await?;
        Ok(truth.versions.first().map_or(0, |versions| versions.clock))
    }

    /// Counts spans that were refused.
    pub fn note_rejected(&self, tenant: &TenantId, spans: u64) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if spans > 0 && (rejected.len() < MAX_COUNTED_TENANTS || rejected.contains_key(tenant)) {
            *rejected.entry(tenant.clone()).or_default() += spans;
        }
    }

    /// Spans of a tenant that this node refused since its start.
    pub fn rejected(&self, tenant: &TenantId) -> u64 {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied().unwrap_or(0)
    }

    /// Backend and status of the cache in one word.
    pub fn cache_status(&self) -> &'static str {
        if self.cache_enabled { "memory" } else { "disabled" }
    }

    /// How long another node may show an overtaken value.
    pub fn staleness_bound_ms(&self) -> u64 {
        u64::try_from(self.cache.staleness_bound().as_millis()).unwrap_or(u64::MAX)
    }

    /// Start of this process, RFC 3339.
    pub fn started_at(&self) -> String {
        let moment =
            i64::try_from(self.started_us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
        moment.map(|moment| moment.to_string()).unwrap_or_default()
    }
}

impl Server {
    /// Binds the sockets, builds the parts and starts the tasks. Nothing is served before [`Server::run`].
    pub async fn start(config: &Config, store: Arc<dyn Store>, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await.with_context(|| {
            format!(
                "cannot listen on {}:{} (set PORT to another one, or 0 for any)",
                config.host, config.port
            )
        })?;
        let addr = listener.local_addr()?;
        let otlp = bind_otlp(config).await?;
        let cache = authority::cache(config, StoreAuthority::new(Arc::clone(&store)), &lifecycle)?;
        let (app, writer) = App::new(config, Arc::clone(&store), cache.clone(), lifecycle.clone())?;
        lifecycle.spawn_essential("writer", writer.run(store, cache));
        lifecycle.spawn_essential("beat", authority::beat(Arc::clone(&app)));
        Ok(Self { app, addr, listener, otlp })
    }

    /// Serves until the drain begins and every request under way is answered.
    pub async fn run(self) -> anyhow::Result<()> {
        let drain = self.app.lifecycle.drain().clone();
        if let Some(listener) = self.otlp {
            let routes = http::otlp_router(Arc::clone(&self.app));
            let serve = axum::serve(listener.tap_io(no_delay), routes)
                .with_graceful_shutdown(drain.clone().cancelled_owned());
            self.app.lifecycle.tracker().spawn(async move {
                if let Err(error) = serve.await {
                    tracing::error!(%error, "the OTLP listener ended");
                }
            });
        }
        let routes = http::router(self.app);
        axum::serve(self.listener.tap_io(no_delay), routes)
            .with_graceful_shutdown(drain.cancelled_owned())
            .await?;
        Ok(())
    }
}

/// The host's name; enough to tell nodes apart in statistics.
fn node_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "nexarch".to_owned() } else { name.trim().to_owned() }
}

/// Answers are small and whole: waiting to fill a packet only costs time.
fn no_delay(stream: &mut tokio::net::TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

async fn bind_otlp(config: &Config) -> anyhow::Result<Option<TcpListener>> {
    let Some(addr) = config.otlp_http.addr else { return Ok(None) };
    match TcpListener::bind(addr).await {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.otlp_http.asked_for => {
            Err(error).with_context(|| format!("cannot listen on OTLP_HTTP_ADDR={addr}"))
        }
        Err(error) => {
            tracing::warn!(%addr, %error, "OTLP/HTTP port not available; send to the main port, or set OTLP_HTTP_ADDR");
            Ok(None)
        }
    }
}
