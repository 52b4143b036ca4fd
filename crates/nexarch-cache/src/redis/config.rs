//! Where Redis is and how it is spoken to, from parts. URLs are in [`super::url`], connection strings of the Azure portal
//! in [`super::connection_string`].

mod effective;

use super::socket::Names;
use super::token::RedisTokens;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a call may take before it counts as unanswered.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a connection may take from the name to the first answer; nobody waits for it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections for values to each server: a second one lets calls go on while the first is replaced.
const CONNECTIONS: usize = 2;

/// After this much silence a connection is asked whether it lives. Azure drops one that was idle for ten minutes.
const KEEP_ALIVE: Duration = Duration::from_mins(1);

/// The longest silence that can be asked for: well inside the ten minutes.
const MAX_KEEP_ALIVE: Duration = Duration::from_mins(5);

/// The shortest: a connection that is asked more often does nothing else.
const MIN_KEEP_ALIVE: Duration = Duration::from_secs(1);

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

/// Which versions of TLS are spoken; older ones never are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TlsVersions {
    #[default]
    Both,
    Only12,
    Only13,
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
    pub(super) ca_file: Option<PathBuf>,
    pub(super) connections: usize,
    pub(super) command_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) namespace: String,
    pub(super) certificate_name: Option<String>,
    pub(super) tls_versions: TlsVersions,
    pub(super) client_name: Option<String>,
    pub(super) channel_prefix: String,
    /// What a call may take at most, whatever else is configured.
    pub(super) command_limit: Option<Duration>,
    pub(super) keep_alive: Duration,
    /// Values go over RESP2.
    pub(super) resp2: bool,
    /// Commands that are not sent; each costs one feature.
    pub(super) without: BTreeSet<&'static str>,
    pub(super) warnings: Vec<String>,
    /// Take the place of the password.
    pub(super) tokens: Option<RedisTokens>,
    pub(super) names: Names,
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
            ca_file: None,
            connections: CONNECTIONS,
            command_timeout: COMMAND_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            namespace: "cache".into(),
            certificate_name: None,
            tls_versions: TlsVersions::Both,
            client_name: None,
            channel_prefix: String::new(),
            command_limit: None,
            keep_alive: KEEP_ALIVE,
            resp2: false,
            without: BTreeSet::new(),
            warnings: Vec::new(),
            tokens: None,
            names: Names::default(),
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

    /// Passwords that expire, in place of one that does not: connections log in anew before their token ends, and who
    /// cannot is replaced. TLS only. [`RedisConfig::username`] overrides the token's user.
    #[must_use]
    pub fn tokens(mut self, tokens: RedisTokens) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// The database number, 0 by default; a cluster has no other.
    #[must_use]
    pub fn db(mut self, db: u32) -> Self {
        self.db = db;
        self
    }

    /// Where names lead, for tests: asked in place of the system, whenever that would be asked.
    #[cfg(feature = "testing")]
    #[must_use]
    pub fn names(
        mut self,
        lead: impl Fn(&str, u16) -> Vec<std::net::SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.names = Names::leading(lead);
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

    pub(super) fn has_private_ca(&self) -> bool {
        self.ca_pem.is_some() || self.ca_file.is_some()
    }

    /// As [`RedisConfig::ca_pem`], from a file: read when a connection is made, and anew when a server's certificate was not
    /// trusted. So it may come later, and be replaced. While it is not there, or cannot be used, no connection is made,
    /// which is said like any other trouble with TLS.
    #[must_use]
    pub fn ca_file(mut self, path: &Path) -> Self {
        self.ca_file = Some(path.to_owned());
        self
    }

    /// The name that the server's certificate has to show, when that is not the host.
    #[must_use]
    pub fn certificate_name(mut self, name: &str) -> Self {
        self.certificate_name = Some(name.to_ascii_lowercase());
        self
    }

    /// What connections call themselves in `CLIENT LIST`. Characters that Redis refuses there are left out.
    #[must_use]
    pub fn client_name(mut self, name: &str) -> Self {
        let name: String = name.chars().filter(char::is_ascii_graphic).collect();
        self.client_name = Some(name).filter(|name| !name.is_empty());
        self
    }

    /// The silence after which a connection is asked whether it lives: 60 s by default, 1 s at least, 5 minutes
    /// at most.
    #[must_use]
    pub fn keep_alive(mut self, silence: Duration) -> Self {
        self.keep_alive = silence.clamp(MIN_KEEP_ALIVE, MAX_KEEP_ALIVE);
        self
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_neither_asked_all_the_time_nor_left_to_the_idle_limit() {
        let of = |silence| RedisConfig::new("localhost").keep_alive(silence).keep_alive;
        assert_eq!(of(Duration::ZERO), MIN_KEEP_ALIVE);
        assert_eq!(of(Duration::from_secs(30)), Duration::from_secs(30));
        assert_eq!(of(Duration::MAX), MAX_KEEP_ALIVE);
    }

    /// Azure drops a connection after ten minutes of silence; and one that is asked all the time is no rest.
    #[test]
    fn silence_has_bounds() {
        let of = |text: &str| RedisConfig::from_url(text).unwrap().keep_alive;
        assert_eq!((of("h"), of("h,keepAlive=30")), (KEEP_ALIVE, Duration::from_secs(30)));
        for none in ["h,keepAlive=0", "h,keepAlive=-1", "h,keepAlive="] {
            assert_eq!(of(none), KEEP_ALIVE, "{none}");
        }
        assert_eq!(of("h,keepAlive=3600"), MAX_KEEP_ALIVE);
        assert!(MAX_KEEP_ALIVE + Duration::from_mins(1) < Duration::from_mins(10));
    }
}
