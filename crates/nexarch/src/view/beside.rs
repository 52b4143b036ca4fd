//! What a view needs beside the cells of its window: verdicts on minutes, incidents, how fast the error budget burns.

use std::sync::Arc;

use nexarch_core::{
    analysis::derived::{LONGEST_BURN, SloBurn, slo_burn},
    incident::Incident,
    rollup::Corrupt,
    uptime::{self, Uptime, uptime},
    view::Watched,
    window::{self, Minutes},
};
use nexarch_store::{Cells, Error as StoreError, KeptVerdicts, Snapshot};

use super::{Objectives, View, parts::Shared};

/// Cells of this length, in minutes, divide the windows over which an error budget burns.
const BURN_CELL: u32 = 5;
const MINUTE_NS: u64 = 60_000_000_000;

/// Read in the same snapshot as the cells.
#[derive(Default)]
pub(super) struct Beside {
    verdicts: Option<Verdicts>,
    incidents: Option<Arc<Vec<Incident>>>,
    /// With their end, minutes since the Unix epoch.
    burn: Option<(u32, Arc<Cells>)>,
}

/// Where verdicts on the minutes of a window come from.
enum Verdicts {
    /// Its cells are those minutes.
    ByCells,
    /// They were kept, but for the newest.
    Kept(Arc<KeptVerdicts>),
}

/// What was made of it.
#[derive(Default)]
pub(super) struct Known {
    uptime: Option<Uptime>,
    burn: Option<SloBurn>,
    incidents: Option<Arc<Vec<Incident>>>,
}

impl Beside {
    /// Reads what a view needs; `by_minute`: are the cells of the window single minutes?
    pub(super) async fn read(
        view: &View,
        snapshot: &mut dyn Snapshot,
        range: window::Range,
        by_minute: bool,
        shared: &Shared,
    ) -> Result<Self, StoreError> {
        let mut beside = Self::default();
        if matches!(view, View::Overview(_) | View::Health(_)) {
            beside.verdicts = Some(if by_minute {
                Verdicts::ByCells
            } else {
                let environment = view.range().environment();
                let key = (range.minutes, environment.map(str::to_owned));
                Verdicts::Kept(
                    shared.verdicts.read(key, snapshot.verdicts(range.minutes, environment)).await?,
                )
            });
        }
        if !matches!(view, View::Trends(_) | View::ServiceMetrics(..) | View::Diff(_)) {
            let incidents = snapshot.incidents(range.minutes);
            beside.incidents = Some(shared.incidents.read(range.minutes, incidents).await?);
        }
        if let (View::Health(_), Some(newest)) = (view, snapshot.newest_ns()) {
            let newest = u32::try_from(newest / MINUTE_NS).unwrap_or(u32::MAX - 1);
            let end = range.minutes.to.min(newest + 1).next_multiple_of(BURN_CELL);
            let last = Minutes { from: end.saturating_sub(LONGEST_BURN), to: end };
            let cells = shared.cells.read((last, BURN_CELL), snapshot.cells(last, BURN_CELL)).await?;
            // Of old windows only hours are left.
            beside.burn = (cells.grain <= BURN_CELL).then_some((end, cells));
        }
        Ok(beside)
    }

    /// Adds it up; `blobs` are the cells of the window.
    pub(super) fn known(
        self,
        blobs: &[(u32, Vec<u8>)],
        window: Minutes,
        environment: Option<&str>,
        objectives: &Objectives,
    ) -> Result<Known, Corrupt> {
        let uptime = self.verdicts.map(|verdicts| {
            let (hours, minutes) = match &verdicts {
                Verdicts::ByCells => (&[][..], blobs),
                Verdicts::Kept(kept) => (&kept.hours[..], &kept.minutes[..]),
            };
            let minutes = minutes.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
            uptime(hours, minutes, window, environment, uptime::limit_us(objectives.latency_ms()))
        });
        let burn = self.burn.map(|(end, cells)| {
            let blobs = cells.blobs.iter().map(|(minute, blob)| (*minute, blob.as_slice()));
            slo_burn(blobs, end, environment, objectives.availability())
        });
        Ok(Known { uptime: uptime.transpose()?, burn: burn.transpose()?, incidents: self.incidents })
    }
}

impl Known {
    /// For a [`nexarch_core::view::Context`].
    pub(super) fn watched(&self) -> Watched<'_> {
        let incidents = self.incidents.as_ref().map(|incidents| incidents.as_slice());
        Watched { uptime: self.uptime, burn: self.burn, incidents }
    }
}
