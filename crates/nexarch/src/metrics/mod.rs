//! The server's own figures, for Prometheus: what is counted where, written as one page when somebody asks.
//!
//! No registry: every figure is an atomic beside the code that raises it, and a page is made by reading them. So nothing is
//! counted twice on the way of a request, several servers in one process do not mix, and a figure that is never asked for
//! costs nothing. Never by tenant: the number of figures is bounded by the program.

mod cache;
mod database;
mod family;
mod histogram;
mod http;
mod ingest;
mod page;
mod process;

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

pub(crate) use self::{
    database::{Figures as DatabaseFigures, measured},
    histogram::Histogram,
    http::Requests,
};
use self::{
    family::{
        BUILD, DATABASE_UP, HTTP_CONNECTIONS, RATE_LIMITED, READY, SETTLED_AT, TENANTS, TOKEN_EXPIRES,
        TOKEN_RENEWALS, UNSETTLED,
    },
    page::Page,
};
pub use self::{
    family::{FAMILIES, Family, Kind},
    page::Format,
};
use crate::{app::App, door::Connections, http::openapi};

/// How long a page waits for the database to answer: one that takes longer is told as down.
const PING_LIMIT: Duration = Duration::from_millis(500);

/// What is counted beside the parts that count for themselves.
pub(crate) struct Metrics {
    pub(crate) requests: Requests,
    database: Arc<DatabaseFigures>,
    redis: Option<Arc<nexarch_cache::RedisRemote>>,
    doors: OnceLock<Vec<(&'static str, Connections)>>,
    unsettled: AtomicU64,
    /// Microseconds since 1970.
    settled_at: AtomicU64,
    /// One page at a time: it looks at every tenant of the cache.
    turn: Semaphore,
}

impl Metrics {
    pub(crate) fn new(
        database: Arc<DatabaseFigures>,
        redis: Option<Arc<nexarch_cache::RedisRemote>>,
    ) -> Self {
        Self {
            requests: Requests::new(openapi::paths()),
            database,
            redis,
            doors: OnceLock::new(),
            unsettled: AtomicU64::new(0),
            settled_at: AtomicU64::new(0),
            turn: Semaphore::new(1),
        }
    }

    /// The doors, once they are there.
    pub(crate) fn set_doors(&self, doors: Vec<(&'static str, Connections)>) {
        // The first stays; there is one start.
        let _ = self.doors.set(doors);
    }

    /// Notes that settling came to its end, and how many traces wait on.
    pub(crate) fn note_settled(&self, now_us: u64, unsettled: Option<u64>) {
        self.settled_at.store(now_us, Ordering::Relaxed);
        if let Some(unsettled) = unsettled {
            self.unsettled.store(unsettled, Ordering::Relaxed);
        }
    }
}

/// The whole page. It asks the database one cheap question, and waits for it no longer than half a second.
pub(crate) async fn page(app: &Arc<App>, format: Format) -> String {
    // Only closed when the server is gone.
    let _turn = app.metrics.turn.acquire().await;
    let database = tokio::time::timeout(PING_LIMIT, app.store.ping()).await;
    let database = matches!(database, Ok(Ok(())));
    let shared = Arc::clone(app);
    // Files and thousands of tenants: not on a thread that answers requests.
    tokio::task::spawn_blocking(move || write(&shared, database, format)).await.unwrap_or_default()
}

fn write(app: &App, database: bool, format: Format) -> String {
    let (metrics, mut page) = (&app.metrics, Page::new(format));
    page.family(&BUILD).add(&[env!("CARGO_PKG_VERSION")], 1);
    page.family(&READY).flag(&[], database && !app.lifecycle.drain().is_cancelled());
    page.family(&DATABASE_UP).flag(&[], database);
    let node = app.cache.node_stats();
    page.family(&TENANTS).add(&[], node.scopes);
    cache::write(&mut page, &app.cache.status(), &node);
    if let Some(tokens) = metrics.redis.as_ref().and_then(|redis| redis.tokens()) {
        page.family(&TOKEN_RENEWALS).add(&["ok"], tokens.renewals).add(&["error"], tokens.failures);
        page.family(&TOKEN_EXPIRES).real(&[], tokens.expires.map_or(0.0, cache::seconds));
    }
    ingest::write(&mut page, &app.ingest);
    page.family(&UNSETTLED).add(&[], metrics.unsettled.load(Ordering::Relaxed));
    page.family(&SETTLED_AT).real(&[], metrics.settled_at.load(Ordering::Relaxed) as f64 / 1e6);
    metrics.database.write(&mut page);
    metrics.requests.write(&mut page);
    let mut connections = page.family(&HTTP_CONNECTIONS);
    for (door, open) in metrics.doors.get().into_iter().flatten() {
        connections.add(&[door], open.count() as u64);
    }
    let mut limited = page.family(&RATE_LIMITED);
    for (limit, count) in app.limits.refused() {
        limited.add(&[limit], count);
    }
    process::write(&mut page);
    page.finish()
}

#[cfg(test)]
mod tests;
