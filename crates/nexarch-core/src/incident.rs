//! Incidents: when services do worse than usual, for how long, together with whom.
//!
//! Every closed minute of every service, and of every entry operation, is compared with what is usual ([`signal`]): its
//! error ratio, its p95 and its rate. One in which a signal is anomalous is not an incident yet. A *run* begins with the
//! third anomalous minute of five, counted from the first of them, and ends with five calm minutes in a row, at the first of
//! those. What is usual is held fast while a run lasts, or an incident of some hours would become it. Runs of one service,
//! or of services that call each other, that overlap or are at most five minutes apart are one incident ([`group`]).
//!
//! [`Watch::advance`] is a pure function of the cells of the minutes before, of the same hours of earlier weeks, and of
//! the watch as it was. The time is that of the data: a tenant that sends nothing has no minutes to judge. What arrives
//! after its minute was judged changes no verdict. Judging minutes one by one or many at once finds the same.

mod group;
mod near;
mod signal;
mod tracks;

use serde::{Deserialize, Serialize};

use self::{
    near::Calls,
    signal::{Expected, Reading},
    tracks::{Subject, Tracks},
};
use crate::{
    rollup::Corrupt,
    window::{Minutes, rfc3339},
};

pub use signal::Signal;

/// Anomalous minutes …
const OPENS_AT: u32 = 3;
/// … of so many that begin a run; and calm ones in a row that end it.
const SPAN: u32 = 5;
/// Runs this many minutes apart are one incident.
const APART: u32 = 5;
/// Minutes before those that are judged that tell what is usual.
const BASE: u32 = 60;
/// Minutes that a watch looks back when it begins, or was away: what is usual for the first of them must still be there by
/// the minute, which cells are for 2 hours.
const BACK: u32 = 45;
/// The newest minute, and the one before it, may still be incomplete: exporters send what they have every few seconds.
const OPEN_MINUTES: u32 = 2;
/// Weeks whose same hour is a season.
const WEEKS: u32 = 4;
const WEEK: u32 = 7 * 24 * 60;
const HOUR: u32 = 60;
/// Signals that an incident lists, the first.
const LISTED: usize = 50;

/// A signal of a service that was anomalous for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Anomaly {
    /// Id of the service.
    pub service: String,
    /// The entry operation; `null` for all requests of the service.
    pub operation: Option<String>,
    /// Which figure.
    pub signal: Signal,
    /// What it was in the minute that showed it: a share 0…1, milliseconds, or requests a minute.
    pub value: f64,
    /// What is usual, in the same unit; `null` when nothing was known yet and a fixed limit was exceeded.
    pub expected: Option<f64>,
    /// How many robust standard deviations the value is off; `null` without `expected`.
    pub z: Option<f64>,
}

/// A time in which one or more services did worse than usual.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// 16 hex digits, a hash of what began it and when: it stays the same while the incident grows.
    pub id: String,
    /// First anomalous minute, since the Unix epoch.
    pub from: u32,
    /// First calm minute after the last run; `None` while one lasts.
    pub to: Option<u32>,
    /// Id of the deepest service that did worse: those that call it may only feel it.
    pub root: String,
    /// Ids of all services that did worse, and their environments (empty: none); by id.
    pub services: Vec<(String, String)>,
    /// What was seen, in the order of its beginning; at most 50.
    pub signals: Vec<Anomaly>,
}

impl Incident {
    /// Was it open at the end of a window (the first minute after it)?
    pub fn is_open_at(&self, end: u32) -> bool {
        self.from < end && self.to.is_none_or(|to| to >= end)
    }

    /// Did a service of this environment take part (`None`: of any)?
    pub fn is_in(&self, environment: Option<&str>) -> bool {
        environment.is_none_or(|wanted| self.services.iter().any(|(_, its)| its == wanted))
    }
}

/// An incident in an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = Incident))]
pub struct IncidentView {
    /// Stays the same while the incident grows.
    pub id: String,
    /// `open` or `closed`, as of now.
    pub status: &'static str,
    /// First anomalous minute, RFC 3339.
    pub opened_at: String,
    /// First calm minute, RFC 3339; `null` while it is open.
    pub closed_at: Option<String>,
    /// Id of the deepest service that did worse.
    pub root: String,
    /// Ids of all services that did worse.
    pub services: Vec<String>,
    /// What was seen, in the order of its beginning; at most 50.
    pub signals: Vec<Anomaly>,
}

impl From<&Incident> for IncidentView {
    fn from(incident: &Incident) -> Self {
        Self {
            id: incident.id.clone(),
            status: if incident.to.is_none() { "open" } else { "closed" },
            opened_at: rfc3339(incident.from),
            closed_at: incident.to.map(rfc3339),
            root: incident.root.clone(),
            services: incident.services.iter().map(|(id, _)| id.clone()).collect(),
            signals: incident.signals.clone(),
        }
    }
}

/// What became of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It began.
    Opened,
    /// Another service or signal joined it, another root was found, or it goes on after it was closed.
    Updated,
    /// All its runs ended.
    Closed,
    /// It is a part of an older one (whose id stands in [`Change::into`]), and no incident of its own any more.
    Merged,
}

/// One change of one incident.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What happened.
    pub happened: Happened,
    /// As it is now.
    pub incident: Incident,
    /// Of a merged one: the incident that it is a part of.
    pub into: Option<String>,
    /// The minute that showed it.
    pub minute: u32,
}

/// A time in which a signal was anomalous.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Run {
    subject: Subject,
    signal: Signal,
    from: u32,
    to: Option<u32>,
    /// Calm minutes in a row.
    calm: u32,
    expected: Expected,
    shown: Reading,
    incident: String,
}

/// Anomalies of the last minutes of a signal without a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Recent {
    subject: Subject,
    signal: Signal,
    /// One bit a minute, the newest lowest.
    minutes: u32,
}

/// What has to be remembered of one tenant from one look to the next. Kept by the store, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Minutes before this one (since the Unix epoch) were judged.
    until: u32,
    /// By subject and signal.
    recent: Vec<Recent>,
    /// By subject and signal, then time.
    runs: Vec<Run>,
    /// Open ones, and those that may still go on.
    incidents: Vec<Incident>,
}

/// What is judged.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// Cells by the minute of [`Watch::minutes`].
    pub minutes: &'a [(u32, Vec<u8>)],
    /// Cells of [`seasons`] of the minutes to judge, in any length.
    pub seasons: &'a [(u32, Vec<u8>)],
    /// T, milliseconds.
    pub latency_objective_ms: f64,
}

/// The hours whose cells tell what is usual in a minute: the same hour of the week, one to four weeks earlier.
pub fn seasons(minute: u32) -> impl Iterator<Item = Minutes> {
    let hour = minute / HOUR * HOUR;
    let before = (1..=WEEKS).filter_map(move |weeks| hour.checked_sub(weeks * WEEK));
    before.map(|from| Minutes { from, to: from + HOUR })
}

impl Watch {
    /// The minutes that can be judged when the newest span starts at `newest_ns` and the clock shows `now_ns` (nanoseconds
    /// since the Unix epoch): none when all are. A clock that runs ahead at a sender ends no minute of the others.
    pub fn due(&self, newest_ns: u64, now_ns: u64) -> Minutes {
        let minute = |ns: u64| u32::try_from(ns / 60_000_000_000).unwrap_or(u32::MAX - 1);
        let to = (minute(newest_ns) + 1).min(minute(now_ns) + 1).saturating_sub(OPEN_MINUTES);
        Minutes { from: self.until.max(to.saturating_sub(BACK)), to }
    }

    /// The minutes whose cells are needed to judge others.
    pub fn minutes(due: Minutes) -> Minutes {
        Minutes { from: due.from.saturating_sub(BASE + SPAN - 1), to: due.to }
    }

    /// Judges minutes ([`Self::due`]), and tells what happened in them, in order.
    pub fn advance(&mut self, due: Minutes, evidence: Evidence<'_>) -> Result<Vec<Change>, Corrupt> {
        let mut changes = Vec::new();
        if due.is_empty() || due.from < self.until {
            return Ok(changes);
        }
        let tracks = Tracks::of(due, evidence, &self.runs)?;
        let mut calls = Calls::of(evidence.minutes);
        if due.from > self.until {
            // It was away: anomalies of before do not adjoin these.
            self.recent.clear();
        }
        for minute in due.from..due.to {
            let opened = self.judge(&tracks, minute, evidence.latency_objective_ms);
            self.group(opened, minute, &mut calls, &mut changes)?;
        }
        self.until = due.to;
        Ok(changes)
    }

    /// Ends runs that are over, and returns those that begin.
    fn judge(&mut self, tracks: &Tracks, minute: u32, objective_ms: f64) -> Vec<Run> {
        let mut opened = Vec::new();
        let mut recent = Vec::new();
        let before = std::mem::take(&mut self.recent);
        for (subject, signal) in tracks.watched() {
            // Both are in the order of what is watched.
            let at = self.runs.partition_point(|run| (&run.subject, run.signal) < (subject, signal));
            let own = self.runs[at..].iter_mut();
            let mut own = own.take_while(|run| run.signal == signal && run.subject == *subject);
            let run = own.find(|run| run.to.is_none());
            let season = tracks.season(subject, signal, minute);
            if let Some(run) = run {
                let reading =
                    tracks.read(subject, signal, minute, season.unwrap_or(run.expected), objective_ms);
                run.calm = if reading.is_none_or(|reading| reading.is_calm) { run.calm + 1 } else { 0 };
                if run.calm >= SPAN {
                    run.to = Some(minute + 1 - SPAN);
                }
                continue;
            }
            let expected = season.or_else(|| tracks.last_hour(subject, signal, minute)).unwrap_or_default();
            let known = before.binary_search_by(|it| (&it.subject, it.signal).cmp(&(subject, signal)));
            let bits = known.map_or(0, |at| before[at].minutes << 1) & ((1 << SPAN) - 1);
            let reading = tracks.read(subject, signal, minute, expected, objective_ms);
            let Some(reading) = reading.filter(|reading| reading.is_anomalous) else {
                if bits != 0 {
                    recent.push(Recent { subject: subject.clone(), signal, minutes: bits });
                }
                continue;
            };
            let bits = bits | 1;
            if bits.count_ones() < OPENS_AT {
                recent.push(Recent { subject: subject.clone(), signal, minutes: bits });
                continue;
            }
            let first = bits.ilog2();
            opened.push(Run {
                subject: subject.clone(),
                signal,
                from: minute - first,
                to: None,
                calm: 0,
                expected,
                shown: reading,
                incident: String::new(),
            });
        }
        self.recent = recent;
        opened
    }
}

#[cfg(test)]
mod tests;
