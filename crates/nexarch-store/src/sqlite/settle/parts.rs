//! What of traces is inferred together.

use std::collections::HashMap;

use nexarch_core::ids::TraceId;

use super::{Place, chunks::Chunks};
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
        if self.now.is_empty() {
            return Vec::new();
        }
        if Form::of_trace(self.count, most) == Form::Whole {
            return vec![Part {
                trace: self.trace,
                settled: self.settled.keys().copied().collect(),
                only_same: false,
                before: Form::Whole,
                now: self.now.keys().copied().collect(),
                after: Form::of_trace(self.count + self.fresh(), most),
            }];
        }
        let mut hours: HashMap<u64, (Vec<Place>, u64)> = HashMap::new();
        for (place, (hour, fresh)) in &self.now {
            let (places, count) = hours.entry(*hour).or_default();
            places.push(*place);
            *count += fresh;
        }
        hours.into_iter().map(|(hour, (now, fresh))| self.hour(hour, now, fresh, most)).collect()
    }

    fn hour(&self, hour: u64, now: Vec<Place>, fresh: u64, most: u64) -> Part {
        let settled = self.settled.iter().filter(|(_, (other, _))| *other == hour);
        let before: u64 = settled.clone().map(|(_, (_, spans))| spans).sum();
        let form = Form::of_hour(before, most);
        Part {
            trace: self.trace,
            settled: settled.map(|(place, _)| *place).collect(),
            only_same: form == Form::Alone,
            before: form,
            now,
            after: Form::of_hour(before + fresh, most),
        }
    }
}
