//! How much memory a body may become.

use std::cell::Cell;

use super::{EXPANSION_BASE, MAX_EXPANSION, Reason};

/// Bytes that the elements of one body may still take.
#[derive(Debug)]
pub(crate) struct Budget(Cell<usize>);

impl Budget {
    pub(crate) fn new(body_len: usize) -> Self {
        Self(Cell::new(body_len.saturating_mul(MAX_EXPANSION).saturating_add(EXPANSION_BASE)))
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
