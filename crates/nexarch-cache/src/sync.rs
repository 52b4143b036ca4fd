//! The synchronisation types of the pure state machines (`mirror`, `flight`).
//!
//! They name `crate::sync` and never `std::sync`, so that `tests/interleavings` can compile the very same
//! files over Shuttle's types and drive them through schedules that a real machine meets once a year.

pub(crate) use std::sync::atomic::{AtomicU64, Ordering};
pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a panic of an earlier holder: every critical section of this crate leaves its data valid
/// at each step, so a poisoned lock says nothing about them.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
