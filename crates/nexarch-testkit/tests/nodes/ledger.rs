//! What was acknowledged, by whom and when, and what a read that begins now is owed for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;
use tokio::time::Instant;

/// How long other nodes may not know yet.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
struct Acknowledged {
    node: usize,
    at: Instant,
    seen: Seen,
}

/// What a value saw, or has to have seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// The data version that its snapshot read.
    pub(crate) data: u64,
    /// Invalidations that were asked for before its computation began: what a computation sees that began while one was
    /// carried out is as new as that one asks.
    pub(crate) invalidations: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    acknowledged: Mutex<Vec<Acknowledged>>,
    invalidations: AtomicU64,
}

impl Ledger {
    pub(crate) fn commit(&self, node: usize, data: u64) {
        self.note(node, Seen { data, invalidations: 0 });
    }

    /// An invalidation is about to be asked for; its number.
    pub(crate) fn ask(&self) -> u64 {
        self.invalidations.fetch_add(1, SeqCst) + 1
    }

    /// The one of this number was acknowledged.
    pub(crate) fn invalidation(&self, node: usize, number: u64) {
        self.note(node, Seen { data: 0, invalidations: number });
    }

    fn note(&self, node: usize, seen: Seen) {
        self.acknowledged.lock().unwrap().push(Acknowledged { node, at: Instant::now(), seen });
    }

    /// Invalidations asked for by now, on any node.
    pub(crate) fn invalidations(&self) -> u64 {
        self.invalidations.load(SeqCst)
    }

    /// What a read of `node` that begins now is owed: all that this node acknowledged, and what any node acknowledged
    /// more than a lease ago.
    pub(crate) fn owed(&self, node: usize) -> Seen {
        let now = Instant::now();
        let all = self.acknowledged.lock().unwrap();
        let due = all.iter().filter(|change| change.node == node || now - change.at > LEASE);
        due.fold(Seen::default(), |owed, change| owed.and(change.seen))
    }
}

impl Seen {
    fn and(self, other: Self) -> Self {
        Self { data: self.data.max(other.data), invalidations: self.invalidations.max(other.invalidations) }
    }

    pub(crate) fn covers(self, owed: Self) -> bool {
        self.data >= owed.data && self.invalidations >= owed.invalidations
    }

    pub(crate) fn to_body(self) -> String {
        format!("{} {}", self.data, self.invalidations)
    }

    pub(crate) fn of_body(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).expect("text");
        let (data, invalidations) = text.split_once(' ').expect("two numbers");
        Self {
            data: data.parse().expect("a number"),
            invalidations: invalidations.parse().expect("a number"),
        }
    }
}
