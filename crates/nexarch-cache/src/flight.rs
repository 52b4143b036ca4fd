//! One computation per key: who computes, who joins, who waits for the next.
//!
//! Per key at most one flight runs and at most one waits. A running flight may be joined only when the fence it
//! took covers what the newcomer needs; otherwise its result may be older than the newcomer's request. The
//! waiting flight takes its fence when it begins, so it suits everybody who joined it before. It is closed *before* it
//! takes the fence: who came in between could need more than was taken.
//!
//! A caller who looks for a stored value himself, before anything is computed, has a place and no flight: he may not be
//! polled for as long as he likes. Whoever comes meanwhile takes the place, and leads.
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
    /// Wait for the result of this flight; who hangs up before it is there says so by [`Flights::leave`].
    Join(Ticket<H>),
    /// The flight that fits has its full number of waiters: compute for yourself.
    Alone,
}

/// Names one flight of one key.
#[derive(Clone, Debug)]
pub(crate) struct Ticket<H> {
    pub(crate) id: u64,
    pub(crate) handle: H,
}

#[derive(Clone, Debug)]
struct Flight<H> {
    id: u64,
    stage: Stage,
    /// A `no-cache` reader joined: a stored value does not do.
    fresh: bool,
    waiters: usize,
    handle: H,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Its caller looks for a stored value: nobody may join, and whoever comes takes its place.
    Looks,
    /// Has not begun: anybody may join.
    Open,
    /// Takes its fence: nobody may join.
    Closed,
    /// Computes under this fence: who needs no more may join.
    Under(Fence),
}

#[derive(Clone, Debug)]
struct Slot<H> {
    running: Flight<H>,
    waiting: Option<Flight<H>>,
}

#[derive(Debug)]
pub(crate) struct Flights<K, H> {
    max_waiters: usize,
    inner: Mutex<Inner<K, H>>,
}

#[derive(Clone, Debug)]
struct Inner<K, H> {
    last_id: u64,
    slots: HashMap<K, Slot<H>>,
}

impl<K: Eq + Hash, H: Clone> Flights<K, H> {
    /// `max_waiters` bounds those who wait for one flight.
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
        let new = |stage| Flight { id, stage, fresh, waiters: 0, handle: handle() };
        let Some(slot) = inner.flying(&key) else {
            let running = new(Stage::Under(*needed));
            let ticket = running.ticket();
            inner.slots.insert(key, Slot { running, waiting: None });
            return Arrival::Lead(ticket);
        };
        if slot.running.suits(needed, fresh) {
            return slot.running.join(fresh, self.max_waiters);
        }
        match &mut slot.waiting {
            Some(waiting) => waiting.join(fresh, self.max_waiters),
            None => Arrival::Wait(slot.waiting.insert(new(Stage::Open)).ticket()),
        }
    }

    /// For a caller who looks for a stored value himself: the place of `key`, if nobody has it. It holds nobody up.
    /// [`Flights::compute_under`] says whether it is his still, [`Flights::finish`] gives it back.
    pub(crate) fn look(&self, key: K, handle: impl FnOnce() -> H) -> Option<Ticket<H>> {
        let mut inner = lock(&self.inner);
        (!inner.slots.contains_key(&key)).then(|| inner.first(key, Stage::Looks, handle()))
    }

    /// For one who can do without: the lead of a flight of `key` under `fence`, if the key has none.
    #[allow(dead_code, reason = "tests/interleavings compiles this file and does not call it")]
    pub(crate) fn lead(&self, key: K, fence: &Fence, handle: impl FnOnce() -> H) -> Option<Ticket<H>> {
        let mut inner = lock(&self.inner);
        inner.flying(&key).is_none().then(|| inner.first(key, Stage::Under(*fence), handle()))
    }

    /// Flight `id` begins and is closed; says whether a stored value would not do. Its fence is taken after this and
    /// told to [`Flights::compute_under`]: all who joined asked what they need before.
    pub(crate) fn begin(&self, key: &K, id: u64) -> bool {
        let mut inner = lock(&self.inner);
        inner.running(key, id).is_none_or(|running| {
            if matches!(running.stage, Stage::Open) {
                running.stage = Stage::Closed;
            }
            running.fresh
        })
    }

    /// Flight `id` computes under `fence`, and may be joined by those for whom that will do. False when it is none any
    /// more: somebody took the place while its caller looked, and leads.
    pub(crate) fn compute_under(&self, key: &K, id: u64, fence: Fence) -> bool {
        let mut inner = lock(&self.inner);
        let running = inner.running(key, id);
        running.map(|running| running.stage = Stage::Under(fence)).is_some()
    }

    /// Somebody who joined flight `id` does not wait for it any more: there is room for another.
    pub(crate) fn leave(&self, key: &K, id: u64) {
        let mut inner = lock(&self.inner);
        let Some(slot) = inner.slots.get_mut(key) else { return };
        let flights = [Some(&mut slot.running), slot.waiting.as_mut()];
        if let Some(flight) = flights.into_iter().flatten().find(|flight| flight.id == id) {
            flight.waiters = flight.waiters.saturating_sub(1);
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
    #[allow(dead_code, reason = "called by tests/interleavings, which compiles this file")]
    pub(crate) fn len(&self) -> usize {
        lock(&self.inner).slots.len()
    }
}

/// A model tries every next step from the same state.
#[cfg(test)]
impl<K: Clone, H: Clone> Clone for Flights<K, H> {
    fn clone(&self) -> Self {
        Self { max_waiters: self.max_waiters, inner: Mutex::new(lock(&self.inner).clone()) }
    }
}

#[cfg(test)]
#[allow(dead_code, reason = "what the exhaustive model tells states by; it compiles this file")]
impl<K: Eq + Hash, H: Clone> Flights<K, H> {
    /// The handles of the running and the waiting flight of `key`, whether they are for `no-cache` readers, and how far
    /// the running one is: 0 open, 1 closed, 2 under the fence that follows, 3 its caller looks.
    #[expect(clippy::type_complexity, reason = "written down once, for a hash")]
    pub(crate) fn picture(&self, key: &K) -> Option<(H, bool, u8, Fence, Option<(H, bool)>)> {
        let inner = lock(&self.inner);
        let slot = inner.slots.get(key)?;
        let (stage, fence) = match slot.running.stage {
            Stage::Open => (0, Fence::default()),
            Stage::Closed => (1, Fence::default()),
            Stage::Under(fence) => (2, fence),
            Stage::Looks => (3, Fence::default()),
        };
        let waiting = slot.waiting.as_ref().map(|waiting| (waiting.handle.clone(), waiting.fresh));
        Some((slot.running.handle.clone(), slot.running.fresh, stage, fence, waiting))
    }
}

impl<K: Eq + Hash, H> Inner<K, H> {
    /// The flights of a key; none where somebody only looks.
    fn flying(&mut self, key: &K) -> Option<&mut Slot<H>> {
        self.slots.get_mut(key).filter(|slot| !matches!(slot.running.stage, Stage::Looks))
    }

    fn running(&mut self, key: &K, id: u64) -> Option<&mut Flight<H>> {
        self.slots.get_mut(key).map(|slot| &mut slot.running).filter(|running| running.id == id)
    }
}

impl<K: Eq + Hash, H: Clone> Inner<K, H> {
    /// The only flight of its key.
    fn first(&mut self, key: K, stage: Stage, handle: H) -> Ticket<H> {
        self.last_id += 1;
        let running = Flight { id: self.last_id, stage, fresh: false, waiters: 0, handle };
        let ticket = running.ticket();
        self.slots.insert(key, Slot { running, waiting: None });
        ticket
    }
}

impl<H: Clone> Flight<H> {
    fn ticket(&self) -> Ticket<H> {
        Ticket { id: self.id, handle: self.handle.clone() }
    }

    fn suits(&self, needed: &Fence, fresh: bool) -> bool {
        match &self.stage {
            Stage::Open => true,
            Stage::Closed | Stage::Looks => false,
            Stage::Under(taken) => !fresh && taken.covers(needed),
        }
    }

    fn join(&mut self, fresh: bool, max_waiters: usize) -> Arrival<H> {
        if self.waiters >= max_waiters {
            return Arrival::Alone;
        }
        self.waiters += 1;
        self.fresh |= fresh;
        Arrival::Join(self.ticket())
    }
}
