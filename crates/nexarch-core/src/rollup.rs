//! Rollups: what spans add up to, per minute. Linear, so that a contribution can be taken back.
//!
//! A *cell* counts calls, errors and durations under a typed key ([`key::Key`]): stored spans, requests,
//! operations, entries, edges. Cells of equal keys add up, over traces, minutes and blobs, in any order and with
//! any sign, so `contribution(new) − contribution(old)` replaces what a trace said before. Nothing here knows more
//! than one trace: that a peer name or an address *is* a known service is decided when a [`Rollup`] becomes a
//! graph ([`crate::graph`]).

pub mod cell;
mod codec;
mod fold;
pub mod key;
mod table;
mod wire;

use rustc_hash::FxHashMap;

use crate::limits::MAX_READ_CELLS;
pub use cell::Cell;
pub(crate) use fold::OTHER;
use fold::{Moved, Negative};
pub use key::{Amount, Class, Key, NodeKey, Note, Via};
pub(crate) use table::Table;

/// What a set of spans adds to the rollups; signed, so that an earlier contribution can be retracted.
#[derive(Debug, Clone, Default)]
pub struct Delta {
    /// Cells by minute since the Unix epoch and key. Zero ones say nothing: what was taken back may have come again.
    pub(crate) table: Table,
}

impl Delta {
    /// Is there nothing to write?
    pub fn is_empty(&self) -> bool {
        self.table.cells.values().all(Cell::is_zero)
    }

    /// Adds another contribution.
    pub fn add(&mut self, other: &Self) {
        self.table.merge(&other.table, 1);
    }

    /// Takes another contribution back; cells that become zero vanish.
    pub fn subtract(&mut self, other: &Self) {
        self.table.merge(&other.table, -1);
    }

    /// Folds names beyond the limits of [`crate::limits`] into "(other)"; sums stay as they are. Cells that take
    /// something back keep their name.
    pub fn bound(&mut self) {
        self.table.tidy();
        fold::fold(&mut self.table, Negative::Keep);
    }

    /// One self-contained blob per touched minute (minutes since the Unix epoch), in order.
    pub fn encode(&self) -> Vec<(u32, Vec<u8>)> {
        let mut cells: Vec<(u32, Key, &Cell)> =
            self.table.cells.iter().map(|(&(minute, key), cell)| (minute, key, cell)).collect();
        cells.retain(|(.., cell)| !cell.is_zero());
        cells.sort_unstable_by_key(|&(minute, ..)| minute);
        cells
            .chunk_by(|a, b| a.0 == b.0)
            .map(|group| {
                (group[0].0, codec::encode(&self.table, group.iter().map(|&(_, key, cell)| (key, cell))))
            })
            .collect()
    }
}

/// Equal cells, whatever the order in which their names were met.
impl PartialEq for Delta {
    fn eq(&self, other: &Self) -> bool {
        self.encode() == other.encode()
    }
}

/// Adds up the blobs of one minute (or of several that become one) into one; the result is empty when all cells
/// cancel out. An empty blob is the blob without cells. What is over the limits of [`crate::limits`] is folded; the
/// blobs must be all that there are of their minutes, or the oldest ones.
pub fn merge(blobs: &[&[u8]]) -> Result<Vec<u8>, Corrupt> {
    merge_by(blobs, Negative::Fold)
}

/// As [`merge`], of blobs that others of their minutes came before: cells that take something back keep their name, as
/// what they take back has it too.
pub fn merge_late(blobs: &[&[u8]]) -> Result<Vec<u8>, Corrupt> {
    merge_by(blobs, Negative::Keep)
}

fn merge_by(blobs: &[&[u8]], negative: Negative) -> Result<Vec<u8>, Corrupt> {
    let rollup = Rollup::fold_with(blobs.iter().map(|&blob| (0, blob)), negative)?;
    let cells = rollup.table.cells.iter().map(|(&(_, key), cell)| (key, cell));
    Ok(codec::encode(&rollup.table, cells))
}

/// The cells of a window, added up.
#[derive(Debug, Clone, Default)]
pub struct Rollup {
    pub(crate) table: Table,
    /// By service (node of the table): begin of the newest cell that holds a span of it, minutes since the epoch.
    pub(crate) last_seen: FxHashMap<u32, u32>,
}

impl Rollup {
    /// Adds up blobs of any minutes (since the Unix epoch) into one cell per key. Blobs of one minute must follow
    /// each other for `last_seen`; sums do not depend on the order.
    pub fn fold<'a>(blobs: impl IntoIterator<Item = (u32, &'a [u8])>) -> Result<Self, Corrupt> {
        Self::fold_with(blobs, Negative::Fold)
    }

    fn fold_with<'a>(
        blobs: impl IntoIterator<Item = (u32, &'a [u8])>,
        negative: Negative,
    ) -> Result<Self, Corrupt> {
        let mut table = Table::default();
        let mut seen = LastSeen::default();
        let mut room = MAX_READ_CELLS;
        for (minute, blob) in blobs {
            seen.turn_to(minute);
            codec::decode(&mut table, blob, &|_, _| true, &mut |table, key, cell| {
                if let Key::Spans(node) = key {
                    seen.add(node, cell.count);
                }
                table.merge_cell(0, key, cell, 1);
            })?;
            if table.cells.len() > room {
                if let Some(moved) = fold::fold(&mut table, negative) {
                    seen.follow(&moved);
                }
                room = room.max(2 * table.cells.len());
            }
        }
        if let Some(moved) = fold::fold(&mut table, negative) {
            seen.follow(&moved);
        }
        Ok(Self { table, last_seen: seen.finish() })
    }

    /// Adds up blobs into one cell per key and bucket; `bucket` maps a minute to its bucket, `wanted` says which
    /// cells to keep.
    pub(crate) fn fold_by<'a>(
        blobs: impl IntoIterator<Item = (u32, &'a [u8])>,
        bucket: impl Fn(u32) -> u32,
        wanted: impl Fn(&Table, Key) -> bool,
    ) -> Result<Self, Corrupt> {
        let mut table = Table::default();
        let mut room = MAX_READ_CELLS;
        for (minute, blob) in blobs {
            codec::decode(&mut table, blob, &wanted, &mut |table, key, cell| {
                table.merge_cell(bucket(minute), key, cell, 1);
            })?;
            if table.cells.len() > room {
                fold::fold(&mut table, Negative::Fold);
                room = room.max(2 * table.cells.len());
            }
        }
        fold::fold(&mut table, Negative::Fold);
        Ok(Self { table, last_seen: FxHashMap::default() })
    }

    /// Are there no cells?
    pub fn is_empty(&self) -> bool {
        self.table.cells.is_empty()
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.table.cells.len()
    }

    /// Keys and cells of an unbucketed fold, in no order.
    pub(crate) fn cells(&self) -> impl Iterator<Item = (Key, &Cell)> {
        self.table.cells.iter().map(|(&(_, key), cell)| (key, cell))
    }
}

/// Which minute is the newest in which a service has spans left, when some blobs of a minute take others back.
#[derive(Default)]
struct LastSeen {
    minute: u32,
    counts: FxHashMap<u32, i64>,
    newest: FxHashMap<u32, u32>,
}

impl LastSeen {
    fn add(&mut self, node: u32, count: i64) {
        let sum = self.counts.entry(node).or_default();
        *sum = sum.wrapping_add(count);
    }

    fn turn_to(&mut self, minute: u32) {
        if minute != self.minute {
            self.settle();
            self.minute = minute;
        }
    }

    /// Nodes have new numbers, and some have become one.
    fn follow(&mut self, moved: &Moved) {
        let place = |node: u32| moved.get(&node).copied();
        for (node, count) in std::mem::take(&mut self.counts) {
            if let Some(node) = place(node) {
                self.add(node, count);
            }
        }
        for (node, minute) in std::mem::take(&mut self.newest) {
            if let Some(node) = place(node) {
                let newest = self.newest.entry(node).or_default();
                *newest = minute.max(*newest);
            }
        }
    }

    fn finish(mut self) -> FxHashMap<u32, u32> {
        self.settle();
        self.newest
    }

    fn settle(&mut self) {
        for (node, _) in self.counts.drain().filter(|&(_, count)| count > 0) {
            let newest = self.newest.entry(node).or_default();
            *newest = self.minute.max(*newest);
        }
    }
}

/// A stored blob that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corrupt rollup: {0}")]
pub struct Corrupt(pub &'static str);

#[cfg(test)]
mod flood;
#[cfg(test)]
mod tests;
