//! R4 across traces: is a peer name, or a host, a service that is known in this window?

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use rustc_hash::FxHashMap;

use crate::rollup::{Class, Key, NodeKey, Rollup, Table};

/// Known services and learned addresses of a window.
pub(super) struct Resolver<'a> {
    table: &'a Table,
    /// Services by environment (text) and name in lower case.
    by_name: HashMap<(u32, String), Vec<NodeKey>>,
    /// The services that pairs showed at an address (text), by environment (text).
    learned: FxHashMap<(u32, u32), BTreeSet<NodeKey>>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(rollup: &'a Rollup) -> Self {
        let table = &rollup.table;
        let mut resolver = Self { table, by_name: HashMap::new(), learned: FxHashMap::default() };
        for (key, _) in rollup.cells().filter(|(_, cell)| cell.count > 0) {
            match key {
                Key::Spans(node) => {
                    let node = table.node_of(node);
                    let name = table.text_of(node.parts[2]).to_lowercase();
                    resolver.by_name.entry((node.parts[0], name)).or_default().push(node);
                }
                Key::Learned(node, address, environment) => {
                    let at = resolver.learned.entry((environment, address)).or_default();
                    // Two are enough to know that the address is not one service.
                    if at.len() < 2 {
                        at.insert(table.node_of(node));
                    }
                }
                _ => {}
            }
        }
        resolver
    }

    /// The node that a stored one turns out to be, and whether a service was found by name or address.
    pub(super) fn resolve(&self, node: NodeKey) -> (NodeKey, bool) {
        let found = match node.class {
            Class::Peer => self.named(node, self.table.text_of(node.parts[2])),
            Class::Host => self.at_host(node),
            _ => return (node, false),
        };
        match found {
            Some(service) => (service, true),
            None => (self.outside(node), false),
        }
    }

    fn at_host(&self, node: NodeKey) -> Option<NodeKey> {
        let host = self.table.text_of(node.parts[2]);
        self.named(node, host).or_else(|| self.learned_at(node)).or_else(|| {
            let label = host.split('.').next().filter(|label| label.len() < host.len())?;
            if host.parse::<IpAddr>().is_ok() { None } else { self.named(node, label) }
        })
    }

    /// A service of this name in the caller's environment. Of several namespaces: the caller's, else none, else the
    /// first by name.
    fn named(&self, caller: NodeKey, name: &str) -> Option<NodeKey> {
        let candidates = self.by_name.get(&(caller.parts[0], name.to_lowercase()))?;
        let text = |part: u32| self.table.text_of(part);
        candidates.iter().copied().min_by_key(|service| {
            let namespace = service.parts[1];
            let other_name = &**text(service.parts[2]) != name;
            let other_place = (namespace != caller.parts[1], namespace != Table::EMPTY);
            (other_name, other_place, text(namespace), text(service.parts[2]))
        })
    }

    /// The one service behind an address; an address of several is a proxy, and says nothing.
    fn learned_at(&self, node: NodeKey) -> Option<NodeKey> {
        let services = self.learned.get(&(node.parts[0], node.parts[2]))?;
        services.first().copied().filter(|_| services.len() == 1)
    }

    fn outside(&self, node: NodeKey) -> NodeKey {
        let [environment, _, name, ..] = node.parts;
        let private = node.class == Class::Host && is_private(self.table.text_of(name));
        let (class, name) = if private { (Class::Unresolved, Table::EMPTY) } else { (Class::External, name) };
        NodeKey { class, parts: [environment, Table::EMPTY, name, Table::EMPTY, Table::EMPTY] }
    }
}

/// Is it a raw address that means something only inside one network?
fn is_private(host: &str) -> bool {
    match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, ..] = ip.octets();
            // 100.64/10 is what carriers and container networks use.
            ip.is_private() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        Ok(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local(),
        Err(_) => false,
    }
}
