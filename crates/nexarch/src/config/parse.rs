//! From texts to values, collecting every problem instead of stopping at the first.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use sha2::{Digest, Sha256};
use tracing_subscriber::filter::Targets;

use super::{Listener, Problems, Sources, variable};
use crate::{cron::Schedule, door::tls, operation};

/// Largest TTL that makes sense: a day.
const MAX_TTL_SECONDS: u64 = 86_400;

/// Shortest secret of the admin API, in characters.
const MIN_ADMIN_SECRET: usize = 12;

/// Reads variables one by one and remembers what was wrong.
pub(super) struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<String>,
    /// Warnings about what comes later.
    later: Vec<String>,
    shown: Vec<(&'static str, String, String)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(sources: &'a Sources) -> Self {
        Self { sources, problems: sources.problems.clone(), later: Vec::new(), shown: Vec::new() }
    }

    /// The parsed value; a problem is noted and stands in as the type's default until [`Reader::finish`].
    pub(super) fn value<T: Default>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> T {
        self.with_origin(name, parse).0
    }

    /// The parsed value, unless it is only the default.
    pub(super) fn asked<T: Default>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (value, asked_for) = self.with_origin(name, parse);
        asked_for.then_some(value)
    }

    fn with_origin<T: Default>(
        &mut self,
        name: &'static str,
        parse: fn(&str) -> Result<T, String>,
    ) -> (T, bool) {
        let Some(variable) = variable::find(name) else {
            self.problems.push(format!("{name} is missing in the table of variables"));
            return (T::default(), false);
        };
        let found = match self.sources.get(variable) {
            Ok(found) => found,
            Err(problem) => {
                self.problems.push(problem);
                return (T::default(), true);
            }
        };
        let Some(found) = found else { return (T::default(), false) };
        let shown = if variable.secret { mask(variable.name, &found.value) } else { found.value.clone() };
        let asked_for = found.origin != "default";
        match parse(&found.value) {
            Ok(value) => {
                self.shown.push((variable.name, shown, found.origin));
                (value, asked_for)
            }
            Err(why) => {
                let what = if variable.secret { String::new() } else { format!(" is {:?}:", found.value) };
                self.problems.push(format!("{name} ({}){what} {why}", found.origin));
                (T::default(), asked_for)
            }
        }
    }

    /// Notes what is wrong between several variables.
    pub(super) fn problem(&mut self, text: &str) {
        self.problems.push(text.to_owned());
    }

    /// A sentence for the operator that keeps nothing from starting.
    pub(super) fn warn(&mut self, text: String) {
        self.later.push(text);
    }

    /// Is this variable set, supported or not?
    pub(super) fn is_set(&self, name: &str) -> bool {
        variable::find(name)
            .is_some_and(|variable| matches!(self.sources.get(variable), Ok(Some(_)) | Err(_)))
    }

    /// Rollups are kept at least as long as the spans that they are of: a span that came for one of which the rollup is gone
    /// would take back what is not there.
    pub(super) fn rollup_retention(&mut self, spans: Duration) -> Duration {
        let (kept, asked_for) = self.with_origin("ROLLUP_RETENTION_DAYS", days);
        if kept >= spans || kept.is_zero() {
            return kept;
        }
        if asked_for {
            self.problem("ROLLUP_RETENTION_DAYS is less than RETENTION_DAYS: rollups must be kept at least as long as spans");
            return kept;
        }
        let shown = self.shown.iter_mut().find(|(name, ..)| *name == "ROLLUP_RETENTION_DAYS");
        if let Some((_, value, _)) = shown {
            *value = (spans.as_secs() / 86_400).to_string();
        }
        spans
    }

    pub(super) fn listener(&mut self, name: &'static str) -> Listener {
        let (addr, asked_for) = self.with_origin(name, listener);
        Listener { addr, asked_for }
    }

    /// Certificate and key: both or none, and a pair that can be used.
    pub(super) fn tls(&mut self) -> Option<tls::Files> {
        let cert = self.value("TLS_CERT_FILE", path);
        let key = self.value("TLS_KEY_FILE", path);
        match (cert, key) {
            (Some(cert), Some(key)) => {
                let files = tls::Files { cert, key };
                match files.load() {
                    Ok(_) => Some(files),
                    Err(unusable) => {
                        self.problem(&unusable.to_string());
                        None
                    }
                }
            }
            (None, None) => None,
            (Some(_), None) => {
                self.problem("TLS_KEY_FILE is not set, but TLS_CERT_FILE is: TLS needs both");
                None
            }
            (None, Some(_)) => {
                self.problem("TLS_CERT_FILE is not set, but TLS_KEY_FILE is: TLS needs both");
                None
            }
        }
    }

    pub(super) fn operation_ttls(&mut self) -> BTreeMap<String, Duration> {
        let mut ttls = BTreeMap::new();
        for (name, found) in self.sources.operation_ttls() {
            let variable = format!("{}{}", variable::TTL_PREFIX, name.to_ascii_uppercase());
            if operation::LATER.contains(&name.as_str()) {
                self.later.push(format!(
                    "{variable} ({}) has no effect: this build has no such operation yet",
                    found.origin
                ));
                continue;
            }
            if !operation::NAMES.contains(&name.as_str()) {
                self.problems.push(format!(
                    "{variable} ({}): no such operation; there are {}",
                    found.origin,
                    operation::NAMES.join(", ")
                ));
                continue;
            }
            match seconds(&found.value) {
                Ok(ttl) => drop(ttls.insert(name, ttl)),
                Err(why) => {
                    self.problems.push(format!("{variable} ({}) is {:?}: {why}", found.origin, found.value));
                }
            }
        }
        ttls
    }

    /// What was read, and warnings; or all problems.
    #[expect(clippy::type_complexity, reason = "two lists, taken apart by the one caller")]
    pub(super) fn finish(mut self) -> Result<(Vec<(&'static str, String, String)>, Vec<String>), Problems> {
        let mut warnings = self.sources.warnings();
        warnings.append(&mut self.later);
        for variable in variable::VARIABLES.iter().filter(|variable| !variable.supported) {
            match self.sources.get(variable) {
                Ok(None) => {}
                Ok(Some(found)) => warnings.push(format!(
                    "{} ({}) has no effect: this build does not support it yet",
                    variable.name, found.origin
                )),
                Err(problem) => self.problems.push(problem),
            }
        }
        if self.problems.is_empty() { Ok((self.shown, warnings)) } else { Err(Problems(self.problems)) }
    }
}

/// Schemes of URLs whose name tells nothing.
const SCHEMES: [&str; 4] = ["redis", "rediss", "postgres", "postgresql"];

/// Shows that a secret is set; of a URL also where it points, without the user's part.
fn mask(name: &str, secret: &str) -> String {
    if !name.ends_with("_URL") {
        return "****".to_owned();
    }
    match secret.split_once(':') {
        // A path is no secret; what stands behind a question mark may be.
        Some((scheme @ "sqlite", rest)) => format!("{scheme}:{}", rest.split('?').next().unwrap_or_default()),
        // Of anything else, what stands before a colon may be a part of the secret.
        Some((scheme, rest)) if rest.starts_with("//") && SCHEMES.contains(&scheme) => {
            format!("{scheme}://****")
        }
        _ => "****".to_owned(),
    }
}

pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

pub(super) fn host(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if text.chars().all(allowed) {
        Ok(text.trim_start_matches('[').trim_end_matches(']').to_owned())
    } else {
        Err("must be a host name or an IP address".to_owned())
    }
}

/// Hosts between commas; with a leading dot all below it.
pub(super) fn hosts(text: &str) -> Result<Vec<String>, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let hosts: Vec<String> =
        text.split(',').map(|host| host.trim().to_owned()).filter(|host| !host.is_empty()).collect();
    if hosts.iter().all(|host| host.chars().all(allowed)) {
        Ok(hosts)
    } else {
        Err("must be host names between commas, such as vault.example.com,.vaults.example.com".to_owned())
    }
}

pub(super) fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "must be a port from 0 to 65535".to_owned())
}

fn path(text: &str) -> Result<Option<PathBuf>, String> {
    if text.contains('\0') { Err("must be a path".to_owned()) } else { Ok(Some(PathBuf::from(text))) }
}

/// A rate; 0 = no limit.
pub(super) fn rate(text: &str) -> Result<Option<NonZeroU32>, String> {
    let number = text.parse::<u32>().map_err(|_| format!("must be a whole number from 0 to {}", u32::MAX))?;
    Ok(NonZeroU32::new(number))
}

fn listener(text: &str) -> Result<Option<SocketAddr>, String> {
    if text.eq_ignore_ascii_case("off") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| "must be ADDRESS:PORT or off".to_owned())
}

pub(super) fn database_url(text: &str) -> Result<String, String> {
    if let Some(rest) = text.strip_prefix("sqlite:") {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() || path.starts_with(':') || path.contains('?') {
            return Err("must be sqlite://PATH: a file, without parameters".to_owned());
        }
        Ok(text.to_owned())
    } else if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        Err("PostgreSQL is not supported by this build; use sqlite://PATH".to_owned())
    } else {
        Err("must begin with sqlite://".to_owned())
    }
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err("must be True or False".to_owned()),
    }
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    // The cache's own rule: nothing in it means anything in a key, a pattern or a cluster's hash tag.
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    let first = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if first && text.len() <= 63 && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err("must be 1 to 63 characters of a-z, 0-9, '_' and '-', the first a letter or digit".to_owned())
    }
}

/// 32 bytes in base64, of either alphabet, padded or not.
pub(super) fn encryption_key(text: &str) -> Result<Option<[u8; 32]>, String> {
    use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
    let plain = text.trim_end_matches('=').replace('-', "+").replace('_', "/");
    let bytes = STANDARD_NO_PAD.decode(plain).ok().and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Some)
        .ok_or_else(|| "must be 32 bytes in base64, such as `openssl rand -base64 32` prints".to_owned())
}

/// What is sent in a header as it is; its hash.
pub(super) fn admin_secret(text: &str) -> Result<Option<[u8; 32]>, String> {
    if text.chars().count() < MIN_ADMIN_SECRET {
        return Err(format!(
            "must have at least {MIN_ADMIN_SECRET} characters, such as `openssl rand -base64 32` prints"
        ));
    }
    // A header can hold no others, and loses spaces at its ends.
    if text.chars().any(char::is_control) || text.trim() != text {
        return Err("must hold no control characters, and no spaces at its ends".to_owned());
    }
    Ok(Some(Sha256::digest(text.as_bytes()).into()))
}

/// A cron expression.
pub(super) fn schedule(text: &str) -> Result<Option<Schedule>, String> {
    text.parse().map(Some)
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    whole(text, 1, MAX_TTL_SECONDS).map(Duration::from_secs).map_err(|why| format!("{why} (seconds)"))
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    whole(text, 1, 3_600_000).map(Duration::from_millis).map_err(|why| format!("{why} (milliseconds)"))
}

/// A share of requests. 1 leaves no failure, ever: nothing could burn.
pub(super) fn availability(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share: &f64| (0.5..1.0).contains(share));
    share.ok_or_else(|| "must be a share of requests from 0.5 to less than 1, such as 0.999".to_owned())
}

pub(super) fn days(text: &str) -> Result<Duration, String> {
    whole(text, 1, 3_650)
        .map(|days| Duration::from_secs(days * 86_400))
        .map_err(|why| format!("{why} (days)"))
}

/// Zero stands for none.
pub(super) fn count(text: &str) -> Result<u64, String> {
    whole(text, 0, 1_000_000_000_000)
}

/// Whether `AZURE_TOKEN_CREDENTIALS` asks for the developer tools, in the words of Microsoft's libraries. Their other words
/// are for other programs.
pub(super) fn developer_tools(text: &str) -> bool {
    let asks = ["dev", "AzureCliCredential", "AzureDeveloperCliCredential"];
    asks.iter().any(|known| text.trim().eq_ignore_ascii_case(known))
}

pub(super) fn percent(text: &str) -> Result<u8, String> {
    whole(text, 1, 100)
        .map(|percent| u8::try_from(percent).unwrap_or(100))
        .map_err(|why| format!("{why} (percent)"))
}

pub(super) fn megabytes(text: &str) -> Result<usize, String> {
    let megabytes = whole(text, 1, 1_048_576).map_err(|why| format!("{why} (MiB)"))?;
    usize::try_from(megabytes * 1024 * 1024).map_err(|_| "is too large for this machine".to_owned())
}

pub(super) fn log_format(text: &str) -> Result<bool, String> {
    match text {
        "text" => Ok(false),
        "json" => Ok(true),
        _ => Err("must be text or json".to_owned()),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let parsed: Result<Targets, _> = text.parse();
    parsed.map(|_| text.to_owned()).map_err(|_| "must look like info or warn,nexarch=debug".to_owned())
}

fn whole(text: &str, low: u64, high: u64) -> Result<u64, String> {
    let number = text.parse::<u64>().ok().filter(|number| (low..=high).contains(number));
    number.ok_or_else(|| format!("must be a whole number from {low} to {high}"))
}
