//! Redis as the cache's shared tier.

use super::config::{RedisConfig, RedisConfigError};
use super::dialer::Dialer;
use super::failure::RedisFailure;
use super::messages::{self, MAX_BODY};
use super::tier::Tier;
use super::tls::Tls;
use super::token::RedisTokenState;
use super::wire::Request;
use super::{beat, maintenance, remove, scout};
use crate::fence::Epoch;
use crate::key::Scope;
use crate::remote::{Reason, Remote, RemoteError, RemoteStatus, Removed};
use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Value, cmd};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Redis as a shared tier, supervised: every call ends within the command timeout, none waits while Redis is away.
///
/// Connections are made behind: building it waits for nothing, also when there is no server.
///
/// ```no_run
/// use nexarch_cache::{RedisConfig, RedisRemote, Remote};
/// use tokio_util::{sync::CancellationToken, task::TaskTracker};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
/// let redis = RedisRemote::start(&RedisConfig::new("localhost"), &tasks, &stop)?;
/// redis.status().wait_for(|status| status.values).await?;
/// assert_eq!(redis.get("cache:acme:orders:1", 1 << 20).await?, None);
/// stop.cancel();
/// # Ok(())
/// # }
/// ```
pub struct RedisRemote {
    tier: Arc<Tier>,
    /// `SCAN` and `UNLINK` may be sent.
    may_remove: bool,
    /// `INFO` may be sent.
    may_ask: bool,
}

impl fmt::Debug for RedisRemote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRemote").field("endpoint", &self.tier.endpoint).finish_non_exhaustive()
    }
}

impl RedisRemote {
    /// Begins to connect. Its tasks run on `tracker` and end with `stop` or [`Remote::close`].
    ///
    /// Fails only for a configuration that cannot work. Needs a tokio runtime with IO and timer.
    pub fn start(
        config: &RedisConfig,
        tracker: &TaskTracker,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, RedisConfigError> {
        config.check()?;
        let tls = Tls::new(config)?;
        let stop = stop.child_token();
        let tier = Tier::new(config, Dialer::new(config, tls, tracker.clone()), stop);
        if let (Some(renewal), Some(tokens)) = (tier.dialer.renewal(), &config.tokens) {
            tracker.spawn(Arc::clone(renewal).run(tokens.clone(), tier.stop.clone()));
        }
        for node in tier.layout().nodes() {
            tier.begin(node);
        }
        tracker.spawn(scout::run(Arc::clone(&tier)));
        if ["PUBLISH", "SUBSCRIBE"].iter().all(|command| config.may(command)) {
            tracker.spawn(messages::run(Arc::clone(&tier)));
            tracker.spawn(maintenance::run(Arc::clone(&tier)));
        }
        tracker.spawn(beat::run(Arc::clone(&tier)));
        let may_remove = config.may("SCAN") && config.may("UNLINK");
        Ok(Arc::new(Self { tier, may_remove, may_ask: config.may("INFO") }))
    }

    /// Whether the server is a cluster, as far as it was asked yet.
    pub fn is_cluster(&self) -> bool {
        self.tier.layout().is_cluster()
    }

    /// How the renewal of its tokens does; `None` when it logs in with a password, or not at all.
    pub fn tokens(&self) -> Option<RedisTokenState> {
        self.tier.dialer.renewal().map(|renewal| renewal.state())
    }

    /// Why values are not usable, in words for the operator; holds no secret. `None` when they are.
    pub fn problem(&self) -> Option<String> {
        self.tier.board.problem().map(|failure| failure.detail)
    }

    /// Says that somebody was told just now that Redis is not used, so that the log tells him when it is.
    pub fn fallback_told(&self) {
        self.tier.board.fallback_told();
    }

    /// The first `bytes` of a value. Apart from [`Remote::head`], so that a read takes one boxed future and not two.
    async fn beginning(&self, key: &str, bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        let answer = self.tier.call(key, Request::head(key, bytes)).await;
        if let Err(failure) = &answer {
            if failure.is_foreign() {
                return Err(RemoteError::Foreign);
            }
            self.tier.shut_out(failure);
        }
        match answer.map_err(|failure| failure.error)? {
            Value::BulkString(value) if value.is_empty() => Ok(None),
            Value::BulkString(value) => Ok(Some(value.into())),
            _ => Err(RemoteError::Refused(Reason::Protocol)),
        }
    }

    async fn write(&self, key: &str, request: Request<'_>) -> Result<Value, RemoteError> {
        let answer = self.tier.call(key, request).await;
        match &answer {
            // In a cluster others may refuse: the beat asks all.
            Ok(_) if self.tier.board.write_refusal().is_some() && !self.is_cluster() => {
                self.tier.board.writes(None);
            }
            Err(failure) => self.refused(failure),
            Ok(_) => {}
        }
        answer.map_err(|failure| failure.error)
    }

    fn refused(&self, failure: &RedisFailure) {
        let board = &self.tier.board;
        match failure.error {
            RemoteError::Refused(reason @ (Reason::Oom | Reason::Readonly | Reason::Auth))
                if board.write_refusal() != Some(reason) =>
            {
                board.writes(Some(reason));
            }
            RemoteError::Refused(Reason::Connecting) => self.tier.shut_out(failure),
            _ => {}
        }
    }
}

/// The lines `name:value` of the answer to `INFO`; `None` when it is no such answer.
pub(super) fn info_pairs(answer: Value) -> Option<Vec<(String, String)>> {
    let text = match answer {
        Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
        Value::VerbatimString { text, .. } => text,
        _ => return None,
    };
    let pairs = text.lines().filter_map(|line| line.trim().split_once(':'));
    Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

fn set(key: &str, value: &[u8], ttl: Duration) -> Cmd {
    let mut set = cmd("SET");
    // At least one: zero is an error of the command.
    set.arg(key).arg(value).arg("PX").arg(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1));
    set
}

/// Reads the first `bytes` of a value. Not `GET`: a value has up to 512 MB, whoever put it there, and all of them would
/// be in memory before their number is known.
pub(super) fn head(key: &str, bytes: usize) -> Cmd {
    let mut head = cmd("GETRANGE");
    // Both ends are in it.
    head.arg(key).arg(0).arg(bytes.max(1) - 1);
    head
}

#[async_trait]
impl Remote for RedisRemote {
    fn status(&self) -> watch::Receiver<RemoteStatus> {
        self.tier.board.watch()
    }

    fn messages(&self) -> broadcast::Receiver<Bytes> {
        self.tier.channel.receiver()
    }

    async fn get(&self, key: &str, max_bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        match self.beginning(key, max_bytes.saturating_add(1)).await? {
            Some(value) if value.len() > max_bytes => Err(RemoteError::TooLarge),
            value => Ok(value),
        }
    }

    async fn head(&self, key: &str, bytes: usize) -> Result<Option<Bytes>, RemoteError> {
        self.beginning(key, bytes).await
    }

    async fn set(&self, key: &str, value: Bytes, ttl: Duration) -> Result<(), RemoteError> {
        let set = set(key, &value, ttl);
        self.write(key, Request::of(&set).carrying(value.len())).await.map(drop)
    }

    async fn set_if_absent(&self, key: &str, value: Bytes, ttl: Duration) -> Result<bool, RemoteError> {
        let mut set = set(key, &value, ttl);
        set.arg("NX");
        let answer = self.tier.call(key, Request::of(&set)).await;
        if let Err(failure) = &answer
            && failure.error != RemoteError::Refused(Reason::Auth)
        {
            self.refused(failure);
        }
        // No right to a lease says nothing of values, and a lease that was taken is none that was written.
        Ok(answer.map_err(|failure| failure.error)? != Value::Nil)
    }

    async fn publish(&self, message: Bytes) -> Result<(), RemoteError> {
        if message.len() > MAX_BODY {
            return Err(RemoteError::TooLarge);
        }
        let (publish, number) = self.tier.channel.message(&message);
        self.tier.publish(&publish).await.map_err(|failure| failure.error)?;
        self.tier.channel.taken(number);
        Ok(())
    }

    async fn remove(&self, scope: Option<&Scope>, epoch: Option<Epoch>) -> Removed {
        if !self.may_remove {
            return Err(RemoteError::Refused(Reason::Protocol)).into();
        }
        remove::everywhere(&self.tier, scope, epoch).await
    }

    async fn server_info(&self) -> Result<Vec<(String, String)>, RemoteError> {
        if !self.may_ask {
            return Err(RemoteError::Refused(Reason::Protocol));
        }
        let layout = self.tier.layout();
        let node = layout.answering(0, None).ok_or(RemoteError::Away)?;
        let answer = node.tell(&self.tier, Request::of(&cmd("INFO")), self.tier.command_timeout).await;
        let answer = answer.map_err(|failure| failure.error)?;
        info_pairs(answer).ok_or(RemoteError::Refused(Reason::Protocol))
    }

    async fn close(&self) {
        self.tier.stop.cancel();
        for node in self.tier.layout().nodes() {
            node.distrust(&self.tier, Reason::Connecting, "closed");
        }
        self.tier.board.messages(false);
    }
}
