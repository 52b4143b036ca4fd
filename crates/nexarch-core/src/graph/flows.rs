//! Whose messages reach whom, as the map lists it.

use std::cmp::Reverse;

use serde::Serialize;

use super::Graph;
use crate::{limits::MAX_MAP_FLOWS, view::milliseconds};

/// Messages from a service through a queue to a service.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MapFlow {
    /// Id of the sender.
    pub source: String,
    /// Id of the queue.
    pub queue: String,
    /// Id of the receiver; may be the sender.
    pub target: String,
    /// Messages, by sampling weight of the receiver.
    pub message_count: u64,
    /// Mean time in the queue: from the end of sending to the begin of processing; `null` when none is known.
    pub avg_queue_latency_ms: Option<f64>,
    /// 95 % were not longer in the queue.
    pub p95_queue_latency_ms: Option<f64>,
}

/// The busiest flows, in the order of ids.
pub(super) fn flows(graph: &Graph) -> Vec<MapFlow> {
    let mut busiest: Vec<usize> = (0..graph.flows.len()).collect();
    // Stable: of equal counts the first by id.
    busiest.sort_by_key(|&at| Reverse(graph.flows[at].messages.calls()));
    busiest.truncate(MAX_MAP_FLOWS);
    busiest.sort_unstable();
    let id = |at: usize| graph.nodes[at].id.clone();
    let flow = |at: usize| {
        let flow = &graph.flows[at];
        MapFlow {
            source: id(flow.source),
            queue: id(flow.queue),
            target: id(flow.target),
            message_count: flow.messages.calls(),
            avg_queue_latency_ms: milliseconds(flow.messages.mean_us()),
            p95_queue_latency_ms: milliseconds(flow.messages.quantile_us(950)),
        }
    };
    busiest.into_iter().map(flow).collect()
}
