//! What is told to one tenant: its latest events, in order, and who waits for the next one.
//!
//! Nobody has a queue of their own. A subscriber remembers a place and reads on from there when it has room; what has
//! left the ring by then is told as a gap. So a slow reader costs what a quick one does.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use nexarch_store::Versions;
use tokio::{sync::watch, time::Instant};

use super::event::{Event, Id, Invalidation, Reset, Version, Why};

/// Events that are kept for those who come back.
const MAX_EVENTS: usize = 128;
/// Bytes of them. With the limit of rooms this bounds what all streams may hold.
const MAX_BYTES: usize = 16 * 1024;
/// Between two events of new data: a page that reads anew at each needs no more than four a second.
pub(super) const PAUSE: Duration = Duration::from_millis(250);

/// The events of one tenant.
#[derive(Debug)]
pub(super) struct Room {
    name: u64,
    book: Mutex<Book>,
    /// The place of the newest event; moved, too, when somebody is to look for another reason.
    newest: watch::Sender<u64>,
}

#[derive(Debug)]
struct Book {
    /// The latest ones, the newest last. Their places follow each other.
    events: VecDeque<Bytes>,
    bytes: usize,
    /// Of the newest.
    place: u64,
    /// The newest version of data that was told, or waits.
    version: u64,
    /// The newest version of an invalidation that was told.
    by_hand: u64,
    /// Comes after the pause.
    waiting: Option<Version>,
    told: Option<Instant>,
    /// What the database said, and when: who does not know it after a pause was not told by this process.
    seen: Option<(Versions, Instant)>,
}

/// What a subscriber gets.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Text to send; its place.
    Text(Bytes, u64),
    /// It has seen everything.
    Nothing,
}

impl Room {
    /// An empty room of a name that no other has. Up to `version` there is nothing new.
    pub(super) fn new(name: u64, version: u64) -> Self {
        let book = Book {
            events: VecDeque::new(),
            bytes: 0,
            place: 0,
            version,
            by_hand: version,
            waiting: None,
            told: None,
            seen: None,
        };
        Self { name, book: Mutex::new(book), newest: watch::Sender::new(0) }
    }

    /// Where somebody begins who comes now, and the text that tells where this is.
    pub(super) fn enter(&self, last: Option<&str>) -> (u64, Option<Why>) {
        let place = self.book().place;
        match last.map(str::parse::<Id>) {
            None => (place, None),
            Some(Ok(id)) if id.room == self.name && id.place <= place => (id.place, None),
            Some(_) => (place, Some(Why::Unknown)),
        }
    }

    /// Which event is at a place.
    pub(super) fn id(&self, place: u64) -> Id {
        Id { room: self.name, place }
    }

    /// Moves when there is something to look for.
    pub(super) fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Makes everybody look.
    pub(super) fn wake(&self) {
        self.newest.send_modify(|_| {});
    }

    /// What comes after `place`.
    pub(super) fn after(&self, place: u64) -> Next {
        let book = self.book();
        let behind = usize::try_from(book.place.saturating_sub(place)).unwrap_or(usize::MAX);
        if behind == 0 {
            return Next::Nothing;
        }
        match book.events.len().checked_sub(behind).and_then(|at| book.events.get(at)) {
            Some(text) => Next::Text(text.clone(), place + 1),
            None => Next::Text(Event::Reset(Reset::new(Why::Gap)).text(self.id(book.place)), book.place),
        }
    }

    /// New data, unless it is known. What comes within the pause waits for its end, and only the newest of it.
    pub(super) fn version(&self, news: Version, now: Instant) {
        self.news(&mut self.book(), news, now);
    }

    fn news(&self, book: &mut Book, news: Version, now: Instant) {
        if news.version <= book.version {
            return;
        }
        book.version = news.version;
        if book.told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            book.waiting = Some(news);
        } else {
            self.tell(book, &Event::Version(news), now);
        }
    }

    /// What the database says of the tenant. What this process committed it will tell itself in a moment, and better.
    pub(super) fn seen(&self, versions: Versions, now: Instant) {
        self.book().seen.get_or_insert((Versions::default(), now)).0 = versions;
    }

    /// Tells what waits and whose time has come.
    pub(super) fn flush(&self, now: Instant) {
        let mut book = self.book();
        if book.told.is_none_or(|told| now.duration_since(told) >= PAUSE)
            && let Some(news) = book.waiting.take()
        {
            self.tell(&mut book, &Event::Version(news), now);
        }
        if let Some((versions, _)) = book.seen.take_if(|(_, since)| now.duration_since(*since) >= PAUSE) {
            self.of_others(&mut book, &versions, now);
        }
    }

    /// Whatever is new here was committed by another process: who and why is not known.
    fn of_others(&self, book: &mut Book, versions: &Versions, now: Instant) {
        self.news(book, Version { version: versions.data, cause: None }, now);
        let known = book.by_hand;
        let raised = versions.operations.iter().filter(|(_, version)| *version > known);
        let Some(version) = raised.clone().map(|(_, version)| *version).chain([versions.all]).max() else {
            return;
        };
        if version > known {
            let scope = if versions.all > known { "tenant" } else { "operation" };
            let operations = raised.map(|(name, _)| name.clone()).collect();
            let what = Invalidation { version, scope, operations, by: None, reach: "node" };
            self.at_once(book, &Event::Invalidation(what), now);
        }
    }

    /// Anything else: at once, after the version that waits, so that versions come in order.
    pub(super) fn event(&self, event: &Event, now: Instant) {
        self.at_once(&mut self.book(), event, now);
    }

    fn at_once(&self, book: &mut Book, event: &Event, now: Instant) {
        if let Event::Invalidation(invalidation) = event {
            book.by_hand = book.by_hand.max(invalidation.version);
        }
        if let Some(news) = book.waiting.take() {
            self.tell(book, &Event::Version(news), now);
        }
        self.tell(book, event, now);
    }

    /// Everything that was told is void, and so are the numbers of versions.
    pub(super) fn restored(&self, version: u64, now: Instant) {
        let mut book = self.book();
        (book.waiting, book.seen) = (None, None);
        (book.version, book.by_hand) = (version, version);
        self.tell(&mut book, &Event::Reset(Reset::new(Why::Restore)), now);
    }

    fn tell(&self, book: &mut Book, event: &Event, now: Instant) {
        if matches!(event, Event::Version(_)) {
            book.told = Some(now);
        }
        book.place += 1;
        let text = event.text(self.id(book.place));
        book.bytes += text.len();
        book.events.push_back(text);
        while book.events.len() > MAX_EVENTS || book.bytes > MAX_BYTES {
            let Some(oldest) = book.events.pop_front() else { break };
            book.bytes -= oldest.len();
        }
        self.newest.send_replace(book.place);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use nexarch_cache::Cause;

    use super::*;

    const NAME: u64 = 0xfeed;

    fn ingest(version: u64) -> Version {
        Version { version, cause: Some(Cause::Ingest) }
    }

    /// Everything after a place: the type and the number of each event, and where it ends.
    fn read(room: &Room, mut place: u64) -> (Vec<(String, u64)>, u64) {
        let mut all = Vec::new();
        while let Next::Text(text, at) = room.after(place) {
            let text = String::from_utf8(text.to_vec()).unwrap();
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned()
            };
            assert_eq!(field("id: "), room.id(at).to_string());
            let data: serde_json::Value = serde_json::from_str(&field("data: ")).unwrap();
            all.push((field("event: "), data["version"].as_u64().unwrap_or(0)));
            place = at;
        }
        (all, place)
    }

    fn told(kind: &str, version: u64) -> (String, u64) {
        (kind.to_owned(), version)
    }

    #[tokio::test(start_paused = true)]
    async fn many_commits_are_few_events_and_the_newest_wins() {
        let room = Room::new(NAME, 100);
        let mut versions = 100..=1_100;
        room.version(ingest(versions.next().unwrap()), Instant::now());
        assert_eq!(read(&room, 0).0, [], "nothing new");
        // One commit each millisecond, a look each 50 ms.
        for (nth, version) in versions.enumerate() {
            room.version(ingest(version), Instant::now());
            if nth % 50 == 0 {
                room.flush(Instant::now());
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        tokio::time::advance(PAUSE).await;
        room.flush(Instant::now());
        let (events, _) = read(&room, 0);
        assert_eq!(events[0], told("version", 101), "the first at once");
        assert_eq!(events.last(), Some(&told("version", 1_100)), "the newest at last");
        assert!((5..=6).contains(&events.len()), "four a second: {events:?}");
        assert!(events.is_sorted_by_key(|(_, version)| *version));
    }

    fn by_hand(version: u64) -> Event {
        let operations = vec!["services".to_owned()];
        let by = Some("key_x".to_owned());
        Event::Invalidation(Invalidation { version, scope: "operation", operations, by, reach: "cluster" })
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_is_told_before_what_comes_later() {
        let room = Room::new(NAME, 0);
        room.version(ingest(1), Instant::now());
        room.version(ingest(2), Instant::now());
        room.event(&by_hand(3), Instant::now());
        assert_eq!(read(&room, 0).0, [told("version", 1), told("version", 2), told("invalidation", 3)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_another_process_committed_is_told_and_what_we_did_is_not_told_twice() {
        let room = Room::new(NAME, 10);
        let versions = |data: u64, all: u64, services: u64| Versions {
            clock: data.max(all).max(services),
            data,
            all,
            operations: vec![("services".to_owned(), services)],
        };
        // Seen in the database before it was told here.
        room.seen(versions(11, 0, 12), Instant::now());
        room.flush(Instant::now());
        assert_eq!(read(&room, 0).0, [], "whoever did it may yet say so");
        room.version(ingest(11), Instant::now());
        room.event(&by_hand(12), Instant::now());
        tokio::time::advance(PAUSE).await;
        room.flush(Instant::now());
        let (events, place) = read(&room, 0);
        assert_eq!(events, [told("version", 11), told("invalidation", 12)]);
        // Seen, and told by nobody; our own data, which come later, hide nothing.
        room.seen(versions(13, 0, 14), Instant::now());
        room.version(ingest(15), Instant::now());
        tokio::time::advance(PAUSE).await;
        room.flush(Instant::now());
        let (events, place) = read(&room, place);
        assert_eq!(events, [told("version", 15), told("invalidation", 14)]);
        let Next::Text(text, _) = room.after(place - 1) else { panic!("nothing") };
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(text.contains(r#""scope":"operation","operations":["services"],"by":null"#), "{text}");
        room.seen(versions(16, 17, 14), Instant::now());
        tokio::time::advance(PAUSE).await;
        room.flush(Instant::now());
        assert_eq!(read(&room, place).0, [told("version", 16), told("invalidation", 17)]);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_away_too_long_is_told_so_once_and_goes_on() {
        let room = Room::new(NAME, 0);
        for version in 1..=200 {
            room.version(ingest(version), Instant::now());
            tokio::time::advance(PAUSE).await;
        }
        let (events, place) = read(&room, 10);
        assert_eq!((events, place), (vec![told("reset", 0)], 200));
        // Exactly as many as are kept are no gap.
        let (events, _) = read(&room, 200 - MAX_EVENTS as u64);
        assert_eq!((events.len(), &events[0]), (MAX_EVENTS, &told("version", 73)));
        room.version(ingest(201), Instant::now());
        assert_eq!(read(&room, place).0, [told("version", 201)]);
    }

    #[tokio::test(start_paused = true)]
    async fn long_events_are_bounded_by_their_bytes() {
        let room = Room::new(NAME, 0);
        for version in 1..=100 {
            let long = Invalidation {
                version,
                scope: "operation",
                operations: vec!["x".repeat(2_000)],
                by: Some("key_x".to_owned()),
                reach: "node",
            };
            room.event(&Event::Invalidation(long), Instant::now());
        }
        let book = room.book();
        assert!(book.bytes <= MAX_BYTES && book.events.len() < 10, "{} bytes", book.bytes);
        assert_eq!(book.bytes, book.events.iter().map(Bytes::len).sum::<usize>());
    }

    #[tokio::test(start_paused = true)]
    async fn an_id_is_known_here_or_the_reader_begins_anew() {
        let room = Room::new(NAME, 0);
        room.version(ingest(1), Instant::now());
        assert_eq!(room.enter(None), (1, None));
        for (id, known) in [(room.id(0), true), (room.id(1), true), (room.id(2), false)] {
            let (place, why) = room.enter(Some(&id.to_string()));
            assert_eq!((place, why.is_none()), (if known { id.place } else { 1 }, known), "{id}");
        }
        let elsewhere = Id { room: NAME + 1, place: 0 }.to_string();
        for text in [elsewhere.as_str(), "", "7", "%0a", "feed-0x1"] {
            assert_eq!(room.enter(Some(text)), (1, Some(Why::Unknown)), "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_restore_voids_versions_and_begins_anew() {
        let room = Room::new(NAME, 0);
        room.version(ingest(50), Instant::now());
        room.version(ingest(51), Instant::now());
        room.restored(20, Instant::now());
        room.version(ingest(21), Instant::now() + PAUSE);
        assert_eq!(read(&room, 0).0, [told("version", 50), told("reset", 0), told("version", 21)]);
    }
}
