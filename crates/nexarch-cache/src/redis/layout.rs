//! Which servers there are, and which of them a key belongs to.

use super::node::Node;
use super::slots::{Range, SLOTS, slot};
use super::socket::Target;
use std::net::IpAddr;
use std::sync::Arc;

/// A slot that nobody holds.
const NOBODY: u16 = u16::MAX;

/// More primaries than Redis recommends for one cluster; what names more is no cluster.
const MAX_NODES: usize = 1000;

#[derive(Debug)]
pub(super) struct Layout {
    nodes: Vec<Arc<Node>>,
    /// Of a cluster: the place in `nodes` of each slot's primary.
    slots: Option<Box<[u16]>>,
}

impl Layout {
    /// One server that holds every key.
    pub(super) fn single(node: Arc<Node>) -> Self {
        Self { nodes: vec![node], slots: None }
    }

    /// A cluster. `node` gives the server of an address, a known one or a new one.
    pub(super) fn cluster(
        ranges: &[Range],
        endpoint: &Target,
        asked: &Target,
        mut node: impl FnMut(Target) -> Arc<Node>,
    ) -> Option<Self> {
        let mut targets: Vec<Target> = Vec::new();
        let mut slots = vec![NOBODY; SLOTS].into_boxed_slice();
        for range in ranges {
            let target = target(range, endpoint, asked);
            let at = targets.iter().position(|known| *known == target).unwrap_or_else(|| {
                targets.push(target);
                targets.len() - 1
            });
            let at = u16::try_from(at).ok().filter(|at| usize::from(*at) < MAX_NODES)?;
            slots[usize::from(range.first)..=usize::from(range.last)].fill(at);
        }
        if targets.is_empty() {
            return None;
        }
        Some(Self { nodes: targets.into_iter().map(&mut node).collect(), slots: Some(slots) })
    }

    pub(super) fn is_cluster(&self) -> bool {
        self.slots.is_some()
    }

    /// Whether every slot has a server.
    pub(super) fn is_whole(&self) -> bool {
        self.slots.as_ref().is_none_or(|slots| !slots.contains(&NOBODY))
    }

    pub(super) fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The server of a key; `None` for a slot that nobody holds.
    pub(super) fn node_of(&self, key: &[u8]) -> Option<&Arc<Node>> {
        match &self.slots {
            None => self.nodes.first(),
            Some(slots) => self.nodes.get(usize::from(slots[usize::from(slot(key))])),
        }
    }

    /// The server that a redirection names as `host:port`.
    pub(super) fn at(&self, address: &str) -> Option<&Arc<Node>> {
        let (host, port) = address.rsplit_once(':')?;
        let (host, port) = (host.trim_matches(['[', ']']), port.parse::<u16>().ok()?);
        let is_host = |node: &Node| host.is_empty() || node.target.host.eq_ignore_ascii_case(host);
        self.nodes.iter().find(|node| node.target.port == port && is_host(node))
    }

    /// The next server that answers, beginning at `first` and leaving out `but`.
    pub(super) fn answering(&self, first: usize, but: Option<&Arc<Node>>) -> Option<&Arc<Node>> {
        let len = self.nodes.len();
        let candidates = (0..len).map(|step| &self.nodes[(first + step) % len]);
        let mut answering = candidates.filter(|node| node.switch.is_closed());
        answering.find(|node| but.is_none_or(|but| !Arc::ptr_eq(node, but)))
    }
}

/// Where a primary is, and the name that its certificate has to show.
///
/// Nodes announce addresses, while a certificate is for the name that users were given (Azure). So behind a name every
/// node has to prove that name; behind an address each proves its own. A node that announces a name proves that. Who was
/// given a name for the certificate wants it of every node.
pub(super) fn target(range: &Range, endpoint: &Target, asked: &Target) -> Target {
    let host = if range.host.is_empty() { asked.host.clone() } else { range.host.clone() };
    let is_address = |host: &str| host.parse::<IpAddr>().is_ok();
    let given = endpoint.certificate_name != endpoint.host;
    let certificate_name = if given || is_address(&host) && !is_address(&endpoint.host) {
        endpoint.certificate_name.clone()
    } else {
        host.clone()
    };
    Target { host, port: range.port, certificate_name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio_util::sync::CancellationToken;

    fn endpoint(host: &str) -> Target {
        Target { host: host.into(), port: 10_000, certificate_name: host.into() }
    }

    fn range(first: u16, last: u16, host: &str, port: u16) -> Range {
        Range { first, last, host: host.into(), port }
    }

    fn layout(ranges: &[Range], host: &str) -> Layout {
        let endpoint = endpoint(host);
        Layout::cluster(ranges, &endpoint, &endpoint, |target| {
            Arc::new(Node::new(u64::from(target.port), target, 1, CancellationToken::new()))
        })
        .unwrap()
    }

    #[test]
    fn keys_go_to_the_holder_of_their_slot() {
        let ranges = [
            range(0, 8000, "10.0.0.1", 1),
            range(8001, 12_000, "10.0.0.2", 2),
            range(12_001, 16_000, "10.0.0.1", 1),
        ];
        let layout = layout(&ranges, "acme.redis.azure.net");
        assert_eq!(layout.nodes().len(), 2);
        let port = |key: &str| layout.node_of(key.as_bytes()).map(|node| node.target.port);
        assert_eq!(
            (port("{user1000}.following"), port("foo{}{bar}"), port("foo")),
            (Some(1), Some(2), Some(1))
        );
        let nobody =
            (0..100_000).map(|n| format!("key{n}")).find(|key| slot(key.as_bytes()) > 16_000).unwrap();
        assert_eq!(port(&nobody), None);
        assert_eq!(layout.at("10.0.0.2:2").unwrap().target.port, 2);
        assert!(layout.at("10.0.0.9:2").is_none());
        assert!(layout.at("nonsense").is_none());
        assert!(!layout.is_whole());
    }

    /// Of a name, one server may announce `Node1` and another send to `node1`; what is announced is kept in lower case.
    #[test]
    fn a_redirection_names_a_server_in_any_case() {
        let ranges = [range(0, 16_383, "node1.example.com", 1)];
        let layout = layout(&ranges, "acme.example.com");
        assert_eq!(layout.at("NODE1.Example.com:1").unwrap().target.port, 1);
        assert!(layout.at("node2.example.com:1").is_none());
        assert!(layout.is_whole());
    }

    #[test]
    fn a_certificate_has_to_name_what_the_user_named() {
        let name = |announced: &str, given: &str| {
            layout(&[range(0, 9, announced, 1)], given).nodes()[0].target.certificate_name.clone()
        };
        assert_eq!(name("10.0.0.1", "acme.redis.azure.net"), "acme.redis.azure.net");
        assert_eq!(name("", "acme.redis.azure.net"), "acme.redis.azure.net");
        assert_eq!(name("10.0.0.1", "10.0.0.9"), "10.0.0.1");
        assert_eq!(name("node1.example.com", "acme.example.com"), "node1.example.com");
        let given = Target { certificate_name: "given.example.com".into(), ..endpoint("acme.example.com") };
        let node = target(&range(0, 9, "node1.example.com", 1), &given, &given);
        assert_eq!(node.certificate_name, "given.example.com");
    }
}
