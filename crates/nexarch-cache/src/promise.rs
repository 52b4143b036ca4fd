//! A value that comes once, and those who wait for it.
//!
//! Not `tokio::sync::watch`: that wakes in an order drawn by chance, and a simulation with a seed has to be the same
//! twice.

use crate::sync::lock;
use std::pin::pin;
use std::sync::Mutex;
use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Promise<T> {
    value: Mutex<Option<T>>,
    kept: Notify,
}

impl<T: Clone> Promise<T> {
    pub(crate) fn new() -> Self {
        Self { value: Mutex::new(None), kept: Notify::new() }
    }

    /// The first value stays.
    pub(crate) fn keep(&self, value: T) {
        lock(&self.value).get_or_insert(value);
        self.kept.notify_waiters();
    }

    pub(crate) async fn wait(&self) -> T {
        loop {
            let mut kept = pin!(self.kept.notified());
            // Counted among those who wait before looking: a value that comes in between wakes.
            kept.as_mut().enable();
            if let Some(value) = lock(&self.value).clone() {
                return value;
            }
            kept.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio_util::task::TaskTracker;

    #[tokio::test]
    async fn the_first_value_reaches_all_who_wait_now_or_later() {
        let promise = Arc::new(Promise::new());
        let waiting = |promise: &Arc<Promise<u8>>| {
            let promise = Arc::clone(promise);
            TaskTracker::new().spawn(async move { promise.wait().await })
        };
        let early: Vec<_> = (0..3).map(|_| waiting(&promise)).collect();
        tokio::task::yield_now().await;
        promise.keep(1);
        promise.keep(2);
        for waiting in early.into_iter().chain([waiting(&promise)]) {
            assert_eq!(waiting.await.unwrap(), 1);
        }
    }
}
