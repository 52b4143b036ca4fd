//! How much one tenant may ask of this node: token buckets, pure, with the time as an argument.
//!
//! A bucket may go into debt: a batch is let in as long as anything is left, however large it is, and what it took beyond
//! that is waited for before the next one. So no batch is too large for ever, and the rate over time is kept exactly.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nexarch_core::ids::TenantId;
use tokio::time::Instant;

use crate::config::Config;

/// Name of the limit on requests, as answers give it.
pub const REQUESTS: &str = "requests";
/// Name of the limit on spans, as answers give it.
pub const SPANS: &str = "spans";
/// Name of the quota of spans, as answers give it.
pub const DAILY_SPANS: &str = "daily-spans";

/// Tenants with a bucket of their own; beyond it the fullest bucket, which limits least, makes room.
const MAX_TENANTS: usize = 10_000;

/// The configured rates; `None` = no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// Requests with a key, of any kind.
    pub requests_per_minute: Option<NonZeroU32>,
    /// Spans sent, valid or not, new or known.
    pub spans_per_second: Option<NonZeroU32>,
}

/// Too much now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the tenant is over its limit of {limit} {unit}; come back in {} s", .retry_after.as_secs())]
pub struct Limited {
    /// When something is let in again, rounded up to seconds, at least one.
    pub retry_after: Duration,
    /// Name of the limit.
    pub policy: &'static str,
    limit: NonZeroU32,
    unit: &'static str,
}

/// How a tenant stands with a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Name of the limit.
    pub policy: &'static str,
    /// What one window allows.
    pub quota: u32,
    /// The window, in whole seconds.
    pub window_s: u64,
    /// Whole requests or spans that would be let in now; 0 in debt.
    pub left: u64,
    /// Seconds, rounded up, at least one: who spends no more than what is left within it finds as much again, and when
    /// nothing is left, when something is.
    pub reset_s: u64,
}

/// Both limits of all tenants.
#[derive(Debug)]
pub struct Limits {
    requests: Option<Buckets>,
    spans: Option<Buckets>,
    refused_requests: AtomicU64,
    refused_spans: AtomicU64,
}

impl Limits {
    /// Full buckets for everybody.
    pub fn new(rates: Rates) -> Self {
        let buckets = |policy, limit: Option<NonZeroU32>, period, unit| {
            limit.map(|limit| Buckets { policy, limit, period, unit, tenants: Mutex::default() })
        };
        let (minute, second) = (Duration::from_mins(1), Duration::from_secs(1));
        Self {
            requests: buckets(REQUESTS, rates.requests_per_minute, minute, "requests per minute"),
            spans: buckets(SPANS, rates.spans_per_second, second, "spans per second"),
            refused_requests: AtomicU64::new(0),
            refused_spans: AtomicU64::new(0),
        }
    }

    /// Is anything limited?
    pub fn any(&self) -> bool {
        self.requests.is_some() || self.spans.is_some()
    }

    /// How a tenant stands with its requests, if they are limited.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use nexarch::limit::{Limits, Rates};
    ///
    /// let limits = Limits::new(Rates { requests_per_minute: NonZeroU32::new(30), ..Rates::default() });
    /// let (tenant, now) = ("acme".parse().unwrap(), tokio::time::Instant::now());
    /// limits.request(&tenant, now).unwrap();
    /// let standing = limits.requests_of(&tenant, now).unwrap();
    /// assert_eq!((standing.left, standing.reset_s), (29, 58), "29 more in 58 s is 30 a minute");
    /// ```
    pub fn requests_of(&self, tenant: &TenantId, now: Instant) -> Option<Standing> {
        self.requests.as_ref().map(|buckets| buckets.standing(tenant, now))
    }

    /// How a tenant stands with its spans, if they are limited.
    pub fn spans_of(&self, tenant: &TenantId, now: Instant) -> Option<Standing> {
        self.spans.as_ref().map(|buckets| buckets.standing(tenant, now))
    }

    /// Forgets what a tenant that is gone has used.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        for buckets in self.requests.iter().chain(&self.spans) {
            buckets.tenants.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
        }
    }

    /// Counts a request, or refuses it.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use nexarch::limit::{Limits, Rates};
    ///
    /// let limits = Limits::new(Rates { requests_per_minute: NonZeroU32::new(2), ..Rates::default() });
    /// let (tenant, now) = ("acme".parse().unwrap(), tokio::time::Instant::now());
    /// assert!(limits.request(&tenant, now).is_ok() && limits.request(&tenant, now).is_ok());
    /// assert_eq!(limits.request(&tenant, now).unwrap_err().retry_after.as_secs(), 30);
    /// ```
    pub fn request(&self, tenant: &TenantId, now: Instant) -> Result<(), Limited> {
        let taken = self.requests.as_ref().map_or(Ok(()), |buckets| buckets.take(tenant, 1, now));
        taken.inspect_err(|_| {
            self.refused_requests.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// What was refused since the start, of all tenants, by limit.
    pub fn refused(&self) -> [(&'static str, u64); 2] {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        [("requests", load(&self.refused_requests)), ("spans", load(&self.refused_spans))]
    }

    /// Gives back what a batch took that was not stored: the client will send it again.
    pub fn give_back(&self, tenant: &TenantId, spans: usize, now: Instant) {
        if let Some(buckets) = &self.spans {
            buckets.give_back(tenant, spans, now);
        }
    }

    /// Counts the spans of a batch, or refuses the batch; with 0 it only asks whether any batch would be let in.
    pub fn spans(&self, tenant: &TenantId, spans: usize, now: Instant) -> Result<(), Limited> {
        let taken = self.spans.as_ref().map_or(Ok(()), |buckets| buckets.take(tenant, spans, now));
        taken.inspect_err(|_| {
            self.refused_spans.fetch_add(1, Ordering::Relaxed);
        })
    }
}

/// One limit for every tenant. A bucket holds what one period allows.
#[derive(Debug)]
struct Buckets {
    policy: &'static str,
    limit: NonZeroU32,
    period: Duration,
    unit: &'static str,
    tenants: Mutex<HashMap<TenantId, Bucket>>,
}

/// What is left, negative = in debt.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Buckets {
    fn capacity(&self) -> f64 {
        f64::from(self.limit.get())
    }

    fn per_second(&self) -> f64 {
        self.capacity() / self.period.as_secs_f64()
    }

    /// Whole seconds in which so much comes back, rounded up, at least one.
    fn seconds(&self, amount: f64) -> f64 {
        // What division adds in its last digits is no second.
        (amount / self.per_second() * (1.0 - 1e-13)).ceil().max(1.0)
    }

    /// What is left at `now`.
    fn left(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.per_second()).min(self.capacity())
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole and not negative; too large a number is cut"
    )]
    fn standing(&self, tenant: &TenantId, now: Instant) -> Standing {
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tenants.get(tenant).map_or(self.capacity(), |bucket| self.left(bucket, now));
        let whole = (left + ROUNDING).floor().max(0.0);
        let reset = self.seconds(if whole >= 1.0 { whole } else { 1.0 - left });
        Standing {
            policy: self.policy,
            quota: self.limit.get(),
            window_s: self.period.as_secs(),
            left: whole as u64,
            // A debt is at most one request of `MAX_BODY_MB`, so it is a sane number.
            reset_s: reset as u64,
        }
    }

    fn take(&self, tenant: &TenantId, amount: usize, now: Instant) -> Result<(), Limited> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tenants.get(tenant).map_or(self.capacity(), |bucket| self.left(bucket, now));
        // A whole token, or a sum of fractions would let in a little more than the limit.
        let missing = 1.0 - left;
        if missing > ROUNDING {
            return Err(Limited {
                retry_after: Duration::try_from_secs_f64(self.seconds(missing)).unwrap_or(Duration::MAX),
                policy: self.policy,
                limit: self.limit,
                unit: self.unit,
            });
        }
        if amount > 0 {
            if tenants.len() >= MAX_TENANTS && !tenants.contains_key(tenant) {
                self.make_room(&mut tenants, now);
            }
            tenants.insert(tenant.clone(), Bucket { left: left - amount as f64, at: now });
        }
        Ok(())
    }

    fn give_back(&self, tenant: &TenantId, amount: usize, now: Instant) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = tenants.get_mut(tenant) {
            let left = (self.left(bucket, now) + amount as f64).min(self.capacity());
            *bucket = Bucket { left, at: now };
        }
    }

    /// Forgets full buckets, which are as good as none; when there is none, the fullest.
    fn make_room(&self, tenants: &mut HashMap<TenantId, Bucket>, now: Instant) {
        tenants.retain(|_, bucket| self.left(bucket, now) < self.capacity());
        if tenants.len() >= MAX_TENANTS {
            let fullest = tenants.iter().max_by(|a, b| self.left(a.1, now).total_cmp(&self.left(b.1, now)));
            if let Some(tenant) = fullest.map(|(tenant, _)| tenant.clone()) {
                tenants.remove(&tenant);
            }
        }
    }
}

/// What one tenant may hold and store; part of what it is told of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shares {
    /// Most bytes of the memory tier, all tenants.
    pub(crate) memory_bytes: u64,
    /// Most of it for one tenant while others want room, percent.
    pub(crate) memory_percent: u8,
    /// Most bytes of values in the shared tier.
    pub(crate) redis_bytes: u64,
    /// Most spans of a UTC day; `None` = any number.
    pub(crate) spans_per_day: Option<u64>,
}

impl Shares {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            memory_bytes: config.cache.max_memory_bytes,
            memory_percent: config.cache.tenant_max_percent,
            redis_bytes: config.cache.tenant_max_redis_bytes,
            spans_per_day: config.quota_spans_per_day,
        }
    }
}

/// What adding up small pieces may lose.
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod tests;
