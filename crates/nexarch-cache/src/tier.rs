//! What the cache keeps for its shared tier: the connection, what is on its way there, and what came of it.

use crate::clock::{BootTime, Clock, micros};
use crate::envelope::Rejected;
use crate::histogram::Histogram;
use crate::remote::{Remote, RemoteError, RemoteStatus};
use crate::seal::Sealer;
use bytes::Bytes;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tracing::Instrument;

/// Values on their way to the tier at once. More are not sent: they are in memory, and the next computation of the key
/// sends it again.
const MAX_WRITES: usize = 256;

/// Bytes of these values, in KiB: 8 MiB, which a link of 1 Gbit/s carries well within a call's deadline. Reads go the same
/// way, and wait behind them.
const MAX_WRITE_KIB: usize = 8 << 10;

/// Messages on their way at once. More are not sent: others learn by their next read of the authority.
const MAX_PUBLISHES: usize = 256;

#[derive(Debug)]
pub(crate) struct Tier {
    pub(crate) remote: Arc<dyn Remote>,
    times: [Histogram; Command::ALL.len()],
    status: watch::Receiver<RemoteStatus>,
    pub(crate) sealer: Option<Sealer>,
    /// Tells this process from others.
    pub(crate) token: [u8; 8],
    /// Most bytes of one scope.
    pub(crate) scope_max_bytes: u64,
    /// Most bytes of one value as it is sent.
    pub(crate) max_value_bytes: usize,
    writes: Arc<Semaphore>,
    write_kib: Arc<Semaphore>,
    publishes: Arc<Semaphore>,
    pub(crate) counts: Counts,
}

/// Of this node, not by scope.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) rejected: RejectedCounts,
    pub(crate) errors: AtomicU64,
    pub(crate) written: AtomicU64,
    pub(crate) not_written: AtomicU64,
    pub(crate) over_quota: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) not_published: AtomicU64,
    pub(crate) heard: AtomicU64,
    pub(crate) garbled: AtomicU64,
    pub(crate) waited_for_others: AtomicU64,
    pub(crate) lag: Histogram,
}

/// What is asked of the tier on the way of a read or a change.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Command {
    Get,
    Head,
    Set,
    SetIfAbsent,
    Publish,
}

impl Command {
    pub(crate) const ALL: [Self; 5] = [Self::Get, Self::Head, Self::Set, Self::SetIfAbsent, Self::Publish];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Head => "head",
            Self::Set => "set",
            Self::SetIfAbsent => "set_if_absent",
            Self::Publish => "publish",
        }
    }
}

/// Values that were not used, by reason.
#[derive(Debug, Default)]
pub(crate) struct RejectedCounts([AtomicU64; Rejected::ALL.len()]);

/// A place among the values on their way, and room for its bytes.
pub(crate) type Permits = (OwnedSemaphorePermit, OwnedSemaphorePermit);

impl Tier {
    pub(crate) fn new(
        remote: Arc<dyn Remote>,
        sealer: Option<Sealer>,
        scope_max_bytes: u64,
        max_value_bytes: usize,
    ) -> Self {
        Self {
            status: remote.status(),
            remote,
            times: Default::default(),
            token: RandomState::new().hash_one("node").to_le_bytes(),
            sealer,
            scope_max_bytes,
            max_value_bytes,
            writes: Arc::new(Semaphore::new(MAX_WRITES)),
            write_kib: Arc::new(Semaphore::new(MAX_WRITE_KIB)),
            publishes: Arc::new(Semaphore::new(MAX_PUBLISHES)),
            counts: Counts::default(),
        }
    }

    pub(crate) fn status(&self) -> RemoteStatus {
        self.status.borrow().clone()
    }

    /// Whether values can be read and written, as far as is known.
    pub(crate) fn usable(&self) -> bool {
        self.status.borrow().values
    }

    /// The median answer time lately; zero when nothing was measured yet.
    pub(crate) fn round_trip(&self) -> Duration {
        self.status.borrow().round_trip.0
    }

    pub(crate) fn times(&self, command: Command) -> &Histogram {
        &self.times[command as usize]
    }

    pub(crate) async fn get(&self, key: &str, max_bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        self.timed(Command::Get, self.remote.get(key, max_bytes)).await
    }

    pub(crate) async fn head(&self, key: &str, bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        self.timed(Command::Head, self.remote.head(key, bytes)).await
    }

    pub(crate) async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), RemoteError> {
        self.timed(Command::Set, self.remote.set(key, value, ttl)).await
    }

    pub(crate) async fn set_if_absent(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> Result<bool, RemoteError> {
        self.timed(Command::SetIfAbsent, self.remote.set_if_absent(key, value, ttl)).await
    }

    pub(crate) async fn publish(&self, message: Bytes) -> Result<(), RemoteError> {
        self.timed(Command::Publish, self.remote.publish(message)).await
    }

    /// A call and how long it took. One that was not sent took nothing. Neither key nor value is told: who may read a
    /// trace need not be who may read the values.
    async fn timed<T>(
        &self,
        command: Command,
        call: impl Future<Output = Result<T, RemoteError>>,
    ) -> Result<T, RemoteError> {
        let word = command.as_str();
        let span = tracing::debug_span!(
            "redis",
            otel.kind = "client",
            db.system.name = "redis",
            db.operation.name = word,
            "error.type" = tracing::field::Empty
        );
        let began = Instant::now();
        let answer = call.instrument(span.clone()).await;
        if let Err(error) = &answer {
            span.record("error.type", tracing::field::display(error));
        }
        if !matches!(answer, Err(RemoteError::Away)) {
            self.times(command).record(began.elapsed());
        }
        answer
    }

    /// The right to send a value of this many bytes; given back when dropped.
    pub(crate) fn begin_write(&self, bytes: usize) -> Option<Permits> {
        // One that is larger than all the room goes alone.
        let kib = u32::try_from(bytes.div_ceil(1 << 10).min(MAX_WRITE_KIB)).ok()?;
        let slot = Arc::clone(&self.writes).try_acquire_owned().ok()?;
        let room = Arc::clone(&self.write_kib).try_acquire_many_owned(kib).ok()?;
        Some((slot, room))
    }

    /// The right to send a message; given back when dropped.
    pub(crate) fn begin_publish(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.publishes).try_acquire_owned().ok()
    }

    /// Notes a value that was not used.
    pub(crate) fn refused(&self, reason: Rejected) {
        self.counts.rejected.add(reason);
        tracing::debug!(reason = reason.as_str(), "a value of the shared tier is not used");
    }

    /// Notes a call that brought nothing. What is known to be away is not news.
    pub(crate) fn failed(&self, error: &RemoteError) {
        if *error != RemoteError::Away {
            count(&self.counts.errors);
        }
    }
}

impl RejectedCounts {
    pub(crate) fn add(&self, reason: Rejected) {
        count(&self.0[reason as usize]);
    }

    pub(crate) fn get(&self, reason: Rejected) -> u64 {
        self.0[reason as usize].load(Ordering::Relaxed)
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Both clocks at one moment: envelopes tell times on the wall clock, entries on the one since boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) boot: BootTime,
    /// Microseconds since 1970.
    pub(crate) wall: u64,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        let wall: SystemTime = clock.wall();
        Self { boot: clock.boot(), wall: micros(wall) }
    }

    pub(crate) fn to_wall(self, at: BootTime) -> u64 {
        let ahead = micros_of(at.since(self.boot));
        let ago = micros_of(self.boot.since(at));
        self.wall.saturating_add(ahead).saturating_sub(ago)
    }

    /// A moment that passed; one that did not, by the clock of this node, is now.
    pub(crate) fn passed(self, wall: u64) -> BootTime {
        let ago = Duration::from_micros(self.wall.saturating_sub(wall));
        BootTime::from_nanos(self.boot.as_nanos().saturating_sub(crate::clock::nanos(ago)))
    }

    /// A moment at most `most` from now: a clock that is ahead somewhere makes nothing live longer than it may.
    pub(crate) fn to_come(self, wall: u64, most: Duration) -> BootTime {
        if wall <= self.wall {
            return self.passed(wall);
        }
        self.boot.plus(Duration::from_micros(wall - self.wall).min(most))
    }
}

fn micros_of(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
