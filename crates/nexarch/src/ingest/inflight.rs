//! A budget of bytes for all requests under way, so that a flood meets a 429 and not the end of memory.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The budget; cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    used: Arc<AtomicUsize>,
    limit: usize,
}

/// No room now; the caller should come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { used: Arc::new(AtomicUsize::new(0)), limit }
    }

    /// A hold on nothing yet.
    pub fn hold(&self) -> Held {
        Held { budget: self.clone(), bytes: 0 }
    }

    /// Most bytes held at once.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes held; given back when dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more, or nothing when the budget is spent.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        let limit = self.budget.limit;
        let take = |used: usize| used.checked_add(more).filter(|sum| *sum <= limit);
        // Only a count: it orders no other memory.
        self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).map_err(|_| Full)?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_budget_refuses_and_recovers() {
        let budget = Budget::new(100);
        let mut first = budget.hold();
        assert_eq!(first.grow(60), Ok(()));
        let mut second = budget.hold();
        assert_eq!(second.grow(41), Err(Full));
        assert_eq!(second.grow(40), Ok(()));
        assert_eq!(second.grow(usize::MAX), Err(Full));
        drop(first);
        assert_eq!(budget.used(), 40);
        drop(second);
        assert_eq!(budget.used(), 0);
    }
}
