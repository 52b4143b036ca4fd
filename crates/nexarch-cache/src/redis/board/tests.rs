use super::*;
use std::sync::{Arc, OnceLock};
use tokio::time::advance;

/// Counts the lines that an operator sees.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn count(&self, part: &str) -> usize {
        String::from_utf8_lossy(&lock(&self.0)).lines().filter(|line| line.contains(part)).count()
    }
}

fn listen(lines: &Lines) -> tracing::subscriber::DefaultGuard {
    // One subscriber alone would leave it to the first thread at an event whether any thread is asked again.
    static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
    SECOND.get_or_init(|| {
        tracing::Dispatch::new(tracing_subscriber::fmt().with_writer(std::io::sink).finish())
    });
    let copy = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::INFO);
    tracing::subscriber::set_default(subscriber.with_writer(move || copy.clone()).finish())
}

fn failure(reason: Reason) -> Failure {
    Failure::new(reason, "words")
}

fn board() -> Board {
    let board = Board::new();
    board.join(1, failure(Reason::Connecting));
    board
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_failed_attempts_is_one_line_and_the_return_another() {
    let lines = Lines::default();
    let _guard = listen(&lines);
    let board = board();
    board.up(1);
    board.down(1, failure(Reason::Connecting));
    assert_eq!(lines.count("lost"), 0, "the reason is not known yet");
    for second in 0..3600 {
        advance(Duration::from_secs(1)).await;
        board.down(1, failure(if second % 2 == 0 { Reason::Refused } else { Reason::Timeout }));
    }
    assert_eq!((lines.count("lost (refused), using memory"), lines.count("lost")), (1, 1));
    board.up(1);
    assert_eq!(lines.count("cache: Redis back after 3600.0 s"), 1);
    assert_eq!(lines.count(""), 2);
}

/// The start tells of the fallback by a line of its own, and the log why: once, as soon as it is known.
#[tokio::test(start_paused = true)]
async fn a_start_without_redis_is_one_line_in_the_log_however_early_its_reason_is_known() {
    for known_before in [true, false] {
        let lines = Lines::default();
        let _guard = listen(&lines);
        let board = board();
        if known_before {
            board.down(1, failure(Reason::Timeout));
        }
        advance(Duration::from_secs(1)).await;
        board.fallback_told();
        for _ in 0..5 {
            advance(Duration::from_secs(1)).await;
            board.remind();
        }
        assert_eq!(lines.count(""), usize::from(known_before), "what is not known is not told");
        board.down(1, failure(Reason::Timeout));
        board.remind();
        assert_eq!(lines.count("cache: Redis not reached (timeout), using memory"), 1);
        board.up(1);
        assert_eq!((lines.count("cache: Redis back after 6.0 s"), lines.count("")), (1, 2));
    }
}

/// One that is there and never ready has no better reason.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_never_ready_is_told_of_after_a_while() {
    let lines = Lines::default();
    let _guard = listen(&lines);
    let board = board();
    for _ in 0..60 {
        advance(Duration::from_secs(1)).await;
        board.down(1, failure(Reason::Connecting));
    }
    assert_eq!(lines.count("cache: Redis not reached (connecting), using memory"), 1);
}

/// The start has a line of its own for it, and that says nothing of the time after.
#[tokio::test(start_paused = true)]
async fn who_was_told_of_the_fallback_is_told_of_the_return() {
    for connected_meanwhile in [false, true] {
        let lines = Lines::default();
        let _guard = listen(&lines);
        let board = board();
        advance(Duration::from_secs(2)).await;
        if connected_meanwhile {
            board.up(1);
        }
        board.fallback_told();
        advance(Duration::from_secs(1)).await;
        board.up(1);
        let after = if connected_meanwhile { "0.0" } else { "3.0" };
        assert_eq!(lines.count(&format!("cache: Redis back after {after} s")), 1);
        assert_eq!(lines.count(""), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_loss_is_counted_once_by_the_reason_that_was_found() {
    let board = board();
    let losses = || board.watch().borrow().losses;
    board.down(1, failure(Reason::Refused));
    assert_eq!(losses(), Losses::default(), "what was never there is not lost");
    board.up(1);
    for _ in 0..3 {
        board.down(1, failure(Reason::Connecting));
        board.down(1, failure(Reason::Refused));
        board.down(1, failure(Reason::Timeout));
        board.up(1);
    }
    assert_eq!((losses().of(Reason::Refused), losses().of(Reason::Timeout)), (3, 0));
    board.down(1, failure(Reason::Connecting));
    board.up(1);
    assert_eq!(losses().of(Reason::Connecting), 1, "back before a reason was known");
}

#[test]
fn the_word_for_several_is_that_of_the_latest_to_come_that_says_something() {
    for order in [[1, 2, 3], [3, 1, 2], [2, 3, 1]] {
        let board = Board::new();
        (1..=20).for_each(|node| board.join(node, failure(Reason::Connecting)));
        for node in order {
            let reason = [Reason::Refused, Reason::Timeout, Reason::Tls][usize::try_from(node).unwrap() - 1];
            board.down(node, failure(reason));
        }
        assert_eq!(board.watch().borrow().reason, Some(Reason::Tls));
    }
}

/// Until it is told what came of it, whatever else is told meanwhile; of several the worst. Nobody is woken by it.
#[test]
fn a_server_that_is_tried_is_half_open_for_who_asks() {
    let board = board();
    board.join(2, failure(Reason::Timeout));
    let mut status = board.watch();
    status.mark_unchanged();
    board.probing(1, true);
    assert_eq!(status.borrow().breaker, Breaker::Open, "the other is not tried");
    board.probing(2, true);
    assert_eq!(status.borrow().breaker, Breaker::HalfOpen);
    board.writes(None);
    board.messages(false);
    assert_eq!(status.borrow().breaker, Breaker::HalfOpen, "nobody said what came of it");
    board.down(1, failure(Reason::Timeout));
    assert_eq!(status.borrow().breaker, Breaker::Open, "that is what came of it");
    assert!(!status.has_changed().unwrap());
    board.probing(1, true);
    board.probing(1, false);
    assert_eq!(status.borrow().breaker, Breaker::Open, "given up");
    board.up(1);
    assert!(status.has_changed().unwrap());
    assert_eq!(status.borrow().breaker, Breaker::HalfOpen, "one is up, the other is tried");
    board.up(2);
    board.probing(2, true);
    assert_eq!(status.borrow().breaker, Breaker::Closed, "what is up is not tried");
    board.probing(3, true);
    assert_eq!(status.borrow().breaker, Breaker::Closed, "who is not known is not heard");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_comes_and_goes_is_told_at_most_every_ten_seconds() {
    let lines = Lines::default();
    let _guard = listen(&lines);
    let board = board();
    for _ in 0..60 {
        board.up(1);
        advance(Duration::from_millis(500)).await;
        board.down(1, failure(Reason::Timeout));
        advance(Duration::from_millis(500)).await;
    }
    assert!((5..=7).contains(&lines.count("lost")), "{}", lines.count("lost"));
    assert!(lines.count("back") <= lines.count("lost"));
}

#[tokio::test]
async fn of_several_servers_one_is_enough_and_the_breaker_tells_of_the_others() {
    let board = board();
    board.join(2, failure(Reason::Connecting));
    let status = board.watch();
    let state = || {
        let status = status.borrow();
        (status.values, status.messages, status.reason, status.breaker)
    };
    assert_eq!(state(), (false, false, Some(Reason::Connecting), Breaker::Open));
    board.up(1);
    assert_eq!(state(), (true, false, Some(Reason::Messages), Breaker::Open));
    board.messages(true);
    board.up(2);
    assert_eq!(state(), (true, true, None, Breaker::Closed));
    board.writes(Some(Reason::Oom));
    assert_eq!(state(), (true, true, Some(Reason::Oom), Breaker::Closed));
    board.writes(None);
    board.down(1, failure(Reason::Timeout));
    assert_eq!(state(), (true, true, None, Breaker::Open));
    board.down(2, failure(Reason::Connecting));
    assert_eq!(state(), (false, false, Some(Reason::Timeout), Breaker::Open), "the word that says most");
    board.forget(2);
    board.up(2);
    assert!(!state().0, "who is forgotten is not heard");
    board.up(1);
    assert_eq!(state(), (true, false, Some(Reason::Messages), Breaker::Closed), "messages are proved anew");
}
