//! The running server's parts, put together once.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
};

use anyhow::Context;
use axum::body::Body;
use bytes::Bytes;
use nexarch_cache::{BootTime, BoxError, Cache, Cause, RedisRemote, Scope};
use nexarch_core::{ids::TenantId, otlp};
use nexarch_store::{Error as StoreError, Retention, Store, Versions};
use tokio::{net::TcpListener, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    auth::{self, Authenticator, Caller},
    authority::{self, StoreAuthority},
    config::{AdminSecret, Config},
    door::{self, Door, tls},
    gone, http, incidents,
    ingest::{
        Ingest, IngestError, Writer,
        body::{self, BodyError, Encoding},
        inflight::Held,
    },
    lifecycle::{self, Lifecycle},
    limit::{Limits, Shares},
    metrics::{self, Metrics},
    noted::Noted,
    open_views::OpenViews,
    operation, redis, redis_info, retention, rewarm, scheduled, settle, stream,
    turns::{Busy, Turn, Turns, in_turn},
    view::{Objectives, Parts},
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
    /// What is told to those who keep a stream open.
    pub(crate) streams: Arc<stream::Hub>,
    /// Tasks and their end.
    pub lifecycle: Lifecycle,
    /// What one tenant may ask of this node.
    pub limits: Limits,
    /// Most bytes of one request.
    pub max_body_bytes: usize,
    /// What requests of every tenant should be like.
    pub objectives: Objectives,
    /// Name of this node in statistics.
    pub node: String,
    /// How long data are kept.
    pub retention: Retention,
    /// The start of the first day that was not dropped, nanoseconds since the Unix epoch.
    pub(crate) kept_from_ns: AtomicU64,
    /// What senders did wrong, until the store keeps it.
    pub(crate) noted: Noted,
    /// What people look at.
    pub(crate) open_views: OpenViews,
    /// What computations under way have in common.
    pub(crate) parts: Parts,
    /// What is counted for the operator.
    pub(crate) metrics: Metrics,
    rejected: Mutex<HashMap<TenantId, u64>>,
    /// Which tenants there are, as last seen.
    pub(crate) tenants: gone::Followed,
    /// A change of this process of which it could not take notice; the beat does.
    pub(crate) unnoticed: AtomicBool,
    /// Who holds this is let into the admin API; `None` = there is none.
    pub(crate) admin: Option<AdminSecret>,
    /// What the server behind the shared tier says of itself.
    pub(crate) redis: redis_info::RedisInfo,
    /// What one tenant may hold of the cache, and store in a day.
    pub(crate) shares: Shares,
    /// Computations, renderings and decodings of large bodies at once: each may take a core and much memory.
    heavy: Turns,
}

/// A server whose sockets are bound and whose tasks run.
pub struct Server {
    /// The parts.
    pub app: Arc<App>,
    /// Address of API, page, OTLP/HTTP and OTLP/gRPC.
    pub addr: SocketAddr,
    /// OTLP's own port for gRPC, when it is open.
    pub otlp_grpc_addr: Option<SocketAddr>,
    /// OTLP's own port for HTTP, when it is open.
    pub otlp_http_addr: Option<SocketAddr>,
    /// Where Prometheus finds figures, when it is open.
    pub metrics_addr: Option<SocketAddr>,
    /// What the start says of the cache.
    pub cache_line: String,
    doors: Vec<Door>,
}

impl App {
    /// Puts the parts together; the caller spawns the writer.
    fn new(
        config: &Config,
        store: Arc<dyn Store>,
        cache: Cache,
        redis: Option<Arc<RedisRemote>>,
        lifecycle: Lifecycle,
        metrics: Metrics,
    ) -> anyhow::Result<(Arc<Self>, Writer)> {
        let (ingest, writer) = Ingest::new(config.max_inflight_bytes);
        let app = Self {
            auth: Authenticator::new(Arc::clone(&store)),
            operations: operation::Ids::of(&cache)?,
            store,
            cache,
            ingest,
            streams: Arc::new(stream::Hub::new()?),
            lifecycle,
            limits: Limits::new(config.rates),
            max_body_bytes: config.max_body_bytes,
            objectives: Objectives::new(config.latency_objective, config.availability_objective),
            node: node_name(),
            retention: Retention { spans: config.retention, rollups: config.rollup_retention },
            kept_from_ns: AtomicU64::new(0),
            noted: Noted::default(),
            open_views: OpenViews::default(),
            parts: Parts::default(),
            metrics,
            rejected: Mutex::default(),
            tenants: gone::Followed::default(),
            unnoticed: AtomicBool::new(false),
            admin: config.admin.clone(),
            redis: redis_info::RedisInfo::new(redis),
            shares: Shares::of(config),
            heavy: Turns::of_machine(),
        };
        Ok((Arc::new(app), writer))
    }

    /// What makes a span valid at this moment.
    pub fn rules(&self, now_ns: u64) -> otlp::Rules {
        let retention_ns = u64::try_from(self.retention.spans.as_nanos()).unwrap_or(u64::MAX);
        let retention_ns = retention_ns.min(now_ns.saturating_sub(self.kept_from_ns()));
        otlp::Rules { now_ns: Some(now_ns), retention_ns: Some(retention_ns), max_memory: None }
    }

    /// Reads a request body, unless the server is stopping.
    pub async fn receive(
        &self,
        body: Body,
        encoding: Encoding,
        held: &mut Held,
    ) -> Result<Bytes, http::ApiError> {
        if self.lifecycle.drain().is_cancelled() {
            return Err(IngestError::Stopping.into());
        }
        let outcome = body::read(body, encoding, self.max_body_bytes, held).await;
        if outcome == Err(BodyError::Busy) {
            self.ingest.note(held.tenant(), &IngestError::Busy);
        }
        Ok(outcome?)
    }

    /// Runs a decoder where its size belongs, in the room that there is: it is reserved before anything is decoded, until
    /// the size of the spans is known ([`Ingest::store`]).
    pub async fn decode<T: Send + 'static>(
        &self,
        bytes: usize,
        held: &mut Held,
        decode: impl FnOnce(&otlp::Rules) -> (T, otlp::Flags) + Send + 'static,
    ) -> Result<T, http::ApiError> {
        let turn = if bytes > DECODE_INLINE_BYTES { Some(self.turn(held.tenant()).await?) } else { None };
        let most = otlp::max_memory(bytes);
        let room = held.reserve(most);
        let rules = otlp::Rules { max_memory: Some(room), ..self.rules(lifecycle::now_ns()) };
        let (decoded, flags) = match turn {
            None => decode(&rules),
            Some(turn) => {
                let work = move || {
                    let _turn = turn;
                    decode(&rules)
                };
                tokio::task::spawn_blocking(work).await.map_err(http::ApiError::internal)?
            }
        };
        if room < most && flags.too_many_elements > 0 {
            // Not a fault of the spans: there was less room than a body of this size may take.
            let error = if held.could_be_more() { IngestError::Busy } else { IngestError::TooLarge };
            self.ingest.note(held.tenant(), &error);
            return Err(error.into());
        }
        Ok(decoded)
    }

    /// Counts the spans of a batch, or refuses it; with 0 it only asks whether any batch would be let in.
    pub fn limit_spans(&self, tenant: &TenantId, spans: usize) -> Result<(), http::ApiError> {
        self.limits.spans(tenant, spans, Instant::now()).map_err(|limited| {
            self.ingest.refused.note(tenant, |counts| counts.rate += 1);
            limited.into()
        })
    }

    /// Waits for a turn of a tenant (`None` = the operator) to do something heavy; 503 when the server stays too busy.
    pub(crate) async fn turn(&self, tenant: Option<&TenantId>) -> Result<Turn, Busy> {
        self.heavy.take(tenant).await
    }

    /// Computes in a turn; see [`in_turn`].
    pub(crate) async fn in_turn<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        work: impl Future<Output = Result<T, BoxError>> + Send + 'static,
    ) -> Result<T, BoxError> {
        in_turn(&self.heavy, tenant, self.lifecycle.tracker(), work).await
    }

    /// Answers a request in a turn, which lasts as long as the work, whether or not the caller waits for it.
    pub(crate) async fn answer_in_turn<T: Send + 'static>(
        &self,
        tenant: &TenantId,
        work: impl Future<Output = Result<T, http::ApiError>> + Send + 'static,
    ) -> Result<T, http::ApiError> {
        let turn = self.turn(Some(tenant)).await?;
        turn.spend(self.lifecycle.tracker(), work).await.map_err(http::ApiError::internal)?
    }

    /// Would nobody wait for us, if we did something heavy now?
    pub(crate) fn has_turn(&self) -> bool {
        self.heavy.free() > 0
    }

    /// Could somebody else do something heavy at once, if we did now?
    pub(crate) fn has_room(&self) -> bool {
        self.heavy.free() > 1
    }

    /// Acknowledges an ingest that stored nothing: reads the tenant's versions and, before they are answered, tells the
    /// cache, so that no read that begins after the answer shows less than the answer claims.
    pub async fn acknowledge_nothing(&self, caller: &Caller) -> Result<u64, StoreError> {
        let asked = self.cache.now();
        let truth = self.store.versions(std::slice::from_ref(&caller.tenant)).await?;
        let versions = truth.versions.into_iter().next().unwrap_or_default();
        self.announce(&caller.scope, Cause::Ingest, &versions, asked);
        Ok(versions.clock)
    }

    /// Tells cache and streams of a committed transaction, asked for at `asked`.
    pub(crate) fn announce(&self, scope: &Scope, cause: Cause, versions: &Versions, asked: BootTime) {
        authority::announce(&self.cache, &self.streams, scope, cause, versions, asked);
    }

    /// Answers a batch that took `spans` of its tenant's rate, or gives them back: what fails now is sent again.
    pub(crate) async fn counted<T>(
        &self,
        caller: &Caller,
        spans: usize,
        answer: impl Future<Output = Result<T, http::ApiError>>,
    ) -> Result<T, http::ApiError> {
        let outcome = answer.await;
        if outcome.is_err() {
            self.limits.give_back(&caller.tenant, spans, Instant::now());
        }
        outcome
    }

    /// Counts what a request held beside good spans. Only when it is answered for good: a batch that is told to come back
    /// is sent again, with the same faults.
    pub fn note(&self, tenant: &TenantId, rejected: u64, flags: &otlp::Flags) {
        self.note_rejected(tenant, rejected);
        self.noted.add(tenant, flags);
    }

    /// Counts spans that were refused.
    fn note_rejected(&self, tenant: &TenantId, spans: u64) {
        let mut rejected = self.rejected.lock().unwrap_or_else(PoisonError::into_inner);
        if spans > 0 && (rejected.len() < MAX_COUNTED_TENANTS || rejected.contains_key(tenant)) {
            *rejected.entry(tenant.clone()).or_default() += spans;
        }
    }

    /// Spans of a tenant that this node refused since its start.
    pub fn rejected(&self, tenant: &TenantId) -> u64 {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).copied().unwrap_or(0)
    }

    /// Forgets what was counted of a tenant that is gone.
    pub(crate) fn forget_counts(&self, tenant: &TenantId) {
        self.rejected.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        self.limits.forget(tenant);
        self.ingest.refused.forget(tenant);
    }
}

impl Server {
    /// Binds the sockets, builds the parts and starts the tasks. Nothing is served before [`Server::run`].
    pub async fn start(config: &Config, store: Arc<dyn Store>, lifecycle: Lifecycle) -> anyhow::Result<Self> {
        door::raise_limit();
        let listener = TcpListener::bind((config.host.as_str(), config.port)).await.with_context(|| {
            format!(
                "cannot listen on {}:{} (set PORT to another one, or 0 for any)",
                config.host, config.port
            )
        })?;
        let addr = listener.local_addr()?;
        let grpc = door::bind("OTLP_GRPC_ADDR", &config.otlp_grpc).await?;
        let http = door::bind("OTLP_HTTP_ADDR", &config.otlp_http).await?;
        let figures = door::bind("METRICS_ADDR", &config.metrics).await?;
        let tls = certificate(config, &lifecycle)?;
        let redis = redis::start(&config.cache, &lifecycle)?;
        let (store, database) = metrics::measured(store, config.database_url.file());
        let authority = StoreAuthority::new(Arc::clone(&store));
        let cache = authority::cache(config, authority, redis.clone(), &lifecycle)?;
        let metrics = Metrics::new(database, redis.clone());
        let (app, writer) =
            App::new(config, Arc::clone(&store), cache.clone(), redis.clone(), lifecycle.clone(), metrics)?;
        retention::begin(&app).await;
        let (streams, stop) = (Arc::clone(&app.streams), lifecycle.stop().clone());
        lifecycle.spawn_essential("writer", writer.run(store, cache, streams, stop));
        lifecycle.spawn_essential("beat", authority::beat(Arc::clone(&app)));
        // Without Redis, too: it drops what has died.
        let (values, stop) = (app.cache.clone(), lifecycle.stop().clone());
        lifecycle.spawn_essential("coherence", async move { values.run(stop).await });
        lifecycle.spawn_essential("streams", stream::run(Arc::clone(&app)));
        lifecycle.spawn_essential("uses", auth::tell_uses(Arc::clone(&app)));
        lifecycle.spawn_essential("settle", settle::run(Arc::clone(&app)));
        lifecycle.spawn_essential("incidents", incidents::run(Arc::clone(&app)));
        lifecycle.spawn_essential("upkeep", retention::run(Arc::clone(&app)));
        if config.cache.enabled {
            lifecycle.spawn_essential("rewarm", rewarm::run(Arc::clone(&app)));
            if let Some(schedule) = config.cache.warm_schedule.clone() {
                lifecycle.spawn_essential("schedule", scheduled::run(Arc::clone(&app), schedule));
            }
        }
        let [otlp_grpc_addr, otlp_http_addr, metrics_addr] =
            [&grpc, &http, &figures].map(|bound| bound.as_ref().map(|(_, at)| *at));
        let mut doors = vec![("api", Door::new(listener, http::router(Arc::clone(&app)), tls.clone()))];
        let otlp = [("otlp_grpc", grpc), ("otlp_http", http)];
        for (name, (listener, _)) in otlp.into_iter().filter_map(|(name, bound)| Some((name, bound?))) {
            doors.push((name, Door::new(listener, http::otlp_router(Arc::clone(&app)), tls.clone())));
        }
        app.metrics.set_doors(doors.iter().map(|(name, door)| (*name, door.connections())).collect());
        if let Some((listener, _)) = figures {
            doors.push(("metrics", Door::new(listener, http::metrics_router(Arc::clone(&app)), tls)));
        }
        let doors = doors.into_iter().map(|(_, door)| door).collect();
        let cache_line = redis::line(&config.cache, redis.as_deref()).await;
        Ok(Self { app, addr, otlp_grpc_addr, otlp_http_addr, metrics_addr, cache_line, doors })
    }

    /// Serves until the drain begins and every request under way is answered.
    pub async fn run(self) {
        let closed = CancellationToken::new();
        let connections = TaskTracker::new();
        for door in self.doors {
            connections.spawn(door.run(closed.clone(), connections.clone()));
        }
        self.app.lifecycle.drain().cancelled().await;
        // A moment longer new work is answered with 503.
        tokio::time::sleep(lifecycle::DRAIN_NOTICE).await;
        closed.cancel();
        connections.close();
        connections.wait().await;
    }
}

/// The certificate to serve with, followed by a task for as long as the server runs.
fn certificate(config: &Config, lifecycle: &Lifecycle) -> anyhow::Result<door::Tls> {
    let Some(files) = config.tls.clone() else { return Ok(None) };
    let (certificate, renewal): (_, tls::Renewal) = files.watched()?;
    lifecycle.tracker().spawn(renewal.run(lifecycle.stop().clone()));
    Ok(Some(certificate))
}

/// The host's name; enough to tell nodes apart in statistics.
fn node_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "nexarch".to_owned() } else { name.trim().to_owned() }
}
