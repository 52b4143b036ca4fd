//! What of traces is inferred together.

use std::collections::HashMap;

use nexarch_core::ids::TraceId;

use super::{
    Place,
    chunks::{Chunks, Now},
};
use crate::plan::Form;

/// A part of a trace that is settled by itself: which chunks to read, and how they contribute.
pub(super) struct Part {
    pub(super) trace: TraceId,
    pub(super) settled: Vec<Place>,
    /// Of `settled` only versions of identities that `now` holds are needed.
    pub(super) only_same: bool,
    pub(super) before: Form,
    /// In the order of storing.
    pub(super) now: Vec<Place>,
    pub(super) after: Form,
    /// It is a whole trace with links.
    pub(super) linked: bool,
}

/// The parts of traces, in groups that are held in memory together: those of one trace one by one, those of several, each
/// of which is one part, all at once.
pub(super) fn loads(batch: &[Chunks], most: u64) -> Vec<Vec<Part>> {
    match batch {
        [one] => one.parts(most).into_iter().map(|part| vec![part]).collect(),
        several => vec![several.iter().flat_map(|chunks| chunks.parts(most)).collect()],
    }
}

impl Chunks {
    /// The whole trace is one part as long as it contributes as a whole; then each hour is.
    fn parts(&self, most: u64) -> Vec<Part> {
        let whole = Form::of_trace(self.count, most) == Form::Whole;
        let linked = self.wakes > 0 && whole;
        if self.now.is_empty() && (!linked || self.settled.is_empty()) {
            return Vec::new();
        }
        if whole {
            return vec![Part {
                trace: self.trace,
                settled: self.settled.keys().copied().collect(),
                only_same: false,
                before: Form::Whole,
                now: self.now.keys().copied().collect(),
                after: Form::of_trace(self.count + self.fresh(), most),
                linked,
            }];
        }
        let mut hours: HashMap<u64, Vec<(Place, Now)>> = HashMap::new();
        for (place, now) in &self.now {
            hours.entry(now.hour).or_default().push((*place, *now));
        }
        hours.into_iter().map(|(hour, now)| self.hour(hour, &now, most)).collect()
    }

    fn hour(&self, hour: u64, now: &[(Place, Now)], most: u64) -> Part {
        let settled = self.settled.iter().filter(|(_, (other, _))| *other == hour);
        let before: u64 = settled.clone().map(|(_, (_, spans))| spans).sum();
        let fresh: u64 = now.iter().map(|(_, now)| now.fresh).sum();
        let form = Form::of_hour(before, most);
        let only_same = form == Form::Alone;
        // None was known when it came: what was settled before holds no version of them, and a trace that never ends would
        // be read whole in every round.
        let nothing_same = only_same && now.iter().all(|(_, now)| now.rows == now.fresh);
        let needed = settled.map(|(place, _)| *place).filter(|_| !nothing_same);
        Part {
            trace: self.trace,
            settled: needed.collect(),
            only_same,
            before: form,
            now: now.iter().map(|(place, _)| *place).collect(),
            after: Form::of_hour(before + fresh, most),
            linked: false,
        }
    }
}
