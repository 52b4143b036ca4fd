//! A cluster of three primaries behind TLS, as Azure makes one: its nodes announce addresses, which the certificate
//! does not name.

use crate::certificates::Certificates;
use crate::server::{RedisServer, free_port};
use crate::wait::until;
use std::sync::Arc;

const PASSWORD: &str = "key";

/// First and last slot of each primary.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

/// Three servers that share the slots; password `key`.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<RedisServer>,
    certificates: Arc<Certificates>,
}

impl RedisCluster {
    /// Starts it and waits until every node knows all of it.
    ///
    /// A node that is away takes only its own slots with it (`cluster-require-full-coverage no`).
    pub fn start() -> Self {
        Self::start_with(&["localhost", "acme.westeurope.redis.azure.net"], "no", None)
    }

    /// As [`RedisCluster::start`], but its certificate names `endpoint` alone, and its nodes announce the name `announced`.
    pub fn start_announcing(endpoint: &str, announced: &str) -> Self {
        Self::start_with(&[endpoint], "no", Some(announced))
    }

    /// As [`RedisCluster::start`], but while one slot has no holder every node refuses every key.
    pub fn start_strict() -> Self {
        Self::start_with(&["localhost", "acme.westeurope.redis.azure.net"], "yes", None)
    }

    fn start_with(names: &[&str], require_full_coverage: &str, announced: Option<&str>) -> Self {
        let certificates = Arc::new(Certificates::new(names));
        let nodes: Vec<_> =
            SLOTS.iter().map(|_| node(&certificates, require_full_coverage, announced)).collect();
        for (node, (first, last)) in nodes.iter().zip(SLOTS) {
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
        }
        for node in &nodes[1..] {
            let bus = node.option("--cluster-port").expect("a bus");
            nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &node.port().to_string(), bus]);
        }
        for node in &nodes {
            until("the cluster", || {
                let info = node.cli(&["CLUSTER", "INFO"]);
                let whole = info.contains("cluster_state:ok") && info.contains("cluster_size:3");
                // Names come by gossip, after the addresses.
                let all_known =
                    announced.is_none_or(|name| node.cli(&["CLUSTER", "SLOTS"]).matches(name).count() == 3);
                (whole && all_known).then_some(())
            });
        }
        Self { nodes, certificates }
    }

    /// The authority of its certificates.
    pub fn certificates(&self) -> &Arc<Certificates> {
        &self.certificates
    }

    /// The password of every node.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// The port of the first node.
    pub fn port(&self) -> u16 {
        self.nodes[0].port()
    }

    /// Its nodes.
    pub fn nodes(&mut self) -> &mut [RedisServer] {
        &mut self.nodes
    }

    /// One of its nodes, by its place.
    pub fn node(&self, at: usize) -> &RedisServer {
        &self.nodes[at]
    }

    /// The place of the node that holds a slot at the start.
    pub fn holder(slot: u16) -> usize {
        SLOTS.iter().position(|(first, last)| (*first..=*last).contains(&slot)).expect("a slot of 16,384")
    }

    /// The slot of a key, as the server sees it.
    pub fn slot(&self, key: &str) -> u16 {
        self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a slot")
    }

    /// Begins to move a slot: its holder answers `ASK` for keys that it has not.
    pub fn begin_move(&self, slot: u16, to: usize) {
        let from = Self::holder(slot);
        let (slot, source, sink) = (slot.to_string(), self.id(from), self.id(to));
        self.nodes[to].cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &source]);
        self.nodes[from].cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &sink]);
    }

    /// Ends the move: the old holder answers `MOVED`. Keys that it still has must have gone.
    pub fn finish_move(&self, slot: u16, to: usize) {
        let (slot, sink) = (slot.to_string(), self.id(to));
        for node in [to, Self::holder(slot.parse().expect("a slot"))] {
            let said = self.nodes[node].cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &sink]);
            assert_eq!(said, "OK", "SETSLOT NODE");
        }
    }

    /// Takes a slot from its holder: no node knows one.
    pub fn orphan(&self, slot: u16) {
        for node in &self.nodes {
            node.cli(&["CLUSTER", "DELSLOTS", &slot.to_string()]);
        }
    }

    /// Gives a slot without a holder to a node.
    pub fn adopt(&self, slot: u16, node: usize) {
        assert_eq!(self.nodes[node].cli(&["CLUSTER", "ADDSLOTS", &slot.to_string()]), "OK", "ADDSLOTS");
    }

    /// Removes what the holder of a slot at the start has in it. While the slot moves nothing new comes there.
    pub fn empty(&self, slot: u16) {
        let (holder, slot) = (&self.nodes[Self::holder(slot)], slot.to_string());
        until("an empty slot", || {
            let keys = holder.cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
            keys.lines().filter(|key| !key.is_empty()).for_each(|key| drop(holder.cli(&["DEL", key])));
            keys.trim().is_empty().then_some(())
        });
    }

    fn id(&self, node: usize) -> String {
        self.nodes[node].cli(&["CLUSTER", "MYID"])
    }
}

fn node(
    certificates: &Arc<Certificates>,
    require_full_coverage: &str,
    announced: Option<&str>,
) -> RedisServer {
    let builder = announced.iter().fold(RedisServer::builder(), |builder, name| {
        builder.arg("--cluster-announce-hostname", name).arg("--cluster-preferred-endpoint-type", "hostname")
    });
    builder
        .password(PASSWORD)
        .tls(certificates)
        .without(&["CONFIG", "READONLY"])
        .arg("--masterauth", PASSWORD)
        .arg("--tls-cluster", "yes")
        .arg("--tls-replication", "yes")
        .arg("--cluster-enabled", "yes")
        .arg("--cluster-config-file", "nodes.conf")
        .arg("--cluster-port", &free_port().to_string())
        .arg("--cluster-node-timeout", "2000")
        .arg("--cluster-require-full-coverage", require_full_coverage)
        .start()
}
