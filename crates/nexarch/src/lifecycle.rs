//! Who owns tasks, how they stop, and what time it is. The only place that reads the wall clock.

use std::{
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long requests under way may take to end after SIGTERM. With [`FLUSH_LIMIT`] and the closing of the database it
/// stays within the promised 30 s.
pub const DRAIN_LIMIT: Duration = Duration::from_secs(15);
/// How long tasks may take after that: the writer flushes its queue.
pub const FLUSH_LIMIT: Duration = Duration::from_secs(8);
/// How long the server goes on listening after SIGTERM, answering 503 to new work, so that a load balancer sees it
/// not ready before connections are refused.
pub const DRAIN_NOTICE: Duration = Duration::from_millis(500);

/// Microseconds since the Unix epoch.
pub fn now_us() -> u64 {
    u64::try_from(since_epoch().as_micros()).unwrap_or(u64::MAX)
}

/// Nanoseconds since the Unix epoch.
pub fn now_ns() -> u64 {
    u64::try_from(since_epoch().as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Two stages: `drain` asks everybody who takes work to stop taking it; `stop` ends those who finish work.
#[derive(Clone, Default)]
pub struct Lifecycle {
    drain: CancellationToken,
    stop: CancellationToken,
    tracker: TaskTracker,
    failed: CancellationToken,
}

impl Lifecycle {
    /// Cancelled when no new work may be taken.
    pub fn drain(&self) -> &CancellationToken {
        &self.drain
    }

    /// Cancelled when all work was handed over and tasks shall end.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// The tracker for libraries that spawn.
    pub fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// Spawns a task that must not end before [`Lifecycle::stop`]: if it panics, the whole server stops and fails.
    pub fn spawn_essential(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let this = self.clone();
        // Two tasks: a panic ends the inner one and is seen by the outer one.
        let inner = self.tracker.spawn(task);
        self.tracker.spawn(async move {
            if inner.await.is_err() {
                tracing::error!(task = name, "a task crashed; stopping");
                this.failed.cancel();
                this.drain.cancel();
            }
        });
    }

    /// Did an essential task crash?
    pub fn has_failed(&self) -> bool {
        self.failed.is_cancelled()
    }

    /// Returns when SIGTERM or SIGINT arrives, or when something else began the drain.
    pub async fn wait_for_signal(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        tokio::select! {
            _ = terminate.recv() => tracing::info!("SIGTERM: draining"),
            _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
            () = self.drain.cancelled() => {}
        }
        self.drain.cancel();
        Ok(())
    }

    /// Ends all tasks and waits for them; `false` when they did not end by the deadline.
    pub async fn finish(&self, deadline: tokio::time::Instant) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout_at(deadline, self.tracker.wait()).await.is_ok()
    }
}
