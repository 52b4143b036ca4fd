//! Every option by name: what its value looks like, and what it does here.

use std::fmt;

/// What an option does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Meaning {
    AsyncTimeout,
    ChannelPrefix,
    ConnectTimeout,
    DefaultDatabase,
    KeepAlive,
    Name,
    Password,
    Protocol,
    ServiceName,
    Ssl,
    SslHost,
    SslProtocols,
    SyncTimeout,
    User,
    /// It concerns what is done differently here, and whoever sets it misses nothing.
    Nothing,
    /// Whoever sets it expects what is not done here, and is told.
    Unsupported,
}

/// What a value looks like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    Text,
    Boolean,
    /// From the first number to the second.
    Whole(i64, i64),
    Version,
    Words(&'static [&'static str]),
    TlsVersions,
}

pub(super) struct Opt {
    pub(super) name: &'static str,
    pub(super) meaning: Meaning,
    pub(super) form: Form,
}

const fn used(name: &'static str, meaning: Meaning, form: Form) -> Opt {
    Opt { name, meaning, form }
}

const fn ignored(name: &'static str, form: Form) -> Opt {
    Opt { name, meaning: Meaning::Nothing, form }
}

const fn unsupported(name: &'static str, form: Form) -> Opt {
    Opt { name, meaning: Meaning::Unsupported, form }
}

/// A day: no timeout that is meant is longer.
const MILLIS: Form = Form::Whole(1, 86_400_000);
const INTEGER: Form = Form::Whole(i32::MIN as i64, i32::MAX as i64);

const OPTIONS: &[Opt] = &[
    used("asyncTimeout", Meaning::AsyncTimeout, MILLIS),
    used("channelPrefix", Meaning::ChannelPrefix, Form::Text),
    used("connectTimeout", Meaning::ConnectTimeout, MILLIS),
    used("defaultDatabase", Meaning::DefaultDatabase, Form::Whole(0, i32::MAX as i64)),
    used("keepAlive", Meaning::KeepAlive, INTEGER),
    used("name", Meaning::Name, Form::Text),
    used("password", Meaning::Password, Form::Text),
    used("protocol", Meaning::Protocol, Form::Words(&["resp2", "resp3", "2", "3"])),
    used("serviceName", Meaning::ServiceName, Form::Text),
    used("ssl", Meaning::Ssl, Form::Boolean),
    used("sslHost", Meaning::SslHost, Form::Text),
    used("sslProtocols", Meaning::SslProtocols, Form::TlsVersions),
    used("syncTimeout", Meaning::SyncTimeout, MILLIS),
    used("user", Meaning::User, Form::Text),
    // The start never waits and never gives up.
    ignored("abortConnect", Form::Boolean),
    ignored("connectRetry", INTEGER),
    ignored("allowAdmin", Form::Boolean),
    // The layout of a cluster is asked for in another way.
    ignored("configChannel", Form::Text),
    ignored("configCheckSeconds", INTEGER),
    ignored("topologyRefreshSeconds", INTEGER),
    ignored("tiebreaker", Form::Text),
    ignored("defaults", Form::Words(&["azure", "amr", "rediscloud", "enterprise"])),
    // The server says what it is.
    ignored("version", Form::Version),
    ignored("setlib", Form::Boolean),
    // Always so.
    ignored("resolveDns", Form::Boolean),
    ignored("tcpKeepAlive", Form::Boolean),
    ignored("highIntegrity", Form::Boolean),
    ignored("maintNotifications", Form::Words(&["disabled", "auto", "enabled"])),
    ignored("maintRelaxedTimeout", Form::Text),
    ignored("maintRelaxedWindowMax", Form::Text),
    ignored("maintPostEventRelaxed", Form::Text),
    ignored("maintMovingEndpointType", Form::Text),
    // Of a Sentinel alone, which `serviceName` names.
    ignored("sentinelUser", Form::Text),
    ignored("sentinelPassword", Form::Text),
    // Obsolete: their own library does not look at the values either.
    ignored("responseTimeout", Form::Text),
    ignored("writeBuffer", Form::Text),
    ignored("highPriorityThreads", Form::Text),
    ignored("preserveAsyncOrder", Form::Text),
    unsupported("proxy", Form::Words(&["none", "twemproxy", "envoyproxy"])),
    unsupported("tunnel", Form::Text),
    unsupported("checkCertificateRevocation", Form::Boolean),
];

pub(super) fn find(name: &str) -> Option<&'static Opt> {
    OPTIONS.iter().find(|option| option.name.eq_ignore_ascii_case(name))
}

/// Whether a value asks for nothing.
pub(super) fn is_off(value: &str) -> bool {
    value.is_empty() || value.eq_ignore_ascii_case("none") || boolean(value) == Some(false)
}

impl Form {
    /// Whether it is such a value. An empty one is as if the option were not there.
    pub(super) fn accepts(self, value: &str) -> bool {
        if value.is_empty() {
            return true;
        }
        match self {
            Self::Text => true,
            Self::Boolean => boolean(value).is_some(),
            Self::Whole(low, high) => whole(value).is_some_and(|number| (low..=high).contains(&number)),
            Self::Version => is_version(value),
            Self::Words(words) => words.iter().any(|word| word.eq_ignore_ascii_case(value)),
            Self::TlsVersions => tls_versions(value).is_some(),
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("a text"),
            Self::Boolean => f.write_str("True or False"),
            Self::Whole(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Version => f.write_str("a version such as 6.0"),
            Self::Words(words) => write!(f, "one of {}", words.join(", ")),
            Self::TlsVersions => f.write_str("Tls12, Tls13 or Tls12|Tls13"),
        }
    }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

pub(super) fn is_resp2(text: &str) -> bool {
    text == "2" || text.eq_ignore_ascii_case("resp2")
}

fn whole(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_version(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    (1..=4).contains(&parts.len()) && parts.iter().all(|part| part.parse::<u32>().is_ok())
}

/// Values of .NET's `SslProtocols`, by name or as a number of bits: 1.2 is 3072, 1.3 is 12288. Whether 1.2 and 1.3 are
/// among them; `None` for what is no such value.
pub(super) fn tls_versions(text: &str) -> Option<(bool, bool)> {
    const TLS12: u32 = 3072;
    const TLS13: u32 = 12_288;
    let mut bits = 0;
    for name in text.split('|').map(str::trim) {
        bits |= match name.to_ascii_lowercase().as_str() {
            // The choice is left to the system.
            "none" | "0" => TLS12 | TLS13,
            "ssl2" | "ssl3" | "tls" | "tls11" | "default" => 0,
            "tls12" => TLS12,
            "tls13" => TLS13,
            number => number.parse().ok()?,
        };
    }
    Some((bits & TLS12 == TLS12, bits & TLS13 == TLS13))
}
