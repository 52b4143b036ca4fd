//! Which batches share a transaction: what waits, and those who are about to come back.
//!
//! Senders that wait for their answers come back together, but not at once: each batch has to be received and decoded. A
//! writer that begins with the first of them makes one transaction of it and one of the others, and pays twice for the
//! disk, the indexes and the hops between threads. So after a group it waits a moment for as many as it answered. (Rejected:
//! waiting for whatever is under way: a request that crawls would hold up all others.)

use std::time::Duration;

use tokio::{
    sync::mpsc::{Receiver, error::TryRecvError},
    time::{Instant, timeout_at},
};

use super::Job;

/// Spans of one transaction: enough to share a disk flush among many clients, few enough to answer within ~100 ms.
const GROUP_SPANS: usize = 20_000;

/// With so many spans a group is not waited for: what a transaction costs by itself is small beside what they cost.
const ENOUGH_SPANS: usize = 8_000;

/// Longest wait for those who are about to come back. Receiving and decoding 1,000 spans takes about 1 ms of a processor.
const PATIENCE: Duration = Duration::from_millis(5);

/// When nobody came, so many groups at most begin without waiting before it is tried again.
const MAX_PASSES: u32 = 63;

/// What the last group says about the next.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// How many are expected: those answered last, and those that came meanwhile.
    expected: usize,
    /// Groups that still begin without waiting.
    passes: u32,
    /// How many those were after the last wait in vain.
    penalty: u32,
}

impl Gathering {
    /// A group was answered, while others came.
    pub(super) fn answered(&mut self, requests: usize, meanwhile: usize) {
        self.expected = requests + meanwhile;
    }

    /// The group that begins with a batch.
    pub(super) async fn group(&mut self, first: Job, queue: &mut Receiver<Job>) -> Vec<Job> {
        let mut spans = first.batch.spans.len();
        let mut jobs = vec![first];
        while spans < GROUP_SPANS {
            match queue.try_recv() {
                Ok(next) => {
                    spans += next.batch.spans.len();
                    jobs.push(next);
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
            }
        }
        if jobs.len() >= self.expected || spans >= ENOUGH_SPANS {
            return jobs;
        }
        if self.passes > 0 {
            self.passes -= 1;
            return jobs;
        }
        let until = Instant::now() + PATIENCE;
        while jobs.len() < self.expected && spans < ENOUGH_SPANS {
            let Ok(Some(next)) = timeout_at(until, queue.recv()).await else {
                self.penalty = (2 * self.penalty + 1).min(MAX_PASSES);
                self.passes = self.penalty;
                return jobs;
            };
            spans += next.batch.spans.len();
            jobs.push(next);
        }
        self.penalty = 0;
        jobs
    }
}

#[cfg(test)]
mod tests {
    use nexarch_store::Batch;
    use tokio::{
        sync::{mpsc, oneshot},
        time::advance,
    };

    use super::*;
    use crate::ingest::inflight::Budget;

    fn job() -> Job {
        let tenant: nexarch_core::ids::TenantId = "acme".parse().unwrap();
        Job {
            scope: nexarch_cache::Scope::new("acme").unwrap(),
            reply: oneshot::channel().0,
            span: tracing::Span::none(),
            held: Budget::new(1, 1).hold(Some(&tenant)),
            batch: Batch { created_us: None, tenant, spans: Vec::new() },
        }
    }

    /// Who is expected comes after `each`; how large the group is, and how long it took.
    async fn group(gathering: &mut Gathering, coming: usize, each: Duration) -> (usize, Duration) {
        let (sender, mut queue) = mpsc::channel(8);
        let began = Instant::now();
        let comes = async {
            for _ in 0..coming {
                advance(each).await;
                sender.send(job()).await.unwrap();
                tokio::task::yield_now().await;
            }
            // Time goes on for who still waits.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            jobs = gathering.group(job(), &mut queue) => (jobs.len(), began.elapsed()),
            () = comes => unreachable!(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_were_answered_are_waited_for() {
        let mut gathering = Gathering::default();
        gathering.answered(3, 1);
        assert_eq!(group(&mut gathering, 5, Duration::from_millis(1)).await, (4, Duration::from_millis(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_sender_alone_never_waits() {
        let mut gathering = Gathering::default();
        for _ in 0..3 {
            assert_eq!(group(&mut gathering, 0, PATIENCE).await, (1, Duration::ZERO));
            gathering.answered(1, 0);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_come_back_is_waited_for_less_and_less() {
        let mut gathering = Gathering::default();
        let mut waited = 0;
        for _ in 0..200 {
            gathering.answered(2, 0);
            let (jobs, took) = group(&mut gathering, 0, PATIENCE).await;
            assert!(jobs == 1 && (took.is_zero() || took == PATIENCE), "{jobs} after {took:?}");
            waited += usize::from(!took.is_zero());
        }
        assert_eq!(waited, 8, "after 1, 3, 7 … 63 groups that did not");
        // Until they do: then all is as it was.
        for _ in 0..=MAX_PASSES {
            gathering.answered(2, 0);
            group(&mut gathering, 1, Duration::from_millis(1)).await;
        }
        gathering.answered(2, 0);
        assert_eq!(group(&mut gathering, 1, Duration::from_millis(1)).await, (2, Duration::from_millis(1)));
    }
}
