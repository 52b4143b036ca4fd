//! What people have open: the views that were read in the last minutes, by tenant, and which of them to compute again.
//!
//! Pure, with the time as an argument. A view is proposed when its tenant has been quiet for a moment after something was
//! invalidated, and only if somebody read it since it was last computed ahead. So an ingest that goes on without a pause
//! computes nothing, and who closes a page costs one computation that nobody reads.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nexarch_cache::Scope;
use nexarch_core::ids::TenantId;
use tokio::time::Instant;

use crate::view::View;

/// A view that was read this recently is open.
pub(crate) const OPEN: Duration = Duration::from_mins(5);
/// How long nothing may have been invalidated.
pub(crate) const QUIET: Duration = Duration::from_secs(1);
/// Least time between two computations ahead of one view.
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
}

/// A view that may be worth computing.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) tenant: TenantId,
    pub(crate) scope: Scope,
    pub(crate) key: Box<str>,
    pub(crate) view: View,
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

    /// At most one view of each tenant. `version` tells what was last changed of a scope.
    pub(crate) fn due(&self, now: Instant, version: impl Fn(&Scope) -> Option<u64>) -> Vec<Candidate> {
        let mut due = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            shard.retain(|_, tenant| tenant.is_open(now));
            for (id, tenant) in shard.iter_mut() {
                due.extend(version(&tenant.scope).and_then(|version| tenant.due(id, version, now)));
            }
        }
        due.sort_unstable_by(|a, b| a.tenant.cmp(&b.tenant));
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
            return;
        }
        let new = Open { key: key.into(), view: view.clone(), read_at: now, warmed_at: None, done: 0 };
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

    fn due(&mut self, id: &TenantId, version: u64, now: Instant) -> Option<Candidate> {
        let since = match self.since {
            Some(since) if self.version == version => since,
            _ => {
                (self.version, self.since) = (version, Some(now));
                now
            }
        };
        if now.duration_since(since) < QUIET {
            return None;
        }
        let due = |open: &&Open| {
            open.done < version
                && open.warmed_at.is_none_or(|at| open.read_at > at && now.duration_since(at) >= SPACING)
        };
        let open = self.views.iter().filter(due).max_by_key(|open| open.read_at)?;
        let (key, view) = (open.key.clone(), open.view.clone());
        Some(Candidate { tenant: id.clone(), scope: self.scope.clone(), key, view, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::Range;

    const TICK: Duration = Duration::from_millis(100);

    fn id(tenant: &str) -> TenantId {
        tenant.parse().unwrap()
    }

    fn note(views: &OpenViews, tenant: &str, name: &str, now: Instant) {
        let view = View::Service(Range::default(), name.to_owned());
        views.note(&id(tenant), &Scope::new(tenant).unwrap(), &view, &view.key(), now);
    }

    /// Takes everything that is due at a version, as computed.
    fn take(views: &OpenViews, version: u64, now: Instant) -> Vec<String> {
        let mut taken = Vec::new();
        loop {
            let due = views.due(now, |_| Some(version));
            if due.is_empty() {
                return taken;
            }
            for one in due {
                views.done(&one, Some(now));
                let View::Service(_, name) = one.view else { panic!() };
                taken.push(format!("{}/{name}", one.tenant));
            }
        }
    }

    #[test]
    fn what_is_open_is_due_once_after_a_quiet_moment() {
        let (views, start) = (OpenViews::default(), Instant::now());
        note(&views, "acme", "a", start);
        note(&views, "acme", "b", start + TICK);
        note(&views, "zoo", "c", start);
        assert!(take(&views, 7, start + TICK).is_empty(), "just changed");
        assert!(take(&views, 7, start + QUIET).is_empty(), "not quiet for long enough");
        assert_eq!(
            take(&views, 7, start + QUIET + TICK),
            ["acme/b", "zoo/c", "acme/a"],
            "tenants take turns"
        );
        assert!(take(&views, 7, start + SPACING * 3).is_empty(), "nothing changed");
        views.forget(&id("acme"));
        assert!(views.due(start, |_| Some(8)).is_empty() && take(&views, 8, start + OPEN).is_empty());
    }

    /// A change every 100 ms for an hour, while somebody reads every second, computes nothing ahead.
    #[test]
    fn what_changes_without_a_pause_is_left_to_its_readers() {
        let (views, start) = (OpenViews::default(), Instant::now());
        for nth in 0..36_000u32 {
            let now = start + TICK * nth;
            if nth % 10 == 0 {
                note(&views, "acme", "a", now);
            }
            assert!(take(&views, u64::from(nth) + 1, now).is_empty(), "after {nth} changes");
        }
    }

    /// Changes that leave quiet moments: as often as somebody reads, never closer than the spacing, once for nobody.
    #[test]
    fn each_computation_was_asked_for_and_has_its_distance() {
        let (views, start) = (OpenViews::default(), Instant::now());
        note(&views, "acme", "a", start);
        let mut taken = Vec::new();
        for nth in 0..600u32 {
            let now = start + TICK * nth;
            // Every two seconds something changes; for half a minute somebody reads every 300 ms.
            if nth % 3 == 0 && nth < 300 {
                note(&views, "acme", "a", now);
            }
            taken.extend(take(&views, u64::from(nth / 20) + 1, now).iter().map(|_| now));
        }
        assert!(taken.windows(2).all(|two| two[1] - two[0] >= SPACING), "{taken:?}");
        assert!((5..=7).contains(&taken.len()), "{} computations", taken.len());
        let unread = taken.iter().filter(|at| **at > start + TICK * 300).count();
        assert!(unread <= 1, "{unread} for nobody");
    }

    #[test]
    fn what_was_closed_is_forgotten_and_memory_is_bounded() {
        let (views, start) = (OpenViews::default(), Instant::now());
        note(&views, "acme", "a", start);
        assert!(views.due(start + OPEN, |_| Some(1)).is_empty());
        assert!(views.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
        for nth in 0..2_000u32 {
            note(&views, "acme", &nth.to_string(), start + TICK * nth);
            note(&views, &format!("t{nth}"), "x", start);
        }
        let tenants: usize = views.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(tenants <= SHARDS * MAX_TENANTS, "{tenants}");
        let shard = views.shard(&id("acme"));
        let kept: Vec<&str> = shard[&id("acme")].views.iter().map(|open| &*open.key).collect();
        assert_eq!(kept.len(), MAX_VIEWS);
        assert!(kept.iter().any(|key| key.contains("1999")), "the latest is kept: {kept:?}");
    }
}
