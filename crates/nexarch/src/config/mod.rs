//! Configuration: read once, checked whole, then passed as values. The only module that reads the environment.

pub mod command;
mod parse;
mod redis;
mod source;
mod traces;
mod variable;
mod vault;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use nexarch_cache::{Operation, RedisConfig};
use sha2::{Digest, Sha256};

pub use source::{Found, Sources};
pub use traces::TracesConfig;
pub use variable::{VARIABLES, Variable};

use crate::{cron::Schedule, door::tls, limit::Rates, operation};

/// A whole, valid configuration.
#[derive(Clone)]
pub struct Config {
    /// Address of API, page and OTLP/HTTP.
    pub host: String,
    /// Its port; 0 picks one.
    pub port: u16,
    /// Certificate and key; `None` = no TLS.
    pub tls: Option<tls::Files>,
    /// OTLP's own port for gRPC.
    pub otlp_grpc: Listener,
    /// OTLP's own port for HTTP.
    pub otlp_http: Listener,
    /// Where Prometheus finds the server's own figures.
    pub metrics: Listener,
    /// Where the truth is.
    pub database_url: DatabaseUrl,
    /// The cache.
    pub cache: CacheConfig,
    /// Raw spans older than this are refused, and days of them dropped.
    pub retention: Duration,
    /// Rollups older than this are dropped.
    pub rollup_retention: Duration,
    /// Most spans that a tenant may have accepted on one UTC day; `None` = any number.
    pub quota_spans_per_day: Option<u64>,
    /// Latency objective T of every tenant.
    pub latency_objective: Duration,
    /// Share of requests that should succeed, of every tenant, 0…1.
    pub availability_objective: f64,
    /// Most bytes of one request, before and after decompression.
    pub max_body_bytes: usize,
    /// Most bytes of all requests under way.
    pub max_inflight_bytes: usize,
    /// What one tenant may ask of this node.
    pub rates: Rates,
    /// Who holds this may administer tenants and keys over HTTP; `None` = nobody.
    pub admin: Option<AdminSecret>,
    /// How logs look.
    pub log: LogConfig,
    /// Where the server's own traces go; needs the feature `otel`.
    pub traces: Option<TracesConfig>,
    /// What was set, by name, in table order; secrets masked.
    pub shown: Vec<(&'static str, String, String)>,
    /// Sentences for the operator.
    pub warnings: Vec<String>,
}

/// The cache's part.
#[derive(Clone)]
pub struct CacheConfig {
    /// Off = every read computes.
    pub enabled: bool,
    /// First part of every key.
    pub namespace: String,
    /// Budget of the memory tier.
    pub max_memory_bytes: u64,
    /// Most of it for one tenant while others want room, 1 to 100.
    pub tenant_max_percent: u8,
    /// The tier behind memory, if there is one.
    pub redis: Option<RedisConfig>,
    /// Most bytes there for one tenant.
    pub tenant_max_redis_bytes: u64,
    /// Seals values there.
    pub encryption_key: Option<SecretKey>,
    /// When every operation of every active tenant is computed ahead.
    pub warm_schedule: Option<Schedule>,
    /// The policy table with the configured TTLs.
    pub operations: Vec<Operation>,
}

/// How logs look.
#[derive(Clone)]
pub struct LogConfig {
    /// JSON lines instead of text.
    pub json: bool,
    /// `RUST_LOG` directives.
    pub filter: String,
}

/// An optional listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen; `None` = off.
    pub addr: Option<SocketAddr>,
    /// Was it asked for? Then a taken address is an error, else a warning.
    pub asked_for: bool,
}

/// A database URL whose `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The URL with everything in it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Path of the database file.
    pub fn file(&self) -> Option<PathBuf> {
        let rest = self.0.strip_prefix("sqlite:")?;
        let path = rest.strip_prefix("//").unwrap_or(rest);
        Some(PathBuf::from(path.split('?').next().unwrap_or(path)))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.split(':').next().unwrap_or_default();
        write!(f, "DatabaseUrl({scheme}:****)")
    }
}

/// A key of 32 bytes that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    /// The bytes.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(****)")
    }
}

/// The secret of the admin API, of which only a hash is kept.
#[derive(Clone)]
pub struct AdminSecret([u8; 32]);

impl AdminSecret {
    /// Is it this text? How long the answer takes tells nothing of the secret: hashes are compared, and all of them.
    pub fn is(&self, text: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(text).into();
        let differing = self.0.iter().zip(given).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        std::hint::black_box(differing) == 0
    }
}

impl fmt::Debug for AdminSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminSecret(****)")
    }
}

/// Everything that is wrong with a configuration, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("wrong configuration:\n{}", .0.iter().map(|problem| format!("  - {problem}")).collect::<Vec<_>>().join("\n"))]
pub struct Problems(pub Vec<String>);

/// Checks all sources and builds the configuration, or says everything that is wrong.
pub fn load(sources: &Sources) -> Result<Config, Problems> {
    let mut reader = parse::Reader::new(sources);
    let host = reader.value("HOST", parse::host);
    let port = reader.value("PORT", parse::port);
    let certificate = reader.tls();
    let otlp_grpc = reader.listener("OTLP_GRPC_ADDR");
    let otlp_http = reader.listener("OTLP_HTTP_ADDR");
    let metrics = reader.listener("METRICS_ADDR");
    let database_url = reader.value("DATABASE_URL", parse::database_url);
    let enabled = reader.value("CACHE_ENABLED", parse::boolean);
    let namespace = reader.value("CACHE_NAMESPACE", parse::namespace);
    let default_ttl = reader.value("CACHE_TTL_SECONDS", parse::seconds);
    let max_memory = reader.value("CACHE_MAX_MEMORY_MB", parse::megabytes);
    let percent = reader.value("CACHE_TENANT_MAX_PERCENT", parse::percent);
    let retention = reader.value("RETENTION_DAYS", parse::days);
    let rollup_retention = reader.rollup_retention(retention);
    let quota = reader.value("QUOTA_SPANS_PER_DAY", parse::count);
    let latency_objective = reader.value("LATENCY_OBJECTIVE_MS", parse::milliseconds);
    let availability_objective = reader.value("AVAILABILITY_OBJECTIVE", parse::availability);
    let max_body = reader.value("MAX_BODY_MB", parse::megabytes);
    let max_inflight = reader.value("MAX_INFLIGHT_MB", parse::megabytes);
    let rates = Rates {
        requests_per_minute: reader.value("RATE_LIMIT_REQUESTS_PER_MINUTE", parse::rate),
        spans_per_second: reader.value("RATE_LIMIT_SPANS_PER_SECOND", parse::rate),
    };
    let admin = reader.value("ADMIN_SECRET_KEY", parse::admin_secret);
    let json = reader.value("LOG_FORMAT", parse::log_format);
    let filter = reader.value("RUST_LOG", parse::log_filter);
    let ttls = reader.operation_ttls();
    let traces = if cfg!(feature = "otel") { traces::read(&mut reader) } else { None };
    if max_body > max_inflight {
        reader.problem(
            "MAX_BODY_MB is larger than MAX_INFLIGHT_MB: no request of that size could ever be taken",
        );
    }
    reader.value("KEYVAULT_ALLOWED_HOSTS", parse::hosts);
    let redis = redis::read(&mut reader, &namespace);
    let tenant_max_redis = reader.value("CACHE_TENANT_MAX_REDIS_MB", parse::megabytes);
    let encryption_key = reader.value("CACHE_ENCRYPTION_KEY", parse::encryption_key);
    let warm_schedule = reader.value("CACHE_WARM_SCHEDULE", parse::schedule);
    if !enabled && warm_schedule.is_some() {
        reader.warn("CACHE_WARM_SCHEDULE has no effect: CACHE_ENABLED is off".to_owned());
    }
    let (shown, mut warnings) = reader.finish()?;
    let operations =
        operation::table(default_ttl, &ttls, &operation::schema(latency_objective, availability_objective));
    if certificate.is_none() && !parse::is_loopback(&host) {
        warnings.push(format!(
            "HOST={host} is not a loopback address and TLS_CERT_FILE is not set: keys and spans travel in the clear"
        ));
    }
    Ok(Config {
        host,
        port,
        tls: certificate,
        otlp_grpc,
        otlp_http,
        metrics,
        database_url: DatabaseUrl(database_url),
        cache: CacheConfig {
            enabled,
            namespace,
            max_memory_bytes: max_memory as u64,
            tenant_max_percent: percent,
            redis,
            tenant_max_redis_bytes: tenant_max_redis as u64,
            encryption_key: encryption_key.map(SecretKey),
            warm_schedule,
            operations,
        },
        retention,
        rollup_retention,
        quota_spans_per_day: (quota > 0).then_some(quota),
        latency_objective,
        availability_objective,
        max_body_bytes: max_body,
        max_inflight_bytes: max_inflight,
        rates,
        admin: admin.map(AdminSecret),
        log: LogConfig { json, filter },
        traces,
        shown,
        warnings,
    })
}

impl Config {
    /// Does the server listen to this machine only?
    pub fn is_loopback(&self) -> bool {
        parse::is_loopback(&self.host)
    }

    /// `NAME=value  # origin`, one per line, secrets as `****`.
    pub fn print(&self) -> String {
        let width = self.shown.iter().map(|(name, value, _)| name.len() + 1 + value.len()).max().unwrap_or(0);
        let line = |(name, value, origin): &(&str, String, String)| {
            let setting = format!("{name}={value}");
            format!("{setting:width$}  # {origin}\n")
        };
        self.shown.iter().map(line).collect()
    }
}

/// Flags of the command line as a layer, by variable name.
pub fn flags<const N: usize>(given: [(&str, Option<String>); N]) -> BTreeMap<String, String> {
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}
