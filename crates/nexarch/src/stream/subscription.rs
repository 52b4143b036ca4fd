//! One open stream.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Hub,
    event::{Event, Reset},
    room::{Next, Room},
};
use crate::auth::Caller;

/// Something is sent at least so often. Shorter than the 6 s that a door with few free places grants to a connection on
/// which nothing moves, and than what proxies and browsers grant.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// What a browser waits before it connects again, milliseconds.
const RETRY_MS: u32 = 2_000;
/// A comment: readers of events pass over it.
const PULSE: Bytes = Bytes::from_static(b":\n\n");
/// Why a stream ends whose tenant was deleted.
pub(super) const DELETED: &str = "the tenant is gone";
const DRAINING: &str = "the server is stopping";

/// That somebody is in a room.
#[derive(Debug)]
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) caller: Arc<Caller>,
    ended: OnceLock<&'static str>,
}

impl Ticket {
    pub(super) fn new(number: u64, caller: Arc<Caller>) -> Self {
        Self { number, caller, ended: OnceLock::new() }
    }

    /// The stream ends when it is woken, with these words.
    pub(super) fn end(&self, words: &'static str) {
        let _first_words_stay = self.ended.set(words);
    }
}

/// An open stream; gives its place up when dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    room: Arc<Room>,
    ticket: Arc<Ticket>,
    newest: watch::Receiver<u64>,
    /// Of the last event that was sent.
    place: u64,
    /// Comes before all events.
    first: Option<Bytes>,
    over: bool,
}

impl Subscription {
    pub(super) fn new(hub: Arc<Hub>, room: Arc<Room>, ticket: Arc<Ticket>, last: Option<&str>) -> Self {
        let newest = room.newest();
        let (place, why) = room.enter(last);
        // An id without data is no event, but is what a browser comes back with when the stream breaks before one.
        let mut first = format!("retry: {RETRY_MS}\nid: {}\n\n", room.id(place)).into_bytes();
        if let Some(why) = why {
            first.extend_from_slice(&Event::Reset(Reset::new(why)).text(room.id(place)));
        }
        Self { hub, room, ticket, newest, place, first: Some(first.into()), over: false }
    }

    /// What to send next; `None` at the end. Waits for an event, a heartbeat at most, and not at all while `drain` is
    /// cancelled.
    pub(crate) async fn next(&mut self, drain: &CancellationToken) -> Option<Bytes> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            if self.over {
                return None;
            }
            let ended = self.ticket.ended.get().copied();
            if let Some(words) = ended.or_else(|| drain.is_cancelled().then_some(DRAINING)) {
                self.over = true;
                return Some(format!(": {words}\n\n").into());
            }
            // Marked as seen before it is looked at: what comes in between wakes at once.
            self.newest.mark_unchanged();
            if let Next::Text(text, place) = self.room.after(self.place) {
                self.place = place;
                return Some(text);
            }
            tokio::select! {
                biased;
                () = drain.cancelled() => {}
                changed = self.newest.changed() => self.over = changed.is_err(),
                () = tokio::time::sleep(HEARTBEAT) => return Some(PULSE),
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub.leave(&self.ticket);
    }
}
