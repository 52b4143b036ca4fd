//! Turns for what is heavy: it keeps its own until it ends, whoever waits for it.
//!
//! A turn that becomes free goes to the tenant that holds the fewest, of these to who waits longest. So a tenant that is
//! alone has all of them, one of two that want them has half, and whoever comes next waits for one turn to end and not for
//! a queue that another tenant made. What ingest does with its bytes (`inflight.rs`), where a body that does not fit is
//! refused and not made to wait.

use std::{
    collections::{HashMap, VecDeque},
    panic::resume_unwind,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use nexarch_cache::{BoxError, NotBegun};
use nexarch_core::ids::TenantId;
use tokio::{sync::oneshot, task::JoinHandle};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

/// Heavy things at once for each core: one that computes and one that waits for the disk.
const PER_CORE: usize = 2;
/// How long a request waits for its turn before it is told to come back.
const LIMIT: Duration = Duration::from_secs(10);
/// Requests of a tenant that wait at once; more are told to come back, which most of these will be anyway.
const MOST_WAITING: usize = 1_024;

/// No turn in time: others compute.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the server is busy with other computations; try again in a second")]
pub struct Busy;

/// The turns of a server; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Turns(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    /// Who came last.
    arrivals: u64,
    /// Of tenants that hold or want turns, and no others.
    lines: HashMap<Owner, Line>,
}

/// A tenant; `None` = the operator.
type Owner = Option<TenantId>;

#[derive(Debug, Default)]
struct Line {
    held: usize,
    /// In the order in which they came; some may be going. At most [`MOST_WAITING`].
    waiting: VecDeque<(u64, oneshot::Sender<Turn>)>,
}

/// One turn; given back when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Turns,
    owner: Owner,
}

/// A place in a line; left when dropped, so that who hung up takes no room.
struct Place<'a> {
    turns: &'a Turns,
    owner: &'a Owner,
    came: u64,
}

impl Turns {
    /// As many as the cores can do.
    pub(crate) fn of_machine() -> Self {
        Self::new(std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * PER_CORE)
    }

    fn new(free: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free, arrivals: 0, lines: HashMap::new() })))
    }

    /// Waits for a turn of a tenant, with a limit.
    pub(crate) async fn take(&self, tenant: Option<&TenantId>) -> Result<Turn, Busy> {
        let owner = tenant.cloned();
        let (came, turn) = {
            let mut state = self.state();
            if state.free > 0 {
                // Nobody waits where one is free.
                state.free -= 1;
                state.lines.entry(owner.clone()).or_default().held += 1;
                return Ok(Turn { turns: self.clone(), owner });
            }
            state.queue(&owner).ok_or(Busy)?
        };
        let _place = Place { turns: self, owner: &owner, came };
        tokio::time::timeout(LIMIT, turn).await.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    /// How many could be taken without waiting.
    pub(crate) fn free(&self) -> usize {
        self.state().free
    }

    /// Only numbers and queues, each change of which is whole: a panic elsewhere leaves them right.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The end of a tenant's line, unless that is full.
    fn queue(&mut self, owner: &Owner) -> Option<(u64, oneshot::Receiver<Turn>)> {
        let line = self.lines.entry(owner.clone()).or_default();
        if line.waiting.len() >= MOST_WAITING {
            return None;
        }
        let (ready, turn) = oneshot::channel();
        self.arrivals += 1;
        line.waiting.push_back((self.arrivals, ready));
        Some((self.arrivals, turn))
    }

    /// Who came then has a turn, or gave up.
    fn leave(&mut self, owner: &Owner, came: u64) {
        let Some(line) = self.lines.get_mut(owner) else { return };
        if let Ok(at) = line.waiting.binary_search_by_key(&came, |(came, _)| *came) {
            line.waiting.remove(at);
        }
        self.forget_idle(owner);
    }

    fn forget_idle(&mut self, owner: &Owner) {
        if self.lines.get(owner).is_some_and(|line| line.held == 0 && line.waiting.is_empty()) {
            self.lines.remove(owner);
        }
    }

    /// Takes back a turn and says who has it next, if anybody waits. Of each line it looks at the front alone.
    fn pass_on(&mut self, owner: &Owner) -> Option<(Owner, oneshot::Sender<Turn>)> {
        if let Some(line) = self.lines.get_mut(owner) {
            line.held -= 1;
        }
        let first = |line: &Line| line.waiting.front().map(|(came, _)| (line.held, *came));
        let wanting = self.lines.iter_mut().filter(|(_, line)| first(line).is_some());
        let next = wanting.min_by_key(|(_, line)| first(line)).and_then(|(next, line)| {
            let (_, ready) = line.waiting.pop_front()?;
            line.held += 1;
            Some((next.clone(), ready))
        });
        self.free += usize::from(next.is_none());
        self.forget_idle(owner);
        next
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.turns.state().leave(self.owner, self.came);
    }
}

impl Turn {
    /// Does `work` on a task of its own, and is given back when that ends, whoever waits for it.
    pub(crate) fn spend<T: Send + 'static>(
        self,
        tracker: &TaskTracker,
        work: impl Future<Output = T> + Send + 'static,
    ) -> JoinHandle<T> {
        let task = async move {
            let _turn = self;
            work.await
        };
        tracker.spawn(task.in_current_span())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = self.turns.state().pass_on(&self.owner);
        if let Some((owner, ready)) = next {
            // Who gave up in this very moment drops it in turn, and it goes to the next.
            drop(ready.send(Self { turns: self.turns.clone(), owner }));
        }
    }
}

/// Does `work` in a turn, on a task of its own. Who does not wait for it any more, because it takes longer than a computation
/// may, ends neither it nor its turn: it may keep a thread busy that nothing can stop, and another one in its place would
/// be one more.
pub(crate) async fn in_turn<T: Send + 'static>(
    turns: &Turns,
    tenant: &TenantId,
    tracker: &TaskTracker,
    work: impl Future<Output = Result<T, BoxError>> + Send + 'static,
) -> Result<T, BoxError> {
    let turn = turns.take(Some(tenant)).await.map_err(|busy| NotBegun(busy.into()))?;
    match turn.spend(tracker, work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::oneshot, time::timeout};

    use super::*;

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_is_given_up_keeps_its_turn_until_it_ends() {
        let (turns, tracker, acme) = (Turns::new(1), TaskTracker::new(), tenant("acme"));
        let (end, ends) = oneshot::channel();
        let long = in_turn(&turns, &acme, &tracker, async { Ok(ends.await?) });
        assert!(timeout(Duration::from_secs(1), long).await.is_err(), "nobody waits any longer");
        let next = || in_turn(&turns, &acme, &tracker, async { Ok(2) });
        let refused = next().await.unwrap_err();
        assert!(refused.downcast_ref::<NotBegun>().is_some_and(|why| why.0.is::<Busy>()), "{refused}");
        end.send(1).unwrap();
        assert_eq!(next().await.unwrap(), 2);
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn its_outcome_is_passed_on_and_its_panic_too() {
        let (turns, tracker, acme) = (Turns::new(1), TaskTracker::new(), tenant("acme"));
        let fails = in_turn(&turns, &acme, &tracker, async { Err::<u8, _>("no luck".into()) });
        assert_eq!(fails.await.unwrap_err().to_string(), "no luck");
        let (turns, inner) = (turns.clone(), tracker.clone());
        let panics =
            async move { in_turn::<u8>(&turns, &acme, &inner, async { panic!("on purpose") }).await };
        assert!(tracker.spawn(panics).await.unwrap_err().is_panic());
    }

    /// Who waits, in the order in which turns come to them, when each is given back at once.
    async fn order(turns: &Turns, held: Vec<Turn>, wanted: &[&str]) -> Vec<String> {
        let mut waiting: Vec<_> = wanted
            .iter()
            .map(|id| {
                let (turns, tenant) = (turns.clone(), tenant(id));
                Box::pin(async move { (turns.take(Some(&tenant)).await.unwrap(), tenant) })
            })
            .collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait).is_pending());
        }
        let mut held: VecDeque<Turn> = held.into();
        let mut order = Vec::new();
        while let Some(turn) = held.pop_front() {
            drop(turn);
            let mut still = Vec::new();
            for mut wait in waiting {
                match futures_util::poll!(&mut wait) {
                    std::task::Poll::Ready((turn, tenant)) => {
                        order.push(tenant.to_string());
                        held.push_back(turn);
                    }
                    std::task::Poll::Pending => still.push(wait),
                }
            }
            waiting = still;
        }
        order
    }

    #[tokio::test]
    async fn of_tenants_that_want_turns_each_gets_its_part() {
        let turns = Turns::new(4);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(turns.take(Some(&tenant("a"))).await.unwrap());
        }
        // Three more of the first came before the others.
        let order = order(&turns, held, &["a", "a", "a", "b", "b", "b", "c"]).await;
        assert_eq!(order[..3], ["b", "c", "a"], "who has fewest, then who waits longest");
        assert_eq!(order.len(), 7);
        assert_eq!((turns.free(), turns.state().lines.len()), (4, 0), "nothing is kept of who is gone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_line_is_bounded_and_who_hung_up_takes_no_room_in_it() {
        let (turns, a) = (Turns::new(1), tenant("a"));
        let held = turns.take(Some(&a)).await.unwrap();
        let line = || {
            (0..MOST_WAITING).map(|_| {
                let mut wait = Box::pin(turns.take(Some(&a)));
                async move { (futures_util::poll!(&mut wait).is_pending(), wait) }
            })
        };
        let full = futures_util::future::join_all(line()).await;
        assert!(full.iter().all(|(waits, _)| *waits));
        let mut one_more = Box::pin(turns.take(Some(&a)));
        assert!(
            futures_util::poll!(&mut one_more).map(|outcome| outcome.is_err()).is_ready(),
            "refused at once"
        );
        let mut other = Box::pin(turns.take(None));
        assert!(futures_util::poll!(&mut other).is_pending(), "another line");
        drop(full);
        assert!(
            futures_util::future::join_all(line()).await.iter().all(|(waits, _)| *waits),
            "there is room"
        );
        drop(held);
        assert!(other.await.is_ok());
        assert_eq!((turns.free(), turns.state().lines.len()), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_passes_by_who_gave_up() {
        let (turns, a) = (Turns::new(1), tenant("a"));
        let held = turns.take(Some(&a)).await.unwrap();
        assert!(turns.take(Some(&a)).await.is_err(), "the limit");
        for _ in 0..10_000 {
            assert!(futures_util::poll!(Box::pin(turns.take(None))).is_pending());
        }
        let mut last = Box::pin(turns.take(Some(&a)));
        assert!(futures_util::poll!(&mut last).is_pending());
        drop(held);
        assert!(last.await.is_ok());
        assert_eq!((turns.free(), turns.state().lines.len()), (1, 0));
    }
}
