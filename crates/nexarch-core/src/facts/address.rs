//! Addresses as senders write them, reduced to a host that can be an identity.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv6Addr},
};

/// The host in an address or URL: lower case, without scheme, user, port, path, brackets or trailing dot.
///
/// Real clients put a port into `server.address` (Flask) and `net.host.name`, write IPv4 as mapped IPv6 (Node), and
/// list several brokers (Kafka): of a list the first counts. A socket path is no host.
pub(super) fn host(address: Cow<'_, str>) -> Option<Cow<'_, str>> {
    // What most senders write needs no looking for schemes and ports.
    if is_plain(&address) {
        return Some(address);
    }
    match address {
        Cow::Borrowed(address) => host_of(address),
        Cow::Owned(address) => host_of(&address).map(|host| Cow::Owned(host.into_owned())),
    }
}

fn host_of(address: &str) -> Option<Cow<'_, str>> {
    let text = address.trim();
    let after_scheme = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#', ',', ' ']).next()?;
    let with_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = without_port(with_port).trim_end_matches('.');
    if host.is_empty() {
        return None;
    }
    if host.contains(':') {
        return Some(ipv6(host).into());
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) || !host.is_ascii() {
        return Some(host.to_lowercase().into());
    }
    Some(host.into())
}

/// Is it a name in lower case, or an IPv4 address, and nothing else?
fn is_plain(address: &str) -> bool {
    let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
    !address.is_empty() && !address.ends_with('.') && address.bytes().all(|byte| plain(&byte))
}

/// `host:port` and `[v6]:port`; a bare IPv6 address has several colons and no port.
fn without_port(authority: &str) -> &str {
    if let Some((host, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return host;
    }
    match authority.split_once(':') {
        Some((host, port)) if !port.contains(':') => host,
        _ => authority,
    }
}

/// One spelling of an IPv6 address, without its zone; a mapped IPv4 address as IPv4.
fn ipv6(host: &str) -> String {
    let without_zone = host.split('%').next().unwrap_or(host);
    match without_zone.parse::<Ipv6Addr>() {
        Ok(address) => match address.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4).to_string(),
            None => address.to_string(),
        },
        Err(_) => host.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::host;

    fn of(address: &str) -> String {
        host(address.into()).unwrap_or_default().into_owned()
    }

    #[test]
    fn addresses_of_real_clients() {
        for (address, expected) in [
            ("127.0.0.1:26320", "127.0.0.1"),
            ("Orders.Example.COM", "orders.example.com"),
            ("orders.example.com.:443", "orders.example.com"),
            ("https://user:p@ss@api.example.com:8443/v1?q=a:b#x", "api.example.com"),
            ("http://API/", "api"),
            ("jdbc:postgresql://db-1:5432/shop", "db-1"),
            ("[2001:DB8::1]:8080", "2001:db8::1"),
            ("http://[::1]:80/", "::1"),
            ("2001:db8:0:0:0:0:0:1", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("::ffff:10.0.0.7", "10.0.0.7"),
            ("kafka-0:9092,kafka-1:9092", "kafka-0"),
            ("BÜCHER.example", "bücher.example"),
            (" cart ", "cart"),
            ("/var/run/postgresql/.s.PGSQL.5432", ""),
            ("", ""),
            (":8080", ""),
            ("http://", ""),
        ] {
            assert_eq!(of(address), expected, "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_host_is_stable_and_has_no_port(address in "\\PC{0,60}") {
            let once = of(&address);
            prop_assert!(!once.contains("://") && !once.contains('/'));
            prop_assert_eq!(once.to_lowercase(), once.clone());
        }

        #[test]
        fn any_port_is_stripped(name in "[a-z][a-z0-9-]{0,20}(\\.[a-z]{2,5}){0,3}", port in 0u16..) {
            prop_assert_eq!(of(&format!("{name}:{port}")), name.clone());
            prop_assert_eq!(of(&format!("grpc://{name}:{port}")), name);
        }
    }
}
