//! The architecture map as tests read it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::Client;

/// Calls by (source, target), protocols added up.
pub(crate) type Calls = BTreeMap<(String, String), u64>;

/// An answer of `dashboard/architecture-map`.
#[derive(Debug)]
pub(crate) struct Map(pub(crate) Value);

impl Map {
    /// The map of the last day.
    pub(crate) fn read(client: &Client) -> Self {
        Self(client.get("/api/v1/dashboard/architecture-map").ok())
    }

    fn list(&self, name: &str) -> &[Value] {
        self.0[name].as_array().unwrap_or_else(|| panic!("{name} in {}", self.0))
    }

    /// Names of the nodes of one type, by id.
    fn ids(&self, of_type: &str) -> BTreeMap<String, String> {
        let nodes = self.list("nodes").iter().filter(|node| node["type"] == of_type);
        nodes.map(|node| (text(node, "id"), text(node, "name"))).collect()
    }

    /// Names of all services.
    pub(crate) fn services(&self) -> BTreeSet<String> {
        self.ids("service").into_values().collect()
    }

    /// Types of all nodes that are no services, with their names.
    pub(crate) fn others(&self) -> BTreeSet<(String, String)> {
        let nodes = self.list("nodes").iter().filter(|node| node["type"] != "service");
        nodes.map(|node| (text(node, "type"), text(node, "name"))).collect()
    }

    /// Calls between services, by their names.
    pub(crate) fn calls(&self) -> Calls {
        let services = self.ids("service");
        let mut calls = Calls::new();
        for edge in self.list("edges") {
            let (source, target) = (text(edge, "source"), text(edge, "target"));
            if let (Some(source), Some(target)) = (services.get(&source), services.get(&target)) {
                let count = edge["call_count"].as_u64().unwrap_or_else(|| panic!("call_count in {edge}"));
                *calls.entry((source.clone(), target.clone())).or_default() += count;
            }
        }
        calls
    }

    /// Everything that the set of spans determines: all but when the newest of them was committed.
    pub(crate) fn comparable(mut self) -> Value {
        if let Some(fields) = self.0.as_object_mut() {
            fields.remove("last_updated");
        }
        self.0
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}")).to_owned()
}
