//! Other forms of a body, such as packed ones: made once, when one was asked for often enough, and kept beside the body for
//! as long as that lives. What a form is, and how it is made, is the caller's.

use crate::cache::Cache;
use crate::entry::{Entry, snug};
use crate::key::{EntryKey, Scope};
use crate::operation::OperationId;
use crate::outcome::Answer;
use bytes::Bytes;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

/// Forms that an entry may have beside its body.
pub(crate) const VARIANTS: usize = 2;

/// A form that was asked for so often is made: once may be chance.
const OFTEN: u8 = 2;

/// Beyond this a form is being made, or was.
const MADE: u8 = u8::MAX;

/// The forms of one entry.
#[derive(Debug, Default)]
pub(crate) struct Variants {
    /// Empty where a form is no gain, or there was no room for it.
    made: [OnceLock<Bytes>; VARIANTS],
    asked: [AtomicU8; VARIANTS],
}

impl Variants {
    fn get(&self, which: usize) -> Option<&Bytes> {
        self.made.get(which)?.get().filter(|body| !body.is_empty())
    }

    /// Counts a wish for a form that is not there; whether it is to be made now, and by who asked.
    fn wanted(&self, which: usize, now: bool) -> bool {
        let Some(asked) = self.asked.get(which) else { return false };
        let more = |asked: u8| match asked {
            MADE => None,
            // Whoever raises it last makes it, and nobody else ever does.
            asked if now || asked + 1 >= OFTEN => Some(MADE),
            asked => Some(asked + 1),
        };
        asked
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok_and(|before| now || before + 1 >= OFTEN)
    }
}

impl Cache {
    /// The form `which` (0 or 1) of an answer's body, if it is there. If it is not, but was asked for twice, `make` makes it
    /// behind, once for each entry, on a thread that may be kept busy; it is then there as long as the entry is, and counts
    /// among its bytes. `make` gives `None` where the form is no gain. Bodies in memory alone have forms: of an answer that
    /// is not kept there is none.
    ///
    /// `operation` is that of the read that was answered, which was one of bytes: no form is found of a value of a type.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), nexarch_cache::Error> {
    /// use bytes::Bytes;
    /// use nexarch_cache::{Cache, Computed, LocalAuthority, Operation, Read, Scope};
    /// use std::{sync::Arc, time::Duration};
    /// use tokio_util::task::TaskTracker;
    ///
    /// let tasks = TaskTracker::new();
    /// let cache = Cache::builder(Arc::new(LocalAuthority::default()))
    ///     .operations([Operation::new("report", Duration::from_secs(60))])
    ///     .build(tasks.clone())?;
    /// let (acme, report) = (Scope::new("acme")?, cache.operation("report")?);
    /// let compute = |_| async { Ok(Computed::new("forty-two")) };
    /// let answer = cache.get_or_compute(&acme, Read::new(report, "year=2025"), compute).await?;
    /// let short: fn(&Bytes) -> Option<Bytes> = |body| Some(body.slice(..5));
    /// assert_eq!(cache.variant(&acme, report, &answer, 0, short), None);
    /// assert_eq!(cache.variant(&acme, report, &answer, 0, short), None, "it is made now");
    /// tasks.close();
    /// tasks.wait().await;
    /// assert_eq!(cache.variant(&acme, report, &answer, 0, short), Some(Bytes::from("forty")));
    /// # Ok(())
    /// # }
    /// ```
    pub fn variant(
        &self,
        scope: &Scope,
        operation: OperationId,
        answer: &Answer,
        which: usize,
        make: fn(&Bytes) -> Option<Bytes>,
    ) -> Option<Bytes> {
        let variants = &answer.entry.variants;
        if let Some(made) = variants.get(which) {
            return Some(made.clone());
        }
        if variants.wanted(which, false) {
            let (cache, scope, entry) = (self.clone(), scope.clone(), Arc::clone(&answer.entry));
            self.inner.tracker.spawn_blocking(move || cache.make(&scope, operation, &entry, which, make));
        }
        None
    }

    /// As [`Cache::variant`], for a caller that can do with nothing else: makes the form now if nobody has, and gives it even
    /// if it is not kept. Two who ask at once may both make it, but it is kept once.
    pub async fn variant_now(
        &self,
        scope: &Scope,
        operation: OperationId,
        answer: &Answer,
        which: usize,
        make: fn(&Bytes) -> Option<Bytes>,
    ) -> Option<Bytes> {
        let variants = &answer.entry.variants;
        if let Some(made) = variants.get(which) {
            return Some(made.clone());
        }
        let keeps = variants.wanted(which, true);
        let (cache, scope, entry) = (self.clone(), scope.clone(), Arc::clone(&answer.entry));
        let work = move || {
            if keeps { cache.make(&scope, operation, &entry, which, make) } else { make(&entry.body) }
        };
        self.inner.tracker.spawn_blocking(work).await.ok().flatten()
    }

    fn make(
        &self,
        scope: &Scope,
        operation: OperationId,
        entry: &Arc<Entry>,
        which: usize,
        make: fn(&Bytes) -> Option<Bytes>,
    ) -> Option<Bytes> {
        let body = snug(make(&entry.body).filter(|body| !body.is_empty())?);
        // The entry may be gone by now, or of an epoch that is over: then nobody asks for its forms again.
        let key = EntryKey::new(entry.label.epoch, operation, &entry.params, 0);
        let tenant = self.inner.tenants.get(scope)?;
        // Charged first: what is not accounted for is not kept.
        if tenant.memory.grow(&key, entry, body.len() as u64, self.inner.clock.boot())
            && let Some(place) = entry.variants.made.get(which)
        {
            let _ = place.set(body.clone());
        }
        Some(body)
    }
}
