//! Batches that a quota refuses, taken out before anything is decided on them.

use super::Incoming;
use crate::Error;

impl Incoming {
    /// Lets batches in, in the order in which they came, as long as all their spans fit into `room`; the others fail
    /// with `refusal`, which is told how many spans there are. One that does not fit leaves its room to smaller ones
    /// behind it.
    pub(crate) fn admit(&mut self, mut room: u64, refusal: impl Fn(u64) -> Error) {
        let mut sizes = vec![0_u64; self.batches.len()];
        for arrived in self.spans.iter().flatten() {
            if let Some(size) = sizes.get_mut(arrived.batch) {
                *size += 1;
            }
        }
        let mut refused = vec![false; self.batches.len()];
        for (((_, tally), size), refused) in self.batches.iter_mut().zip(sizes).zip(&mut refused) {
            if size <= room {
                room -= size;
            } else {
                *tally = Err(refusal(size));
                *refused = true;
            }
        }
        for arrived in &mut self.spans {
            if arrived.as_ref().is_some_and(|arrived| refused.get(arrived.batch) == Some(&true)) {
                *arrived = None;
            }
        }
        let spans = &self.spans;
        self.traces.retain_mut(|(_, members)| {
            members.retain(|member| spans.get(*member).is_some_and(Option::is_some));
            !members.is_empty()
        });
    }
}
