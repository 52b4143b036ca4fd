//! What is refused, taken out before anything is decided on it: spans of days that are gone, batches beyond a quota.

use super::{DAY_NS, Incoming};
use crate::Error;

impl Incoming {
    /// Leaves out spans that start before this day, and counts them. What is known of the spans of a dropped day went with
    /// it, while its rollups stay: one that is sent again would count twice.
    pub(crate) fn expire(&mut self, first_day: u64) {
        let first_ns = first_day.saturating_mul(DAY_NS);
        let spans = &self.spans;
        if first_ns == 0 || spans.iter().all(|arrived| arrived.facts.start_ns >= first_ns) {
            return;
        }
        for arrived in spans.iter().filter(|arrived| arrived.facts.start_ns < first_ns) {
            if let Some((_, Ok(tally))) = self.batches.get_mut(arrived.batch) {
                tally.expired += 1;
            }
        }
        let is_kept = |member: &usize| spans.get(*member).is_some_and(|it| it.facts.start_ns >= first_ns);
        self.traces.retain_mut(|(_, members)| {
            members.retain(is_kept);
            !members.is_empty()
        });
    }

    /// Lets batches in, in the order in which they came, as long as all their spans fit into `room`; the others fail
    /// with `refusal`, which is told how many spans there are and how much room is left. One that does not fit
    /// leaves its room to smaller ones behind it.
    pub(crate) fn admit(&mut self, mut room: u64, refusal: impl Fn(u64, u64) -> Error) {
        let mut sizes = vec![0_u64; self.batches.len()];
        for arrived in &self.spans {
            if let Some(size) = sizes.get_mut(arrived.batch) {
                *size += 1;
            }
        }
        let mut refused = vec![false; self.batches.len()];
        for (((_, tally), size), refused) in self.batches.iter_mut().zip(sizes).zip(&mut refused) {
            if size <= room {
                room -= size;
            } else {
                *tally = Err(refusal(size, room));
                *refused = true;
            }
        }
        let spans = &self.spans;
        let admitted = |member: &usize| {
            spans.get(*member).is_some_and(|arrived| refused.get(arrived.batch) == Some(&false))
        };
        self.traces.retain_mut(|(_, members)| {
            members.retain(admitted);
            !members.is_empty()
        });
    }
}
