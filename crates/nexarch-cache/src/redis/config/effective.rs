//! What follows from the parts that were given, what cannot work, and how a configuration is shown.

use super::{RedisConfig, RedisConfigError, RedisMode};
use crate::key::is_name;
use crate::redis::service::{self, Service};
use crate::redis::url;
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Beyond this, more connections cost the server more than they bring: each carries any number of calls at once.
const MAX_CONNECTIONS: usize = 16;

/// What is masked in texts for people.
const MASK: &str = "****";

impl RedisConfig {
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

    /// The name that a certificate has to show.
    pub(in crate::redis) fn effective_certificate_name(&self) -> &str {
        self.certificate_name.as_deref().unwrap_or(&self.host)
    }

    /// How long a call may take.
    pub fn effective_command_timeout(&self) -> Duration {
        self.command_limit.map_or(self.command_timeout, |limit| limit.min(self.command_timeout))
    }

    /// What the server is taken for: without `CLUSTER` it cannot be asked.
    pub(in crate::redis) fn effective_mode(&self) -> RedisMode {
        if self.may("CLUSTER") { self.mode } else { RedisMode::Standalone }
    }

    /// Whether a command may be sent.
    pub(in crate::redis) fn may(&self, command: &str) -> bool {
        !self.without.contains(command)
    }

    /// What was given and has no effect, in words for the operator, without values.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
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
    pub(in crate::redis) fn check(&self) -> Result<(), RedisConfigError> {
        let wrong = |part, problem: &str| Err(RedisConfigError::new(part, problem));
        if self.host.is_empty() || self.host.contains(|c: char| c.is_whitespace() || "/@,=".contains(c)) {
            return wrong("host", "expected a name or an address, such as cache.example.com");
        }
        if self.port == Some(0) {
            return wrong("port", "expected 1 to 65535");
        }
        if self.tokens.is_some() && self.password.is_some() {
            return wrong("password", "given, but tokens take its place");
        }
        if self.tokens.is_some() && !self.effective_tls() {
            return wrong("TLS", "tokens are sent over TLS only; use rediss:// or switch TLS on");
        }
        if self.username.is_some() && self.password.is_none() && self.tokens.is_none() {
            return wrong("username", "a user needs a password");
        }
        if self.db != 0 && self.mode == RedisMode::Cluster {
            return wrong("database", "a cluster has database 0 only");
        }
        if self.mode == RedisMode::Cluster && !self.may("CLUSTER") {
            return wrong("mode", "a cluster cannot be asked without the command CLUSTER");
        }
        if self.certificate_name.as_ref().is_some_and(|name| ServerName::try_from(name.as_str()).is_err()) {
            return wrong("certificate name", "expected a name or an address, such as cache.example.com");
        }
        if self.has_private_ca() && !self.effective_tls() {
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
        f.write_str(&url::write(
            self,
            self.password.as_ref().map(|_| MASK).or(self.tokens.as_ref().map(|_| MASK)),
        ))
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("url", &self.to_string())
            .field("mode", &self.mode)
            .field("private_ca", &self.has_private_ca())
            .field("connections", &self.connections)
            .field("command_timeout", &self.command_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("namespace", &self.namespace)
            .field("certificate_name", &self.certificate_name)
            .field("client_name", &self.client_name)
            .field("without", &self.without)
            .finish_non_exhaustive()
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
