//! `REDIS_*`: one URL, or the same by parts.

use std::{path::PathBuf, time::Duration};

use nexarch_cache::{RedisConfig, RedisConfigError, RedisMode, RedisTokens};

use super::parse::{self, Reader};

/// What only means something beside `REDIS_HOST`.
const PARTS: [&str; 5] = ["REDIS_PORT", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_DB", "REDIS_SSL"];

/// The Redis that the variables name, if they name one. What is wrong is noted in `reader`.
pub(super) fn read(reader: &mut Reader<'_>, namespace: &str) -> Option<RedisConfig> {
    let url = reader.value("REDIS_URL", text);
    let host = reader.value("REDIS_HOST", text);
    let parts = Parts::read(reader);
    let common = Common::read(reader);
    let named = match (&url, host) {
        (Some(url), _) => {
            warn_of_parts(reader, &["REDIS_HOST"], "REDIS_URL is set");
            RedisConfig::from_url(url)
        }
        (None, Some(host)) => Ok(parts.apply(RedisConfig::new(&host))),
        (None, None) => {
            warn_of_parts(reader, &[], "REDIS_HOST is not set");
            return None;
        }
    };
    match named.and_then(|config| common.apply(config, namespace)) {
        Ok(config) => {
            for warning in config.warnings() {
                reader.warn(format!("REDIS_URL: {warning}"));
            }
            Some(config)
        }
        Err(error) => {
            let variable = if url.is_some() { "REDIS_URL" } else { variable_of(error.part) };
            reader.problem(&format!("{variable}: {} {}", error.part, error.problem));
            None
        }
    }
}

/// Says of each part that is set that it has no effect.
fn warn_of_parts(reader: &mut Reader<'_>, also: &[&'static str], why: &str) {
    for name in also.iter().chain(&PARTS) {
        if reader.is_set(name) {
            reader.warn(format!("{name} has no effect: {why}"));
        }
    }
}

/// The parts of `REDIS_URL`.
struct Parts {
    port: Option<u16>,
    username: Option<String>,
    password: Option<String>,
    db: u32,
    tls: Option<bool>,
}

impl Parts {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            port: reader.value("REDIS_PORT", |text| parse::port(text).map(Some)),
            username: reader.value("REDIS_USERNAME", text),
            password: reader.value("REDIS_PASSWORD", text),
            db: reader.value("REDIS_DB", |text| {
                text.parse().map_err(|_| "must be the number of a database, such as 0".to_owned())
            }),
            tls: reader.value("REDIS_SSL", |text| parse::boolean(text).map(Some)),
        }
    }

    fn apply(self, config: RedisConfig) -> RedisConfig {
        let config = config.db(self.db);
        let config = self.port.into_iter().fold(config, RedisConfig::port);
        let config = self.username.iter().fold(config, |config, name| config.username(name));
        let config = self.password.iter().fold(config, |config, secret| config.password(secret));
        self.tls.into_iter().fold(config, RedisConfig::tls)
    }
}

/// Who this process is to Microsoft Entra ID.
struct Identity {
    tenant_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<String>,
    federated_token_file: Option<String>,
    developer_tools: bool,
}

impl Identity {
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            tenant_id: reader.value("AZURE_TENANT_ID", text),
            client_id: reader.value("AZURE_CLIENT_ID", text),
            client_secret: reader.value("AZURE_CLIENT_SECRET", text),
            federated_token_file: reader.value("AZURE_FEDERATED_TOKEN_FILE", text),
            developer_tools: reader.value("AZURE_TOKEN_CREDENTIALS", |text| Ok(parse::developer_tools(text))),
        }
    }

    #[cfg(feature = "azure")]
    #[expect(clippy::unnecessary_wraps, reason = "the shape of the build that has none")]
    fn tokens(self) -> Option<RedisTokens> {
        let identity = nexarch_cache::EntraIdentity {
            tenant_id: self.tenant_id,
            client_id: self.client_id,
            client_secret: self.client_secret,
            federated_token_file: self.federated_token_file.map(PathBuf::from),
            developer_tools: self.developer_tools,
        };
        Some(identity.redis_tokens())
    }

    #[cfg(not(feature = "azure"))]
    fn tokens(self) -> Option<RedisTokens> {
        None
    }
}

/// What holds for a URL and for parts.
struct Common {
    /// In place of a password.
    tokens: Option<RedisTokens>,
    mode: RedisMode,
    ca_file: Option<PathBuf>,
    connections: usize,
    timeout: Duration,
    /// `None` leaves it to a connection string, or to the default.
    connect_timeout: Option<Duration>,
}

impl Common {
    fn read(reader: &mut Reader<'_>) -> Self {
        let entra = reader.value("REDIS_AUTH", auth);
        let identity = Identity::read(reader);
        Self {
            tokens: entra.then(|| identity.tokens()).flatten(),
            mode: reader.value("REDIS_MODE", mode),
            ca_file: reader.value("REDIS_CA_FILE", |path| Ok(Some(PathBuf::from(path)))),
            connections: reader.value("REDIS_CONNECTIONS", connections),
            timeout: reader.value("REDIS_TIMEOUT_MS", parse::milliseconds),
            connect_timeout: reader.asked("REDIS_CONNECT_TIMEOUT_MS", parse::milliseconds),
        }
    }

    fn apply(self, config: RedisConfig, namespace: &str) -> Result<RedisConfig, RedisConfigError> {
        let config = config
            .mode(self.mode)
            .connections(self.connections)
            .command_timeout(self.timeout)
            .namespace(namespace);
        let config = self.tokens.into_iter().fold(config, RedisConfig::tokens);
        let config = self.connect_timeout.into_iter().fold(config, RedisConfig::connect_timeout);
        let config = self.ca_file.iter().fold(config, |config, path| config.ca_file(path));
        config.checked()
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the shape of a parser")]
fn text(text: &str) -> Result<Option<String>, String> {
    Ok(Some(text.to_owned()))
}

/// Are there tokens in place of a password?
fn auth(text: &str) -> Result<bool, String> {
    match text {
        "password" => Ok(false),
        "entra" if cfg!(feature = "azure") => Ok(true),
        "entra" => Err("needs a build with the feature azure; use password".to_owned()),
        _ => Err("must be password or entra".to_owned()),
    }
}

fn mode(text: &str) -> Result<RedisMode, String> {
    match text {
        "auto" => Ok(RedisMode::Auto),
        "standalone" => Ok(RedisMode::Standalone),
        "cluster" => Ok(RedisMode::Cluster),
        _ => Err("must be auto, standalone or cluster".to_owned()),
    }
}

fn connections(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=16).contains(number))
        .ok_or_else(|| "must be a whole number from 1 to 16".to_owned())
}

/// The variable that a part comes from.
fn variable_of(part: &str) -> &'static str {
    match part {
        "port" => "REDIS_PORT",
        "username" => "REDIS_USERNAME",
        "password" => "REDIS_PASSWORD",
        "database" => "REDIS_DB",
        "CA file" => "REDIS_CA_FILE",
        _ => "REDIS_HOST",
    }
}
