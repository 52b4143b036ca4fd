//! Whether the commands that are sent may be sent, on keys of the namespace.

use super::finding::{RedisMistake, Told};
use super::nodes::Node;
use super::{ANSWER, Patient};
use crate::key::lease_of;
use crate::redis::failure::of_refusal;
use crate::remote::Reason;
use redis::{Cmd, cmd};
use tokio::time::timeout;

/// How long a canary is kept, in milliseconds.
const CANARY_MS: u64 = 1000;

/// Without these there is no cache.
const NEEDED: [&str; 3] = ["PING", "GETRANGE", "SET"];

/// Only removing all keys of a tenant, for operators, needs these.
const OPTIONAL: [&str; 2] = ["UNLINK", "SCAN"];

pub(super) async fn all(patient: &Patient<'_>, nodes: &[Node]) -> (Told, Option<()>) {
    let namespace = &patient.config.namespace;
    let mut missing = Vec::new();
    for node in nodes {
        let key = node.canary(namespace);
        for name in NEEDED {
            if let Err(told) = ask(node, name, &key, namespace).await {
                return (told, None);
            }
        }
        // The right to compute what is costly stands under a key of another form.
        if let Err(told) = ask(node, "SET", &lease_of(namespace, &key, 0), namespace).await {
            return (told, None);
        }
        for name in OPTIONAL {
            let may = patient.config.may(name) && ask(node, name, &key, namespace).await.is_ok();
            if !may && !missing.contains(&name) {
                missing.push(name);
            }
        }
    }
    if missing.is_empty() {
        let all: Vec<_> = NEEDED.iter().chain(&OPTIONAL).copied().collect();
        return (Told::good(format!("{} on {namespace}:*", all.join(", "))), Some(()));
    }
    let detail =
        format!("{} may not be used: keys of a tenant expire, but cannot be removed", missing.join(", "));
    (Told::warning(RedisMistake::OptionalCommand, detail), Some(()))
}

async fn ask(node: &Node, name: &str, key: &str, namespace: &str) -> Result<(), Told> {
    let Ok(answer) = timeout(ANSWER, node.link.ask(&command(name, key, namespace))).await else {
        return Err(Told::bad(RedisMistake::Slow, format!("{:?} does not answer {name}", node.target)));
    };
    let Err(error) = answer else { return Ok(()) };
    let code = error.code().unwrap_or("the connection broke");
    let detail = format!("{:?} refuses {name} {key}: {code}", node.target);
    Err(match of_refusal(&error) {
        Some(Reason::Oom) => Told::bad(RedisMistake::Full, detail),
        Some(Reason::Readonly) => Told::bad(RedisMistake::ReadOnly, detail),
        Some(Reason::Connecting) => Told::bad(RedisMistake::NotReady, detail),
        _ => Told::bad(RedisMistake::NeededCommand, detail),
    })
}

fn command(name: &str, key: &str, namespace: &str) -> Cmd {
    let mut command = cmd(name);
    match name {
        "GETRANGE" => command.arg(key).arg(0).arg(0),
        "UNLINK" => command.arg(key),
        "SET" => command.arg(key).arg("").arg("PX").arg(CANARY_MS),
        "SCAN" => command.arg(0).arg("MATCH").arg(format!("{namespace}:*")).arg("COUNT").arg(1),
        _ => &mut command,
    };
    command
}
