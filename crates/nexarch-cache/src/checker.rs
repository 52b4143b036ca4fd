//! The staleness checker: looks at a sample of answers with what it learned by itself, and counts those that were older
//! than the cache promises. On in tests and soak runs; it must stay at zero.
//!
//! It shares nothing with what it checks: it keeps its own record of what this process acknowledged and of what its own
//! reads of the authority found, and it computes values of its own.

use crate::authority::{Authority, ScopeVersions};
use crate::clock::BootTime;
use crate::compute::Plan;
use crate::fence::{Epoch, Fence};
use crate::key::Scope;
use crate::mirror::LEASE;
use crate::sync::lock;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Scopes that are kept record of; further ones are not checked.
const MAX_SCOPES: usize = 10_000;

/// Answers that are compared at once; further ones are compared with the record only.
const MAX_COMPARISONS: usize = 4;

#[derive(Debug)]
pub(crate) struct Checker {
    every: u64,
    reads: AtomicU64,
    /// How long after the checker saw a change every read on this node has to know of it.
    bound: Duration,
    records: Mutex<HashMap<Scope, Record>>,
    pub(crate) comparisons: tokio::sync::Semaphore,
    checked: AtomicU64,
    stale: AtomicU64,
    compared: AtomicU64,
    different: AtomicU64,
}

/// What the staleness checker found so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Answers that were looked at.
    pub checked: u64,
    /// Those that were older than what was acknowledged in time before their read began. Must be 0.
    pub stale: u64,
    /// Hits that were compared with a value computed for that.
    pub compared: u64,
    /// Those that differed although nothing had changed. Must be 0, where equal data give equal bytes.
    pub different: u64,
}

/// What every answer of a scope has to have seen.
#[derive(Debug, Default)]
struct Record {
    epoch: Epoch,
    due: ScopeVersions,
    /// Seen in the database at that time, due when the bound has passed.
    seen: Option<(BootTime, ScopeVersions)>,
}

impl Checker {
    pub(crate) fn new(every: u64, authority: &dyn Authority) -> Self {
        // What a guest committed and has not acknowledged yet, the checker may see before the cache has to.
        let alone = authority.sole_owner() && !authority.has_guests();
        let bound = if alone { Duration::ZERO } else { LEASE };
        Self {
            every,
            reads: AtomicU64::new(0),
            bound,
            records: Mutex::default(),
            comparisons: tokio::sync::Semaphore::new(MAX_COMPARISONS),
            checked: AtomicU64::new(0),
            stale: AtomicU64::new(0),
            compared: AtomicU64::new(0),
            different: AtomicU64::new(0),
        }
    }

    /// What the answer to a read that begins now has to have seen; `None` if this one is not looked at.
    pub(crate) fn begin(&self, plan: &Plan, operation: &str, now: BootTime) -> Option<Fence> {
        if !self.reads.fetch_add(1, Ordering::Relaxed).is_multiple_of(self.every) {
            return None;
        }
        let mut records = lock(&self.records);
        // Of one that nothing is known of, the first look learns.
        let Some(record) = records.get_mut(&plan.scope) else { return Some(Fence::default()) };
        if let Some((_, versions)) = record.seen.take_if(|(at, _)| now.since(*at) > self.bound) {
            raise(&mut record.due, &versions);
        }
        Some(fence(record.epoch, &record.due, plan, operation))
    }

    /// This process acknowledges these versions from now on.
    pub(crate) fn acknowledged(&self, scope: &Scope, epoch: Epoch, versions: &ScopeVersions) {
        self.with(scope, epoch, |record| raise(&mut record.due, versions));
    }

    /// These were committed at `now` at the latest, by whomever.
    fn seen(&self, scope: &Scope, epoch: Epoch, versions: &ScopeVersions, now: BootTime) {
        self.with(scope, epoch, |record| {
            // An earlier sight is due earlier: it is kept until it is.
            record.seen.get_or_insert_with(|| (now, versions.clone()));
        });
    }

    /// Of a database that was set back what was known is void. What was acknowledged before any was read is of the first.
    fn with(&self, scope: &Scope, epoch: Epoch, then: impl FnOnce(&mut Record)) {
        let mut records = lock(&self.records);
        if records.len() >= MAX_SCOPES && !records.contains_key(scope) {
            return;
        }
        let record = records.entry(scope.homeless()).or_default();
        if record.epoch == Epoch::default() {
            record.epoch = epoch;
        }
        if record.epoch != epoch {
            *record = Record { epoch, ..Record::default() };
        }
        then(record);
    }

    /// Compares the label of an answer with what it has to have seen.
    pub(crate) fn check(&self, due: &Fence, label: &Fence, but_data: bool) {
        self.checked.fetch_add(1, Ordering::Relaxed);
        // Acknowledged before the database was read, it is of the first that is.
        let due = &if due.epoch == Epoch::default() { Fence { epoch: label.epoch, ..*due } } else { *due };
        // Of another database: the record is of the one before, or of the one after.
        let comparable = label.epoch == due.epoch;
        let covers = if but_data { label.covers_but_data(due) } else { label.covers(due) };
        if comparable && !covers {
            self.stale.fetch_add(1, Ordering::Relaxed);
            tracing::error!(?label, ?due, "an answer is older than what was acknowledged");
        }
    }

    /// Compares a body with one that was computed after it was served, if nothing changed until after that: `label` still
    /// covers what the authority says then.
    pub(crate) async fn compare(
        &self,
        authority: &dyn Authority,
        plan: &Plan,
        operation: &str,
        label: &Fence,
        same: bool,
        now: impl Fn() -> BootTime,
    ) {
        let Ok(read) = authority.read(std::slice::from_ref(&plan.scope)).await else { return };
        let Some(versions) = read.scopes.first() else { return };
        self.seen(&plan.scope, read.epoch, versions, now());
        if !label.covers(&fence(read.epoch, versions, plan, operation)) {
            return;
        }
        self.compared.fetch_add(1, Ordering::Relaxed);
        if !same {
            self.different.fetch_add(1, Ordering::Relaxed);
            tracing::error!(operation, "a served value differs from a computed one, and nothing changed");
        }
    }

    pub(crate) fn found(&self) -> Checked {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Checked {
            checked: load(&self.checked),
            stale: load(&self.stale),
            compared: load(&self.compared),
            different: load(&self.different),
        }
    }
}

fn raise(known: &mut ScopeVersions, versions: &ScopeVersions) {
    known.clock = known.clock.max(versions.clock);
    known.data = known.data.max(versions.data);
    known.all = known.all.max(versions.all);
    for (name, version) in &versions.operations {
        match known.operations.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = (*known).max(*version),
            None => known.operations.push((name.clone(), *version)),
        }
    }
}

fn fence(epoch: Epoch, versions: &ScopeVersions, plan: &Plan, operation: &str) -> Fence {
    let of = versions.operations.iter().find(|(name, _)| name == operation);
    Fence {
        epoch,
        tenant: versions.all,
        operation: of.map_or(0, |(_, version)| *version),
        data: if plan.follows_data { versions.data } else { 0 },
    }
}
