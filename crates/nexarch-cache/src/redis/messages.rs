//! The connection for messages: one channel per namespace, proved by canaries and by what comes back.
//!
//! A message is framed: a byte for its kind, eight for the process that sent it, eight for its number, then the body.
//! So a process knows its own, and the canary needs no second channel.

use super::backoff::{Backoff, chance};
use super::ear::{Channels, Ear};
use super::failure::Failure;
use super::line::STEADY;
use super::maintenance;
use super::socket::Target;
use super::tier::Tier;
use super::wire::{MAX_MESSAGE, OnMessage};
use crate::remote::Reason;
use bytes::Bytes;
use redis::{Cmd, cmd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// Messages that a slow receiver may be behind; it loses the oldest. One is well under 200 bytes.
const BEHIND: usize = 4096;

/// The largest body; versions of a scope take a tenth of it.
pub(super) const MAX_BODY: usize = 16 << 10;

/// How often the channel is looked at.
const BEAT: Duration = Duration::from_secs(1);

/// Beats between canaries: well inside the idle limit of ten minutes, and a channel that went silent is noticed.
const CANARY_EVERY: u32 = 5;

/// How long a canary may take to come back.
const CANARY: Duration = Duration::from_secs(1);

/// Between two warnings that messages are too long.
const REST: Duration = Duration::from_mins(1);

const KIND_CANARY: u8 = 0;
const KIND_MESSAGE: u8 = 1;
const HEADER: usize = 17;

/// Both ends of the channel, as this process sees it.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) name: String,
    me: u64,
    numbers: AtomicU64,
    /// The newest message of ours that the server took.
    taken: AtomicU64,
    /// The newest message of ours that came back.
    back: watch::Sender<u64>,
    /// What the latest canary to come back carried.
    canary: watch::Sender<u64>,
    out: broadcast::Sender<Bytes>,
}

impl Channel {
    /// `{prefix}{namespace}:versions`.
    pub(super) fn new(prefix: &str, namespace: &str) -> Self {
        Self {
            name: format!("{prefix}{namespace}:versions"),
            me: chance(),
            numbers: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            back: watch::Sender::new(0),
            canary: watch::Sender::new(0),
            out: broadcast::Sender::new(BEHIND),
        }
    }

    pub(super) fn receiver(&self) -> broadcast::Receiver<Bytes> {
        self.out.subscribe()
    }

    /// A command that publishes `body`, and its number.
    pub(super) fn message(&self, body: &[u8]) -> (Cmd, u64) {
        self.publish(KIND_MESSAGE, body)
    }

    /// The server took the message of this number.
    pub(super) fn taken(&self, number: u64) {
        self.taken.fetch_max(number, Ordering::Relaxed);
    }

    fn publish(&self, kind: u8, body: &[u8]) -> (Cmd, u64) {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        let mut frame = Vec::with_capacity(HEADER + body.len());
        frame.push(kind);
        frame.extend_from_slice(&self.me.to_le_bytes());
        frame.extend_from_slice(&number.to_le_bytes());
        frame.extend_from_slice(body);
        let mut publish = cmd("PUBLISH");
        publish.arg(&self.name).arg(frame);
        (publish, number)
    }

    /// What is no frame of ours is dropped: anybody may publish.
    fn receive(&self, frame: &Bytes) {
        if !(HEADER..=HEADER + MAX_BODY).contains(&frame.len()) {
            return;
        }
        let number = |at: usize| frame[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        if number(1) == self.me {
            let number = number(9);
            // Whoever listens can send in our name. One that was not sent yet would be back for ever, and the channel proved.
            if number <= self.numbers.load(Ordering::Relaxed) {
                self.back.send_if_modified(|back| {
                    number > *back && {
                        *back = number;
                        true
                    }
                });
            }
            if let (KIND_CANARY, Some(song)) = (frame[0], frame[HEADER..].first_chunk()) {
                self.canary.send_replace(u64::from_le_bytes(*song));
            }
        }
        if frame[0] == KIND_MESSAGE {
            // Without a receiver nobody wants to know.
            let _ = self.out.send(frame.slice(HEADER..));
        }
    }

    /// Waits for the canary that carries `song`, which nobody knows who does not hear it.
    async fn is_back(&self, song: u64) -> bool {
        let mut canary = self.canary.subscribe();
        timeout(CANARY, canary.wait_for(|back| *back == song)).await.is_ok()
    }
}

/// Runs until the tier is stopped. Spawn it on the tracker.
pub(super) async fn run(tier: Arc<Tier>) {
    let stop = tier.stop.clone();
    stop.run_until_cancelled(keep(&tier)).await;
    tier.board.messages(false);
}

async fn keep(tier: &Arc<Tier>) {
    let mut status = tier.board.watch();
    let mut backoff = Backoff::default();
    let mut warned = None;
    loop {
        let mut slowly = false;
        // Without values there is nobody to connect to; the lines are looking.
        let _ = status.wait_for(|status| status.values).await;
        let layout = tier.layout();
        let Some(node) = layout.answering(tier.turn.fetch_add(1, Ordering::Relaxed), None) else {
            // It went between the two looks.
            tokio::task::yield_now().await;
            continue;
        };
        // From before the first proof: nothing is missed that may concern this connection.
        let mut closed = node.closed.subscribe();
        closed.mark_unchanged();
        match connect(tier, &node.target).await {
            Ok(ear) => {
                let began = Instant::now();
                tier.board.messages(!ear.is_flooded());
                tokio::select! {
                    () = ear.gone() => {}
                    // What stopped the values of this server may have stopped its messages without a word.
                    _ = closed.changed() => {}
                    () = node.stop.cancelled() => {}
                    () = watch_channel(tier) => {}
                }
                tier.board.messages(false);
                // One that ends soon after its canary would else be made anew without a rest.
                if began.elapsed() > STEADY {
                    backoff.reset();
                }
                tracing::debug!("cache: messages of Redis lost");
                if ear.is_flooded() {
                    slowly = true;
                    tier.board.flooded();
                    warn(&mut warned);
                }
            }
            Err(failure) => {
                // What is refused, or makes no sense, will be so in a second, too.
                slowly = failure.is_hopeless() || failure.reason == Reason::Protocol;
                tracing::debug!(detail = %failure, "cache: no messages of Redis ({})", failure.reason);
            }
        }
        sleep(backoff.next(slowly, chance())).await;
    }
}

/// Says that a message was too long, and not each time: whoever may publish can send one after the other.
fn warn(warned: &mut Option<Instant>) {
    if warned.is_none_or(|warned| warned.elapsed() >= REST) {
        *warned = Some(Instant::now());
        tracing::warn!(
            "cache: Redis sent a message of more than {} KiB, polling for a while",
            MAX_MESSAGE >> 10
        );
    }
}

/// Connects, subscribes and waits for a canary. What it returns may have ended again, by a message that was too long.
async fn connect(tier: &Arc<Tier>, target: &Target) -> Result<Ear, Failure> {
    let shared = Arc::clone(tier);
    let on_message: OnMessage = Arc::new(move |channel, frame| {
        if channel == maintenance::CHANNEL.as_bytes() {
            shared.maintenance.hear(&frame);
        } else {
            shared.channel.receive(&frame);
        }
    });
    let channels = Channels { needed: &tier.channel.name, welcome: Some(maintenance::CHANNEL) };
    let ear = tier.dialer.listen(target, &tier.stop, channels, on_message).await?;
    let back = tokio::select! {
        back = canary(tier) => back,
        () = ear.gone() => false,
    };
    if !back && !ear.is_flooded() {
        return Err(Failure::new(Reason::Messages, "what is published does not come back"));
    }
    Ok(ear)
}

/// Publishes the way every message goes, and waits until it has come back.
async fn canary(tier: &Tier) -> bool {
    let song = chance();
    let (publish, _number) = tier.channel.publish(KIND_CANARY, &song.to_le_bytes());
    match tier.publish(&publish).await {
        Ok(_) => tier.channel.is_back(song).await,
        Err(failure) => {
            tracing::debug!(error = %failure.error, "cache: PUBLISH failed");
            false
        }
    }
}

/// Returns when what is published does not come back.
async fn watch_channel(tier: &Tier) {
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut beats, mut taken) = (0u32, 0);
    loop {
        beat.tick().await;
        let missing = taken > *tier.channel.back.borrow();
        taken = tier.channel.taken.load(Ordering::Relaxed);
        beats = beats.wrapping_add(1);
        // Without values nobody can publish; the loss is told already.
        let due = missing || beats.is_multiple_of(CANARY_EVERY);
        if due && tier.board.watch().borrow().values && !canary(tier).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, me: u64, number: u64, body: &[u8]) -> Bytes {
        [&[kind][..], &me.to_le_bytes(), &number.to_le_bytes(), body].concat().into()
    }

    /// Every subscriber sees the name of this process. What he sends in it proves nothing.
    #[tokio::test(start_paused = true)]
    async fn a_forged_frame_proves_no_channel() {
        let channel = Channel::new("", "test");
        let (_, first) = channel.message(b"ours");
        channel.receive(&frame(KIND_MESSAGE, channel.me, u64::MAX, b"forged"));
        assert_eq!(*channel.back.borrow(), 0, "it was never sent");
        channel.receive(&frame(KIND_MESSAGE, channel.me, first, b"ours"));
        assert_eq!(*channel.back.borrow(), first);
        for song in [&[][..], &7u64.to_le_bytes()] {
            channel.receive(&frame(KIND_CANARY, channel.me, u64::MAX, song));
        }
        assert!(!channel.is_back(8).await);
        channel.receive(&frame(KIND_CANARY, channel.me, 2, &8u64.to_le_bytes()));
        assert!(channel.is_back(8).await);
    }
}
