//! The shared tier itself, in memory: what every node's connection leads to.

use super::faulty::FaultyRemote;
use super::rng::Rng;
use crate::clock::{BootTime, Clock};
use crate::envelope::claimed_label;
use crate::fence::Epoch;
use crate::sync::lock;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio_util::task::TaskTracker;

/// One tier for several nodes.
///
/// ```
/// use nexarch_cache::testing::{Faults, Hub};
/// use nexarch_cache::{ManualClock, Remote};
/// use std::{sync::Arc, time::Duration};
/// use tokio_util::task::TaskTracker;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), nexarch_cache::RemoteError> {
/// let hub = Hub::new(Arc::new(ManualClock::default()));
/// let (one, other) = (hub.node(1, TaskTracker::new()), hub.node(2, TaskTracker::new()));
/// one.set("key", "value".into(), Duration::from_secs(1)).await?;
/// assert_eq!(other.get("key", 100).await?.as_deref(), Some(&b"value"[..]));
/// other.set_faults(Faults { garbles: 1.0, ..Faults::default() });
/// assert_ne!(other.get("key", 100).await?.as_deref(), Some(&b"value"[..]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Hub {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    nodes: Mutex<Vec<Weak<FaultyRemote>>>,
}

type Values = BTreeMap<String, (Bytes, BootTime)>;

#[derive(Debug, Default)]
struct State {
    values: Values,
    /// What the replica has.
    copy: Values,
}

impl Hub {
    /// An empty tier whose keys expire by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { clock, state: Mutex::default(), nodes: Mutex::default() })
    }

    /// A connection of a new node; its faults are drawn from `seed`, its messages delivered on `tracker`.
    pub fn node(self: &Arc<Self>, seed: u64, tracker: TaskTracker) -> Arc<FaultyRemote> {
        let node = FaultyRemote::new(Arc::clone(self), Rng::new(seed), tracker);
        lock(&self.nodes).push(Arc::downgrade(&node));
        node
    }

    /// Removes everything, as `FLUSHALL` does.
    pub fn flush(&self) {
        lock(&self.state).values.clear();
    }

    /// The replica has everything now.
    pub fn replicate(&self) {
        let mut state = lock(&self.state);
        state.copy = state.values.clone();
    }

    /// The replica takes over: what was written since [`Hub::replicate`] is lost, what was removed is back.
    pub fn fail_over(&self) {
        let mut state = lock(&self.state);
        state.values = state.copy.clone();
    }

    /// Removes each key with this probability, as eviction does.
    pub fn evict(&self, probability: f64, rng: &mut Rng) {
        lock(&self.state).values.retain(|_, _| !rng.happens(probability));
    }

    /// The keys that are there.
    pub fn keys(&self) -> Vec<String> {
        let now = self.clock.boot();
        lock(&self.state)
            .values
            .iter()
            .filter(|(_, (_, end))| *end > now)
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Bytes of all keys and values that are there.
    pub fn bytes(&self) -> usize {
        let now = self.clock.boot();
        let state = lock(&self.state);
        let live = state.values.iter().filter(|(_, (_, end))| *end > now);
        live.map(|(key, (value, _))| key.len() + value.len()).sum()
    }

    /// Puts a value there that no node wrote.
    pub fn plant(&self, key: &str, value: Bytes, ttl: Duration) {
        let end = self.clock.boot().plus(ttl);
        lock(&self.state).values.insert(key.to_owned(), (value, end));
    }

    /// What stands under a key, and for how much longer.
    pub fn peek(&self, key: &str) -> Option<(Bytes, Duration)> {
        let now = self.clock.boot();
        let state = lock(&self.state);
        let (value, end) = state.values.get(key).filter(|(_, end)| *end > now)?;
        Some((value.clone(), end.since(now)))
    }

    /// Sends a message that no node sent to all that listen.
    pub fn forge(&self, message: &Bytes) {
        for node in self.nodes() {
            node.deliver(message);
        }
    }

    pub(super) fn add(&self, key: &str, value: Bytes, ttl: Duration) -> bool {
        let absent = self.peek(key).is_none();
        if absent {
            self.plant(key, value, ttl);
        }
        absent
    }

    pub(super) fn remove(&self, prefix: &str, epoch: Option<Epoch>) -> u64 {
        let mut state = lock(&self.state);
        let before = state.values.len();
        // Of a lease what counts is what stands in brackets.
        let of = |key: &str| key.split_once('{').map_or(key, |(_, of)| of).starts_with(prefix);
        // Leases are of nobody's database, and end soon.
        let ours = |key: &str, value: &Bytes| {
            let is_of = |epoch| claimed_label(value).is_none_or(|label| label.epoch == epoch);
            key.contains('{') || epoch.is_none_or(is_of)
        };
        state.values.retain(|key, (value, _)| !(of(key) && ours(key, value)));
        (before - state.values.len()) as u64
    }

    pub(super) fn nodes(&self) -> Vec<Arc<FaultyRemote>> {
        lock(&self.nodes).iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}
