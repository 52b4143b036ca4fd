//! How long a connection may go on without a request. Pure: what was seen and what time it is are arguments.

use std::time::Duration;

use tokio::time::Instant;

use super::pulse::Seen;

/// How often a connection is looked at; the limits below are kept to within this.
pub(super) const LOOK: Duration = Duration::from_secs(2);
/// From the first byte of a request's head to its last: one that drips is an attack or a broken network. Also the limit
/// of a TLS handshake.
pub(super) const HEAD: Duration = Duration::from_secs(10);
/// Without any request: longer than the 60 s after which load balancers give up their side, so that they close first
/// and no request is sent into a connection that is just being closed.
pub(super) const IDLE: Duration = Duration::from_secs(75);
/// The same while places are scarce: exporters send every 5 s by default.
pub(super) const CROWDED_IDLE: Duration = Duration::from_secs(6);
/// After it was asked to end, for as long as nothing moves.
pub(super) const FAREWELL: Duration = Duration::from_secs(4);

/// What to do with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// Ask it to end: an idle HTTP/1.1 connection closes, HTTP/2 says GOAWAY.
    Ask,
    /// Drop it.
    Cut,
}

/// Judges one connection, look by look.
#[derive(Debug)]
pub(super) struct Patience {
    last: Seen,
    /// Since when no request and no byte of an answer was seen.
    idle: Instant,
    /// Since when bytes came that are no request yet.
    head: Option<Instant>,
    /// Since when it was asked to end and nothing moved.
    asked: Option<Instant>,
}

impl Patience {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: Seen::default(), idle: now, head: None, asked: None }
    }

    /// It was asked to end, by us or by the drain.
    pub(super) fn note_asked(&mut self, now: Instant) {
        self.asked.get_or_insert(now);
    }

    pub(super) fn look(&mut self, seen: Seen, crowded: bool, now: Instant) -> Verdict {
        let last = std::mem::replace(&mut self.last, seen);
        let busy = seen.open > 0 || seen.begun != last.begun;
        if busy || seen.written != last.written {
            self.idle = now;
            self.asked = self.asked.map(|_| now);
        }
        if busy {
            self.head = None;
            return Verdict::Keep;
        }
        if seen.http2 {
            // Between its requests, and before the first one, come settings, pings and window updates: no drip of a head.
            self.head = None;
        } else if seen.read != last.read {
            self.head.get_or_insert(now);
        }
        let idle = if crowded { CROWDED_IDLE } else { IDLE };
        if self.head.is_some_and(|since| now - since >= HEAD)
            || self.asked.is_some_and(|since| now - since >= FAREWELL)
        {
            Verdict::Cut
        } else if self.asked.is_none() && now - self.idle >= idle {
            Verdict::Ask
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks every [`LOOK`] at what `seen` says for the time passed; when the first verdict but `Keep` came.
    fn first_verdict(crowded: bool, seen: impl Fn(u64) -> Seen) -> Option<(u64, Verdict)> {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        (1..=200).find_map(|look| {
            let passed = LOOK * look;
            match patience.look(seen(passed.as_secs()), crowded, start + passed) {
                Verdict::Keep => None,
                verdict => Some((passed.as_secs(), verdict)),
            }
        })
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_asked_to_end_sooner_in_a_crowd() {
        assert_eq!(first_verdict(false, |_| Seen::default()), Some((76, Verdict::Ask)));
        assert_eq!(first_verdict(true, |_| Seen::default()), Some((6, Verdict::Ask)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_is_cut() {
        let dripping = |second| Seen { read: second, ..Seen::default() };
        assert_eq!(first_verdict(false, dripping), Some((12, Verdict::Cut)));
        // Also when it stops dripping.
        let stalled = |_| Seen { read: 5, ..Seen::default() };
        assert_eq!(first_verdict(false, stalled), Some((12, Verdict::Cut)));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_answers_and_pings_are_no_drip() {
        let asking = |second| Seen { read: second, begun: second, ..Seen::default() };
        assert_eq!(first_verdict(true, asking), None);
        let waiting = |_| Seen { read: 9, begun: 1, open: 1, ..Seen::default() };
        assert_eq!(first_verdict(true, waiting), None);
        let downloading = |second| Seen { read: 9, begun: 1, written: second, ..Seen::default() };
        assert_eq!(first_verdict(true, downloading), None);
        let pinging = |second| Seen { read: second, begun: 1, http2: true, ..Seen::default() };
        assert_eq!(first_verdict(false, pinging), Some((78, Verdict::Ask)), "pings are no work either");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_end_when_asked_is_cut_but_not_in_its_work() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        patience.note_asked(start);
        let open = Seen { open: 1, begun: 1, ..Seen::default() };
        assert_eq!(patience.look(open, false, start + FAREWELL * 3), Verdict::Keep);
        let done = Seen { open: 0, ..open };
        assert_eq!(patience.look(done, false, start + FAREWELL * 3 + LOOK), Verdict::Keep);
        assert_eq!(patience.look(done, false, start + FAREWELL * 4), Verdict::Cut);
    }
}
