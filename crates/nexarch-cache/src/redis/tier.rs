//! What all tasks and calls of one shared tier have in common.

use super::board::Board;
use super::link::Dialer;
use super::messages::Channel;
use super::node::Node;
use super::round_trip::RoundTrips;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(super) struct Tier {
    pub(super) dialer: Dialer,
    pub(super) board: Board,
    pub(super) trips: RoundTrips,
    pub(super) channel: Channel,
    pub(super) namespace: String,
    pub(super) command_timeout: Duration,
    pub(super) node: Arc<Node>,
    pub(super) stop: CancellationToken,
    /// Numbers calls, to take every so many for the round trips.
    pub(super) calls: AtomicU64,
}
