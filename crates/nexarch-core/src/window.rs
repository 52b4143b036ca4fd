//! Windows of time: parsed, rounded outward to the grid of the cells, and turned into minutes.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::Serialize;

const MINUTE_NS: u64 = 60_000_000_000;
/// Longest window, in minutes: 400 days, a year and some, beyond every retention that makes sense.
const LONGEST_MINUTES: u32 = 400 * 1440;
/// Years that a window may touch. Spans before 1970 have no representation, and after 2200 no meaning.
const LAST_MINUTE: u32 = 230 * 366 * 1440;
/// Up to this length, in minutes, windows are made of minutes.
const BY_MINUTE: u32 = 2 * 60;
/// Up to this length, in minutes, windows are made of 5 minutes; beyond, of hours.
const BY_FIVE_MINUTES: u32 = 48 * 60;

/// What a read asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// The newest part of the data, by one of the names of [`Named`].
    Newest(Named),
    /// A fixed range.
    Fixed(Minutes),
}

/// Windows with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Named {
    /// `15m`
    Minutes15,
    /// `1h`
    Hour,
    /// `6h`
    Hours6,
    /// `24h`, the default
    Hours24,
    /// `7d`
    Days7,
    /// `30d`
    Days30,
}

impl Named {
    /// All, from short to long.
    pub const ALL: [Self; 6] =
        [Self::Minutes15, Self::Hour, Self::Hours6, Self::Hours24, Self::Days7, Self::Days30];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minutes15 => "15m",
            Self::Hour => "1h",
            Self::Hours6 => "6h",
            Self::Hours24 => "24h",
            Self::Days7 => "7d",
            Self::Days30 => "30d",
        }
    }

    /// Length in minutes.
    pub fn minutes(self) -> u32 {
        match self {
            Self::Minutes15 => 15,
            Self::Hour => 60,
            Self::Hours6 => 6 * 60,
            Self::Hours24 => 24 * 60,
            Self::Days7 => 7 * 24 * 60,
            Self::Days30 => 30 * 24 * 60,
        }
    }
}

/// A half-open range of minutes since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Minutes {
    /// First minute.
    pub from: u32,
    /// The minute after the last.
    pub to: u32,
}

impl Minutes {
    /// Length in minutes.
    pub fn len(self) -> u32 {
        self.to.saturating_sub(self.from)
    }

    /// Does it hold no minute?
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Is there a minute in both?
    pub fn overlaps(self, other: Self) -> bool {
        self.from.max(other.from) < self.to.min(other.to)
    }

    /// Rounded outward to a grid in minutes (0 counts as 1).
    #[must_use]
    pub fn outward(self, grid: u32) -> Self {
        let grid = grid.max(1);
        Self { from: self.from / grid * grid, to: self.to.div_ceil(grid).saturating_mul(grid) }
    }
}

/// Why a window could not be understood; for the one who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// An unknown name.
    #[error("window must be one of 15m, 1h, 6h, 24h, 7d, 30d")]
    Name,
    /// Both ways at once.
    #[error("give either window or from and to, not both")]
    Both,
    /// Half a range.
    #[error("from and to go together")]
    Half,
    /// No time.
    #[error("{0} must be a time like 2026-01-31T12:00:00Z, between the years 1970 and 2200")]
    Time(&'static str),
    /// Empty or backwards.
    #[error("from must be before to")]
    Order,
    /// Too long.
    #[error("a range is at most 400 days long")]
    Length,
}

impl Window {
    /// From the query parameters `window`, `from` and `to`; `24h` when there are none. Ranges are rounded outward by
    /// their length alone, so that ranges that show the same cells are the same question.
    pub fn parse(window: Option<&str>, from: Option<&str>, to: Option<&str>) -> Result<Self, WindowError> {
        match (window, from, to) {
            (None, None, None) => Ok(Self::default()),
            (Some(name), None, None) => Named::ALL
                .into_iter()
                .find(|named| named.as_str() == name)
                .map(Self::Newest)
                .ok_or(WindowError::Name),
            (None, Some(from), Some(to)) => Self::fixed(time("from", from)?, time("to", to)?),
            (Some(_), ..) => Err(WindowError::Both),
            _ => Err(WindowError::Half),
        }
    }

    /// A fixed range from one time (nanoseconds since the Unix epoch) to a later one.
    fn fixed(from_ns: u64, to_ns: u64) -> Result<Self, WindowError> {
        if from_ns >= to_ns {
            return Err(WindowError::Order);
        }
        let whole = Minutes { from: minute(from_ns), to: minute(to_ns.saturating_add(MINUTE_NS - 1)) };
        // By the length as asked for, not as rounded: 2 h that begin at half past a minute are still minutes.
        let length = u32::try_from((to_ns - from_ns).div_ceil(MINUTE_NS)).unwrap_or(u32::MAX);
        if length > LONGEST_MINUTES {
            return Err(WindowError::Length);
        }
        Ok(Self::Fixed(whole.outward(grid(length))))
    }

    /// The minutes to read when the window is to be compared with one that begins at `minute` (since the Unix epoch): a
    /// named window ends there, at the last place of its grid that is not later; a fixed range is what it is.
    pub fn before(self, minute: u32) -> Range {
        match self {
            Self::Fixed(minutes) => Range { name: "custom", minutes, grain: 1 },
            Self::Newest(named) => {
                let grid = grid(named.minutes());
                let to = minute / grid * grid;
                let minutes = Minutes { from: to.saturating_sub(named.minutes()), to };
                Range { name: named.as_str(), minutes, grain: 1 }
            }
        }
    }

    /// Length in minutes, as asked for or as rounded.
    pub fn minutes(self) -> u32 {
        match self {
            Self::Newest(named) => named.minutes(),
            Self::Fixed(minutes) => minutes.len(),
        }
    }

    /// The longest time that an answer may be kept, in seconds: the operation's, but not over 1/60 of the window,
    /// and at least one.
    pub fn ttl_seconds(self, operation: u64) -> u64 {
        operation.min(u64::from(self.minutes())).max(1)
    }

    /// The minutes to read, when the newest accepted span starts at `newest_ns`. A named window ends there; without
    /// any span it is empty.
    pub fn range(self, newest_ns: Option<u64>) -> Range {
        match self {
            Self::Fixed(minutes) => Range { name: "custom", minutes, grain: 1 },
            Self::Newest(named) => {
                let minutes = newest_ns.map_or(Minutes { from: 0, to: 0 }, |newest| {
                    let from = newest.saturating_sub(u64::from(named.minutes()) * MINUTE_NS);
                    Minutes { from: minute(from), to: minute(newest).saturating_add(1) }
                        .outward(grid(named.minutes()))
                });
                Range { name: named.as_str(), minutes, grain: 1 }
            }
        }
    }
}

/// A name, or `from/to`, as [`Window`] is shown.
///
/// ```
/// use nexarch_core::window::Window;
/// let hour: Window = "2026-01-31T12:00:00Z/2026-01-31T13:00:00Z".parse().unwrap();
/// assert_eq!(hour.minutes(), 60);
/// assert_eq!(hour.to_string().parse(), Ok(hour));
/// ```
impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        match text.split_once('/') {
            Some((from, to)) => Self::parse(None, Some(from), Some(to)),
            None => Self::parse(Some(text), None, None),
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::Newest(Named::Hours24)
    }
}

/// Canonical text, part of cache keys: the name, or `from/to` in RFC 3339.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newest(named) => f.write_str(named.as_str()),
            Self::Fixed(minutes) => write!(f, "{}/{}", rfc3339(minutes.from), rfc3339(minutes.to)),
        }
    }
}

/// The minutes that an answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Name of the window, `custom` for a fixed range.
    pub name: &'static str,
    /// The minutes; empty without data.
    pub minutes: Minutes,
    /// Length of the longest cell in it that has no shorter ones left, in minutes: it cannot be told in more detail.
    pub grain: u32,
}

impl Range {
    /// As a store found it: wider where only longer cells are left (minutes become 5 minutes after 2 hours and hours
    /// after 2 days), for half a cell cannot be read.
    #[must_use]
    pub fn found(self, minutes: Minutes, grain: u32) -> Self {
        Self { minutes, grain, ..self }
    }

    /// Length in seconds.
    pub fn seconds(self) -> u64 {
        u64::from(self.minutes.len()) * 60
    }
}

/// `window` in an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WindowView {
    /// Name of the window, or `custom`.
    pub name: String,
    /// Begin, RFC 3339; `null` without data.
    pub from: Option<String>,
    /// End (exclusive), RFC 3339; `null` without data.
    pub to: Option<String>,
}

impl From<Range> for WindowView {
    fn from(range: Range) -> Self {
        let shown = |minute| (!range.minutes.is_empty()).then(|| rfc3339(minute));
        Self { name: range.name.into(), from: shown(range.minutes.from), to: shown(range.minutes.to) }
    }
}

/// A minute since the Unix epoch as RFC 3339.
pub fn rfc3339(minute: u32) -> String {
    Timestamp::from_second(i64::from(minute) * 60).map(|time| time.to_string()).unwrap_or_default()
}

/// The grid of a window of a length, both in minutes.
fn grid(length: u32) -> u32 {
    if length <= BY_MINUTE {
        1
    } else if length <= BY_FIVE_MINUTES {
        5
    } else {
        60
    }
}

fn minute(ns: u64) -> u32 {
    u32::try_from(ns / MINUTE_NS).unwrap_or(u32::MAX)
}

fn time(name: &'static str, text: &str) -> Result<u64, WindowError> {
    let time: Timestamp = text.parse().map_err(|_| WindowError::Time(name))?;
    let ns = u64::try_from(time.as_nanosecond()).map_err(|_| WindowError::Time(name))?;
    if minute(ns) < LAST_MINUTE { Ok(ns) } else { Err(WindowError::Time(name)) }
}

#[cfg(test)]
mod tests;
