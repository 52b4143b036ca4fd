//! Moves spans in time, so that old recordings can be looked at as if they had just happened.

use std::{collections::BTreeMap, str::FromStr};

use nexarch_core::{otlp::MAX_FUTURE_NS, span::Span};

const DAY_NS: u64 = 86_400_000_000_000;

/// Longest duration that is believed when the newest span is looked for: of a longer one the start counts.
const MAX_DURATION_NS: u64 = DAY_NS;

/// A moment is not the newest one when another one would keep more than this many times as many spans.
const FAR_FEWER: u64 = 100;

/// How the spans of an import are moved in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shift {
    /// Not at all.
    #[default]
    No,
    /// By one offset for all files, so that the newest span ends now.
    ToNow,
    /// By this.
    By(Offset),
}

/// A distance in time, nanoseconds; as text such as `90d` or `-1500ms`.
///
/// ```
/// use nexarch::import::Offset;
///
/// assert_eq!("-2h".parse(), Ok(Offset(-7_200_000_000_000)));
/// assert_eq!(Offset(1_500).to_string(), "1500ns");
/// assert!("2".parse::<Offset>().is_err(), "without a unit");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offset(pub i64);

/// Units of time, nanoseconds.
const UNITS: [(&str, i64); 7] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
];

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be a number with ns, us, ms, s, m, h or d, such as 90d".to_owned();
        let unit = text.find(|letter: char| letter.is_ascii_alphabetic()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit);
        let (_, ns) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let number: i64 = number.parse().map_err(|_| wrong())?;
        number.checked_mul(*ns).map(Self).ok_or_else(|| "is more than 292 years".to_owned())
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}ns", self.0)
    }
}

impl Offset {
    /// What moves `from` to `to` (nanoseconds since the Unix epoch).
    pub(super) fn between(from_ns: u64, to_ns: u64) -> Self {
        let offset = i128::from(to_ns) - i128::from(from_ns);
        Self(i64::try_from(offset).unwrap_or(if offset < 0 { i64::MIN } else { i64::MAX }))
    }

    /// Which moment becomes `to_ns`.
    pub(super) fn before(self, to_ns: u64) -> u64 {
        u64::try_from(i128::from(to_ns) - i128::from(self.0)).unwrap_or(if self.0 < 0 { u64::MAX } else { 0 })
    }

    /// Moves a span with its events. An event without a time stays without.
    pub(super) fn shift(self, span: &mut Span) {
        let Self(offset) = self;
        span.start_ns = span.start_ns.saturating_add_signed(offset);
        span.end_ns = span.end_ns.map(|end| end.saturating_add_signed(offset));
        for event in span.events.iter_mut().filter(|event| event.time_ns != 0) {
            event.time_ns = event.time_ns.saturating_add_signed(offset);
        }
    }
}

/// Finds the end of the newest span, past what a wrong clock or a wrong duration made of a few.
#[derive(Debug, Default)]
pub(super) struct Newest {
    past: Days,
    future: Days,
}

/// By day, how many spans ended in it and when the last of them did.
type Days = BTreeMap<u64, (u64, u64)>;

impl Newest {
    /// Looks at a span; `now_ns` is the present.
    pub(super) fn add(&mut self, span: &Span, now_ns: u64) {
        let longest = span.start_ns.saturating_add(MAX_DURATION_NS);
        let end = span.end_ns.filter(|end| *end <= longest).unwrap_or(span.start_ns);
        let future = span.start_ns > now_ns.saturating_add(MAX_FUTURE_NS);
        let days = if future { &mut self.future } else { &mut self.past };
        let (spans, latest) = days.entry(end / DAY_NS).or_default();
        *spans += 1;
        *latest = end.max(*latest);
    }

    /// When the newest span ended, nanoseconds since the Unix epoch. Spans of the future count only when there are no
    /// others, and a few that would leave nearly all others older than `retention_ns` do not.
    pub(super) fn moment(&self, retention_ns: Option<u64>) -> Option<u64> {
        let days = if self.past.is_empty() { &self.future } else { &self.past };
        let mut before = vec![0];
        for (spans, _) in days.values() {
            before.push(before[before.len() - 1] + spans);
        }
        let first: Vec<u64> = days.keys().copied().collect();
        let kept = |at: usize, latest: u64| {
            let oldest = latest.saturating_sub(retention_ns.unwrap_or(u64::MAX)) / DAY_NS;
            before[at + 1] - before[first.partition_point(|day| *day < oldest)]
        };
        let moments: Vec<(u64, u64)> =
            days.values().enumerate().map(|(at, (_, latest))| (*latest, kept(at, *latest))).collect();
        let most = moments.iter().map(|(_, kept)| *kept).max()?;
        moments
            .into_iter()
            .rev()
            .find(|(_, kept)| kept.saturating_mul(FAR_FEWER) >= most)
            .map(|(latest, _)| latest)
    }
}
