//! How much one tenant may ask of this node: token buckets, pure, with the time as an argument.
//!
//! A bucket may go into debt: a batch is let in as long as anything is left, however large it is, and what it took beyond
//! that is waited for before the next one. So no batch is too large for ever, and the rate over time is kept exactly.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nexarch_core::ids::TenantId;
use tokio::time::Instant;

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
    limit: NonZeroU32,
    unit: &'static str,
}

/// Both limits of all tenants.
#[derive(Debug)]
pub struct Limits {
    requests: Option<Buckets>,
    spans: Option<Buckets>,
}

impl Limits {
    /// Full buckets for everybody.
    pub fn new(rates: Rates) -> Self {
        let buckets = |limit: Option<NonZeroU32>, period, unit| {
            limit.map(|limit| Buckets { limit, period, unit, tenants: Mutex::default() })
        };
        Self {
            requests: buckets(rates.requests_per_minute, Duration::from_mins(1), "requests per minute"),
            spans: buckets(rates.spans_per_second, Duration::from_secs(1), "spans per second"),
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
        self.requests.as_ref().map_or(Ok(()), |buckets| buckets.take(tenant, 1, now))
    }

    /// Gives back what a batch took that was not stored: the client will send it again.
    pub fn give_back(&self, tenant: &TenantId, spans: usize, now: Instant) {
        if let Some(buckets) = &self.spans {
            buckets.give_back(tenant, spans, now);
        }
    }

    /// Counts the spans of a batch, or refuses the batch; with 0 it only asks whether any batch would be let in.
    pub fn spans(&self, tenant: &TenantId, spans: usize, now: Instant) -> Result<(), Limited> {
        self.spans.as_ref().map_or(Ok(()), |buckets| buckets.take(tenant, spans, now))
    }
}

/// One limit for every tenant. A bucket holds what one period allows.
#[derive(Debug)]
struct Buckets {
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

    /// What is left at `now`.
    fn left(&self, bucket: &Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
        (bucket.left + passed * self.per_second()).min(self.capacity())
    }

    fn take(&self, tenant: &TenantId, amount: usize, now: Instant) -> Result<(), Limited> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let left = tenants.get(tenant).map_or(self.capacity(), |bucket| self.left(bucket, now));
        // A whole token, or a sum of fractions would let in a little more than the limit.
        let missing = 1.0 - left;
        if missing > ROUNDING {
            let wait = (missing / self.per_second()).ceil().max(1.0);
            return Err(Limited {
                // A debt is at most one request of `MAX_BODY_MB`, so the wait is a sane number.
                retry_after: Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX),
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

/// What adding up small pieces may lose.
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod tests;
