//! A read that the staleness checker looks at.

use crate::cache::{Cache, Inner};
use crate::checker::{Checked, Checker};
use crate::clock::BootTime;
use crate::compute::Plan;
use crate::error::{BoxError, Error};
use crate::fence::Fence;
use crate::key::Scope;
use crate::operation::Operation;
use crate::outcome::{Answer, Source};
use crate::read::{Computed, Read};
use std::sync::Arc;

impl Cache {
    /// What the staleness checker found; `None` unless it was switched on by
    /// [`Builder::check_staleness`](crate::Builder::check_staleness).
    pub fn checked(&self) -> Option<Checked> {
        self.inner.checker.as_ref().map(Checker::found)
    }
}

impl Inner {
    /// As [`Cache::get_or_compute`], with a look at the answer.
    pub(crate) async fn read_checked<F, Fut>(
        self: &Arc<Self>,
        checker: &Checker,
        scope: &Scope,
        operation: &Operation,
        read: &Read<'_>,
        now: BootTime,
        compute: F,
    ) -> Result<Answer, Error>
    where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let plan = Plan::new(scope, operation, read, self.tenants.epoch());
        let due = checker.begin(&plan, &operation.name, now);
        let check = |answer: &Answer| {
            // Of what is served unverified it is promised what this process knows, and not what it could have learned.
            if let Some(due) = due.as_ref().filter(|_| answer.source != Source::Unverified) {
                checker.check(due, &answer.label(), matches!(answer.source, Source::Overtaken));
            }
        };
        let Some(answer) = self.hit(scope, operation, read, now) else {
            let answer = self.miss(scope, operation, read, compute).await?;
            check(&answer);
            return Ok(answer);
        };
        check(&answer);
        if now >= answer.entry.early && matches!(answer.source, Source::Memory) {
            self.refresh_early(scope, operation, read, &answer.entry, now, compute);
        } else if let Some(due) = due {
            self.compare_behind(plan, operation, due, &answer, compute);
        }
        Ok(answer)
    }

    /// Computes the value anew on a task of its own and compares.
    fn compare_behind<F, Fut>(
        self: &Arc<Self>,
        plan: Plan,
        operation: &Operation,
        due: Fence,
        answer: &Answer,
        compute: F,
    ) where
        F: FnOnce(Fence) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Computed, BoxError>> + Send + 'static,
    {
        let (inner, entry, name) = (Arc::clone(self), Arc::clone(&answer.entry), operation.name.clone());
        self.tracker.spawn(async move {
            let Some(checker) = &inner.checker else { return };
            let Ok(_permit) = checker.comparisons.try_acquire() else { return };
            let Ok(computed) = compute(due).await else { return };
            let same = computed.body == entry.body;
            let now = || inner.clock.boot();
            checker.compare(&*inner.authority, &plan, &name, &entry.label, same, now).await;
        });
    }
}
