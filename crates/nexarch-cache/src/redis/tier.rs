//! What all tasks and calls of one shared tier have in common.

use super::board::{Board, NodeId};
use super::config::RedisMode;
use super::dialer::Dialer;
use super::failure::{Failure, RedisFailure};
use super::layout::Layout;
use super::line;
use super::maintenance::Maintenance;
use super::messages::Channel;
use super::node::Node;
use super::round_trip::RoundTrips;
use super::slots::Range;
use super::socket::Target;
use super::wire::Request;
use crate::remote::{Reason, RemoteError};
use redis::{Cmd, Value};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A second try needs at least this part of a call's time.
const LEAST_PART: u32 = 4;

#[derive(Debug)]
pub(super) struct Tier {
    pub(super) dialer: Dialer,
    pub(super) board: Board,
    pub(super) trips: RoundTrips,
    pub(super) channel: Channel,
    pub(super) maintenance: Maintenance,
    pub(super) namespace: String,
    pub(super) mode: RedisMode,
    pub(super) connections: usize,
    pub(super) command_timeout: Duration,
    /// Silence after which a connection is asked whether it lives.
    pub(super) keep_alive: Duration,
    /// Where the user says that Redis is.
    pub(super) endpoint: Target,
    pub(super) stop: CancellationToken,
    /// Wakes the scout: the layout may be wrong.
    pub(super) doubt: Notify,
    /// What a server that was taken for a single one said of its cluster.
    pub(super) sighted: watch::Sender<Vec<Range>>,
    /// A server refused to be read, or is not ready: whether for all keys is looked into, by the beat.
    pub(super) reads_refused: AtomicBool,
    layout: RwLock<Arc<Layout>>,
    next_id: AtomicU64,
    /// Whose turn it is among equals.
    pub(super) turn: AtomicUsize,
    /// Numbers calls, to take every so many for the round trips.
    pub(super) calls: AtomicU64,
}

impl Tier {
    /// Takes the endpoint for a single server until it says otherwise. Nothing runs yet.
    pub(super) fn new(
        config: &super::config::RedisConfig,
        dialer: Dialer,
        stop: CancellationToken,
    ) -> Arc<Self> {
        let host = config.effective_host().to_owned();
        let endpoint = Target {
            port: config.effective_port(),
            certificate_name: config.effective_certificate_name().to_owned(),
            host,
        };
        let node = Node::new(0, endpoint.clone(), config.connections, stop.child_token());
        Arc::new(Self {
            dialer,
            board: Board::new(),
            trips: RoundTrips::default(),
            channel: Channel::new(&config.channel_prefix, &config.namespace),
            maintenance: Maintenance::default(),
            namespace: config.namespace.clone(),
            mode: config.effective_mode(),
            connections: config.connections,
            command_timeout: config.effective_command_timeout(),
            keep_alive: config.keep_alive,
            endpoint,
            stop,
            doubt: Notify::new(),
            sighted: watch::Sender::new(Vec::new()),
            reads_refused: AtomicBool::new(false),
            layout: RwLock::new(Arc::new(Layout::single(Arc::new(node)))),
            next_id: AtomicU64::new(1),
            turn: AtomicUsize::new(0),
            calls: AtomicU64::new(0),
        })
    }

    pub(super) fn layout(&self) -> Arc<Layout> {
        Arc::clone(&self.layout.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the layout, ends the servers that are not in it any more and begins with those that are new.
    pub(super) fn lay_out(self: &Arc<Self>, layout: Layout) {
        let new = Arc::new(layout);
        let old = std::mem::replace(
            &mut *self.layout.write().unwrap_or_else(PoisonError::into_inner),
            Arc::clone(&new),
        );
        let holds = |layout: &Layout, node: &Node| layout.nodes().iter().any(|other| other.id == node.id);
        for node in new.nodes().iter().filter(|node| !holds(&old, node)) {
            self.begin(node);
        }
        for node in old.nodes().iter().filter(|node| !holds(&new, node)) {
            node.stop.cancel();
            self.board.forget(node.id);
        }
    }

    /// Starts the lines of a server.
    pub(super) fn begin(self: &Arc<Self>, node: &Arc<Node>) {
        self.board
            .join(node.id, Failure::new(Reason::Connecting, format!("connecting to {:?}", node.target)));
        for at in 0..self.connections {
            self.dialer.tracker.spawn(line::run(Arc::clone(self), Arc::clone(node), at));
        }
    }

    /// The known server of an address, or a new one.
    pub(super) fn node(&self, target: Target) -> Arc<Node> {
        let known = self.layout().nodes().iter().find(|node| node.target == target).cloned();
        known.unwrap_or_else(|| {
            let id: NodeId = self.next_id.fetch_add(1, Ordering::Relaxed);
            Arc::new(Node::new(id, target, self.connections, self.stop.child_token()))
        })
    }

    /// Sends a command to the server of its key, within the command timeout; one redirection is followed.
    pub(super) async fn call(&self, key: &str, request: Request<'_>) -> Result<Value, RedisFailure> {
        let layout = self.layout();
        let node = layout.node_of(key.as_bytes()).ok_or(RemoteError::Away)?;
        if !layout.is_cluster() {
            let answer = node.call(self, key, request, self.command_timeout).await;
            if self.mode != RedisMode::Standalone
                && answer.as_ref().is_err_and(|failure| failure.redirection().is_some())
            {
                // Behind the same name there is a cluster now: it is asked again.
                node.distrust(self, Reason::Connecting, "it is part of a cluster now");
            }
            return answer;
        }
        let deadline = Instant::now() + self.command_timeout;
        let failure = match node.call(self, key, request, self.command_timeout).await {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let Some((address, asking)) = failure.redirection() else { return Err(failure) };
        self.doubt.notify_one();
        let Some(node) = layout.at(address) else { return Err(failure) };
        let request = if asking { request.asking() } else { request };
        let left = deadline.saturating_duration_since(Instant::now());
        // There was an answer, and it was late: another one would be later.
        if left < self.command_timeout / LEAST_PART {
            return Err(RemoteError::Timeout.into());
        }
        node.call(self, key, request, left).await
    }

    /// Looks into it when a server refuses what all would be refused.
    pub(super) fn shut_out(&self, failure: &RedisFailure) {
        let Some(reason) = failure.shuts_out() else { return };
        self.reads_refused.store(true, Ordering::Relaxed);
        if reason == Reason::Connecting {
            // As when nobody serves the slot.
            self.doubt.notify_one();
        }
    }

    /// Publishes through any server; in a cluster a failure is tried once more through another one, so each try has
    /// half the time.
    pub(super) async fn publish(&self, command: &Cmd) -> Result<Value, RedisFailure> {
        let layout = self.layout();
        let first = self.turn.fetch_add(1, Ordering::Relaxed);
        let node = layout.answering(first, None).ok_or(RemoteError::Away)?;
        let limit = if layout.nodes().len() > 1 { self.command_timeout / 2 } else { self.command_timeout };
        match node.tell(self, Request::of(command), limit).await {
            Ok(value) => Ok(value),
            Err(failure) => match layout.answering(first, Some(node)) {
                Some(other) => other.tell(self, Request::of(command), limit).await,
                None => Err(failure),
            },
        }
    }
}
