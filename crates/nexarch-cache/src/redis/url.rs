//! `redis://` and `rediss://`, read and written. What is no URL is read by [`super::connection_string`].
//!
//! `redis[s]://[user][:password]@host[:port][/db]`; user and password are percent-encoded, an IPv6 address stands in
//! brackets. Without a port the rules of [`RedisConfig::port`] hold.

use super::config::{RedisConfig, RedisConfigError};
use super::connection_string;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt::Write;
use url::{Host, Url};

/// What may stand in user and password as it is: the unreserved characters of RFC 3986, section 2.3, and `*`, which
/// the mask is made of.
const USERINFO: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'*');

const SUPPORTED: &str = "expected redis://[user:password@]host[:port][/db], rediss:// with TLS, \
    or a connection string such as HOST:6380,password=KEY,ssl=True";

impl RedisConfig {
    /// Reads a URL, or a StackExchange.Redis connection string as the Azure portal shows it. The error names the part
    /// that is wrong and repeats nothing of it; what has no effect is in [`RedisConfig::warnings`].
    ///
    /// ```
    /// use nexarch_cache::RedisConfig;
    ///
    /// let config = RedisConfig::from_url("redis://app:p%40ss@[::1]:7000/2")?;
    /// assert_eq!(config.to_string(), "redis://app:****@[::1]:7000/2");
    /// let error = RedisConfig::from_url("redis://:secret@host:99999").unwrap_err();
    /// assert!(error.to_string().starts_with("Redis port: "));
    ///
    /// let portal = "acme.redis.cache.windows.net:6380,password=c2VjcmV0=,ssl=True,abortConnect=False";
    /// let config = RedisConfig::from_url(portal)?;
    /// assert_eq!(config.url(), "rediss://:c2VjcmV0%3D@acme.redis.cache.windows.net:6380/0");
    /// # Ok::<(), nexarch_cache::RedisConfigError>(())
    /// ```
    pub fn from_url(text: &str) -> Result<Self, RedisConfigError> {
        let text = text.trim();
        if !text.split([',', '=']).next().is_some_and(|head| head.contains("://")) {
            return connection_string::read(text);
        }
        let tls = tls_of(text)?;
        let url = Url::parse(text).map_err(parse_error)?;
        if url.query().is_some() || url.fragment().is_some() {
            let problem =
                "parameters after ? or # are not supported; percent-encode these characters in a password";
            return Err(RedisConfigError::new("URL", problem));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        };
        let mut config = Self::new(&host).tls(tls);
        config.port = url.port();
        config.db = db_of(url.path())?;
        if !url.username().is_empty() {
            config.username = Some(decode("username", url.username())?);
        }
        if let Some(password) = url.password().filter(|password| !password.is_empty()) {
            config.password = Some(decode("password", password)?);
        }
        config.check()?;
        Ok(config)
    }

    /// The URL that gives this server, user and database back, **with the password**. For people there is `Display`.
    pub fn url(&self) -> String {
        let password = self.password.as_ref().map(|password| encode(password));
        write(self, password.as_deref())
    }
}

/// Writes a URL around a password that is encoded or masked already.
pub(super) fn write(config: &RedisConfig, password: Option<&str>) -> String {
    let mut url = String::from(if config.effective_tls() { "rediss://" } else { "redis://" });
    if let Some(password) = password {
        let user = config.username.as_deref().map(encode).unwrap_or_default();
        let _ = write!(url, "{user}:{password}@");
    }
    let host = config.effective_host();
    let _ = if host.contains(':') { write!(url, "[{host}]") } else { write!(url, "{host}") };
    let _ = write!(url, ":{}/{}", config.effective_port(), config.db);
    url
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, USERINFO).to_string()
}

fn decode(part: &'static str, text: &str) -> Result<String, RedisConfigError> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| RedisConfigError::new(part, "percent-decoded it is not UTF-8"))?;
    Ok(decoded.into_owned())
}

fn tls_of(text: &str) -> Result<bool, RedisConfigError> {
    let scheme = text.split("://").next().unwrap_or_default().to_ascii_lowercase();
    match scheme.as_str() {
        "redis" => Ok(false),
        "rediss" => Ok(true),
        _ if scheme.contains("sentinel") => {
            let problem = "Sentinel is not supported; give the address of the server or of a proxy before it";
            Err(RedisConfigError::new("URL", problem))
        }
        "unix" | "redis+unix" => Err(RedisConfigError::new("URL", "Unix sockets are not supported")),
        _ => Err(RedisConfigError::new("URL", SUPPORTED)),
    }
}

fn db_of(path: &str) -> Result<u32, RedisConfigError> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(0);
    }
    path.parse().map_err(|_| RedisConfigError::new("database", "expected a number after the last /"))
}

fn parse_error(error: url::ParseError) -> RedisConfigError {
    use url::ParseError::{EmptyHost, IdnaError, InvalidDomainCharacter, InvalidIpv6Address, InvalidPort};
    match error {
        InvalidPort => RedisConfigError::new(
            "port",
            "expected 1 to 65535; a password with / ? # @ : has to be percent-encoded",
        ),
        EmptyHost | IdnaError | InvalidDomainCharacter => {
            let problem = "expected a name or an address, such as cache.example.com; \
                a password with / ? # @ : has to be percent-encoded";
            RedisConfigError::new("host", problem)
        }
        InvalidIpv6Address => RedisConfigError::new("host", "not an IPv6 address"),
        _ => RedisConfigError::new("URL", SUPPORTED),
    }
}
