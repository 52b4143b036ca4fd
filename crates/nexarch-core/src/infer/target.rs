//! Whom a span names: R4 (services and hosts), R6 (databases and caches), and the queues of R7.

use std::net::IpAddr;

use super::messages::{Flow, flow};
use crate::{
    Text,
    facts::{Facts, RemoteKind},
    rollup::{Class, NodeKey, Table},
    span::Kind,
};

/// The remote part that a call names in its attributes; `None` when it names nothing.
///
/// Known services and learned addresses are not looked at here: they are knowledge of more than this trace, so
/// [`Class::Peer`] and [`Class::Host`] are decided when the rollup is read.
pub(super) fn target(span: &Facts, table: &mut Table) -> Option<NodeKey> {
    match span.remote_kind {
        RemoteKind::Database => return Some(store(span, table, Class::Database, Class::OwnDatabase)),
        RemoteKind::Cache => return Some(store(span, table, Class::Cache, Class::OwnCache)),
        RemoteKind::Model if !(span.target.is_empty() && span.protocol.is_empty()) => {
            return Some(node(
                span,
                table,
                Class::Model,
                [&Text::new(), &span.target, &span.protocol, &Text::new()],
            ));
        }
        RemoteKind::Queue | RemoteKind::Service | RemoteKind::Model => {}
    }
    if let Some(queue) = queue(span, table) {
        return Some(queue);
    }
    let none = Text::new();
    if !span.peer.is_empty() {
        Some(node(span, table, Class::Peer, [&span.namespace, &span.peer, &none, &none]))
    } else if is_loopback(&span.address) {
        Some(node(span, table, Class::Loopback, [&span.namespace, &span.service, &none, &none]))
    } else if !span.address.is_empty() {
        Some(node(span, table, Class::Host, [&span.namespace, &span.address, &none, &none]))
    } else {
        None
    }
}

/// The queue that a span names. Node = (system, destination); the broker's address is left out, because senders and
/// receivers name it differently, or not at all, and would each get a queue of their own.
///
/// Without messaging attributes the peer of a PRODUCER or CONSUMER is its broker (Zipkin writes it so).
pub(super) fn queue(span: &Facts, table: &mut Table) -> Option<NodeKey> {
    if !matches!(flow(span), Some(Flow::Sends | Flow::Takes)) {
        return None;
    }
    let none = Text::new();
    if span.remote_kind == RemoteKind::Queue {
        let destination = if span.target.is_empty() { &span.peer } else { &span.target };
        let named = !(destination.is_empty() && span.protocol.is_empty());
        return named.then(|| node(span, table, Class::Queue, [&none, destination, &span.protocol, &none]));
    }
    names_broker(span).then(|| node(span, table, Class::Queue, [&none, &span.peer, &none, &none]))
}

fn names_broker(span: &Facts) -> bool {
    let carries = matches!(span.kind, Kind::Producer | Kind::Consumer);
    carries && span.remote_kind == RemoteKind::Service && !span.peer.is_empty()
}

/// Does [`queue`] find one?
pub(super) fn names_queue(span: &Facts) -> bool {
    let named = match span.remote_kind {
        RemoteKind::Queue => !(span.target.is_empty() && span.peer.is_empty() && span.protocol.is_empty()),
        _ => names_broker(span),
    };
    named && matches!(flow(span), Some(Flow::Sends | Flow::Takes))
}

/// R6: (system, address or peer, database namespace); without an address, or on this very host, the owner stands
/// for it.
fn store(span: &Facts, table: &mut Table, shared: Class, own: Class) -> NodeKey {
    let none = Text::new();
    let place =
        if is_loopback(&span.address) || span.address.is_empty() { &span.peer } else { &span.address };
    if place.is_empty() {
        // In-process: a namespace is a file's path there, and a file per request would be a node per request.
        let detail = if span.address.is_empty() { &none } else { &span.target };
        node(span, table, own, [&span.namespace, &span.service, &span.protocol, detail])
    } else {
        node(span, table, shared, [&none, place, &span.protocol, &span.target])
    }
}

fn node(span: &Facts, table: &mut Table, class: Class, rest: [&Text; 4]) -> NodeKey {
    let [namespace, name, system, detail] = rest.map(|text| table.text(text));
    NodeKey { class, parts: [table.text(&span.environment), namespace, name, system, detail] }
}

/// Is the address this very host? Then it means another thing for every caller.
pub(super) fn is_loopback(address: &str) -> bool {
    let name = address.strip_suffix('.').unwrap_or(address);
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    match name.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified(),
        Err(_) => false,
    }
}
