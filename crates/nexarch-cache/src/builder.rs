//! Building a cache: limits with their defaults, checked once.

use crate::authority::Authority;
use crate::cache::{Cache, Inner};
use crate::changes::Signal;
use crate::checker::Checker;
use crate::clock::{Clock, SystemClock};
use crate::error::Error;
use crate::fairness::Budget;
use crate::key::is_name;
use crate::node::Node;
use crate::operation::{Operation, Operations};
use crate::remote::Remote;
use crate::removal::Removals;
use crate::seal::Sealer;
use crate::tenants::{Limits, Tenants};
use crate::tier::Tier;
use crate::truth::Truth;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use tokio_util::task::TaskTracker;

/// Bytes of the memory tier, all scopes together.
const MAX_BYTES: u64 = 256 << 20;

/// Most of the memory tier that one scope may hold while others want room.
const TENANT_MAX_PERCENT: u8 = 50;

/// The largest body that is stored: a larger one would cost hundreds of ordinary ones their place.
const MAX_VALUE_BYTES: usize = 8 << 20;

/// Readers that wait for one computation; the next computes for itself. A waiter costs about 1 KiB.
const MAX_WAITERS: usize = 4096;

/// Scopes that are known at once; beyond, the one read longest ago is forgotten, its counters too.
const MAX_TENANTS: usize = 10_000;

/// The largest value in the shared tier, as it is sent: 10 ms of a network of 1 Gbit/s.
const MAX_REMOTE_VALUE_BYTES: usize = 1 << 20;

/// Bytes of one scope in the shared tier.
const SCOPE_MAX_REMOTE_BYTES: u64 = 256 << 20;

/// Settings of a cache that is not built yet.
#[derive(Debug)]
pub struct Builder {
    authority: Arc<dyn Authority>,
    clock: Arc<dyn Clock>,
    namespace: String,
    operations: Vec<Operation>,
    max_bytes: u64,
    tenant_max_percent: u8,
    max_value_bytes: usize,
    max_waiters: usize,
    max_tenants: usize,
    enabled: bool,
    remote: Option<Arc<dyn Remote>>,
    sealer: Option<Sealer>,
    scope_max_remote_bytes: u64,
    max_remote_value_bytes: usize,
    check_every: u64,
}

impl Builder {
    pub(crate) fn new(authority: Arc<dyn Authority>) -> Self {
        Self {
            authority,
            clock: Arc::new(SystemClock),
            namespace: "cache".into(),
            operations: Vec::new(),
            max_bytes: MAX_BYTES,
            tenant_max_percent: TENANT_MAX_PERCENT,
            max_value_bytes: MAX_VALUE_BYTES,
            max_waiters: MAX_WAITERS,
            max_tenants: MAX_TENANTS,
            enabled: true,
            remote: None,
            sealer: None,
            scope_max_remote_bytes: SCOPE_MAX_REMOTE_BYTES,
            max_remote_value_bytes: MAX_REMOTE_VALUE_BYTES,
            check_every: 0,
        }
    }

    /// Adds operations to the table.
    #[must_use]
    pub fn operations(mut self, operations: impl IntoIterator<Item = Operation>) -> Self {
        self.operations.extend(operations);
        self
    }

    /// The first part of every key, `[a-z0-9][a-z0-9_-]*`; `cache` by default.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The clocks; those of the machine by default.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Bytes of all entries of all scopes; 256 MiB by default.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Most of these bytes, in percent, that one scope may hold while others want room; 50 by default.
    #[must_use]
    pub fn tenant_max_percent(mut self, percent: u8) -> Self {
        self.tenant_max_percent = percent;
        self
    }

    /// Bytes of the largest body that is stored; larger ones are served only. 8 MiB by default.
    #[must_use]
    pub fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// Readers that wait for one computation before the next computes for itself; 4096 by default.
    #[must_use]
    pub fn max_waiters(mut self, waiters: usize) -> Self {
        self.max_waiters = waiters;
        self
    }

    /// Scopes known at once; 10,000 by default. Each of the 16 parts of the map holds its share of them.
    #[must_use]
    pub fn max_tenants(mut self, tenants: usize) -> Self {
        self.max_tenants = tenants;
        self
    }

    /// The master switch, as [`Cache::set_enabled`].
    #[must_use]
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// A tier that several nodes share. Spawn [`Cache::run`] as well, to hear what the others tell.
    #[must_use]
    pub fn remote(mut self, remote: Arc<dyn Remote>) -> Self {
        self.remote = Some(remote);
        self
    }

    /// Seals values in the shared tier: who has not this key can neither read nor alter them, nor put one in another's
    /// place. Values that are not sealed with it are not read.
    #[must_use]
    pub fn encryption_key(mut self, key: &[u8; 32]) -> Self {
        self.sealer = Some(Sealer::new(key));
        self
    }

    /// Bytes of one scope in the shared tier, as far as this node can tell; above it, new values of the scope stay in
    /// memory. 256 MiB by default.
    #[must_use]
    pub fn scope_max_remote_bytes(mut self, bytes: u64) -> Self {
        self.scope_max_remote_bytes = bytes;
        self
    }

    /// Bytes of the largest value in the shared tier, compressed and with all that is said of it; larger ones stay in
    /// memory. 1 MiB by default: a larger one is not through in the time of a call, and all others wait behind it.
    #[must_use]
    pub fn max_remote_value_bytes(mut self, bytes: usize) -> Self {
        self.max_remote_value_bytes = bytes;
        self
    }

    /// Looks at one answer in `every` and counts those that were older than promised ([`Cache::checked`]); 0, the default,
    /// looks at none. Hits are computed a second time for it: for tests and soak runs.
    #[must_use]
    pub fn check_staleness(mut self, every: u64) -> Self {
        self.check_every = every;
        self
    }

    /// Builds the cache. All its tasks run on `tracker`, which the caller closes and waits for at shutdown, and on the
    /// tokio runtime that a read is awaited in, which needs its timer enabled.
    ///
    /// Spawn [`Cache::run`] as well: without it dead entries stay until their room is wanted, and where the authority is not
    /// the sole owner of its versions, or there is a shared tier, changes of others are learned later.
    pub fn build(self, tracker: TaskTracker) -> Result<Cache, Error> {
        if !is_name(&self.namespace) {
            return Err(Error::InvalidName { what: "namespace", name: self.namespace });
        }
        if !(1..=100).contains(&self.tenant_max_percent) {
            return Err(Error::Configuration("tenant_max_percent is 1 to 100".into()));
        }
        let operations = Operations::new(self.operations)?;
        let budget = Arc::new(Budget::new(self.max_bytes, self.tenant_max_percent));
        let limits = Limits {
            operations: operations.len(),
            max_waiters: self.max_waiters,
            max_tenants: self.max_tenants.max(1),
        };
        let inner = Inner {
            sole_owner: self.authority.sole_owner(),
            alone: self.authority.sole_owner() && !self.authority.has_guests(),
            checker: (self.check_every > 0).then(|| Checker::new(self.check_every, &*self.authority)),
            knows_all: self.authority.knows_all(),
            tier: self.remote.map(|remote| {
                Tier::new(remote, self.sealer, self.scope_max_remote_bytes, self.max_remote_value_bytes)
            }),
            node: Node::new(operations.len()),
            switched: Mutex::new(self.clock.wall()),
            authority: self.authority,
            clock: self.clock,
            tracker,
            namespace: self.namespace.into(),
            operations,
            tenants: Tenants::new(limits, Arc::clone(&budget)),
            budget,
            truth: Truth::default(),
            max_value_bytes: self.max_value_bytes,
            removals: Removals::default(),
            changes: Signal::default(),
            enabled: AtomicBool::new(self.enabled),
        };
        Ok(Cache { inner: Arc::new(inner) })
    }
}
