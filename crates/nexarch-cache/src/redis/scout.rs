//! Keeps the layout true: one server or a cluster, and who holds which slots. What the server is, is asked of it, for
//! behind one name there may be another kind of server tomorrow.

use super::config::RedisMode;
use super::failure::Failure;
use super::layout::Layout;
use super::link::Link;
use super::slots::{Range, ranges};
use super::socket::Target;
use super::tier::Tier;
use crate::remote::Reason;
use redis::{ErrorKind, cmd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How often a healthy cluster is asked: a slot that moved is noticed by a redirection anyway.
const CALM: Duration = Duration::from_secs(30);

/// How often it is asked while one of its servers is away, or nobody holds a slot: a replica may have taken over.
const TROUBLE: Duration = Duration::from_secs(1);

/// Between two questions, however many redirections there are.
const LEAST: Duration = Duration::from_millis(200);

/// How long the answer may take; nobody waits for it.
const ANSWER: Duration = Duration::from_secs(1);

/// Runs until the tier is stopped. Spawn it on the tracker.
pub(super) async fn run(tier: Arc<Tier>) {
    if tier.mode != RedisMode::Standalone {
        let stop = tier.stop.clone();
        stop.run_until_cancelled(keep(&tier)).await;
    }
}

async fn keep(tier: &Arc<Tier>) {
    let mut sighted = tier.sighted.subscribe();
    let mut asked = Instant::now();
    loop {
        let layout = tier.layout();
        if layout.is_cluster() {
            // What was sighted led here; only what is sighted after this is news.
            sighted.mark_unchanged();
            let trouble = !layout.is_whole() || layout.nodes().iter().any(|node| !node.switch.is_closed());
            let next = asked + if trouble { TROUBLE } else { CALM };
            tokio::select! {
                () = tier.doubt.notified() => sleep_until(asked + LEAST).await,
                () = sleep_until(next) => {}
            }
            asked = Instant::now();
            ask(tier, &layout).await;
        } else if sighted.changed().await.is_ok() {
            let ranges = sighted.borrow_and_update().clone();
            adopt(tier, &ranges, &tier.endpoint.clone());
        }
    }
}

/// Asks a server that answers; when none does, or it knows of no cluster, the endpoint, under its name, as at the very
/// first.
async fn ask(tier: &Arc<Tier>, layout: &Layout) {
    let turn = tier.turn.fetch_add(1, Ordering::Relaxed);
    let limit = ANSWER.max(tier.command_timeout);
    if let Some(node) = layout.answering(turn, None) {
        let Some(link) = node.pick() else { return };
        match slots_of(&link, limit).await {
            Ok(Some(ranges)) => return adopt(tier, &ranges, &node.target),
            // It may have been taken out, or there may be no cluster any more: the endpoint says which.
            Ok(None) => {}
            Err(_) => return,
        }
    }
    let Ok(link) = tier.dialer.dial(&tier.endpoint, &tier.stop).await else { return };
    match slots_of(&link, limit).await {
        Ok(Some(ranges)) => adopt(tier, &ranges, &tier.endpoint),
        Ok(None) if tier.mode == RedisMode::Auto => {
            tracing::info!("cache: Redis is no cluster any more");
            tier.lay_out(Layout::single(tier.node(tier.endpoint.clone())));
        }
        Ok(None) | Err(_) => {}
    }
}

fn adopt(tier: &Arc<Tier>, ranges: &[Range], asked: &Target) {
    if let Some(layout) = Layout::cluster(ranges, &tier.endpoint, asked, |target| tier.node(target)) {
        tier.lay_out(layout);
    }
}

/// Who holds which slots, or `None` when it is no cluster: then the command is refused, unknown, or answered by
/// nothing. Waits for `limit` at most.
pub(super) async fn slots_of(link: &Link, limit: Duration) -> Result<Option<Vec<Range>>, Failure> {
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    let Ok(answer) = timeout(limit, link.ask(&slots)).await else {
        return Err(Failure::new(Reason::Timeout, "CLUSTER SLOTS is not answered"));
    };
    match answer {
        Ok(answer) => match ranges(&answer) {
            Some(ranges) => Ok(Some(ranges).filter(|ranges| !ranges.is_empty())),
            None => Err(Failure::new(Reason::Protocol, "the answer to CLUSTER SLOTS makes no sense")),
        },
        Err(error) if matches!(error.code(), Some("NOAUTH" | "LOADING")) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => Ok(None),
        Err(_) => Err(Failure::new(Reason::Connecting, "the connection broke")),
    }
}
