//! What the server says of itself, where it may be asked.

use super::finding::{RedisMistake, Told};
use super::{ANSWER, Patient};
use crate::redis::link::Link;
use crate::redis::remote::info_pairs;
use redis::cmd;
use std::fmt::Write;
use tokio::time::timeout;

/// Below it, a server that evicts nothing is soon full (bytes).
const LITTLE: u64 = 256 << 20;

/// From this part of its memory on, a server is nearly full (percent).
const NEARLY: u64 = 90;

pub(super) type Info = Vec<(String, String)>;

/// The answer to `INFO`. That it may not be asked is no fault: nothing needs it.
pub(super) async fn server(patient: &Patient<'_>, link: &Link) -> (Told, Option<Info>) {
    if !patient.config.may("INFO") {
        return (Told::good("not asked: INFO is switched off"), None);
    }
    let Ok(Ok(answer)) = timeout(ANSWER, link.ask(&cmd("INFO"))).await else {
        return (Told::good("not visible: INFO is refused"), None);
    };
    let Some(info) = info_pairs(answer) else {
        return (Told::good("not visible: the answer to INFO makes no sense"), None);
    };
    let version = get(&info, "redis_version").unwrap_or("of an unknown version");
    let mut detail = format!("Redis {version}");
    if let Some(role) = get(&info, "role") {
        let _ = write!(detail, ", {role}");
    }
    if let (Some(clients), Some(most)) = (number(&info, "connected_clients"), number(&info, "maxclients")) {
        let _ = write!(detail, ", {clients} of {most} connections");
        if clients * 100 >= most * NEARLY {
            return (Told::warning(RedisMistake::TooManyClients, detail), Some(info));
        }
    }
    (Told::good(detail), Some(info))
}

/// How much memory there is, and what happens at its end.
pub(super) fn memory(info: Option<&[(String, String)]>) -> (Told, Option<()>) {
    let policy = info.and_then(|info| get(info, "maxmemory_policy"));
    let (Some(info), Some(policy)) = (info, policy) else {
        return (Told::good("not visible: INFO does not tell"), None);
    };
    let used = number(info, "used_memory").unwrap_or(0);
    let most = number(info, "maxmemory").filter(|most| *most > 0);
    let limit = most.map_or("no limit".to_owned(), |most| format!("{} MiB", most >> 20));
    let detail = format!("{policy}, {} MiB of {limit}", used >> 20);
    let full = most.is_some_and(|most| used >= most / 100 * NEARLY);
    let told = match (policy, most) {
        ("noeviction", Some(_)) if full => Told::bad(RedisMistake::Full, detail),
        ("noeviction", Some(most)) if most < LITTLE => Told::warning(RedisMistake::NoEviction, detail),
        ("noeviction", Some(_)) => {
            Told::warning(RedisMistake::NoEviction, format!("{detail}: when it is full, writes fail"))
        }
        // Evicting is what a cache does: near its limit it is where it should be.
        _ => Told::good(detail),
    };
    (told, Some(()))
}

fn get<'a>(info: &'a [(String, String)], name: &str) -> Option<&'a str> {
    info.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn number(info: &[(String, String)], name: &str) -> Option<u64> {
    get(info, name)?.parse().ok()
}
