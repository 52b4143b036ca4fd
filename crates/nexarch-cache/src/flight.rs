//! One computation per key: who computes, who joins, who waits for the next.
//!
//! Per key at most one flight runs and at most one waits. A running flight may be joined only when the fence it
//! took covers what the newcomer needs; otherwise its result may be older than the newcomer's request. The
//! waiting flight takes its fence when it begins, after everybody who joined it arrived, so it suits them all.
//!
//! Pure: no clock, no async. `H` is how the caller wakes and answers those who joined.

use crate::fence::Fence;
use crate::sync::{Mutex, lock};
use std::collections::HashMap;
use std::hash::Hash;

/// What a newcomer is to do.
#[derive(Debug)]
pub(crate) enum Arrival<H> {
    /// Compute now, under the fence given; everybody else may join.
    Lead(Ticket<H>),
    /// Compute when the running flight has ended: `finish` hands out the handle to be woken.
    Wait(Ticket<H>),
    /// Wait for the result of the flight with this handle.
    Join(H),
    /// The flight that fits has its full number of waiters: compute for yourself.
    Alone,
}

/// Names one flight of one key.
#[derive(Clone, Debug)]
pub(crate) struct Ticket<H> {
    pub(crate) id: u64,
    pub(crate) handle: H,
}

#[derive(Debug)]
struct Flight<H> {
    id: u64,
    /// Taken when the computation begins; until then anybody may join.
    fence: Option<Fence>,
    /// A `no-cache` reader joined: a stored value does not do.
    fresh: bool,
    waiters: usize,
    handle: H,
}

#[derive(Debug)]
struct Slot<H> {
    running: Flight<H>,
    waiting: Option<Flight<H>>,
}

#[derive(Debug)]
pub(crate) struct Flights<K, H> {
    max_waiters: usize,
    inner: Mutex<Inner<K, H>>,
}

#[derive(Debug)]
struct Inner<K, H> {
    last_id: u64,
    slots: HashMap<K, Slot<H>>,
}

impl<K: Eq + Hash, H: Clone> Flights<K, H> {
    /// `max_waiters` bounds those who join one flight.
    pub(crate) fn new(max_waiters: usize) -> Self {
        Self { max_waiters, inner: Mutex::new(Inner { last_id: 0, slots: HashMap::new() }) }
    }

    /// A reader that found nothing arrives with what it needs. `fresh` asks for a computation that begins after
    /// this call.
    pub(crate) fn arrive(
        &self,
        key: K,
        needed: &Fence,
        fresh: bool,
        handle: impl FnOnce() -> H,
    ) -> Arrival<H> {
        let mut inner = lock(&self.inner);
        inner.last_id += 1;
        let id = inner.last_id;
        let new = |fence| Flight { id, fence, fresh, waiters: 0, handle: handle() };
        let Some(slot) = inner.slots.get_mut(&key) else {
            let running = new(Some(*needed));
            let ticket = running.ticket();
            inner.slots.insert(key, Slot { running, waiting: None });
            return Arrival::Lead(ticket);
        };
        if slot.running.suits(needed, fresh) {
            return slot.running.join(fresh, self.max_waiters);
        }
        match &mut slot.waiting {
            Some(waiting) => waiting.join(fresh, self.max_waiters),
            None => Arrival::Wait(slot.waiting.insert(new(None)).ticket()),
        }
    }

    /// The computation of flight `id` begins under `fence`; says whether a stored value would not do.
    pub(crate) fn begin(&self, key: &K, id: u64, fence: Fence) -> bool {
        let mut inner = lock(&self.inner);
        match inner.slots.get_mut(key).map(|slot| &mut slot.running) {
            Some(running) if running.id == id => {
                running.fence = Some(fence);
                running.fresh
            }
            _ => true,
        }
    }

    /// Flight `id` has ended, well or not. Returns the handle of the flight that runs now, to be woken.
    pub(crate) fn finish(&self, key: &K, id: u64) -> Option<H> {
        let mut inner = lock(&self.inner);
        let slot = inner.slots.get_mut(key)?;
        if slot.running.id != id {
            // A waiting flight whose task was dropped before its turn.
            if slot.waiting.as_ref().is_some_and(|waiting| waiting.id == id) {
                slot.waiting = None;
            }
            return None;
        }
        if let Some(next) = slot.waiting.take() {
            slot.running = next;
            return Some(slot.running.handle.clone());
        }
        inner.slots.remove(key);
        None
    }

    /// Keys with a flight.
    #[cfg(test)]
    #[allow(dead_code, reason = "called by tests/interleavings.rs, which compiles this file")]
    pub(crate) fn len(&self) -> usize {
        lock(&self.inner).slots.len()
    }
}

impl<H: Clone> Flight<H> {
    fn ticket(&self) -> Ticket<H> {
        Ticket { id: self.id, handle: self.handle.clone() }
    }

    fn suits(&self, needed: &Fence, fresh: bool) -> bool {
        match &self.fence {
            None => true,
            Some(taken) => !fresh && taken.covers(needed),
        }
    }

    fn join(&mut self, fresh: bool, max_waiters: usize) -> Arrival<H> {
        if self.waiters >= max_waiters {
            return Arrival::Alone;
        }
        self.waiters += 1;
        self.fresh |= fresh;
        Arrival::Join(self.handle.clone())
    }
}
