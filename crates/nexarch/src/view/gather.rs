//! What a view reads of a snapshot, where nobody read it at the same version.

use std::sync::Arc;

use nexarch_core::{
    season::{LEAST_WEEKS, WEEK, WEEKS},
    window::{self, Minutes},
};
use nexarch_store::{Budget, Cells, Error, Sampled, Snapshot};

use super::{
    LONGEST_CELL, View, Windows,
    beside::Beside,
    parts::{Cut, Shared},
};

/// Cells by their minute.
pub(super) type Blobs = Vec<(u32, Vec<u8>)>;

/// The last whole hour, and the same hour of the weeks before.
pub(super) type Season = (Blobs, Vec<Blobs>);

/// Minutes of an hour.
const HOUR: u32 = 60;

/// All that a view is made of.
pub(super) struct Gathered {
    /// What others at this version share with it.
    pub(super) shared: Arc<Shared>,
    /// Which cells were asked for.
    pub(super) cut: Cut,
    /// What is found of the window asked for.
    pub(super) range: window::Range,
    /// Its cells.
    pub(super) cells: Arc<Cells>,
    /// The window that it is compared with, and its cells.
    pub(super) base: Option<(window::Range, Arc<Cells>)>,
    /// Whole traces.
    pub(super) sampled: Option<Arc<Sampled>>,
    /// By the end of the hour.
    pub(super) season: Option<(u32, Arc<Option<Season>>)>,
    /// Verdicts, incidents, and the cells by which an error budget burns.
    pub(super) beside: Beside,
}

/// Reads it.
pub(super) async fn gather(
    snapshot: &mut dyn Snapshot,
    view: &View,
    shared: Arc<Shared>,
) -> Result<Gathered, Error> {
    let asked = view.range().window.range(snapshot.newest_ns());
    let longest = view.longest_cell(asked);
    let cells = shared.cells.read((asked.minutes, longest), snapshot.cells(asked.minutes, longest)).await?;
    let range = asked.found(cells.minutes, cells.grain);
    let by_minute = longest == 1 && cells.grain == 1;
    let beside = Beside::read(view, snapshot, range, by_minute, &shared).await?;
    let base = match view {
        View::Diff(windows) => Some(base_cells(snapshot, windows, range, &shared).await?),
        _ => None,
    };
    let sampled = match view {
        View::Overview(_)
        | View::Map(_)
        | View::Export(..)
        | View::Bottlenecks(_)
        | View::Dependencies(_)
        | View::Health(_)
        | View::Issues(_) => {
            let sample = snapshot.sample(range.minutes, Budget::ANSWER);
            Some(shared.sampled.read(range.minutes, sample).await?)
        }
        _ => None,
    };
    let season = match view {
        View::Overview(_)
        | View::Map(_)
        | View::Export(..)
        | View::Services(_)
        | View::Service(..)
        | View::Health(_)
        | View::Issues(_) => {
            let to = range.minutes.to / HOUR * HOUR;
            Some((to, shared.seasons.read(to, season(snapshot, to)).await?))
        }
        _ => None,
    };
    let cut = (asked.minutes, longest, view.range().environment().map(str::to_owned));
    Ok(Gathered { shared, cut, range, cells, base, sampled, season, beside })
}

/// The cells of what a window is compared with.
async fn base_cells(
    snapshot: &mut dyn Snapshot,
    windows: &Windows,
    head: window::Range,
    shared: &Shared,
) -> Result<(window::Range, Arc<Cells>), Error> {
    let asked = windows.base.before(head.minutes.from);
    let key = (asked.minutes, LONGEST_CELL);
    let cells = shared.cells.read(key, snapshot.cells(asked.minutes, LONGEST_CELL)).await?;
    Ok((asked.found(cells.minutes, cells.grain), cells))
}

/// The hour that ends at `to` with the same hour of the weeks before; `None` as long as there are too few of those.
async fn season(snapshot: &mut dyn Snapshot, to: u32) -> Result<Option<Season>, Error> {
    let mut weeks = Vec::new();
    for (week, passed) in (1u32..).zip(0..WEEKS) {
        // A young tenant is asked about two weeks and no more.
        if weeks.len() + (WEEKS - passed) < LEAST_WEEKS {
            return Ok(None);
        }
        let Some(end) = to.checked_sub(week * WEEK).filter(|end| *end >= HOUR) else { continue };
        let cells = snapshot.cells(Minutes { from: end - HOUR, to: end }, LONGEST_CELL).await?;
        if !cells.blobs.is_empty() {
            weeks.push(cells.blobs);
        }
    }
    if weeks.len() < LEAST_WEEKS {
        return Ok(None);
    }
    let head = snapshot.cells(Minutes { from: to - HOUR, to }, LONGEST_CELL).await?;
    Ok(Some((head.blobs, weeks)))
}
