//! What every answer has to contain, known from nothing but what was acknowledged, where and when.

use super::database::lock;
use nexarch_cache::ScopeVersions;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// What the cache promises about changes of other nodes.
const LEASE: Duration = Duration::from_secs(1);

/// The versions that one operation of one scope depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) all: u64,
    pub(crate) operation: u64,
    pub(crate) data: u64,
}

#[derive(Debug)]
struct Acknowledged {
    at: Instant,
    node: usize,
    scope: usize,
    versions: ScopeVersions,
}

#[derive(Debug, Default)]
pub(crate) struct Oracle(Mutex<Vec<Acknowledged>>);

/// A read about to begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) node: usize,
    pub(crate) scope: usize,
    pub(crate) operation: &'static str,
    pub(crate) min_version: u64,
    pub(crate) max_stale: Option<Duration>,
    pub(crate) at: Instant,
}

impl Oracle {
    pub(crate) fn acknowledge(&self, node: usize, scope: usize, versions: ScopeVersions) {
        lock(&self.0).push(Acknowledged { at: Instant::now(), node, scope, versions });
    }

    /// The newest version that was acknowledged for a scope, by any node.
    pub(crate) fn newest(&self, scope: usize) -> u64 {
        lock(&self.0).iter().filter(|a| a.scope == scope).map(|a| a.versions.clock).max().unwrap_or(0)
    }

    /// The least that the answer has to contain.
    pub(crate) fn due(&self, asked: &Asked) -> Parts {
        let mut due = Parts::default();
        for past in lock(&self.0).iter().filter(|a| a.scope == asked.scope) {
            let age = asked.at.saturating_duration_since(past.at);
            let known = past.node == asked.node || age > LEASE || past.versions.clock <= asked.min_version;
            if !known {
                continue;
            }
            let of = parts(&past.versions, asked.operation);
            due.all = due.all.max(of.all);
            due.operation = due.operation.max(of.operation);
            // What the caller allows is about data alone, and not below the version that he asks for.
            let allowed = asked.max_stale.is_some_and(|most| age <= most + LEASE);
            if !allowed || past.versions.clock <= asked.min_version {
                due.data = due.data.max(of.data);
            }
        }
        due
    }
}

impl Parts {
    pub(crate) fn covers(self, due: Self) -> bool {
        self.all >= due.all && self.operation >= due.operation && self.data >= due.data
    }
}

pub(crate) fn parts(versions: &ScopeVersions, operation: &str) -> Parts {
    let of = versions.operations.iter().find(|(name, _)| name == operation);
    Parts { all: versions.all, operation: of.map_or(0, |(_, version)| *version), data: versions.data }
}
