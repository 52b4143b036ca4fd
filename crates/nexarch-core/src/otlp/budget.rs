//! How much memory a body may become.

use std::cell::Cell;

use super::{EXPANSION_BASE, MAX_EXPANSION, Reason, Rules};

/// Most bytes that the elements of a body of this length may take, whoever decodes it: how much room to keep for it.
pub fn max_memory(body_len: usize) -> usize {
    body_len.saturating_mul(MAX_EXPANSION).saturating_add(EXPANSION_BASE)
}

/// Bytes that the elements of one body may still take.
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    pub(crate) fn new(body_len: usize, rules: &Rules) -> Self {
        let most = max_memory(body_len);
        Self(Cell::new(rules.max_memory.map_or(most, |room| room.min(most))))
    }

    /// Takes memory for `count` elements of type `T`, before they are made.
    pub(crate) fn charge<T>(&self, count: usize) -> Result<(), Reason> {
        let bytes = count.saturating_mul(size_of::<T>());
        self.0.set(self.0.get().checked_sub(bytes).ok_or(Reason::TooManyElements)?);
        Ok(())
    }

    /// For how many elements of type `T` there is room.
    pub(crate) fn room<T>(&self) -> usize {
        self.0.get() / size_of::<T>().max(1)
    }
}
