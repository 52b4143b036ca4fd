//! Where Redis is and how it is spoken to, from parts. URLs are in [`super::url`].

use crate::key::is_name;
use crate::redis::service::{self, Service};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

/// How long a call may take before it counts as unanswered.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a connection may take from the name to the first answer; nobody waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for values to each server: a second one lets calls go on while the first is replaced.
const CONNECTIONS: usize = 2;

/// Beyond this, more connections cost the server more than they bring: each carries any number of calls at once.
const MAX_CONNECTIONS: usize = 16;

/// What is masked in texts for people.
const MASK: &str = "****";

/// What the server is taken for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedisMode {
    /// Asked at every connect.
    #[default]
    Auto,
    /// One server; never asked for a cluster.
    Standalone,
    /// A cluster; a server that is none is refused.
    Cluster,
}

/// Where Redis is and how it is spoken to.
///
/// ```
/// use nexarch_cache::RedisConfig;
///
/// let config = RedisConfig::new("cache.example.com").password("p@ss");
/// assert_eq!(config.to_string(), "rediss://:****@cache.example.com:6380/0");
/// assert_eq!(RedisConfig::from_url(&config.url())?.url(), "rediss://:p%40ss@cache.example.com:6380/0");
/// # Ok::<(), nexarch_cache::RedisConfigError>(())
/// ```
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) host: String,
    pub(super) port: Option<u16>,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) db: u32,
    pub(super) tls: Option<bool>,
    pub(super) mode: RedisMode,
    pub(super) ca_pem: Option<Vec<u8>>,
    pub(super) connections: usize,
    pub(super) command_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) namespace: String,
}

/// Which part of a configuration is wrong. Never repeats a value that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis {part}: {problem}")]
pub struct RedisConfigError {
    /// The part, as `port`.
    pub part: &'static str,
    /// What is wrong and what to write instead.
    pub problem: String,
}

impl RedisConfigError {
    pub(super) fn new(part: &'static str, problem: impl Into<String>) -> Self {
        Self { part, problem: problem.into() }
    }
}

impl RedisConfig {
    /// A server by name or address (IPv6 with or without brackets), everything else by default.
    pub fn new(host: &str) -> Self {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        Self {
            host: bare.to_ascii_lowercase(),
            port: None,
            username: None,
            password: None,
            db: 0,
            tls: None,
            mode: RedisMode::Auto,
            ca_pem: None,
            connections: CONNECTIONS,
            command_timeout: COMMAND_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            namespace: "cache".into(),
        }
    }

    /// The port; by default 10000 for `*.redis.azure.net`, else 6380 with TLS, else 6379.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// The ACL user; needs a password.
    #[must_use]
    pub fn username(mut self, username: &str) -> Self {
        self.username = Some(username.into());
        self
    }

    /// The password or access key.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The database number, 0 by default; a cluster has no other.
    #[must_use]
    pub fn db(mut self, db: u32) -> Self {
        self.db = db;
        self
    }

    /// Whether TLS is used. By default on for port 6380 and 10000 and for Azure hosts, else off for loopback and for
    /// port 6379, else on.
    #[must_use]
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = Some(tls);
        self
    }

    /// What the server is taken for; asked by default.
    #[must_use]
    pub fn mode(mut self, mode: RedisMode) -> Self {
        self.mode = mode;
        self
    }

    /// The certificates (PEM) that are trusted *instead of* those of the system.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// As [`RedisConfig::ca_pem`], read from a file at once.
    pub fn ca_file(self, path: &Path) -> Result<Self, RedisConfigError> {
        match std::fs::read(path) {
            Ok(pem) => Ok(self.ca_pem(pem)),
            Err(error) => {
                Err(RedisConfigError::new("CA file", format!("cannot read {}: {error}", path.display())))
            }
        }
    }

    /// Long-lived connections for values to each server, 1 to 16; 2 by default. One more carries messages.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// How long a call may take; 100 ms by default.
    #[must_use]
    pub fn command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// How long a connection may take to be made, behind; 5 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The first part of every key and of the channel, `[a-z0-9][a-z0-9_-]*`; `cache` by default. The cache's own.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The host in use.
    pub fn effective_host(&self) -> &str {
        &self.host
    }

    /// The port in use.
    pub fn effective_port(&self) -> u16 {
        let default = || match service::of(&self.host) {
            Service::Managed => 10_000,
            _ if self.effective_tls() => 6380,
            _ => 6379,
        };
        self.port.unwrap_or_else(default)
    }

    /// Whether TLS is in use.
    pub fn effective_tls(&self) -> bool {
        let secure = matches!(self.port, Some(6380 | 10_000)) || service::of(&self.host) != Service::Redis;
        let plain = is_loopback(&self.host) || self.port == Some(6379);
        self.tls.unwrap_or(secure || !plain)
    }

    /// The service that the host belongs to, by its name alone: `Azure Cache for Redis`, `Azure Managed Redis` or
    /// `Redis`. Good for a line in a log; what the server can do is asked of it.
    pub fn service_name(&self) -> &'static str {
        service::of(&self.host).as_str()
    }

    /// The same configuration, unless it cannot work. [`RedisRemote::start`](crate::RedisRemote::start) asks it too.
    pub fn checked(self) -> Result<Self, RedisConfigError> {
        self.check().map(|()| self)
    }

    /// Refuses what cannot work, before anything is connected.
    pub(super) fn check(&self) -> Result<(), RedisConfigError> {
        let wrong = |part, problem: &str| Err(RedisConfigError::new(part, problem));
        if self.host.is_empty() || self.host.contains(|c: char| c.is_whitespace() || "/@,=".contains(c)) {
            return wrong("host", "expected a name or an address, such as cache.example.com");
        }
        if self.port == Some(0) {
            return wrong("port", "expected 1 to 65535");
        }
        if self.username.is_some() && self.password.is_none() {
            return wrong("username", "a user needs a password");
        }
        if self.db != 0 && self.mode == RedisMode::Cluster {
            return wrong("database", "a cluster has database 0 only");
        }
        if self.ca_pem.is_some() && !self.effective_tls() {
            return wrong("CA file", "given, but TLS is off; use rediss:// or switch TLS on");
        }
        if !(1..=MAX_CONNECTIONS).contains(&self.connections) {
            return wrong("connections", "expected 1 to 16");
        }
        if self.command_timeout.is_zero() || self.connect_timeout.is_zero() {
            return wrong("timeout", "expected at least 1 ms");
        }
        if !is_name(&self.namespace) {
            return wrong("namespace", "expected 1 to 63 of a-z 0-9 _ -, first a letter or digit");
        }
        Ok(())
    }
}

/// Shows everything but secrets.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::url::write(self, self.password.as_ref().map(|_| MASK)))
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.to_string())
            .field("mode", &self.mode)
            .field("private_ca", &self.ca_pem.is_some())
            .field("connections", &self.connections)
            .field("command_timeout", &self.command_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
