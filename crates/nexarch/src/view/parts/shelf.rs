//! Parts of one kind: each made once, by the first who needs it, for all who need it meanwhile and later.

use std::{
    collections::HashMap,
    hash::Hash,
    mem::size_of,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use nexarch_core::{
    analysis::Basis, facts::Facts, graph::Graph, incident::Incident, rollup::Rollup, season::Regressions,
};
use nexarch_store::{Cells, KeptVerdicts, Sampled};

use super::super::gather::{Blobs, Season};

/// Parts of one kind that are kept; of whatever many ranges are asked for.
const MAX_PARTS: usize = 128;

/// A cell of a rollup or a graph with its key and a histogram of some dozen buckets, bytes, as an estimate.
const CELL_BYTES: usize = 640;

/// Bytes that all parts of a process may take.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) taken: AtomicUsize,
}

/// A place in it, given back when dropped.
#[derive(Debug)]
struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    fn take(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= super::MAX_BYTES);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Place { room: Arc::clone(self), bytes })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// About how much memory it takes.
pub(in super::super) trait Weigh {
    /// Bytes.
    fn bytes(&self) -> usize;
}

/// One part: nobody made it yet, it is there, or it is too large to be kept and everybody makes his own.
enum Part<V> {
    Wanted,
    Made(Arc<V>, #[expect(dead_code, reason = "is held for what its drop does")] Place),
    TooLarge,
}

type Slot<V> = Arc<tokio::sync::Mutex<Part<V>>>;

/// Parts by what they are of.
pub(in super::super) struct Shelf<K, V> {
    room: Arc<Room>,
    parts: Mutex<HashMap<K, Slot<V>>>,
}

impl<K, V> Default for Shelf<K, V> {
    fn default() -> Self {
        Self { room: Arc::default(), parts: Mutex::default() }
    }
}

impl<K: Eq + Hash, V: Weigh> Shelf<K, V> {
    pub(super) fn new(room: &Arc<Room>) -> Self {
        Self { room: Arc::clone(room), parts: Mutex::default() }
    }

    /// The part of `key`, read if it is not there. Who waits for another's read reads himself when that fails.
    pub(in super::super) async fn read<E>(
        &self,
        key: K,
        read: impl Future<Output = Result<V, E>>,
    ) -> Result<Arc<V>, E> {
        let Some(slot) = self.slot(key) else { return read.await.map(Arc::new) };
        let mut part = slot.lock().await;
        match &*part {
            Part::Made(it, _) => return Ok(Arc::clone(it)),
            Part::TooLarge => {
                drop(part);
                return read.await.map(Arc::new);
            }
            Part::Wanted => {}
        }
        let read = read.await?;
        Ok(self.keep(&mut part, read))
    }

    /// The part of `key`, made if it is not there. Blocks: not for tasks.
    pub(in super::super) fn make<E>(&self, key: K, make: impl FnOnce() -> Result<V, E>) -> Result<Arc<V>, E> {
        let Some(slot) = self.slot(key) else { return make().map(Arc::new) };
        let mut part = slot.blocking_lock();
        match &*part {
            Part::Made(it, _) => return Ok(Arc::clone(it)),
            Part::TooLarge => {
                drop(part);
                return make().map(Arc::new);
            }
            Part::Wanted => {}
        }
        let new = make()?;
        Ok(self.keep(&mut part, new))
    }

    fn slot(&self, key: K) -> Option<Slot<V>> {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        if parts.len() >= MAX_PARTS && !parts.contains_key(&key) {
            return None;
        }
        Some(Arc::clone(parts.entry(key).or_insert_with(|| Arc::new(tokio::sync::Mutex::new(Part::Wanted)))))
    }

    /// What there are parts of, or will be.
    #[cfg(test)]
    pub(super) fn keys(&self) -> Vec<K>
    where
        K: Clone,
    {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    fn keep(&self, part: &mut Part<V>, value: V) -> Arc<V> {
        let value = Arc::new(value);
        *part = match self.room.take(value.bytes()) {
            Some(place) => Part::Made(Arc::clone(&value), place),
            None => Part::TooLarge,
        };
        value
    }
}

fn blobs(blobs: &Blobs) -> usize {
    blobs.iter().map(|(_, blob)| size_of::<(u32, Vec<u8>)>() + blob.len()).sum()
}

impl Weigh for Cells {
    fn bytes(&self) -> usize {
        blobs(&self.blobs)
    }
}

impl Weigh for KeptVerdicts {
    fn bytes(&self) -> usize {
        size_of_val(&*self.hours) + blobs(&self.minutes)
    }
}

impl Weigh for Vec<Incident> {
    fn bytes(&self) -> usize {
        // With the services and signals of each.
        self.len() * 4 * size_of::<Incident>()
    }
}

impl Weigh for Sampled {
    fn bytes(&self) -> usize {
        // With the texts of each.
        self.traces.iter().map(|trace| 3 * size_of_val(&**trace)).sum()
    }
}

impl Weigh for Option<Season> {
    fn bytes(&self) -> usize {
        self.as_ref().map_or(0, |(head, weeks)| blobs(head) + weeks.iter().map(blobs).sum::<usize>())
    }
}

impl Weigh for Rollup {
    fn bytes(&self) -> usize {
        self.len() * CELL_BYTES
    }
}

impl Weigh for Graph {
    fn bytes(&self) -> usize {
        // A node and an edge have several cells each.
        (self.nodes.len() + self.edges.len() + self.flows.len()) * 4 * CELL_BYTES
    }
}

impl Weigh for Basis {
    fn bytes(&self) -> usize {
        self.spans() * size_of::<Facts>() + self.nodes() * CELL_BYTES
    }
}

impl Weigh for Regressions {
    fn bytes(&self) -> usize {
        self.count() * CELL_BYTES
    }
}

#[cfg(test)]
mod tests;
