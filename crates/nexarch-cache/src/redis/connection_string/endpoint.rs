//! `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.

use crate::redis::config::RedisConfigError;
use std::net::Ipv6Addr;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// In lower case, IPv6 without brackets.
    pub(super) host: String,
    pub(super) port: Option<u16>,
}

/// Reads an item without a name. What it is not may be the rest of a password, so nothing of it is repeated.
pub(super) fn read(item: &str) -> Result<Endpoint, RedisConfigError> {
    if item.starts_with('!') {
        return Err(RedisConfigError::new("host", "Unix sockets are not supported"));
    }
    if let Some(rest) = item.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or_else(not_v6)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port),
            None if rest.is_empty() => None,
            None => return Err(not_v6()),
        };
        return Ok(Endpoint { host: v6(address)?, port: port.map(port_of).transpose()? });
    }
    let (host, port) = match item.split_once(':') {
        // A port after a bare address could not be told from its last group.
        Some((_, rest)) if rest.contains(':') => return Ok(Endpoint { host: v6(item)?, port: None }),
        Some((host, port)) => (host, Some(port)),
        None => (item, None),
    };
    if !is_host(host) {
        let problem = "expected a name or an address, such as cache.example.com:6380; a value with a comma cannot be \
            written in this form: give the parts one by one";
        return Err(RedisConfigError::new("host", problem));
    }
    Ok(Endpoint { host: host.to_ascii_lowercase(), port: port.map(port_of).transpose()? })
}

fn is_host(host: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (1..=253).contains(&host.len()) && host.bytes().all(allowed) && !host.starts_with(['.', '-'])
}

fn v6(text: &str) -> Result<String, RedisConfigError> {
    text.parse::<Ipv6Addr>().map(|address| address.to_string()).map_err(|_| not_v6())
}

fn not_v6() -> RedisConfigError {
    RedisConfigError::new("host", "not an IPv6 address; with a port it stands in brackets, as in [::1]:6380")
}

fn port_of(text: &str) -> Result<u16, RedisConfigError> {
    // `+1` is a number for Rust.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port > 0)
        .ok_or_else(|| RedisConfigError::new("port", "expected 1 to 65535 after the host's colon"))
}
