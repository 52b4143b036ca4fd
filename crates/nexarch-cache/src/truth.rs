//! Reading the versions from the authority: at most one read runs and one waits, shared by all who wait (more than one
//! where a single one would have too many scopes).

use crate::authority::{ScopeVersions, TruthRead};
use crate::cache::Inner;
use crate::clock::{BootTime, Clock};
use crate::error::{BoxError, Error, SharedError};
use crate::fence::Epoch;
use crate::histogram::Histogram;
use crate::key::Scope;
use crate::mirror::{Sent, Trust};
use crate::promise::Promise;
use crate::stats::Cause;
use crate::sync::lock;
use crate::tenants::{Reading, Tenant};
use crate::tier::count;
use futures_util::FutureExt;
use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tracing::Instrument;

/// How long one read of the authority may take, retries after a change of epoch included.
pub(crate) const DEADLINE: Duration = Duration::from_millis(500);

/// How far the boot clock and the wall clock may drift apart between two reads. More means that one of them was
/// not running (a machine that was moved or suspended), so leases mean nothing.
const MAX_DRIFT: Duration = Duration::from_millis(250);

/// Scopes of one read: so many take the database some milliseconds, and a read of ten thousand would keep everybody else
/// waiting and end at the deadline.
const MOST_SCOPES: usize = 512;

/// A read that finds another epoch is repeated; more than this many changes in a row is a broken authority.
const MAX_EPOCHS: usize = 3;

/// What is needed to read, and what was read beside versions of scopes.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    queue: Mutex<Queue>,
    /// What was read before this moment is not trusted. 0 = everything is.
    floor: AtomicU64,
    /// When the last look began that vouches for what is known; see [`Cache::vouch`](crate::Cache::vouch).
    looked: AtomicU64,
    auth_version: AtomicU64,
    clocks: Mutex<Option<(BootTime, SystemTime)>>,
    times: Histogram,
    errors: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    running: bool,
    waiting: VecDeque<Batch>,
}

type Reply = Arc<Promise<Result<(), SharedError>>>;

/// One read that was not sent yet.
#[derive(Debug)]
struct Batch {
    scopes: HashSet<Scope>,
    reply: Reply,
}

impl Queue {
    /// Adds scopes to the last read that has room for them; each waits for one read only.
    fn add(&mut self, scopes: impl IntoIterator<Item = Scope>) -> Reply {
        let last = self.waiting.pop_back();
        let (full, room) = match last {
            Some(batch) if batch.scopes.len() >= MOST_SCOPES => (Some(batch), None),
            last => (None, last),
        };
        self.waiting.extend(full);
        let mut batch =
            room.unwrap_or_else(|| Batch { scopes: HashSet::new(), reply: Arc::new(Promise::new()) });
        batch.scopes.extend(scopes);
        let reply = Arc::clone(&batch.reply);
        self.waiting.push_back(batch);
        reply
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // Unless it was answered.
        let dropped = BoxError::from("the read of versions was dropped");
        self.reply.keep(Err(Arc::from(dropped)));
    }
}

impl Truth {
    #[inline]
    pub(crate) fn floor(&self) -> BootTime {
        BootTime::from_nanos(self.floor.load(Ordering::SeqCst))
    }

    #[inline]
    pub(crate) fn looked(&self) -> BootTime {
        BootTime::from_nanos(self.looked.load(Ordering::SeqCst))
    }

    /// Nothing was committed before `asked` that is not known here, or distrusted.
    pub(crate) fn vouch(&self, asked: BootTime) {
        self.looked.fetch_max(asked.as_nanos(), Ordering::SeqCst);
    }

    pub(crate) fn auth_version(&self) -> u64 {
        self.auth_version.load(Ordering::SeqCst)
    }

    /// Times of the reads that were answered.
    pub(crate) fn times(&self) -> &Histogram {
        &self.times
    }

    /// Reads that were not.
    pub(crate) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// From now on only what is sent later is trusted; what was sent at this very moment is not.
    pub(crate) fn distrust(&self, now: BootTime) {
        self.floor.fetch_max(now.as_nanos(), Ordering::SeqCst);
    }

    /// Withdraws trust when the two clocks drifted apart since the last call.
    fn check_drift(&self, clock: &dyn Clock) {
        let (boot, wall) = (clock.boot(), clock.wall());
        let Some((boot_before, wall_before)) = lock(&self.clocks).replace((boot, wall)) else { return };
        // A wall clock that was set back counts as one that stood still.
        let wall_passed = wall.duration_since(wall_before).unwrap_or_default();
        if wall_passed.abs_diff(boot.since(boot_before)) > MAX_DRIFT {
            self.distrust(boot);
        }
    }
}

impl Inner {
    /// The scope, its mirror good for a read that began before this call: trusted as it is and not in doubt, or raised
    /// by a read of the authority that is sent from now on. What is needed is then what is [`certain`][Mirror::certain].
    ///
    /// [Mirror::certain]: crate::mirror::Mirror::certain
    pub(crate) async fn current(
        self: &Arc<Self>,
        scope: &Scope,
        min_version: u64,
    ) -> Result<Arc<Tenant>, Error> {
        let now = self.clock.boot();
        let tenant = self.tenants.reading(scope, now);
        let trusted = tenant.mirror.trusted(self.trust(now), self.truth.floor(), min_version);
        if trusted && !tenant.mirror.in_doubt() {
            return Ok(Arc::clone(&tenant));
        }
        // Boxed: few reads ask, and the future of the others stays small.
        Box::pin(self.asked(scope, min_version, tenant, trusted)).await
    }

    async fn asked(
        self: &Arc<Self>,
        scope: &Scope,
        min_version: u64,
        tenant: Reading,
        trusted: bool,
    ) -> Result<Arc<Tenant>, Error> {
        for _ in 0..MAX_EPOCHS {
            match self.truth_read([scope.clone()]).await {
                Ok(()) => {}
                // A message costs nobody the trust that he has without it.
                Err(_) if trusted => return Ok(Arc::clone(&tenant)),
                Err(error) => return Err(Error::Unverified(error)),
            }
            let tenant = self.tenants.reading(scope, self.clock.boot());
            if !tenant.mirror.is_complete() {
                continue; // forgotten or set back between the read and here
            }
            let known = tenant.mirror.known();
            if known < min_version {
                return Err(Error::VersionUnknown { wanted: min_version, known });
            }
            return Ok(Arc::clone(&tenant));
        }
        Err(Error::Unverified(Arc::from(BoxError::from("the scope was forgotten while it was read"))))
    }

    #[inline]
    pub(crate) fn trust(&self, now: BootTime) -> Trust {
        if self.alone {
            Trust::Sole
        } else if self.sole_owner {
            Trust::Watched { now, looked: self.truth.looked() }
        } else {
            Trust::Lease(now)
        }
    }

    /// Reads the versions of `scopes` (and of whatever others ask for meanwhile) in a statement that is sent
    /// after this call, and raises the mirrors. Ends within two deadlines, or one more for each [`MOST_SCOPES`] that others
    /// asked for before.
    pub(crate) async fn truth_read(
        self: &Arc<Self>,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> Result<(), SharedError> {
        let reply = {
            let mut queue = lock(&self.truth.queue);
            let reply = queue.add(scopes);
            if !queue.running {
                queue.running = true;
                self.tracker.spawn(Arc::clone(self).send_batches(Running(Arc::clone(self))));
            }
            reply
        };
        reply.wait().await
    }

    /// Reads the versions of many scopes, a part at a time, so that others get their turn in between.
    pub(crate) async fn truth_read_of_many(self: &Arc<Self>, scopes: &[Scope]) -> Result<(), SharedError> {
        if scopes.is_empty() {
            return self.truth_read([]).await;
        }
        for part in scopes.chunks(MOST_SCOPES) {
            self.truth_read(part.iter().cloned()).await?;
        }
        Ok(())
    }

    async fn send_batches(self: Arc<Self>, running: Running) {
        while let Some(batch) = running.next() {
            let scopes: Vec<Scope> = batch.scopes.iter().cloned().collect();
            let read =
                AssertUnwindSafe(tokio::time::timeout(DEADLINE, self.read_once(&scopes))).catch_unwind();
            let began = self.clock.boot();
            let result = match read.instrument(tracing::debug_span!("authority", scopes = scopes.len())).await
            {
                Ok(Ok(result)) => result,
                Ok(Err(_elapsed)) => Err(BoxError::from(format!("no answer within {DEADLINE:?}"))),
                Err(_panic) => Err(BoxError::from("the authority panicked")),
            };
            match &result {
                Ok(()) => self.truth.times.record(self.clock.boot().since(began)),
                Err(_) => count(&self.truth.errors),
            }
            batch.reply.keep(result.map_err(Arc::from));
        }
    }

    async fn read_once(&self, scopes: &[Scope]) -> Result<(), BoxError> {
        for _ in 0..MAX_EPOCHS {
            self.truth.check_drift(&*self.clock);
            // All of this before the read is sent. The very tenants are kept: one that takes their place
            // meanwhile may have missed an announcement that this read misses too.
            let sent = self.clock.boot();
            let tenants: Vec<_> = scopes.iter().map(|scope| self.tenants.get(scope)).collect();
            let asked: Vec<Option<(Arc<Tenant>, Sent)>> = tenants
                .into_iter()
                .map(|tenant| tenant.map(|t| (Arc::clone(&t), t.mirror.sending())))
                .collect();
            let epoch = self.tenants.epoch();

            let read = self.authority.read(scopes).await?;
            if read.scopes.len() != scopes.len() {
                return Err(
                    format!("{} scopes asked for, {} answered", scopes.len(), read.scopes.len()).into()
                );
            }
            if self.set_back(epoch, &read, &asked).await? {
                continue;
            }
            for (asked, versions) in asked.iter().zip(&read.scopes) {
                // Forgotten meanwhile, and not brought back by this.
                let Some((tenant, mark)) = asked else { continue };
                tenant.mirror.raise(&self.parts(versions));
                tenant.mirror.answered(mark);
                tenant.mirror.complete(versions.clock, sent);
            }
            self.truth.auth_version.store(read.auth_version, Ordering::SeqCst);
            self.changes.tell();
            return Ok(());
        }
        Err("the epoch of the database does not settle".into())
    }

    /// Whether the answer is of another database than `epoch`, or of this one at an earlier time. If so nothing
    /// is known any more, and has to be read again: what was announced until now may have been lost with it.
    async fn set_back(
        &self,
        epoch: Epoch,
        read: &TruthRead,
        asked: &[Option<(Arc<Tenant>, Sent)>],
    ) -> Result<bool, BoxError> {
        let mut now = read.epoch;
        let lacks = |(versions, asked): (&ScopeVersions, &Option<(Arc<Tenant>, Sent)>)| {
            // Where nobody knows what others write, parts come from others, too.
            let parts = if self.knows_all { self.parts(versions) } else { Vec::new() };
            asked.as_ref().is_some_and(|(_, sent)| sent.lacks(versions.clock, &parts))
        };
        if now == epoch && read.scopes.iter().zip(asked).any(lacks) {
            now = self.authority.replace_epoch(epoch).await?;
        }
        if now == Epoch::default() {
            return Err("the authority gave the epoch 0, which is reserved".into());
        }
        if now == epoch {
            return Ok(false);
        }
        let before = self.tenants.adopt(now);
        if before != Epoch::default() {
            tracing::warn!("the database was set back or replaced; the cache starts anew");
            self.stamp_all(Cause::Restore);
        }
        Ok(true)
    }

    /// Versions in the order of a mirror.
    pub(crate) fn parts(&self, versions: &ScopeVersions) -> Vec<u64> {
        let mut parts = vec![0; 2 + self.operations.len()];
        parts[0] = versions.all;
        parts[1] = versions.data;
        for (name, version) in &versions.operations {
            if let Some(operation) = self.operations.find(name) {
                parts[2 + operation.index()] = *version;
            }
        }
        parts
    }
}

/// The right to send batches; given back even when the task is dropped.
struct Running(Arc<Inner>);

impl Running {
    /// The next batch; when there is none, the right is given back under the same lock.
    fn next(&self) -> Option<Batch> {
        let mut queue = lock(&self.0.truth.queue);
        let batch = queue.waiting.pop_front();
        queue.running = batch.is_some();
        batch
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.truth.queue);
        // Only a dropped task gets here with work left. Whoever waits for it is told so when it is dropped.
        if queue.running {
            *queue = Queue::default();
        }
    }
}
