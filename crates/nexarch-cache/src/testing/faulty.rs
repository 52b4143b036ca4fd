//! A node's connection to the [`Hub`], and everything that goes wrong on it.

use super::faults::Faults;
use super::hub::Hub;
use super::rng::Rng;
use crate::fence::Epoch;
use crate::key::Scope;
use crate::remote::{Breaker, Losses, Reason, Remote, RemoteError, RemoteStatus, Removed};
use crate::sync::lock;
use async_trait::async_trait;
use bytes::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::task::TaskTracker;

/// Messages kept for a receiver that is slow.
const MESSAGES: usize = 1024;

/// A double of a [`Remote`]: values in memory, faults as [`FaultyRemote::set_faults`] says.
#[derive(Debug)]
pub struct FaultyRemote {
    hub: Arc<Hub>,
    faults: Mutex<Faults>,
    rng: Mutex<Rng>,
    status: watch::Sender<RemoteStatus>,
    messages: broadcast::Sender<Bytes>,
    tracker: TaskTracker,
    gets: AtomicU64,
    heads: AtomicU64,
    sets: AtomicU64,
}

impl FaultyRemote {
    pub(super) fn new(hub: Arc<Hub>, rng: Rng, tracker: TaskTracker) -> Arc<Self> {
        let status = RemoteStatus {
            values: true,
            messages: true,
            reason: None,
            since: hub.clock().wall(),
            breaker: Breaker::Closed,
            reconnects: 0,
            losses: Losses::default(),
            floods: 0,
            round_trip: (Duration::ZERO, Duration::ZERO),
        };
        Arc::new(Self {
            hub,
            faults: Mutex::default(),
            rng: Mutex::new(rng),
            status: watch::Sender::new(status),
            messages: broadcast::Sender::new(MESSAGES),
            tracker,
            gets: AtomicU64::new(0),
            heads: AtomicU64::new(0),
            sets: AtomicU64::new(0),
        })
    }

    /// From now on these faults; the status tells those that a real connection would know of.
    pub fn set_faults(&self, faults: Faults) {
        let before = std::mem::replace(&mut *lock(&self.faults), faults);
        let reason = faults.away.or(faults.deaf.then_some(Reason::Messages));
        let values = faults.away.is_none();
        self.status.send_modify(|status| {
            status.reconnects += u64::from(values && before.away.is_some());
            if let Some(reason) = faults.away.filter(|_| before.away.is_none()) {
                status.losses.add(reason);
            }
            let messages = values && !faults.deaf;
            if (status.values, status.messages) != (values, messages) {
                status.since = self.hub.clock().wall();
            }
            (status.values, status.messages, status.reason) = (values, messages, reason);
            status.breaker = if values { Breaker::Closed } else { Breaker::Open };
        });
    }

    /// What the status tells of answer times, median and 99th percentile.
    pub fn set_round_trip(&self, round_trip: (Duration, Duration)) {
        self.status.send_modify(|status| status.round_trip = round_trip);
    }

    /// Reads and writes of values that reached the tier.
    pub fn calls(&self) -> (u64, u64) {
        (self.gets.load(Ordering::SeqCst), self.sets.load(Ordering::SeqCst))
    }

    /// Reads of the beginnings of values that reached the tier.
    pub fn heads(&self) -> u64 {
        self.heads.load(Ordering::SeqCst)
    }

    pub(super) fn deliver(&self, message: &Bytes) {
        let faults = *lock(&self.faults);
        if faults.away.is_none() && !faults.deaf {
            // Nobody may be listening.
            let _ = self.messages.send(message.clone());
        }
    }

    /// Carries out `call` after its delay, unless a fault comes in between.
    async fn call<T>(&self, call: impl FnOnce(&Hub) -> T) -> Result<T, RemoteError> {
        let faults = *lock(&self.faults);
        if faults.away.is_some() {
            return Err(RemoteError::Away);
        }
        let (delay, breaks, done) = {
            let mut rng = lock(&self.rng);
            let delay = rng.between(faults.delay.0, faults.delay.1);
            (delay, rng.happens(faults.breaks), rng.happens(0.5))
        };
        if delay >= faults.deadline {
            tokio::time::sleep(faults.deadline).await;
            if done {
                call(&self.hub);
            }
            return Err(RemoteError::Timeout);
        }
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if breaks {
            if done {
                call(&self.hub);
            }
            return Err(RemoteError::Broken(Reason::Protocol));
        }
        Ok(call(&self.hub))
    }

    /// A value as it arrives.
    fn arrives(&self, key: &str, value: Option<Bytes>) -> Option<Bytes> {
        let faults = *lock(&self.faults);
        let mut rng = lock(&self.rng);
        if rng.happens(faults.swaps) {
            let keys = self.hub.keys();
            let other = keys.get(usize::try_from(rng.below(keys.len() as u64)).unwrap_or(0));
            return other
                .filter(|other| *other != key)
                .and_then(|other| self.hub.peek(other))
                .map(|(v, _)| v);
        }
        let value = value?;
        if !rng.happens(faults.garbles) {
            return Some(value);
        }
        let mut value = value.to_vec();
        let at = usize::try_from(rng.below(value.len() as u64)).unwrap_or(0);
        match rng.below(4) {
            0 => value.truncate(at),
            1 => value.iter_mut().skip(at).for_each(|byte| *byte = 0),
            2 => value.push(0),
            _ => value.get_mut(at).into_iter().for_each(|byte| *byte ^= 1 << (at % 8)),
        }
        Some(value.into())
    }

    fn forgets(&self) -> bool {
        lock(&self.rng).happens(lock(&self.faults).forgets)
    }

    /// Sends a message to `node` with its faults.
    fn send(&self, node: &Arc<Self>, message: &Bytes) {
        let faults = *lock(&node.faults);
        let mut rng = lock(&self.rng);
        if rng.happens(faults.loses) {
            return;
        }
        for _ in 0..=u8::from(rng.happens(faults.doubles)) {
            let lag = rng.between(faults.lags.0, faults.lags.1);
            if lag.is_zero() {
                node.deliver(message);
                continue;
            }
            let (node, message) = (Arc::clone(node), message.clone());
            self.tracker.spawn(async move {
                tokio::time::sleep(lag).await;
                node.deliver(&message);
            });
        }
    }
}

#[async_trait]
impl Remote for FaultyRemote {
    fn status(&self) -> watch::Receiver<RemoteStatus> {
        self.status.subscribe()
    }

    fn messages(&self) -> broadcast::Receiver<Bytes> {
        self.messages.subscribe()
    }

    async fn get(&self, key: &str, max_bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        let value = self.call(|hub| hub.peek(key).map(|(value, _)| value)).await?;
        self.gets.fetch_add(1, Ordering::SeqCst);
        match self.arrives(key, value).filter(|value| !value.is_empty()) {
            Some(value) if value.len() > max_bytes => Err(RemoteError::TooLarge),
            value => Ok(value),
        }
    }

    async fn head(&self, key: &str, bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        let value = self.call(|hub| hub.peek(key).map(|(value, _)| value)).await?;
        self.heads.fetch_add(1, Ordering::SeqCst);
        let value = self.arrives(key, value).filter(|value| !value.is_empty());
        Ok(value.map(|value| value.slice(..value.len().min(bytes.max(1)))))
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), RemoteError> {
        let forgets = self.forgets();
        self.call(|hub| {
            if !forgets {
                hub.plant(key, value, ttl);
            }
        })
        .await?;
        self.sets.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, RemoteError> {
        self.call(|hub| hub.add(key, value, ttl)).await
    }

    async fn publish(&self, message: Bytes) -> Result<(), RemoteError> {
        if lock(&self.faults).deaf {
            return Err(RemoteError::Refused(Reason::Messages));
        }
        let nodes = self.call(Hub::nodes).await?;
        for node in &nodes {
            self.send(node, &message);
        }
        Ok(())
    }

    async fn remove(&self, scope: Option<&Scope>, epoch: Option<Epoch>) -> Removed {
        // The double serves one namespace.
        self.call(|hub| match scope {
            None => hub.remove("", epoch),
            Some(scope) => hub.keys().first().map_or(0, |key| {
                let namespace = key.split(':').next().unwrap_or_default();
                hub.remove(&format!("{namespace}:{scope}:"), epoch)
            }),
        })
        .await
        .into()
    }

    async fn server_info(&self) -> Result<Vec<(String, String)>, RemoteError> {
        let bytes = self.call(Hub::bytes).await?;
        Ok(vec![("used_memory".into(), bytes.to_string())])
    }

    async fn close(&self) {
        self.set_faults(Faults { away: Some(Reason::Refused), ..Faults::default() });
    }
}
