//! Once a second: round trips are summed up, and refused writes are tried again, so that it is noticed when they are
//! taken although nobody writes.

use super::line::{canary, canary_key};
use super::tier::Tier;
use super::wire::Request;
use crate::remote::{Reason, RemoteError};
use redis::cmd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

const BEAT: Duration = Duration::from_secs(1);

/// How long a canary is kept, in milliseconds.
const CANARY_MS: u64 = 1000;

/// Runs until the tier is stopped. Spawn it on the tracker.
pub(super) async fn run(tier: Arc<Tier>) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while tier.stop.run_until_cancelled(beat.tick()).await.is_some() {
        tier.board.round_trip(tier.trips.quantiles());
        if tier.reads_refused.swap(false, Ordering::Relaxed)
            && tier.stop.run_until_cancelled(read(&tier)).await.is_none()
        {
            return;
        }
        if let Some(reason) = tier.board.write_refusal()
            && tier.stop.run_until_cancelled(write(&tier, reason)).await.is_none()
        {
            return;
        }
    }
}

/// Rights may have been taken away from us. A key of ours that may not be read means that none may.
async fn read(tier: &Tier) {
    for node in tier.layout().nodes() {
        let answer = node.call(tier, Request::of(&canary(tier, node)), tier.command_timeout).await;
        if matches!(answer.map_err(|failure| failure.error), Err(RemoteError::Refused(Reason::Auth))) {
            node.distrust(tier, Reason::Auth, "refuses to be read");
        }
    }
}

async fn write(tier: &Tier, reason: Reason) {
    let layout = tier.layout();
    let mut refused = false;
    for node in layout.nodes() {
        let mut set = cmd("SET");
        set.arg(canary_key(tier, node)).arg("").arg("PX").arg(CANARY_MS);
        let answer = node.call(tier, Request::of(&set), tier.command_timeout).await;
        refused |= matches!(answer.map_err(|failure| failure.error), Err(RemoteError::Refused(_)));
        if reason == Reason::Readonly {
            // What was a primary is a replica now. The name may lead to the new primary by now, one connection at a
            // time, so that reads go on.
            node.renew();
        }
    }
    if !refused {
        tier.board.writes(None);
    }
    if reason == Reason::Readonly {
        tier.doubt.notify_one();
    }
}
