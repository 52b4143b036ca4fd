//! Keeps one connection of one server: connects, proves it, watches it, replaces it, without end.

use super::backoff::{Backoff, chance, part};
use super::config::RedisMode;
use super::failure::{Failure, of_call};
use super::link::Link;
use super::node::Node;
use super::remote::head;
use super::scout;
use super::tier::Tier;
use crate::clock::{Clock, SystemClock};
use crate::remote::{Reason, RemoteError};
use redis::{Cmd, cmd};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// A probe waits longer than a call, to tell a slow server, whose connection is kept, from a silent one.
const PROBE: Duration = Duration::from_secs(1);

/// A connection that lived this long was a good one; the next loss is a new story.
pub(super) const STEADY: Duration = Duration::from_secs(10);

/// Why a connection ended.
enum End {
    /// Broken, or cut because calls were not answered.
    Gone,
    /// Not worth keeping.
    Replace,
    /// To be left for another one, although it works.
    Retire,
}

/// Runs until the node is stopped. Spawn it on the tracker.
pub(super) async fn run(tier: Arc<Tier>, node: Arc<Node>, at: usize) {
    let stop = node.stop.clone();
    stop.run_until_cancelled(keep(&tier, &node, at)).await;
    tier.board.probing(node.id, false);
    node.install(at, None);
}

async fn keep(tier: &Tier, node: &Node, at: usize) {
    let mut backoff = Backoff::default();
    let mut first = true;
    loop {
        if at > 0 {
            // The first line looks for a server that is away; the others would only double the attempts.
            wait_closed(node).await;
        }
        if !node.switch.is_closed() {
            // It is let in to see whether it answers: the handshake is most of a probe.
            tier.board.probing(node.id, true);
        }
        match tier.dialer.dial(&node.target, &node.stop).await {
            Ok(link) => {
                if !first {
                    tier.board.reconnected();
                }
                first = false;
                let began = Instant::now();
                live(tier, node, at, Arc::new(link), &mut backoff).await;
                if began.elapsed() > STEADY {
                    backoff.reset();
                }
                sleep(backoff.next(false, chance())).await;
            }
            Err(failure) => {
                let wait = backoff.next(failure.is_hopeless(), chance());
                if !node.switch.is_closed() {
                    node.report(tier, failure);
                }
                sleep(wait).await;
            }
        }
    }
}

/// From the first probe to the end of a connection.
async fn live(tier: &Tier, node: &Node, at: usize, link: Arc<Link>, backoff: &mut Backoff) {
    node.install(at, Some(Arc::clone(&link)));
    let end = tokio::select! {
        () = link.gone() => End::Gone,
        () = link.retired() => End::Retire,
        end = watch(tier, node, &link, backoff) => end,
    };
    node.install(at, None);
    if matches!(end, End::Retire) {
        // No call is longer under way.
        sleep(tier.command_timeout).await;
    }
    link.cut();
    if !node.has_link() && node.switch.trip() {
        let detail = match end {
            End::Gone => format!("the connection to {:?} broke", node.target),
            End::Replace | End::Retire => format!("{:?} is asked anew", node.target),
        };
        node.lost(tier, Failure::new(Reason::Connecting, detail));
    }
}

async fn watch(tier: &Tier, node: &Node, link: &Link, backoff: &mut Backoff) -> End {
    let mut closed = node.closed.subscribe();
    loop {
        if link.is_cut() {
            // It has nothing to prove any more, and what it said would hide why it was cut.
            return End::Gone;
        }
        if node.switch.is_closed() {
            let idle = tier.keep_alive.mul_f64(0.75) + part(tier.keep_alive / 4, chance());
            let _ = timeout(idle, closed.wait_for(|closed| !closed)).await;
            if node.switch.is_closed() && !ping(tier, link).await {
                return End::Replace;
            }
        } else if let Some(pass) = node.switch.probe(SystemClock.boot(), probe_life(tier)) {
            tier.board.probing(node.id, true);
            match prove(tier, node, link).await {
                Ok(()) => {
                    tier.dialer.note_spoke();
                    if node.switch.close(pass, SystemClock.boot()) {
                        node.found(tier);
                    }
                }
                Err((end, failure)) => {
                    node.switch.reopen(pass);
                    let wait = backoff.next(failure.is_hopeless(), chance());
                    node.report(tier, failure);
                    if let Some(end) = end {
                        return end;
                    }
                    sleep(wait).await;
                }
            }
        } else {
            // Another line's probe is under way, or none is let through for a while: then nothing is being tried.
            if node.switch.is_open() {
                tier.board.probing(node.id, false);
            }
            let _ = timeout(PROBE, closed.wait_for(|closed| *closed)).await;
        }
    }
}

/// Longer than a probe takes: it asks at most three times.
fn probe_life(tier: &Tier) -> Duration {
    PROBE.max(tier.command_timeout) * 3 + PROBE / 2
}

/// Asks for a key of ours: proves the server alive, in time, and permitted to be read. And for the one that was asked for
/// in vain.
async fn prove(tier: &Tier, node: &Node, link: &Link) -> Result<(), (Option<End>, Failure)> {
    if !tier.layout().is_cluster() && tier.mode != RedisMode::Standalone {
        alone(tier, node, link).await?;
    }
    let began = Instant::now();
    let Ok(answer) = timeout(PROBE.max(tier.command_timeout), link.ask(&canary(tier, node))).await else {
        let failure = Failure::new(Reason::Timeout, format!("{:?} does not answer", node.target));
        return Err((Some(End::Replace), failure));
    };
    tier.trips.record(began.elapsed());
    let took = began.elapsed();
    match answer.as_ref().map_err(|error| (of_call(error), error)) {
        Ok(_) if took > tier.command_timeout => {
            let detail = format!("{:?} answers after {took:?}, too late for a call", node.target);
            Err((None, Failure::new(Reason::Timeout, detail)))
        }
        Ok(_) => suspect(tier, node, link).await,
        // It may be read, and slots have moved meanwhile.
        Err((_, error)) if error.redirect_node().is_some() && tier.layout().is_cluster() => {
            tier.doubt.notify_one();
            Ok(())
        }
        Err((RemoteError::Refused(reason), error)) => {
            let detail =
                format!("{:?} refuses to be read: {}", node.target, error.code().unwrap_or_default());
            Err((None, Failure::new(reason, detail)))
        }
        Err(_) => {
            let detail = format!("the connection to {:?} broke", node.target);
            Err((Some(End::Gone), Failure::new(Reason::Connecting, detail)))
        }
    }
}

/// Asks for what became silent: a part of the server may hang, or the way to it. Any answer in time will do, whether it may
/// be read is proved already.
async fn suspect(tier: &Tier, node: &Node, link: &Link) -> Result<(), (Option<End>, Failure)> {
    let Some(key) = node.suspect() else { return Ok(()) };
    let began = Instant::now();
    let silent = || Failure::new(Reason::Timeout, format!("{:?} does not answer for all keys", node.target));
    match timeout(PROBE.max(tier.command_timeout), link.ask(&head(&key, 1))).await {
        Err(_elapsed) => Err((Some(End::Replace), silent())),
        Ok(Err(error)) if matches!(of_call(&error), RemoteError::Broken(_)) => {
            let detail = format!("the connection to {:?} broke", node.target);
            Err((Some(End::Gone), Failure::new(Reason::Connecting, detail)))
        }
        Ok(_) if began.elapsed() > tier.command_timeout => Err((None, silent())),
        Ok(_) => Ok(()),
    }
}

/// Asks a server that is taken for a single one whether it is. A cluster is left to the scout.
async fn alone(tier: &Tier, node: &Node, link: &Link) -> Result<(), (Option<End>, Failure)> {
    match scout::slots_of(link, PROBE.max(tier.command_timeout)).await {
        Ok(Some(ranges)) => {
            tier.sighted.send_replace(ranges);
            let detail = format!("{:?} is part of a cluster", node.target);
            Err((None, Failure::new(Reason::Connecting, detail)))
        }
        Ok(None) if tier.mode == RedisMode::Cluster => {
            let detail = format!("{:?} is no cluster, as the mode says", node.target);
            Err((None, Failure::new(Reason::Protocol, detail)))
        }
        Ok(None) => Ok(()),
        Err(failure) => Err((Some(End::Replace), failure)),
    }
}

/// Names tried for a key that a server of a cluster holds. With one slot of 16,384 it takes as many on average.
const CANARIES: u32 = 1 << 16;

/// A key of two parts, so that it can be no value's, which this server holds.
pub(super) fn canary_key(tier: &Tier, node: &Node) -> String {
    let layout = tier.layout();
    let name = |n: u32| format!("{}:canary{n}", tier.namespace);
    let held = |key: &String| layout.node_of(key.as_bytes()).is_some_and(|holder| holder.id == node.id);
    (0..CANARIES).map(name).find(held).unwrap_or_else(|| name(0))
}

pub(super) fn canary(tier: &Tier, node: &Node) -> Cmd {
    head(&canary_key(tier, node), 1)
}

async fn ping(tier: &Tier, link: &Link) -> bool {
    let began = Instant::now();
    let answered = timeout(PROBE.max(tier.command_timeout), link.ask(&cmd("PING"))).await.is_ok();
    if answered {
        tier.trips.record(began.elapsed());
    }
    answered
}

async fn wait_closed(node: &Node) {
    // The sender lives in the node.
    let _ = node.closed.subscribe().wait_for(|closed| *closed).await;
}
