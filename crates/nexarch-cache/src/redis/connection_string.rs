//! Connection strings of StackExchange.Redis, which the Azure portal shows: `HOST:6380,password=KEY,ssl=True`.
//!
//! Items stand between commas; nothing can be quoted or escaped, so no value holds a comma, and one that ends in `=`
//! (a key in base64) is whole after the first `=`. An item without a name is an endpoint. Names are case-insensitive, of
//! equal ones the last holds. Source: StackExchange.Redis, "Configuration" and `ConfigurationOptions`.

mod endpoint;
mod option;

use self::endpoint::Endpoint;
use self::option::{Meaning, find};
use super::config::{RedisConfig, RedisConfigError, TlsVersions};
use super::service::{self, Service};
use std::collections::BTreeMap;
use std::time::Duration;

/// Commands without which there is no cache.
const NEEDED: [&str; 4] = ["AUTH", "GETRANGE", "PING", "SET"];

/// Commands that one feature each goes with: the form of a cluster, names in `CLIENT LIST`, figures of the server, RESP3,
/// messages, removing keys.
const OPTIONAL: [&str; 8] = ["CLIENT", "CLUSTER", "HELLO", "INFO", "PUBLISH", "SCAN", "SUBSCRIBE", "UNLINK"];

/// Longest unknown name that is repeated in a warning. What is longer, or holds other characters than letters, may be the
/// rest of a password that was cut at a comma.
const MAX_NAME: usize = 40;

/// Reads a connection string. The error names the option that is wrong and repeats nothing of its value.
pub(super) fn read(text: &str) -> Result<RedisConfig, RedisConfigError> {
    let mut given = Given::default();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        match item.split_once('=') {
            Some((name, value)) if !name.is_empty() => given.option(name.trim(), value.trim())?,
            _ => given.endpoint(endpoint::read(item)?),
        }
    }
    given.into_config()
}

/// What a string says.
#[derive(Default)]
struct Given<'a> {
    endpoints: Vec<Endpoint>,
    /// The last value of each option that has an effect.
    options: BTreeMap<Meaning, &'a str>,
    /// Commands that were renamed (to themselves counts as not) or switched off.
    commands: BTreeMap<&'static str, Command>,
    warnings: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    Plain,
    Off,
    Renamed,
}

impl<'a> Given<'a> {
    fn endpoint(&mut self, endpoint: Endpoint) {
        if !self.endpoints.contains(&endpoint) {
            self.endpoints.push(endpoint);
        }
    }

    fn option(&mut self, name: &str, value: &'a str) -> Result<(), RedisConfigError> {
        if let Some(command) = name.strip_prefix('$') {
            self.command(command.trim(), value);
            return Ok(());
        }
        let Some(option) = find(name) else {
            self.warn_unknown(name);
            return Ok(());
        };
        if !option.form.accepts(value) {
            return Err(RedisConfigError::new(option.name, format!("expected {}", option.form)));
        }
        match option.meaning {
            Meaning::Nothing => {}
            Meaning::Unsupported if option::is_off(value) => {}
            Meaning::Unsupported => {
                self.warn(format!("{} is not supported and has no effect", option.name));
            }
            meaning => drop(self.options.insert(meaning, value)),
        }
        Ok(())
    }

    fn command(&mut self, name: &str, value: &str) {
        let known = NEEDED.iter().chain(&OPTIONAL).find(|known| known.eq_ignore_ascii_case(name));
        // Others are never sent.
        let Some(known) = known else { return };
        let command = match value {
            "" => Command::Off,
            same if same.eq_ignore_ascii_case(known) => Command::Plain,
            _ => Command::Renamed,
        };
        self.commands.insert(known, command);
    }

    fn warn_unknown(&mut self, name: &str) {
        let is_name = name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_alphabetic());
        self.warn(if is_name {
            format!("{name} is not a known option and has no effect")
        } else {
            "an unknown option has no effect; can a value hold a comma?".to_owned()
        });
    }

    fn warn(&mut self, warning: String) {
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
    }

    fn into_config(mut self) -> Result<RedisConfig, RedisConfigError> {
        if self.text(Meaning::ServiceName).is_some() {
            let problem = "Sentinel is not supported; give the address of the server or of a proxy before it";
            return Err(RedisConfigError::new("serviceName", problem));
        }
        let Some(endpoint) = self.endpoints.first() else {
            let problem = "no endpoint; expected a connection string such as HOST:6380,password=KEY,ssl=True";
            return Err(RedisConfigError::new("host", problem));
        };
        let tls = self.boolean(Meaning::Ssl).unwrap_or_else(|| is_secure(endpoint));
        let port = endpoint.port.unwrap_or(if tls { 6380 } else { 6379 });
        let mut config = RedisConfig::new(&endpoint.host).port(port).tls(tls);
        if self.endpoints.len() > 1 {
            let number = self.endpoints.len();
            self.warn(format!(
                "only the first of {number} endpoints is used; of a cluster it tells the others"
            ));
        }
        config.username = self.text(Meaning::User).map(str::to_owned);
        config.password = self.text(Meaning::Password).map(str::to_owned);
        config.db = self.number(Meaning::DefaultDatabase).unwrap_or(0);
        config.certificate_name = self.text(Meaning::SslHost).map(str::to_ascii_lowercase);
        config.tls_versions = self.tls_versions()?;
        self.text(Meaning::ChannelPrefix).unwrap_or_default().clone_into(&mut config.channel_prefix);
        config.command_limit = self.millis(Meaning::AsyncTimeout).or(self.millis(Meaning::SyncTimeout));
        config.resp2 = self.text(Meaning::Protocol).is_some_and(option::is_resp2);
        if let Some(name) = self.text(Meaning::Name) {
            config = config.client_name(name);
        }
        if let Some(timeout) = self.millis(Meaning::ConnectTimeout) {
            config = config.connect_timeout(timeout);
        }
        // Zero and less mean the default.
        if let Some(seconds) =
            self.number::<i32>(Meaning::KeepAlive).and_then(|seconds| u64::try_from(seconds).ok())
            && seconds > 0
        {
            config = config.keep_alive(Duration::from_secs(seconds));
        }
        self.switch_off(&mut config)?;
        config.warnings = self.warnings;
        config.check()?;
        Ok(config)
    }

    /// A command that is off, or has a name that nobody here sends, costs what it is needed for.
    fn switch_off(&mut self, config: &mut RedisConfig) -> Result<(), RedisConfigError> {
        let gone: Vec<_> = self.commands.iter().filter(|(_, state)| **state != Command::Plain).collect();
        let mut warnings = Vec::new();
        for (name, state) in gone {
            if NEEDED.contains(name) && (*name != "AUTH" || config.password.is_some()) {
                return Err(RedisConfigError::new(
                    "command map",
                    format!("{name} is needed, and not under another name"),
                ));
            }
            if *state == Command::Renamed {
                warnings.push(format!("{name} is not used under another name"));
            }
            config.without.insert(name);
        }
        for warning in warnings {
            self.warn(warning);
        }
        Ok(())
    }

    fn text(&self, meaning: Meaning) -> Option<&'a str> {
        self.options.get(&meaning).copied().filter(|text| !text.is_empty())
    }

    fn boolean(&self, meaning: Meaning) -> Option<bool> {
        self.text(meaning).and_then(option::boolean)
    }

    fn number<T: std::str::FromStr>(&self, meaning: Meaning) -> Option<T> {
        self.text(meaning)?.parse().ok()
    }

    fn millis(&self, meaning: Meaning) -> Option<Duration> {
        self.number(meaning).map(Duration::from_millis)
    }

    fn tls_versions(&self) -> Result<TlsVersions, RedisConfigError> {
        let Some(text) = self.text(Meaning::SslProtocols) else { return Ok(TlsVersions::Both) };
        match option::tls_versions(text) {
            Some((true, false)) => Ok(TlsVersions::Only12),
            Some((false, true)) => Ok(TlsVersions::Only13),
            Some((true, true)) => Ok(TlsVersions::Both),
            _ => Err(RedisConfigError::new("sslProtocols", "TLS 1.2 and 1.3 are spoken, nothing older")),
        }
    }
}

/// Whether TLS is on when nobody says so.
fn is_secure(endpoint: &Endpoint) -> bool {
    match service::of(&endpoint.host) {
        Service::Managed => true,
        Service::Cache => endpoint.port == Some(6380),
        Service::Redis => false,
    }
}
