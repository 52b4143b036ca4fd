//! Turns for what is heavy: it keeps its own until it ends, whoever waits for it.

use std::{panic::resume_unwind, sync::Arc};

use nexarch_cache::{BoxError, NotBegun};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use crate::app::turn;

/// Does `work` in a turn, on a task of its own. Who does not wait for it any more, because it takes longer than a computation
/// may, ends neither it nor its turn: it may keep a thread busy that nothing can stop, and another one in its place would
/// be one more.
pub(crate) async fn in_turn<T: Send + 'static>(
    turns: &Arc<Semaphore>,
    tracker: &TaskTracker,
    work: impl Future<Output = Result<T, BoxError>> + Send + 'static,
) -> Result<T, BoxError> {
    let turn = turn(turns).await.map_err(|busy| NotBegun(busy.into()))?;
    let task = async move {
        let _turn = turn;
        work.await
    };
    match tracker.spawn(task.in_current_span()).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{sync::oneshot, time::timeout};

    use super::*;
    use crate::app::Busy;

    #[tokio::test(start_paused = true)]
    async fn work_that_is_given_up_keeps_its_turn_until_it_ends() {
        let (turns, tracker) = (Arc::new(Semaphore::new(1)), TaskTracker::new());
        let (end, ends) = oneshot::channel();
        let long = in_turn(&turns, &tracker, async { Ok(ends.await?) });
        assert!(timeout(Duration::from_secs(1), long).await.is_err(), "nobody waits any longer");
        let next = || in_turn(&turns, &tracker, async { Ok(2) });
        let refused = next().await.unwrap_err();
        assert!(refused.downcast_ref::<NotBegun>().is_some_and(|why| why.0.is::<Busy>()), "{refused}");
        end.send(1).unwrap();
        assert_eq!(next().await.unwrap(), 2);
        assert!(tracker.is_empty());
    }

    #[tokio::test]
    async fn its_outcome_is_passed_on_and_its_panic_too() {
        let (turns, tracker) = (Arc::new(Semaphore::new(1)), TaskTracker::new());
        let fails = in_turn(&turns, &tracker, async { Err::<u8, _>("no luck".into()) });
        assert_eq!(fails.await.unwrap_err().to_string(), "no luck");
        let (turns, inner) = (Arc::clone(&turns), tracker.clone());
        let panics = async move { in_turn::<u8>(&turns, &inner, async { panic!("on purpose") }).await };
        assert!(tracker.spawn(panics).await.unwrap_err().is_panic());
    }
}
