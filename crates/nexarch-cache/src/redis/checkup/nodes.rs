//! One server or a cluster, and a connection to each primary.

use super::finding::{RedisMistake, Told};
use super::{ANSWER, Patient};
use crate::redis::config::RedisMode;
use crate::redis::layout::target;
use crate::redis::link::Link;
use crate::redis::scout::slots_of;
use crate::redis::slots::{Range, slot};
use crate::redis::socket::Target;
use futures_util::future::join_all;

/// Primaries that are looked at: more are as likely to be right as these.
const MOST: usize = 64;

/// Names tried for a key that a primary holds; with one slot of 16,384 it takes as many on average.
const CANARIES: u32 = 1 << 16;

/// A server that holds keys.
pub(super) struct Node {
    pub(super) target: Target,
    pub(super) link: Link,
    /// Its slots; none for a server that is alone and holds all.
    ranges: Vec<Range>,
}

impl Node {
    /// A key of two parts, so that it can be no value's, which this server holds.
    pub(super) fn canary(&self, namespace: &str) -> String {
        let name = |n: u32| format!("{namespace}:canary{n}");
        let held = |key: &String| {
            let slot = slot(key.as_bytes());
            self.ranges.is_empty()
                || self.ranges.iter().any(|range| (range.first..=range.last).contains(&slot))
        };
        (0..CANARIES).map(name).find(held).unwrap_or_else(|| name(0))
    }
}

pub(super) async fn all(patient: &Patient<'_>, link: Link) -> (Told, Option<Vec<Node>>) {
    let mode = patient.config.mode;
    let alone = |link| vec![Node { target: patient.endpoint.clone(), link, ranges: Vec::new() }];
    if !patient.config.may("CLUSTER") {
        return (Told::good("not asked: CLUSTER is switched off"), Some(alone(link)));
    }
    let ranges = match slots_of(&link, ANSWER).await {
        Ok(ranges) => ranges,
        Err(failure) => return (Told::bad(RedisMistake::NotReady, failure.detail), None),
    };
    match (ranges, mode) {
        (None, RedisMode::Cluster) => {
            let detail = "the mode says cluster, and the server is none, or does not let it be seen";
            (Told::bad(RedisMistake::NoCluster, detail), None)
        }
        (None, _) => (Told::good("one server"), Some(alone(link))),
        (Some(ranges), RedisMode::Standalone) => {
            let number = primaries(patient, &ranges).len();
            let detail = format!("the mode says standalone, and the server is one of {number} of a cluster");
            (Told::bad(RedisMistake::ClusterAsOne, detail), None)
        }
        (Some(_), _) if patient.config.db != 0 => {
            (Told::bad(RedisMistake::Database, "a cluster has database 0 only"), None)
        }
        (Some(ranges), _) => reached(patient, &ranges).await,
    }
}

/// Each primary with its slots, in the order of the first ones.
fn primaries(patient: &Patient<'_>, ranges: &[Range]) -> Vec<(Target, Vec<Range>)> {
    let mut primaries: Vec<(Target, Vec<Range>)> = Vec::new();
    for range in ranges {
        let target = target(range, &patient.endpoint, &patient.endpoint);
        match primaries.iter_mut().find(|(known, _)| *known == target) {
            Some((_, held)) => held.push(range.clone()),
            None => primaries.push((target, vec![range.clone()])),
        }
    }
    primaries
}

async fn reached(patient: &Patient<'_>, ranges: &[Range]) -> (Told, Option<Vec<Node>>) {
    let primaries = primaries(patient, ranges);
    let number = primaries.len();
    let dials = primaries.into_iter().take(MOST).map(|(target, ranges)| async move {
        let dialed = patient.dialer.dial(&target, &patient.stop).await;
        dialed.map(|link| Node { target, link, ranges })
    });
    let (mut nodes, mut away) = (Vec::new(), Vec::new());
    for dialed in join_all(dials).await {
        match dialed {
            Ok(node) => nodes.push(node),
            Err(failure) => away.push(failure.detail),
        }
    }
    let list: Vec<_> = nodes.iter().take(4).map(|node| format!("{:?}", node.target)).collect();
    if away.is_empty() {
        let detail = format!("{number} primaries, all reached: {}", list.join(", "));
        return (Told::good(detail), Some(nodes));
    }
    let detail = format!("{} of {number} primaries are not reached: {}", away.len(), away[0]);
    (Told::bad(RedisMistake::NodeAway, detail), Some(nodes).filter(|nodes| !nodes.is_empty()))
}
