//! Once a second: round trips are summed up, and refused writes are tried again, so that it is noticed when they are
//! taken although nobody writes.

use super::line::{canary, canary_key};
use super::tier::Tier;
use super::wire::Request;
use crate::remote::RemoteError;
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
        tier.board.remind();
        if tier.reads_refused.swap(false, Ordering::Relaxed)
            && tier.stop.run_until_cancelled(read(&tier)).await.is_none()
        {
            return;
        }
        if tier.board.write_refusal().is_some() && tier.stop.run_until_cancelled(write(&tier)).await.is_none()
        {
            return;
        }
    }
}

/// Rights may have been taken away from us, a replica may have lost its primary, a cluster a part of itself. A key of ours
/// that is refused means that all are.
async fn read(tier: &Tier) {
    for node in tier.layout().nodes() {
        let answer = node.tell(tier, Request::of(&canary(tier, node)), tier.command_timeout).await;
        let Err(failure) = answer else { continue };
        if let Some(reason) = failure.shuts_out() {
            let why = format!("refuses to be read: {}", failure.code().unwrap_or_default());
            node.distrust(tier, reason, &why);
        }
    }
}

async fn write(tier: &Tier) {
    let layout = tier.layout();
    let mut refused = None;
    for node in layout.nodes() {
        let mut set = cmd("SET");
        set.arg(canary_key(tier, node)).arg("").arg("PX").arg(CANARY_MS);
        match node.tell(tier, Request::of(&set), tier.command_timeout).await {
            Ok(_) => node.demoted(false),
            Err(failure) => {
                // What was a primary is a replica now; not one that says MISCONF or NOREPLICAS, which no other connection
                // would change. One connection at a time, so that reads go on.
                let demoted = failure.code() == Some("READONLY");
                node.demoted(demoted);
                if demoted {
                    tier.doubt.notify_one();
                }
                if let RemoteError::Refused(reason) = failure.error
                    && failure.redirection().is_none()
                {
                    refused = refused.or(Some(reason));
                }
            }
        }
    }
    if refused.is_none() {
        tier.board.writes(None);
    }
}
