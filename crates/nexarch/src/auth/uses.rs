//! When keys were last used: noted in memory by each request, and told to the store once a minute.
//!
//! A request costs a load and a comparison. What a crash loses is a minute of it.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nexarch_store::{Error, Store};

use crate::app::App;

/// How often the store is told.
const EVERY: Duration = Duration::from_mins(1);
/// A later use than the noted one is noted when it is later by this much, microseconds: many requests of a second write
/// once to memory that all processors read.
const PRECISION_US: u64 = 1_000_000;
/// Keys whose uses wait at once. A use of a further one is not noted until some are told.
const MAX_WAITING: usize = 65_536;
/// Keys told in one transaction: some ten milliseconds of the writer's time.
const TOLD_AT_ONCE: usize = 1_000;

/// The latest use of one key, microseconds since the Unix epoch; 0 = none that this process knows of.
#[derive(Debug, Default)]
pub(super) struct Use {
    at_us: AtomicU64,
    told_us: AtomicU64,
}

impl Use {
    /// Notes a use.
    #[inline]
    pub(super) fn note(&self, now_us: u64) {
        // No other memory is ordered by it. A clock that goes back notes nothing.
        if now_us.saturating_sub(self.at_us.load(Ordering::Relaxed)) >= PRECISION_US {
            self.at_us.fetch_max(now_us, Ordering::Relaxed);
        }
    }

    fn waiting(&self) -> Option<u64> {
        let at = self.at_us.load(Ordering::Relaxed);
        (at > self.told_us.load(Ordering::Relaxed)).then_some(at)
    }
}

/// The latest uses of all keys, by public id. They outlive what the process remembers of the keys themselves.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    keys: Mutex<HashMap<String, Arc<Use>>>,
}

impl Uses {
    /// Where uses of a key are noted.
    pub(super) fn of(&self, key_id: &str) -> Arc<Use> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = keys.get(key_id) {
            return Arc::clone(known);
        }
        let new = Arc::<Use>::default();
        if keys.len() < MAX_WAITING {
            keys.insert(key_id.to_owned(), Arc::clone(&new));
        }
        new
    }

    /// The latest use of a key that this process knows of, microseconds since the Unix epoch.
    pub(crate) fn last_us(&self, key_id: &str) -> Option<u64> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(key_id).map(|known| known.at_us.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Tells the store what it does not know yet; what it does not take waits on.
    pub(crate) async fn tell(&self, store: &dyn Store) -> Result<(), Error> {
        let mut waiting: Vec<(String, u64, Arc<Use>)> = {
            let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let new = keys.iter().filter_map(|(id, known)| Some((id, known.waiting()?, known)));
            new.map(|(id, at, known)| (id.clone(), at, Arc::clone(known))).collect()
        };
        waiting.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        for piece in waiting.chunks(TOLD_AT_ONCE) {
            let uses: Vec<(String, u64)> = piece.iter().map(|(id, at, _)| (id.clone(), *at)).collect();
            store.note_uses(&uses).await?;
            for (_, at, known) in piece {
                known.told_us.fetch_max(*at, Ordering::Relaxed);
            }
        }
        drop(waiting);
        // Of a key that nobody remembers, the store knows more than we do.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.retain(|_, known| Arc::strong_count(known) > 1 || known.waiting().is_some());
        Ok(())
    }
}

/// Tells the store of uses once a minute, and for the last time when the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let stop = app.lifecycle.stop().clone();
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failing = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let told = app.auth.uses.tell(&*app.store).await;
        if let Err(error) = &told
            && !failing
        {
            tracing::warn!(%error, "last uses of keys wait for the database");
        }
        failing = told.is_err();
    }
    if let Err(error) = app.auth.uses.tell(&*app.store).await {
        tracing::warn!(%error, "last uses of keys are lost");
    }
}
