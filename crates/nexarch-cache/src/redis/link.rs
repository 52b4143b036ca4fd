//! One connection, with its driver on the tracker.

use super::renewal::renew;
use super::token::RedisToken;
use super::wire::{Request, Unanswered, Wire};
use crate::sync::lock;
use redis::{Cmd, RedisResult, Value};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A connection that any number of calls share.
pub(super) struct Link {
    wire: Wire,
    /// Calls in a row that were not answered, and the key of the first: answers come in order, so it is what the others
    /// wait behind.
    silent: AtomicU64,
    suspect: Mutex<Option<String>>,
    /// It was ended for a better one, and not because it is silent.
    outdated: AtomicBool,
    /// It is to be left for another one, when its calls are done.
    retired: CancellationToken,
    stop: CancellationToken,
    gone: CancellationToken,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("gone", &self.gone.is_cancelled()).finish_non_exhaustive()
    }
}

impl Link {
    /// A connection over `wire`, which ends with `stop`. Somebody has to [`Link::drive`] it.
    pub(super) fn new(wire: Wire, stop: &CancellationToken) -> Self {
        Self {
            wire,
            silent: AtomicU64::new(0),
            suspect: Mutex::default(),
            outdated: AtomicBool::new(false),
            retired: CancellationToken::new(),
            stop: stop.child_token(),
            gone: CancellationToken::new(),
        }
    }

    /// Runs its driver until it ends, from either side.
    pub(super) fn drive(
        &self,
        driver: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (stop, gone) = (self.stop.clone(), self.gone.clone());
        async move {
            // Also when the driver panics: a connection without driver answers nobody.
            let _gone = gone.drop_guard();
            stop.run_until_cancelled(driver).await;
        }
    }

    /// Sends a command and waits for its answer, for as long as it takes.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        self.wire.ask(command).await
    }

    /// Sends a command and waits for its answer within `limit`. An answer may be a refusal.
    pub(super) async fn call(&self, request: Request<'_>, limit: Duration) -> Result<Value, Unanswered> {
        self.wire.call(request, Some(limit)).await
    }

    /// Calls that were not answered in time and were not told of, because their callers had hung up.
    pub(super) fn unheard(&self) -> u64 {
        self.wire.unheard()
    }

    /// See [`renew()`].
    pub(super) fn keep_logged_in(
        &self,
        used: Arc<RedisToken>,
        current: watch::Receiver<Option<Arc<RedisToken>>>,
        login: Option<String>,
        limit: Duration,
    ) -> impl Future<Output = ()> + Send + 'static {
        let wire = self.wire.clone();
        let send = move |auth: Cmd| {
            let wire = wire.clone();
            async move {
                let answer = wire.call(Request::of(&auth), Some(limit)).await;
                matches!(answer.map(Value::extract_error), Ok(Ok(_)))
            }
        };
        renew(used, current, login, self.stop.clone(), send)
    }

    /// Ends it as soon as `over` has.
    pub(super) fn end_after(
        &self,
        over: impl Future<Output = ()> + Send + 'static,
    ) -> impl Future<Output = ()> + Send + 'static {
        let stop = self.stop.clone();
        async move {
            stop.run_until_cancelled(over).await;
            stop.cancel();
        }
    }

    /// Whether it has ended because something came that is longer than anything wanted.
    pub(super) fn is_flooded(&self) -> bool {
        self.wire.is_flooded()
    }

    /// A call was answered.
    pub(super) fn answered(&self) {
        if self.silent.load(Ordering::Relaxed) > 0 {
            self.silent.store(0, Ordering::Relaxed);
        }
    }

    /// A call for `key` was not answered in time; returns how many in a row were not.
    pub(super) fn unanswered(&self, key: Option<&str>) -> u64 {
        let before = self.silent.fetch_add(1, Ordering::Relaxed);
        if before == 0 {
            *lock(&self.suspect) = key.map(str::to_owned);
        }
        before + 1
    }

    /// The key of the first call in a row that was not answered.
    pub(super) fn suspect(&self) -> Option<String> {
        lock(&self.suspect).clone()
    }

    /// Ends it: whoever waits for an answer gets an error at once.
    pub(super) fn cut(&self) {
        self.stop.cancel();
    }

    /// Ends it although it works: another one may lead elsewhere.
    pub(super) fn renew(&self) {
        self.outdated.store(true, Ordering::Relaxed);
        self.cut();
    }

    /// Asks for it to be left for another one: it gets no new calls, and ends when those under way are done.
    pub(super) fn retire(&self) {
        self.outdated.store(true, Ordering::Relaxed);
        self.retired.cancel();
    }

    /// Waits until it is to be left.
    pub(super) async fn retired(&self) {
        self.retired.cancelled().await;
    }

    /// Whether it was ended from this side.
    pub(super) fn is_cut(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Whether it was ended from this side because it is of no use.
    pub(super) fn is_given_up(&self) -> bool {
        self.is_cut() && !self.outdated.load(Ordering::Relaxed)
    }

    /// Whether it has ended, from either side.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// Waits until it has ended, from either side.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
