//! Names and ids of nodes. Inside, a node is a typed key; the id is only its text for the outside.

use std::collections::HashSet;

use super::{Node, NodeType};
use crate::{
    Text,
    rollup::{Cell, Class, NodeKey, Table},
};

/// A node without figures.
pub(crate) fn node(key: NodeKey, table: &Table) -> Node {
    let [environment, namespace, ..] = key.parts.map(|part| table.text_of(part));
    let name = name(key, table);
    let owned = matches!(
        key.class,
        Class::Service | Class::OwnDatabase | Class::OwnCache | Class::Loopback | Class::Agent | Class::Tool
    );
    let some = |text: &Text| (!text.is_empty()).then(|| text.clone());
    let namespace = if owned { some(namespace) } else { None };
    let environment = some(environment);
    Node {
        id: id(namespace.as_deref(), &name, environment.as_deref()),
        kind: key.class.into(),
        name,
        namespace,
        environment,
        requests: Cell::default(),
        entries: Cell::default(),
        spans: 0,
        last_seen: None,
        source: None,
    }
}

/// `[namespace/]name[@environment]`.
pub(super) fn id(namespace: Option<&str>, name: &str, environment: Option<&str>) -> String {
    let mut id = String::with_capacity(name.len() + 16);
    if let Some(namespace) = namespace {
        id.push_str(namespace);
        id.push('/');
    }
    id.push_str(name);
    if let Some(environment) = environment {
        id.push('@');
        id.push_str(environment);
    }
    id
}

/// The id of a service; empty parts are absent.
pub(crate) fn service_id(namespace: &str, name: &str, environment: &str) -> String {
    id(Some(namespace).filter(|it| !it.is_empty()), name, Some(environment).filter(|it| !it.is_empty()))
}

/// What people call it: `checkout`, `postgresql:orders-db/orders`, `kafka:orders`.
fn name(key: NodeKey, table: &Table) -> String {
    let [_, _, name, system, detail] = key.parts.map(|part| table.text_of(part));
    let with_system = |rest: &str| match (&**system, rest) {
        ("", rest) => rest.to_string(),
        (system, "") => system.to_string(),
        (system, rest) => format!("{system}:{rest}"),
    };
    match key.class {
        Class::Database | Class::OwnDatabase | Class::Cache | Class::OwnCache => {
            if detail.is_empty() {
                with_system(name)
            } else {
                with_system(&format!("{name}/{detail}"))
            }
        }
        Class::Queue | Class::Model => with_system(name),
        Class::Agent => format!("agent:{name}"),
        Class::Tool => format!("tool:{name}"),
        Class::User => "user".into(),
        Class::Loopback => format!("localhost of {name}"),
        Class::Unresolved => "unresolved".into(),
        Class::Service | Class::Peer | Class::Host | Class::External | Class::Other => name.to_string(),
    }
}

/// Makes ids unique: of nodes with one id the first (services before others, then by key) keeps it, the others get
/// `#type`, and a number when that is taken too. Depends on the set of nodes only.
pub(super) fn make_unique(nodes: &mut [(NodeKey, Node)], table: &Table) {
    let mut taken: HashSet<String> = HashSet::with_capacity(nodes.len());
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    let texts = |key: NodeKey| key.parts.map(|part| table.text_of(part));
    order.sort_by(|&a, &b| {
        let (a, b) = (&nodes[a], &nodes[b]);
        let rank = |node: &Node| (node.kind != NodeType::Service, node.kind);
        (&a.1.id, rank(&a.1), a.0.class, texts(a.0)).cmp(&(&b.1.id, rank(&b.1), b.0.class, texts(b.0)))
    });
    // Those that keep theirs first, so that a made-up id never takes a real one's place.
    let mut clashing = Vec::new();
    for at in order {
        if !taken.insert(nodes[at].1.id.clone()) {
            clashing.push(at);
        }
    }
    for at in clashing {
        let node = &mut nodes[at].1;
        let base = format!("{}#{}", node.id, node.kind.as_str());
        let numbered = (2u32..).map(|number| format!("{base}{number}"));
        if let Some(free) = std::iter::once(base.clone()).chain(numbered).find(|id| !taken.contains(id)) {
            taken.insert(free.clone());
            node.id = free;
        }
    }
}
