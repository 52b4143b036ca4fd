//! How a database is opened.

use std::{fmt, sync::Arc};

use nexarch_core::uptime;

use crate::plan::Limits;

/// What this process is to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one server of a file; a second one is refused.
    Owner,
    /// A command beside a server, or alone.
    Guest,
    /// A command that only looks or copies. It takes a database of an older program as it is, and makes none.
    Observer,
}

/// How a database is opened.
#[derive(Clone)]
pub struct Options {
    pub(crate) role: Role,
    pub(crate) now_us: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) steady_us: Arc<dyn Fn() -> u64 + Send + Sync>,
    pub(crate) max_pages: Option<u32>,
    pub(crate) limits: Limits,
    pub(crate) quota: Option<u64>,
    pub(crate) bad_above_us: u64,
}

impl Options {
    /// `now_us` is the wall clock, in microseconds since the Unix epoch; it may go backwards.
    pub fn new(role: Role, now_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let start = tokio::time::Instant::now();
        let steady_us = move || u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        Self {
            role,
            steady_us: Arc::new(steady_us),
            now_us: Arc::new(now_us),
            max_pages: None,
            limits: Limits::default(),
            quota: None,
            bad_above_us: uptime::limit_us(1_000.0),
        }
    }

    /// A clock that nobody sets, in microseconds since any moment: by it a wall clock that jumped is told from time that
    /// passed. The monotonic clock of the machine by default.
    #[must_use]
    pub fn steady_clock(mut self, steady_us: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.steady_us = Arc::new(steady_us);
        self
    }

    /// Limits the size of the database, in pages of [`crate::PAGE_BYTES`] bytes: beyond it, it is full.
    #[must_use]
    pub fn max_pages(mut self, pages: u32) -> Self {
        self.max_pages = Some(pages);
        self
    }

    /// Limits the spans that a tenant may have accepted on one UTC day; see [`crate::Error::Quota`].
    #[must_use]
    pub fn quota_spans_per_day(mut self, spans: Option<u64>) -> Self {
        self.quota = spans;
        self
    }

    /// By which latency objective T, in milliseconds, minutes are judged when they are merged; see
    /// [`nexarch_core::uptime`]. 1,000 by default. Verdicts that were given stand.
    #[must_use]
    pub fn latency_objective_ms(mut self, objective: f64) -> Self {
        self.bad_above_us = uptime::limit_us(objective);
        self
    }

    pub(crate) fn now_us(&self) -> u64 {
        (self.now_us)()
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("role", &self.role)
            .field("max_pages", &self.max_pages)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}
