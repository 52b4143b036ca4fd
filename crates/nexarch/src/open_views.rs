//! What people have open: the views that were read in the last minutes, by tenant, and which of them to compute again.
//!
//! Pure, with the time as an argument. A view is proposed in two cases. At once after a change, when it is read again and
//! again between changes ([`habit`]): somebody would compute it anyway. Else when its tenant has been quiet for a moment
//! after the change, and only if somebody read it since it was last computed ahead. So data that come without a pause make
//! nothing be computed but what is read faster than they come, and who closes a page costs one computation that nobody
//! reads.

mod habit;

use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nexarch_cache::Scope;
use nexarch_core::ids::TenantId;
use tokio::time::Instant;

use self::habit::Habit;
use crate::view::View;

/// A view that was read this recently is open.
pub(crate) const OPEN: Duration = Duration::from_mins(5);
/// How long nothing may have been invalidated.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// Least time between two computations ahead of one view that is not read between all changes.
pub(crate) const SPACING: Duration = Duration::from_secs(5);

/// Views of one tenant that are remembered: more than anybody looks at, of whatever many parameters are tried.
const MAX_VIEWS: usize = 32;
/// Parts of the map, each under its own lock.
const SHARDS: usize = 16;
/// Tenants of one part.
const MAX_TENANTS: usize = 64;

/// The open views of all tenants.
#[derive(Default)]
pub(crate) struct OpenViews {
    shards: [Mutex<HashMap<TenantId, Tenant>>; SHARDS],
    hasher: RandomState,
}

struct Tenant {
    scope: Scope,
    views: Vec<Open>,
    /// The version that it was seen at, and since when.
    version: u64,
    since: Option<Instant>,
}

struct Open {
    key: Box<str>,
    view: View,
    read_at: Instant,
    /// When it was last computed ahead.
    warmed_at: Option<Instant>,
    /// The version at which nothing is to be done any more.
    done: u64,
    habit: Habit,
}

/// A view that may be worth computing.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    pub(crate) key: Box<str>,
    pub(crate) view: View,
    /// It is read between changes, however fast they come: it need not wait for a quiet moment, and whoever computes it
    /// need not rest.
    pub(crate) at_once: bool,
    version: u64,
}

impl OpenViews {
    /// Notes that somebody reads a view.
    pub(crate) fn note(&self, tenant: &TenantId, scope: &Scope, view: &View, key: &str, now: Instant) {
        let mut shard = self.shard(tenant);
        if let Some(tenant) = shard.get_mut(tenant) {
            return tenant.note(view, key, now);
        }
        if shard.len() >= MAX_TENANTS {
            let longest_ago =
                shard.iter().min_by_key(|(_, tenant)| tenant.last_read()).map(|(id, _)| id.clone());
            longest_ago.map(|id| shard.remove(&id));
        }
        let mut new = Tenant { scope: scope.clone(), views: Vec::new(), version: 0, since: None };
        new.note(view, key, now);
        shard.insert(tenant.clone(), new);
    }

    /// Closes what was not read for long.
    pub(crate) fn close(&self, now: Instant) {
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, tenant| tenant.is_open(now));
        }
    }

    /// What to compute, by tenant: of each what is to be computed at once, the most read first, or, unless whoever computes
    /// is `resting`, one view. `version` tells what was last changed of a scope.
    pub(crate) fn due(
        &self,
        now: Instant,
        resting: bool,
        version: impl Fn(&Scope) -> Option<u64>,
    ) -> Vec<Candidate> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            for (id, tenant) in shard.iter_mut() {
                let Some(version) = version(&tenant.scope) else { continue };
                due.extend(tenant.due(id, version, resting, now));
            }
        }
        due.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        due
    }

    /// Nothing is to be done of a view until something else changes. `warmed`: it was computed.
    pub(crate) fn done(&self, candidate: &Candidate, warmed: Option<Instant>) {
        let mut shard = self.shard(&candidate.tenant);
        let Some(tenant) = shard.get_mut(&candidate.tenant) else { return };
        if let Some(open) = tenant.views.iter_mut().find(|open| open.key == candidate.key) {
            open.done = open.done.max(candidate.version);
            open.warmed_at = warmed.or(open.warmed_at);
        }
    }

    /// Forgets a tenant.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.shard(tenant).remove(tenant);
    }

    fn shard(&self, tenant: &TenantId) -> std::sync::MutexGuard<'_, HashMap<TenantId, Tenant>> {
        let nth = usize::try_from(self.hasher.hash_one(tenant) % SHARDS as u64).unwrap_or(0);
        self.shards[nth].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenant {
    fn note(&mut self, view: &View, key: &str, now: Instant) {
        if let Some(open) = self.views.iter_mut().find(|open| *open.key == *key) {
            open.read_at = now;
            open.habit.read();
            return;
        }
        let mut habit = Habit::default();
        habit.read();
        let new = Open { key: key.into(), view: view.clone(), read_at: now, warmed_at: None, done: 0, habit };
        if self.views.len() < MAX_VIEWS {
            self.views.push(new);
        } else if let Some(longest_ago) = self.views.iter_mut().min_by_key(|open| open.read_at) {
            *longest_ago = new;
        }
    }

    fn last_read(&self) -> Option<Instant> {
        self.views.iter().map(|open| open.read_at).max()
    }

    /// Closes what was not read for long; is anything left?
    fn is_open(&mut self, now: Instant) -> bool {
        self.views.retain(|open| now.duration_since(open.read_at) < OPEN);
        !self.views.is_empty()
    }

    fn due(&mut self, id: &TenantId, version: u64, resting: bool, now: Instant) -> Vec<Candidate> {
        let since = match self.since {
            Some(since) if self.version == version => since,
            _ => {
                self.views.iter_mut().for_each(|open| open.habit.changed());
                (self.version, self.since) = (version, Some(now));
                now
            }
        };
        let mut steady: Vec<&Open> =
            self.views.iter().filter(|open| open.done < version && open.habit.is_steady()).collect();
        steady.sort_by_key(|open| Reverse(open.habit.reads()));
        let candidate = |open: &Open, at_once| {
            let (tenant, scope, key) = (id.clone(), self.scope.clone(), open.key.clone());
            Candidate { tenant, scope, key, view: open.view.clone(), at_once, version }
        };
        if !steady.is_empty() {
            return steady.into_iter().map(|open| candidate(open, true)).collect();
        }
        if resting || now.duration_since(since) < QUIET {
            return Vec::new();
        }
        let due = |open: &&Open| {
            open.done < version
                && open.warmed_at.is_none_or(|at| open.read_at > at && now.duration_since(at) >= SPACING)
        };
        let open = self.views.iter().filter(due).max_by_key(|open| open.read_at);
        open.map(|open| candidate(open, false)).into_iter().collect()
    }
}

#[cfg(test)]
mod tests;
