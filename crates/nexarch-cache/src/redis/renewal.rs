//! Keeps a token that is good: asks for the next one long before the last expires, without end.
//!
//! The platform may give the same token again for as long as it likes, and may be away for hours. So nothing here gives
//! up, what is no better than what is held is not handed on, and attempts are as far apart as that takes.

use super::backoff::{chance, part};
use super::token::{RedisToken, RedisTokenState, RedisTokens};
use crate::clock::{Clock, SystemClock};
use crate::sync::lock;
use crate::tier::count;
use redis::{Cmd, cmd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long one attempt may take. The credential of a virtual machine tries again by itself for 72 s.
const ATTEMPT: Duration = Duration::from_secs(90);

/// Between attempts that fail: full jitter between nothing and a doubled wait, from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Between questions while the platform gives what it gave before, which some do until five minutes before its end.
const AGAIN: (Duration, Duration) = (Duration::from_secs(15), Duration::from_mins(10));

/// A connection has logged in anew this long before its token expires.
const BEFORE: Duration = Duration::from_mins(3);

/// Logins of many connections are spread over this much time.
const SPREAD: Duration = Duration::from_secs(30);

/// The token in use, and why there is no better one.
#[derive(Debug)]
pub(super) struct Renewal {
    current: watch::Sender<Option<Arc<RedisToken>>>,
    problem: Mutex<Option<String>>,
    renewals: AtomicU64,
    failures: AtomicU64,
}

impl Renewal {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            current: watch::Sender::new(None),
            problem: Mutex::new(None),
            renewals: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    pub(super) fn watch(&self) -> watch::Receiver<Option<Arc<RedisToken>>> {
        self.current.subscribe()
    }

    /// Why the last attempt brought nothing; holds no secret.
    pub(super) fn problem(&self) -> Option<String> {
        lock(&self.problem).clone()
    }

    /// What was reached so far.
    pub(super) fn state(&self) -> RedisTokenState {
        RedisTokenState {
            expires: self.current.borrow().as_ref().map(|token| token.expires),
            renewals: self.renewals.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Runs until `stop`. Spawn it on the tracker.
    pub(super) async fn run(self: Arc<Self>, source: RedisTokens, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep(&source, || SystemClock.wall())).await;
    }

    async fn keep(&self, source: &RedisTokens, now: impl Fn() -> SystemTime) {
        let mut failures = 0u32;
        loop {
            let fetched = timeout(ATTEMPT, source.fetch()).await;
            let fetched = fetched.unwrap_or_else(|_| Err(format!("no answer within {ATTEMPT:?}")));
            let held = self.current.borrow().clone();
            let judged = fetched.and_then(|token| judge(token, held.as_deref(), now()));
            count(if judged.is_ok() { &self.renewals } else { &self.failures });
            let wait = match judged {
                Ok(Judged::Better(token, life)) => {
                    if failures > 0 {
                        tracing::info!("cache: tokens for Redis are back");
                    }
                    failures = 0;
                    *lock(&self.problem) = None;
                    self.current.send_replace(Some(Arc::new(token)));
                    renew_after(life, chance())
                }
                // The platform keeps it, too. Near its end it gives another.
                Ok(Judged::Same(life)) => {
                    failures = 0;
                    *lock(&self.problem) = None;
                    ask_again_after(life, chance())
                }
                Err(problem) => {
                    if failures == 0 {
                        tracing::warn!("cache: no token for Redis: {problem}");
                    } else {
                        tracing::debug!("cache: still no token for Redis: {problem}");
                    }
                    *lock(&self.problem) = Some(problem);
                    failures = failures.saturating_add(1);
                    retry_after(failures, chance())
                }
            };
            sleep(wait).await;
        }
    }
}

enum Judged {
    /// To be used from now on, and how long it is good.
    Better(RedisToken, Duration),
    /// It expires no later than what is held, which is good for so long.
    Same(Duration),
}

fn judge(token: RedisToken, held: Option<&RedisToken>, now: SystemTime) -> Result<Judged, String> {
    if let Some(problem) = token.problem() {
        return Err(problem.to_owned());
    }
    let left = |token: &RedisToken| token.expires.duration_since(now).ok().filter(|left| !left.is_zero());
    let Some(life) = left(&token) else {
        return Err("the token has expired by this machine's clock; is the clock right?".to_owned());
    };
    match held {
        Some(held) if token.expires <= held.expires && token.user == held.user => {
            Ok(Judged::Same(left(held).unwrap_or_default()))
        }
        _ => Ok(Judged::Better(token, life)),
    }
}

/// Half to three quarters of a token's life: never near its end, and not all servers at once.
fn renew_after(life: Duration, chance: u64) -> Duration {
    life / 2 + part(life / 4, chance)
}

/// Half of the time to when there has to be another one, and never more than half of what is left.
fn ask_again_after(left: Duration, chance: u64) -> Duration {
    let (least, most) = AGAIN;
    let half = (left.saturating_sub(BEFORE + SPREAD * 3) / 2).clamp(least, most);
    (half / 2 + part(half / 2, chance)).min(left / 2).max(RETRY.0)
}

fn retry_after(failures: u32, chance: u64) -> Duration {
    let (first, most) = RETRY;
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    // A source that fails at once is not asked again at once.
    (first / 4).max(part(doubled, chance))
}

/// How long a connection whose token expires at `expires` may wait before it logs in with a new one.
pub(super) fn login_after(expires: SystemTime, now: SystemTime, chance: u64) -> Duration {
    let left = expires.duration_since(now).unwrap_or_default();
    part(left.saturating_sub(BEFORE).min(SPREAD), chance)
}

/// Returns when a newer token has come and it is time to log in with it; never without tokens.
pub(super) async fn outlived(
    used: Option<Arc<RedisToken>>,
    current: Option<watch::Receiver<Option<Arc<RedisToken>>>>,
) {
    let Some((used, mut current)) = used.zip(current) else { return std::future::pending().await };
    let is_new = |token: &Option<Arc<RedisToken>>| token.as_ref().is_some_and(|token| *token != used);
    let came = current.wait_for(is_new).await.is_ok();
    if came {
        sleep(login_after(used.expires, SystemClock.wall(), chance())).await;
    }
}

/// Logs in anew with each token that comes, in time and not together with other connections. A connection that is refused
/// is as good as gone: it is cut, and made anew with the token that is good then. `login` takes the place of the token's user;
/// `send` says whether the server agreed.
pub(super) async fn renew<F: Future<Output = bool> + Send>(
    mut used: Arc<RedisToken>,
    mut current: watch::Receiver<Option<Arc<RedisToken>>>,
    login: Option<String>,
    stop: CancellationToken,
    send: impl Fn(Cmd) -> F + Send + 'static,
) {
    let keep = async {
        loop {
            let is_new = |token: &Option<Arc<RedisToken>>| token.as_ref().is_some_and(|token| *token != used);
            let Ok(token) = current.wait_for(is_new).await.map(|token| token.clone()) else { return };
            sleep(login_after(used.expires, SystemClock.wall(), chance())).await;
            let Some(token) = token else { return };
            let mut auth = cmd("AUTH");
            auth.arg(login.as_ref().unwrap_or(&token.user)).arg(&token.secret);
            if !send(auth).await {
                tracing::debug!("cache: a connection to Redis could not log in anew; it is replaced");
                return;
            }
            used = token;
        }
    };
    // Whatever ends it but a stop leaves a connection that ends with its token.
    if stop.run_until_cancelled(keep).await.is_some() {
        stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::UNIX_EPOCH;
    use tokio::time::Instant;

    const HOUR: Duration = Duration::from_hours(1);

    /// What Microsoft asks for: a fresh login so long before the last token expires.
    const ASKED: Duration = Duration::from_mins(3);

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(secs in 1u64..200_000, chance: u64, failures in 1u32..1000) {
            let life = Duration::from_secs(secs);
            let wait = renew_after(life, chance);
            prop_assert!(wait >= life / 2 && wait <= life * 3 / 4 + Duration::from_nanos(4));
            prop_assert!(ask_again_after(life, chance) >= RETRY.0);
            prop_assert!(ask_again_after(life, chance) <= (life / 2).max(RETRY.0));
            let retry = retry_after(failures, chance);
            prop_assert!(retry >= RETRY.0 / 4 && retry <= RETRY.1);
            let login = login_after(UNIX_EPOCH + life, UNIX_EPOCH, chance);
            prop_assert!(login <= SPREAD && (login + ASKED <= life || login.is_zero()));
        }

        /// The platform gives the same token until five minutes before its end: however chance falls, the next one is there
        /// before connections have to log in with it.
        #[test]
        fn a_token_that_is_given_again_is_asked_for_in_time(
            secs in 400u64..200_000,
            chances in prop::collection::vec(prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1..400),
        ) {
            let (mut left, mut chances) = (Duration::from_secs(secs), chances.iter().cycle());
            while left >= Duration::from_mins(5) {
                left -= ask_again_after(left, *chances.next().expect("they cycle"));
            }
            prop_assert!(left >= ASKED + SPREAD, "{left:?}");
        }
    }

    /// All servers get their tokens together, after a deployment or when the platform was away.
    #[test]
    fn servers_and_connections_are_spread() {
        let spread = |of: &dyn Fn(u64) -> Duration| of(u64::MAX).saturating_sub(of(0));
        assert!(spread(&|chance| renew_after(HOUR, chance)) >= HOUR / 5, "next tokens");
        assert!(spread(&|chance| ask_again_after(HOUR, chance)) >= Duration::from_mins(1), "the same token");
        assert!(spread(&|chance| retry_after(9, chance)) >= RETRY.1 / 2, "attempts that fail");
        let logins = |chance| login_after(UNIX_EPOCH + HOUR, UNIX_EPOCH, chance);
        assert!(spread(&logins) >= SPREAD / 2, "logins");
    }

    /// Whoever the identity is now, the one before may have lost its rights.
    #[test]
    fn a_token_of_another_user_is_taken_though_it_ends_no_later() {
        let now = UNIX_EPOCH + HOUR;
        let held = RedisToken::new("before", "a", now + HOUR);
        let is_taken = |user: &str| {
            let judged = judge(RedisToken::new(user, "b", now + HOUR), Some(&held), now);
            matches!(judged, Ok(Judged::Better(..)))
        };
        assert_eq!((is_taken("before"), is_taken("after")), (false, true));
    }

    /// The wall clock of a test: it goes with tokio's.
    fn clock() -> impl Fn() -> SystemTime + Copy {
        let began = Instant::now();
        move || UNIX_EPOCH + HOUR * 400_000 + began.elapsed()
    }

    fn numbered(n: usize, expires: SystemTime) -> RedisToken {
        RedisToken::new("oid", format!("token{n}"), expires)
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_token_is_there_before_the_last_expires_and_each_is_later() {
        let now = clock();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let source = RedisTokens::new(move || {
            let n = count.fetch_add(1, Ordering::SeqCst);
            async move { Ok(numbered(n, now() + HOUR)) }
        });
        let renewal = Renewal::new();
        let mut watch = renewal.watch();
        let follow = async {
            let mut expires = now() + HOUR;
            for _ in 0..100 {
                watch.changed().await.unwrap();
                let token = watch.borrow_and_update().clone().unwrap();
                assert!(now() <= expires - HOUR / 4, "a quarter of its life is left");
                expires = token.expires;
            }
        };
        tokio::select! {
            () = renewal.keep(&source, now) => unreachable!(),
            () = follow => {}
        }
        assert_eq!(asked.load(Ordering::SeqCst), 100, "one question for each");
    }

    /// A day without an identity service is one line and a bounded number of questions; then all is well again.
    #[tokio::test(start_paused = true)]
    async fn it_never_gives_up_and_never_hands_on_what_is_no_good() {
        let now = clock();
        let away = now() + HOUR * 24;
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let source = RedisTokens::new(move || {
            let n = count.fetch_add(1, Ordering::SeqCst);
            async move {
                match n % 5 {
                    _ if now() > away => Ok(numbered(n, now() + HOUR)),
                    0 => Err("the endpoint is away".to_owned()),
                    1 => Ok(numbered(n, now())),
                    2 => Ok(RedisToken::new("", "token", now() + HOUR)),
                    3 => Ok(RedisToken::new("oid", "x".repeat(1 << 20), now() + HOUR)),
                    _ => std::future::pending().await,
                }
            }
        });
        let renewal = Renewal::new();
        let mut watch = renewal.watch();
        tokio::select! {
            () = renewal.keep(&source, now) => unreachable!(),
            _ = watch.changed() => {}
        }
        assert!(now() > away && now() < away + RETRY.1 + ATTEMPT, "found as soon as it is there");
        assert_eq!(renewal.problem(), None);
        let asked = asked.load(Ordering::SeqCst);
        assert!((1000..4000).contains(&asked), "{asked} questions in a day");
        let state = renewal.state();
        assert_eq!((state.renewals, state.failures), (1, asked as u64 - 1));
        assert!(state.expires.is_some_and(|expires| expires > now()));
    }

    /// The platform gives the same token until five minutes before its end.
    #[tokio::test(start_paused = true)]
    async fn a_token_that_is_given_again_is_not_handed_on_and_the_next_one_comes_in_time() {
        let now = clock();
        let held = Arc::new(Mutex::new(numbered(0, now() + HOUR)));
        let source = RedisTokens::new(move || {
            let mut held = lock(&held);
            if held.expires < now() + Duration::from_mins(5) {
                *held = numbered(1, now() + HOUR);
            }
            let token = held.clone();
            async move { Ok(token) }
        });
        let renewal = Renewal::new();
        let mut watch = renewal.watch();
        let follow = async {
            watch.changed().await.unwrap();
            let first = watch.borrow_and_update().clone().unwrap();
            watch.changed().await.unwrap();
            let second = watch.borrow_and_update().clone().unwrap();
            assert_ne!(second.secret, first.secret, "the same one is no news");
            assert!(
                now() + ASKED + SPREAD < first.expires,
                "{:?} before the end",
                first.expires.duration_since(now())
            );
        };
        tokio::select! {
            () = renewal.keep(&source, now) => unreachable!(),
            () = follow => {}
        }
    }

    #[test]
    fn nothing_of_a_token_is_shown() {
        let token = RedisToken::new("hunter1", "hunter2", UNIX_EPOCH);
        assert!(!format!("{token:?}").contains("hunter"));
    }
}
