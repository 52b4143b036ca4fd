//! What a stream tells, as text of `text/event-stream` (HTML Living Standard §9.2): made once, sent to everybody.

use std::fmt::Write as _;

use bytes::Bytes;
use nexarch_cache::{Cause, Status};
use nexarch_core::incident::{Change, Happened, IncidentView};
use serde::Serialize;

use crate::audit::Mutation;

/// Services that news of an incident name: an event shares 16 KiB with others.
const MAX_NAMED: usize = 20;

/// What subscribers are told. The name of a variant is the type of its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// The tenant's data changed.
    Version(Version),
    /// Values were made old by hand.
    Invalidation(Invalidation),
    /// Values were computed before anybody asked.
    Warm(Warm),
    /// An incident began, changed or ended.
    Incident(IncidentNews),
    /// The state of the cache changed.
    Cache(CacheState),
    /// What is known of earlier events is not enough: read anew.
    Reset(Reset),
}

/// New data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Version {
    /// As `Nexarch-Version`: a read that begins now contains it.
    pub(crate) version: u64,
    /// Why; `None` when another process committed it.
    pub(crate) cause: Option<Cause>,
}

/// Values were made old by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Invalidation {
    /// As `Nexarch-Version`.
    pub(crate) version: u64,
    /// `tenant`, `operation` or `pattern`.
    pub(crate) scope: &'static str,
    /// What was in scope, by name.
    pub(crate) operations: Vec<String>,
    /// Public id of the key that asked for it; `None` when another process did it.
    pub(crate) by: Option<String>,
    /// `cluster` or `node`: who was told of it by then.
    pub(crate) reach: &'static str,
}

/// Values were computed before anybody asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Warm {
    /// What every one of them surely contains, as `Nexarch-Version`; 0 when there was nothing to compute.
    pub(crate) version: u64,
    /// Of which operations, by name.
    pub(crate) operations: Vec<String>,
    /// How many.
    pub(crate) entries: usize,
    /// Their bytes, together.
    pub(crate) bytes: usize,
    /// Public id of the key that asked for it, or `schedule`.
    pub(crate) by: String,
    /// `cluster`: Redis has them, too; `node`: this node alone.
    pub(crate) reach: &'static str,
}

/// What became of an incident. Figures are left out: a read has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct IncidentNews {
    /// As `Nexarch-Version`: a read that begins now contains it.
    pub(crate) version: u64,
    /// `opened`, `updated` or `closed`.
    pub(crate) change: &'static str,
    /// Stays the same while the incident grows.
    pub(crate) id: String,
    /// First anomalous minute, RFC 3339.
    pub(crate) opened_at: String,
    /// First calm minute, RFC 3339; null while it is open.
    pub(crate) closed_at: Option<String>,
    /// Id of the deepest service that did worse.
    pub(crate) root: String,
    /// Ids of services that did worse, the first [`MAX_NAMED`].
    pub(crate) services: Vec<String>,
    /// How many there are.
    pub(crate) total_services: usize,
    /// Id of the incident of which this one turned out to be a part; null for all others.
    pub(crate) merged_into: Option<String>,
}

/// The state of the cache on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct CacheState {
    backend: &'static str,
    status: &'static str,
    mode: &'static str,
    reason: Option<&'static str>,
}

/// Why a subscriber has to read anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Why {
    /// It read too slowly, or was away for too long: the events in between are gone.
    Gap,
    /// Its last event is not of this stream: the server was started again, or it was another one.
    Unknown,
    /// The database was set back, or replaced.
    Restore,
}

/// A gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Reset {
    reason: Why,
    detail: &'static str,
}

impl Invalidation {
    /// As it was written down.
    pub(crate) fn of(scope: &'static str, made: &Mutation<'_>) -> Self {
        Self {
            version: made.version,
            scope,
            operations: made.operations.to_vec(),
            by: Some(made.by.as_str().to_owned()),
            reach: made.reach,
        }
    }
}

impl Warm {
    /// As it was written down.
    pub(crate) fn of(entries: usize, bytes: usize, made: &Mutation<'_>) -> Self {
        Self {
            version: made.version,
            operations: made.operations.to_vec(),
            entries,
            bytes,
            by: made.by.as_str().to_owned(),
            reach: made.reach,
        }
    }
}

impl IncidentNews {
    /// In this version of the data.
    pub(crate) fn of(change: &Change, version: u64) -> Self {
        let view = IncidentView::from(&change.incident);
        let total_services = view.services.len();
        Self {
            version,
            change: match change.happened {
                Happened::Opened => "opened",
                Happened::Updated => "updated",
                Happened::Closed | Happened::Merged => "closed",
            },
            id: view.id,
            opened_at: view.opened_at,
            closed_at: view.closed_at,
            root: view.root,
            services: view.services.into_iter().take(MAX_NAMED).collect(),
            total_services,
            merged_into: change.into.clone(),
        }
    }
}

impl CacheState {
    /// The parts of a status that are words.
    pub(crate) fn of(status: &Status) -> Self {
        Self {
            backend: status.backend.as_str(),
            status: status.status.as_str(),
            mode: status.mode.as_str(),
            reason: status.reason.map(nexarch_cache::Reason::as_str),
        }
    }
}

impl Reset {
    pub(crate) fn new(reason: Why) -> Self {
        let detail = match reason {
            Why::Gap => "events are missing here: read anew",
            Why::Unknown => "the last event is not known to this server: read anew",
            Why::Restore => "the database was set back: read anew",
        };
        Self { reason, detail }
    }
}

impl Event {
    /// Its text. JSON has no line breaks outside of strings, and none inside them, so that a field is one line.
    pub(crate) fn text(&self, id: Id) -> Bytes {
        let (kind, data) = match self {
            Self::Version(data) => ("version", serde_json::to_string(data)),
            Self::Invalidation(data) => ("invalidation", serde_json::to_string(data)),
            Self::Warm(data) => ("warm", serde_json::to_string(data)),
            Self::Incident(data) => ("incident", serde_json::to_string(data)),
            Self::Cache(data) => ("cache", serde_json::to_string(data)),
            Self::Reset(data) => ("reset", serde_json::to_string(data)),
        };
        let mut text = String::with_capacity(128);
        // Writing to a string does not fail; a map of plain fields is always JSON.
        let _ = write!(text, "id: {id}\nevent: {kind}\ndata: {}\n\n", data.unwrap_or_default());
        text.into()
    }
}

/// Which event: of one room, which is drawn at random, and of one place in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Id {
    pub(crate) room: u64,
    pub(crate) place: u64,
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}-{}", self.room, self.place)
    }
}

impl std::str::FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (room, place) = text.split_once('-').ok_or(())?;
        let room = u64::from_str_radix(room, 16).map_err(|_| ())?;
        Ok(Self { room, place: place.parse().map_err(|_| ())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readers of the document listen for these and no others.
    #[test]
    fn the_document_names_every_type_of_event() {
        let (version, at) = (1, || "2026-01-01T00:00:00Z".to_owned());
        let mut state = CacheState { backend: "memory", status: "memory", mode: "local", reason: None };
        state.reason = Some("refused");
        let all = [
            Event::Version(Version { version, cause: None }),
            Event::Invalidation(Invalidation {
                version,
                scope: "tenant",
                operations: vec![],
                by: None,
                reach: "node",
            }),
            Event::Warm(Warm {
                version,
                operations: vec![],
                entries: 0,
                bytes: 0,
                by: String::new(),
                reach: "node",
            }),
            Event::Incident(IncidentNews {
                version,
                change: "opened",
                id: String::new(),
                opened_at: at(),
                closed_at: None,
                root: String::new(),
                services: vec![],
                total_services: 0,
                merged_into: None,
            }),
            Event::Cache(state),
            Event::Reset(Reset::new(Why::Gap)),
        ];
        let document: serde_json::Value =
            serde_json::from_str(&crate::http::openapi::json().unwrap()).unwrap();
        let words = document["paths"]["/api/v1/stream"]["get"].to_string();
        for event in all {
            // Of a new one, all places where they are listed are to be thought of.
            match event {
                Event::Version(_)
                | Event::Invalidation(_)
                | Event::Warm(_)
                | Event::Incident(_)
                | Event::Cache(_)
                | Event::Reset(_) => {}
            }
            let text = event.text(Id { room: 1, place: 1 });
            let text = std::str::from_utf8(&text).unwrap();
            let kind = text.lines().find_map(|line| line.strip_prefix("event: ")).unwrap();
            assert!(words.contains(&format!("`{kind}`")), "{kind} is not in {words}");
        }
    }

    #[test]
    fn an_event_is_three_fields_and_an_empty_line() {
        let id = Id { room: 0xab, place: 7 };
        let event = Event::Version(Version { version: 12, cause: Some(Cause::Ingest) });
        let text = "id: 00000000000000ab-7\nevent: version\ndata: {\"version\":12,\"cause\":\"ingest\"}\n\n";
        assert_eq!(event.text(id), text);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn no_name_begins_a_line_of_its_own() {
        let event = Event::Invalidation(Invalidation {
            version: 1,
            scope: "operation",
            operations: vec!["a\n\nevent: version".to_owned()],
            by: None,
            reach: "node",
        });
        let text = String::from_utf8(event.text(Id { room: 1, place: 1 }).to_vec()).unwrap();
        assert_eq!(text.lines().count(), 4, "{text}");
        assert_eq!(text.matches("event: ").count(), 2, "{text}");
        assert!(text.contains(r"a\n\nevent: version"), "{text}");
    }

    #[test]
    fn an_id_of_somebody_else_is_none() {
        for text in ["", "-", "1", "x-1", "1-x", "1--1", "00000000000000001-1-1", "1-99999999999999999999"] {
            assert_eq!(text.parse::<Id>(), Err(()), "{text}");
        }
    }
}
