//! Passwords that expire, and where they come from.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

/// The longest token that is taken, in bytes: Microsoft Entra ID's have about two thousand.
const MAX_TOKEN: usize = 64 << 10;

/// The longest user name, in bytes.
const MAX_USER: usize = 1024;

/// A password that expires, and the user that it belongs to.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisToken {
    pub(super) user: String,
    pub(super) secret: String,
    pub(super) expires: SystemTime,
}

impl RedisToken {
    /// A token of `user`, good until `expires` by this machine's clock.
    pub fn new(user: impl Into<String>, secret: impl Into<String>, expires: SystemTime) -> Self {
        Self { user: user.into(), secret: secret.into(), expires }
    }

    /// Why it cannot be one, in words that hold nothing of it.
    pub(super) fn problem(&self) -> Option<&'static str> {
        match (self.user.len(), self.secret.len()) {
            (0, _) => Some("the token names no user"),
            (MAX_USER.., _) => Some("the token's user has too long a name"),
            (_, 0) => Some("the token is empty"),
            (_, MAX_TOKEN..) => Some("the token is too long"),
            _ => None,
        }
    }
}

/// How the renewal of tokens does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedisTokenState {
    /// When the token in use ends; `None` while there is none.
    pub expires: Option<SystemTime>,
    /// Attempts that brought a token, or said that the one in use is still the newest.
    pub renewals: u64,
    /// Attempts that brought nothing.
    pub failures: u64,
}

/// Shows neither user nor secret.
impl fmt::Debug for RedisToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisToken").field("expires", &self.expires).finish_non_exhaustive()
    }
}

type Fetched = Pin<Box<dyn Future<Output = Result<RedisToken, String>> + Send>>;

/// Where tokens come from: asked again for each new one. What it says when it has none is for the operator, and holds no
/// secret.
///
/// ```
/// use nexarch_cache::{RedisConfig, RedisToken, RedisTokens};
/// use std::time::{Duration, UNIX_EPOCH};
///
/// let hour = UNIX_EPOCH + Duration::from_secs(1_800_003_600);
/// let tokens = RedisTokens::new(move || async move { Ok(RedisToken::new("user", "secret", hour)) });
/// let config = RedisConfig::new("cache.example.com").tokens(tokens);
/// assert_eq!(config.to_string(), "rediss://:****@cache.example.com:6380/0");
/// ```
#[derive(Clone)]
pub struct RedisTokens(Arc<dyn Fn() -> Fetched + Send + Sync>);

impl RedisTokens {
    /// Tokens that `fetch` brings.
    pub fn new<F, Fut>(fetch: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<RedisToken, String>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(fetch())))
    }

    pub(super) fn fetch(&self) -> Fetched {
        (self.0)()
    }
}

impl fmt::Debug for RedisTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisTokens")
    }
}
