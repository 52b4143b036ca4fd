//! Waiting for a condition, with an end.

use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine; only what is broken reaches it.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks: the thing waited for needs the processor, too.
const PAUSE: Duration = Duration::from_millis(2);

/// Asks until there is an answer; panics with `what` when there is none within [`PATIENCE`].
///
/// ```
/// let mut asked = 0;
/// let third = nexarch_testkit::until("the third time", || {
///     asked += 1;
///     (asked == 3).then_some(asked)
/// });
/// assert_eq!(third, 3);
/// ```
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::park_timeout(PAUSE);
    }
}

#[expect(clippy::disallowed_methods, reason = "processes and sockets live in real time")]
fn now() -> Instant {
    Instant::now()
}
