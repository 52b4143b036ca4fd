//! Waiting for a condition, with an end. No test waits for time to pass.

use std::time::{Duration, Instant, SystemTime};

/// Longer than anything here takes on a busy machine; only a broken server reaches it.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until there is an answer, giving other threads the processor in between.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = instant();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::yield_now();
    }
}

/// Of what a busy machine can spoil, though not each time.
pub(crate) const ATTEMPTS: usize = 5;

/// Tries until there is an answer, at most [`ATTEMPTS`] times.
pub(crate) fn attempts<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    let answer = std::iter::repeat_with(attempt).take(ATTEMPTS).flatten().next();
    answer.unwrap_or_else(|| panic!("{what}: not once in {ATTEMPTS} times"))
}

/// A change and a look at what it made old, before what people have open is computed again: that is after a second of
/// quiet, and who looks as late does both again.
pub(crate) fn promptly<T>(mut change_and_look: impl FnMut() -> T) -> T {
    const BEFORE: Duration = Duration::from_millis(900);
    attempts("a look soon after a change", || {
        let (seen, took) = timed(&mut change_and_look);
        (took < BEFORE).then_some(seen)
    })
}

/// How long something took, for promises that state a time.
pub(crate) fn timed<T>(body: impl FnOnce() -> T) -> (T, Duration) {
    let start = instant();
    let value = body();
    (value, start.elapsed())
}

#[expect(clippy::disallowed_methods, reason = "processes and sockets live in real time")]
fn instant() -> Instant {
    Instant::now()
}

/// Now, in nanoseconds since the Unix epoch: spans of tests are fresh, or retention would refuse them.
#[expect(clippy::disallowed_methods, reason = "the server compares spans with the real clock")]
pub(crate) fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(since_epoch.as_nanos()).unwrap()
}
