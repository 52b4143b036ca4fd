//! A shop of three services that call each other, and one that nobody calls, minute by minute.

use std::{cell::RefCell, collections::BTreeMap, ops::Range};

use super::super::{Change, Evidence, Watch, seasons};
use crate::{
    facts::Facts,
    infer::{contribution, testing::*},
    rollup::Delta,
    span::Kind,
    window::Minutes,
};

/// The first planted minute; an hour begins here.
pub(super) const M0: u32 = 999_960;
/// Requests of a healthy minute.
const REQUESTS: u32 = 40;
const MINUTE_NS: u64 = 60_000_000_000;

/// How a minute goes; numbers are requests of 40.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Healthy,
    /// `pay` fails, and with it its callers.
    Failing(u32),
    /// `pay` is slow, and with it its callers.
    Slow(u32),
    /// `pay` fails, and nobody minds.
    Swallowed(u32),
    /// `front` fails by itself, without calling anybody.
    FrontFails(u32),
    /// `mail` fails, which `front` calls as well, and nobody minds.
    MailFails(u32),
    /// `orders` fails, which sends messages.
    SenderFails(u32),
    /// `bills` fails, which takes them from the queue.
    TakerFails(u32),
    /// `alone` fails, which nobody calls.
    AloneFails(u32),
    /// Only so many requests come.
    Few(u32),
    /// Only so many, and all fail at `pay`.
    FewFail(u32),
    /// Nothing comes to `pay`.
    Unpaid,
}

/// Moods by minute after [`M0`].
#[derive(Clone)]
pub(super) struct Day {
    minutes: BTreeMap<u32, Mood>,
    seasons: Vec<(u32, Vec<u8>)>,
    is_shuffled: bool,
    /// Blobs by mood, once they were made.
    known: RefCell<Vec<(Mood, Vec<Vec<u8>>)>>,
}

impl Day {
    pub(super) fn of(minutes: Range<u32>) -> Self {
        let minutes = minutes.map(|minute| (minute, Mood::Healthy)).collect();
        Self { minutes, seasons: Vec::new(), is_shuffled: false, known: RefCell::default() }
    }

    pub(super) fn set(&mut self, minutes: Range<u32>, mood: Mood) {
        self.minutes.extend(minutes.map(|minute| (minute, mood)));
    }

    /// The same hour of earlier weeks went like this.
    pub(super) fn weeks_ago(&mut self, moods: &[Mood]) {
        self.seasons.clear();
        for (hour, mood) in seasons(M0).zip(moods) {
            // Ten minutes of it are enough to know it.
            for minute in (hour.from..hour.to).step_by(6) {
                self.seasons.extend(self.minute(*mood).into_iter().map(|blob| (minute, blob)));
            }
        }
    }

    /// The same in other pieces: two blobs a minute, the later traces first.
    pub(super) fn shuffled(mut self) -> Self {
        self.is_shuffled = true;
        self.known = RefCell::default();
        self
    }

    fn blobs(&self, minutes: Minutes) -> Vec<(u32, Vec<u8>)> {
        let mut blobs = Vec::new();
        for (minute, mood) in self.minutes.iter().map(|(minute, mood)| (M0 + minute, *mood)) {
            if (minutes.from..minutes.to).contains(&minute) {
                blobs.extend(self.minute(mood).into_iter().map(|blob| (minute, blob)));
            }
        }
        blobs
    }

    /// A blob does not tell of which minute it is, so one will do for all of a mood.
    fn minute(&self, mood: Mood) -> Vec<Vec<u8>> {
        let mut known = self.known.borrow_mut();
        if let Some((_, blobs)) = known.iter().find(|(its, _)| *its == mood) {
            return blobs.clone();
        }
        let traces = traces_of(M0, mood);
        let size = if self.is_shuffled { traces.len().div_ceil(3) } else { traces.len() };
        let mut blobs = Vec::new();
        for part in traces.chunks(size.max(1)).rev() {
            let mut sum = Delta::default();
            for trace in part {
                sum.add(trace);
            }
            blobs.extend(sum.encode().into_iter().map(|(_, blob)| blob));
        }
        known.push((mood, blobs.clone()));
        blobs
    }
}

fn traces_of(minute: u32, mood: Mood) -> Vec<Delta> {
    let count = if let Mood::Few(count) | Mood::FewFail(count) = mood { count } else { REQUESTS };
    let mut traces = Vec::new();
    for nth in 0..count {
        let at = |span: Facts, ms: u64, error: bool| Facts {
            start_ns: u64::from(minute) * MINUTE_NS + u64::from(nth) * 1_000_000,
            duration_ns: Some((ms + u64::from(nth % 7)) * 1_000_000),
            error,
            ..span
        };
        let named = |span: Facts, name: &str| span.with(|it| it.name = name.into());
        let failing = matches!(mood, Mood::Failing(few) if nth < few);
        let swallowed = matches!(mood, Mood::Swallowed(few) | Mood::FewFail(few) if nth < few);
        let own = matches!(mood, Mood::FrontFails(few) if nth < few);
        let slow = if matches!(mood, Mood::Slow(few) if nth < few) { 2_000 } else { 0 };
        let mut spans = vec![at(named(server("front", 1, 0), "GET /"), 100 + slow, failing || own)];
        if !own {
            spans.push(at(client("front", 2, 1), 90 + slow, failing));
            spans.push(at(named(server("shop", 3, 2), "buy"), 80 + slow, failing));
        }
        if !own && mood != Mood::Unpaid {
            spans.push(at(client("shop", 4, 3), 60 + slow, failing || swallowed));
            spans.push(at(named(server("pay", 5, 4), "charge"), 50 + slow, failing || swallowed));
        }
        if let Mood::MailFails(few) = mood {
            spans.push(at(client("front", 7, 1), 30, nth < few));
            spans.push(at(named(server("mail", 8, 7), "send"), 20, nth < few));
        }
        traces.push(contribution(&spans));
        let (sends, takes) = match mood {
            Mood::SenderFails(few) => (nth < few, false),
            Mood::TakerFails(few) => (false, nth < few),
            _ => (false, false),
        };
        if matches!(mood, Mood::SenderFails(_) | Mood::TakerFails(_)) {
            traces.push(contribution(&[
                at(named(server("orders", 9, 0), "order"), 30, sends),
                at(message("orders", Kind::Producer, 10, 9, "q"), 1, false),
                at(message("bills", Kind::Consumer, 11, 10, "q"), 20, takes),
            ]));
        }
        let alone = matches!(mood, Mood::AloneFails(few) if nth < few);
        traces.push(contribution(&[at(named(server("alone", 6, 0), "GET /"), 10, alone)]));
    }
    traces
}

/// One look at these minutes.
pub(super) fn advance(watch: &mut Watch, day: &Day, due: Minutes) -> Vec<Change> {
    let minutes = day.blobs(Watch::minutes(due));
    let evidence = Evidence { minutes: &minutes, seasons: &day.seasons, latency_objective_ms: 1_000.0 };
    watch.advance(due, evidence).unwrap()
}

/// One look a minute, by a server that is started anew each time.
pub(super) fn by_the_minute(day: &Day, minutes: Range<u32>) -> (Vec<Change>, Watch) {
    all_at_once(day, minutes, 1)
}

/// One look at so many minutes.
pub(super) fn all_at_once(day: &Day, minutes: Range<u32>, step: usize) -> (Vec<Change>, Watch) {
    let (mut watch, mut changes) = (Watch::default(), Vec::new());
    for from in minutes.clone().step_by(step) {
        let to = (from + u32::try_from(step).unwrap()).min(minutes.end);
        changes.extend(advance(&mut watch, day, Minutes { from, to }));
        let kept = serde_json::to_string(&watch).unwrap();
        let back = serde_json::from_str(&kept).unwrap();
        assert_eq!(watch, back);
        watch = back;
    }
    (changes, watch)
}
